//! What every command works with: settings resolved once, and the flags that are none.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::sync::OnceLock;

use super::Shared;
use crate::error::Fault;
use crate::fleet::LocalChoice;
use crate::progress::Style;
use crate::report::printable;
use crate::settings::{Environment, Flag, Progress, Settings};

/// The settings that hold, and what was typed beside them.
#[derive(Debug)]
pub struct Context {
    /// What holds.
    pub settings: Settings,
    /// Where it was typed.
    pub environment: Environment,
    /// `--workers`.
    pub workers: Option<String>,
    /// `--local`.
    pub local: LocalChoice,
    /// Whether data on stdout is for people or programs.
    pub form: Form,
    /// How a running job is shown.
    pub style: Style,
    /// A configuration for ssh that goes with the hosts, once they were found and if they need one.
    pub hosts_ssh_config: OnceLock<PathBuf>,
}

/// The form of data on stdout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// For people.
    Text,
    /// JSON lines, for programs.
    Json,
}

impl Context {
    /// Reads settings and says on stderr what looks wrong in them.
    pub(super) fn resolve(shared: &Shared) -> Result<Context, Fault> {
        Context::resolve_with(shared, Vec::new())
    }

    /// The same where a command has flags of its own that are settings.
    pub(super) fn resolve_with(shared: &Shared, own: Vec<Flag>) -> Result<Context, Fault> {
        let environment = Environment::from_process();
        let flags = [shared.settings()?, own].concat();
        let resolved = Settings::resolve(&flags, &environment)?;
        resolved.warnings.iter().for_each(|warning| say(warning));
        let style = style(shared, resolved.settings.display.progress);
        Ok(Context {
            settings: resolved.settings,
            environment,
            workers: shared.workers.clone(),
            local: if shared.local { LocalChoice::Forced } else { LocalChoice::NotAsked },
            form: if shared.json { Form::Json } else { Form::Text },
            style,
            hosts_ssh_config: OnceLock::new(),
        })
    }

    /// Whether only what went wrong is to be shown.
    #[cfg(feature = "ec2")]
    pub fn is_quiet(&self) -> bool {
        matches!(self.style, Style::Quiet)
    }

    /// Where jobs keep their state.
    ///
    /// # Errors
    /// As [`Environment::state_folder`].
    pub fn state_folder(&self) -> Result<PathBuf, Fault> {
        self.environment.state_folder(self.settings.state_folder.as_deref())
    }
}

/// Says something to the user on stderr.
pub fn say(text: &str) {
    let _nobody = writeln!(std::io::stderr(), "runner: {}", printable(text));
}

fn style(shared: &Shared, setting: Progress) -> Style {
    match setting {
        _ if shared.json => Style::Json,
        _ if shared.quiet => Style::Quiet,
        Progress::Auto => Style::detect(std::io::stderr().is_terminal()),
        Progress::Bars => Style::Bars,
        Progress::Plain => Style::Plain,
        Progress::Json => Style::Json,
        Progress::None => Style::Quiet,
    }
}
