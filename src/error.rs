//! Kinds of failure and the exit codes that they become.
//!
//! A [`Fault`] is an error that a caller or a script may choose by. It travels inside `anyhow` errors, whose context
//! says what was being done; `main` finds it in the chain and prints the whole once. Its text names the thing and the
//! way out.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why the program ends: one kind an exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A task failed for good.
    TaskFailed,
    /// Wrong usage; a malformed file or setting.
    Usage,
    /// Input missing; a pattern that matches nothing.
    InputMissing,
    /// The output is there already.
    OutputExists,
    /// No usable worker.
    NoWorker,
    /// Fenced off, or the job is held by another driver.
    Fenced,
    /// Data missing or corrupt.
    Data,
    /// The cloud said no.
    Cloud,
    /// A bug of ours.
    Bug,
    /// Interrupted by Ctrl-C.
    Interrupted,
    /// Ended by SIGTERM.
    Terminated,
    /// Cancelled from another terminal.
    Cancelled,
}

impl Kind {
    /// The exit code, as the README's table has it.
    pub fn exit_code(self) -> u8 {
        match self {
            Kind::TaskFailed => 1,
            Kind::Usage => 2,
            Kind::InputMissing => 3,
            Kind::OutputExists => 4,
            Kind::NoWorker => 5,
            Kind::Fenced => 6,
            Kind::Data => 7,
            Kind::Cloud => 8,
            Kind::Cancelled => 9,
            Kind::Bug => 70,
            Kind::Interrupted => 130,
            Kind::Terminated => 143,
        }
    }
}

/// A failure of a known kind, with a text for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The kind, hence the exit code.
    pub kind: Kind,
    /// What happened to what, and what helps.
    pub text: String,
}

impl Fault {
    /// A failure of this kind.
    pub fn new(kind: Kind, text: impl Into<String>) -> Self {
        Fault { kind, text: text.into() }
    }

    /// Wrong usage, or a malformed file or setting.
    pub fn usage(text: impl Into<String>) -> Self {
        Fault::new(Kind::Usage, text)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Fault {}

/// The exit code of an error: that of the fault in its chain; 7 for files of this machine that cannot be read or written,
/// as on a full disk; else 70, since an error that nobody gave a kind is a case that we did not think of.
pub fn exit_code(error: &anyhow::Error) -> u8 {
    let of_files = || error.chain().any(|cause| cause.is::<std::io::Error>());
    let kind = match error.downcast_ref::<Fault>() {
        Some(fault) => fault.kind,
        None if of_files() => Kind::Data,
        None => Kind::Bug,
    };
    kind.exit_code()
}

/// " (did you mean `near`?)" if one of the known words is near to `typed`, else nothing.
pub fn did_you_mean<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    known
        .into_iter()
        .map(|word| (strsim::damerau_levenshtein(typed, word), word))
        .filter(|(distance, word)| *distance <= 1 + word.len() / 4)
        .min()
        .map(|(_, word)| format!(" (did you mean `{word}`?)"))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn the_exit_code_is_found_under_context() {
        let fault = Fault::new(Kind::InputMissing, "no such file: x");
        let error = Err::<(), _>(fault).context("planning the job").expect_err("an error");
        assert_eq!(exit_code(&error), 3);
        assert_eq!(exit_code(&anyhow::anyhow!("what?")), 70);
        let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
        assert_eq!(exit_code(&anyhow::Error::from(full).context("writing the journal")), 7);
    }

    #[test]
    fn near_words_are_suggested_and_far_ones_are_not() {
        let known = ["reduces", "combine", "map"];
        assert_eq!(did_you_mean("redcues", known), " (did you mean `reduces`?)");
        assert_eq!(did_you_mean("zebra", known), "");
    }
}
