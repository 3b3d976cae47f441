//! The process's environment, read once and passed on as a value.
//!
//! Nothing else asks for variables, so that tests can say what a person's machine looks like.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::error::Fault;

/// Variables, and the folder in which `runner` was typed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    variables: BTreeMap<OsString, OsString>,
    folder: PathBuf,
}

impl Environment {
    /// That of this process. The folder is the empty path, so that what is shown stays as short as it was typed.
    pub fn from_process() -> Self {
        Environment { variables: std::env::vars_os().collect(), folder: PathBuf::new() }
    }

    /// One with these variables alone, as if typed in `folder`; for tests.
    pub fn new<N: Into<OsString>, V: Into<OsString>>(
        variables: impl IntoIterator<Item = (N, V)>,
        folder: impl Into<PathBuf>,
    ) -> Self {
        let variables = variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Environment { variables, folder: folder.into() }
    }

    /// The value of a variable; an empty one counts as not set.
    pub fn variable(&self, name: impl AsRef<OsStr>) -> Option<&OsStr> {
        self.variables.get(name.as_ref()).map(OsString::as_os_str).filter(|value| !value.is_empty())
    }

    /// Every variable that is not empty, by name.
    pub fn variables(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.variables.iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| (&**name, &**value))
    }

    /// The folder in which `runner` was typed; empty for the process's own.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The person's home.
    pub fn home(&self) -> Option<&Path> {
        self.absolute("HOME")
    }

    /// Where a person's settings are kept: `$XDG_CONFIG_HOME/runner`, else `~/.config/runner`.
    pub fn config_folder(&self) -> Option<PathBuf> {
        self.xdg("XDG_CONFIG_HOME", ".config")
    }

    /// Where a person's jobs are kept: `said` (the setting `state_folder`), else `$XDG_STATE_HOME/runner`, else
    /// `~/.local/state/runner`.
    ///
    /// # Errors
    /// A [`Fault`] of kind usage where none of the three is known.
    pub fn state_folder(&self, said: Option<&Path>) -> Result<PathBuf, Fault> {
        said.map(Path::to_owned)
            .or_else(|| self.xdg("XDG_STATE_HOME", ".local/state"))
            .ok_or_else(|| Fault::usage("no folder for jobs: $HOME is not set; set it, or RUNNER_STATE_FOLDER"))
    }

    fn xdg(&self, variable: &str, in_home: &str) -> Option<PathBuf> {
        let folder = self.absolute(variable).map(Path::to_owned);
        folder.or_else(|| self.home().map(|home| home.join(in_home))).map(|folder| folder.join("runner"))
    }

    /// A path in a variable. Relative ones are invalid and to be ignored, says the XDG base directory specification.
    fn absolute(&self, variable: &str) -> Option<&Path> {
        self.variable(variable).map(Path::new).filter(|path| path.is_absolute())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_follow_the_xdg_specification() {
        let check = |variables: &[(&str, &str)], config: Option<&str>, state: Option<&str>| {
            let environment = Environment::new(variables.iter().copied(), "");
            assert_eq!(environment.config_folder(), config.map(PathBuf::from), "{variables:?}");
            assert_eq!(environment.state_folder(None).ok(), state.map(PathBuf::from), "{variables:?}");
        };
        check(&[], None, None);
        check(&[("HOME", "")], None, None);
        check(&[("HOME", "/h")], Some("/h/.config/runner"), Some("/h/.local/state/runner"));
        check(&[("HOME", "/h"), ("XDG_CONFIG_HOME", "/c")], Some("/c/runner"), Some("/h/.local/state/runner"));
        check(&[("HOME", "/h"), ("XDG_STATE_HOME", "/s")], Some("/h/.config/runner"), Some("/s/runner"));
        check(
            &[("HOME", "/h"), ("XDG_CONFIG_HOME", "relative")],
            Some("/h/.config/runner"),
            Some("/h/.local/state/runner"),
        );
    }

    #[test]
    fn the_setting_is_stronger_than_the_home() {
        let environment = Environment::new([("HOME", "/h")], "");
        assert_eq!(environment.state_folder(Some(Path::new("/jobs"))), Ok("/jobs".into()));
    }
}
