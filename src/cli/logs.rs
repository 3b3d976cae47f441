//! `runner logs`: what the attempts of a job said on stderr.

use std::io::{self, IsTerminal, Write};
use std::path::Path;

use super::context::{Context, say};
use super::output::print;
use crate::driver::state::StateFolder;
use crate::ids::{JobId, TaskId};
use crate::report::printable;

/// Which logs.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The job, as `runner jobs` lists it
    job: JobId,
    /// A task (map-3) or an attempt (map-3.0); all of the job where nothing is said
    #[arg(value_parser = parse_which)]
    of: Option<Which>,
}

/// A task with all its attempts, or one of them.
#[derive(Clone, Debug)]
struct Which {
    task: TaskId,
    /// What stands behind the task's name.
    attempt: Option<String>,
}

/// Prints them; several each under its name.
///
/// # Errors
/// No such job; what cannot be read or written.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let folder = StateFolder::new(&context.state_folder()?).find(&args.job)?;
    let logs = folder.logs(|attempt| args.of.as_ref().is_none_or(|of| of.covers(attempt)))?;
    if logs.is_empty() {
        let whose =
            args.of.as_ref().map_or_else(|| args.job.to_string(), |of| format!("{} of {}", of.name(), args.job));
        say(&format!("no stderr of {whose} is kept: nothing was written to it, or there is no such attempt"));
    }
    print(|out| {
        for (index, (attempt, path)) in logs.iter().enumerate() {
            if logs.len() > 1 {
                writeln!(out, "{}==> {attempt} <==", if index == 0 { "" } else { "\n" })?;
            }
            copy(path, out)?;
        }
        Ok(())
    })
}

/// A file gets the bytes as they are, a terminal what cannot harm it.
fn copy(path: &Path, out: &mut dyn Write) -> io::Result<()> {
    if !io::stdout().is_terminal() {
        return io::copy(&mut fs_err::File::open(path)?, out).map(drop);
    }
    let text = fs_err::read(path)?;
    String::from_utf8_lossy(&text).lines().try_for_each(|line| writeln!(out, "{}", printable(line)))
}

impl Which {
    fn covers(&self, attempt: &str) -> bool {
        match &self.attempt {
            Some(_) => attempt == self.name(),
            None => attempt.split_once('.').is_some_and(|(task, _)| task == self.name()),
        }
    }

    fn name(&self) -> String {
        match &self.attempt {
            Some(attempt) => format!("{}.{attempt}", self.task),
            None => self.task.to_string(),
        }
    }
}

fn parse_which(text: &str) -> Result<Which, String> {
    match text.split_once('.') {
        Some((task, attempt)) => Ok(Which { task: task.parse()?, attempt: Some(attempt.to_owned()) }),
        None => Ok(Which { task: text.parse()?, attempt: None }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_covers_its_attempts_alone() {
        let check = |of: &str, attempt: &str, covered| {
            assert_eq!(parse_which(of).expect(of).covers(attempt), covered, "{of} {attempt}");
        };
        check("map-1", "map-1.0", true);
        check("map-1", "map-1.e1.0", true);
        check("map-1", "map-10.0", false);
        check("map-1.0", "map-1.0", true);
        check("map-1.0", "map-1.1", false);
        assert!(parse_which("map").is_err());
    }
}
