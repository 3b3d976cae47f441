//! What the owner of a host lends: `~/.config/runner/worker.toml` there, which no job can go beyond.

use std::path::Path;

use serde::Deserialize;

use crate::error::Fault;
use crate::job::document::{self, some_niceness, some_positive};
use crate::units::Bytes;

/// The name of the file in the folder of a person's settings.
pub const FILE: &str = "worker.toml";

/// What may be taken of a host; what is left out is not limited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Owner {
    /// Attempts at once, those of all jobs together.
    #[serde(deserialize_with = "some_positive")]
    pub slots: Option<u32>,
    /// Memory of the commands of all those attempts; each gets an equal share.
    #[serde(deserialize_with = "some_positive")]
    pub memory: Option<Bytes>,
    /// How much everything of ours steps back behind others: 0 to 19.
    #[serde(deserialize_with = "some_niceness")]
    pub nice: Option<u8>,
}

impl Owner {
    /// What is said in a folder of settings; nothing where there is no file.
    ///
    /// # Errors
    /// A [`Fault`] that names the file and its line: to go on would be to take what was perhaps not lent.
    pub fn read(folder: Option<&Path>) -> Result<Owner, Fault> {
        let Some(path) = folder.map(|folder| folder.join(FILE)) else { return Ok(Owner::default()) };
        match fs_err::read_to_string(&path) {
            Ok(text) => document::parse(&text, &path.display().to_string()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Owner::default()),
            Err(error) => Err(Fault::usage(error.to_string())),
        }
    }

    /// How many of so many slots there are.
    pub fn slots(&self, asked: u32) -> u32 {
        self.slots.map_or(asked, |slots| asked.min(slots)).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_read_and_obeyed() {
        let folder = tempfile::tempdir().expect("a folder");
        let read = |text: &str| {
            fs_err::write(folder.path().join(FILE), text).expect("writes");
            Owner::read(Some(folder.path()))
        };
        let owner = read("# mine\nslots = 2\nmemory = '1G'\nnice = 10\n").expect("parses");
        assert_eq!(owner, Owner { slots: Some(2), memory: Some(Bytes::mebi(1024)), nice: Some(10) });
        assert_eq!([1, 2, 8].map(|asked| owner.slots(asked)), [1, 2, 2]);
        for (text, problem) in [
            ("slot = 1", ":1: unknown key `slot` (did you mean `slots`?)"),
            ("\nslots = 0", ":2: 0 makes no sense"),
            ("nice = 20", ":1: a niceness from 0 to 19 is expected"),
        ] {
            let fault = read(text).expect_err(text);
            assert!(fault.text.contains(&format!("worker.toml{problem}")), "{fault}");
        }
    }

    #[test]
    fn without_a_file_everything_is_lent() {
        let folder = tempfile::tempdir().expect("a folder");
        for place in [None, Some(folder.path())] {
            let owner = Owner::read(place).expect("nothing is read");
            assert_eq!((owner, owner.slots(7)), (Owner::default(), 7));
        }
    }
}
