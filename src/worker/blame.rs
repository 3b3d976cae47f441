//! From errors to failures: an attempt's threads speak `io::Error`, the driver wants a cause.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::Path;

use crate::facts::Cause;

/// A cause on its way through code that knows only `io::Error`.
#[derive(Debug)]
struct Carried(Cause);

impl fmt::Display for Carried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for Carried {}

/// Wraps a cause; [`cause_of`] finds it again.
pub fn carry(cause: Cause) -> io::Error {
    io::Error::other(Carried(cause))
}

/// The cause in an error: the one it carries, or a full disk, or else the worker's fault.
pub fn cause_of(error: &io::Error) -> Cause {
    if let Some(carried) = error.get_ref().and_then(|inner| inner.downcast_ref::<Carried>()) {
        return carried.0.clone();
    }
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Cause::DiskFull { text: error.to_string() },
        _ => Cause::Worker { text: error.to_string() },
    }
}

/// Marks an error as one of reading the input, unless it carries a cause already.
pub fn input(error: io::Error) -> io::Error {
    mark_input(error, |error| error.to_string())
}

/// Marks an error as one of the bytes of the file at `path`, unless it carries a cause already.
pub fn input_of(path: &Path, error: io::Error) -> io::Error {
    mark_input(error, |error| format!("`{}`: {error}", path.display()))
}

fn mark_input(error: io::Error, text: impl FnOnce(&io::Error) -> String) -> io::Error {
    match error.get_ref().is_some_and(|inner| inner.is::<Carried>()) {
        true => error,
        false => carry(Cause::Input { text: text(&error) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_survive_the_way_through_io() {
        let cause = Cause::Exit { step: "combine".to_owned(), code: 3 };
        assert_eq!(cause_of(&input(carry(cause.clone()))), cause);
        assert!(matches!(cause_of(&io::ErrorKind::StorageFull.into()), Cause::DiskFull { .. }));
        assert!(matches!(cause_of(&input(io::ErrorKind::UnexpectedEof.into())), Cause::Input { .. }));
        let corrupt = input_of(Path::new("in/a.gz"), io::ErrorKind::InvalidData.into());
        assert!(matches!(cause_of(&corrupt), Cause::Input { text } if text.starts_with("`in/a.gz`: ")));
    }
}
