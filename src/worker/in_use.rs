//! A machine that ends itself when nobody uses it is told that a worker is there.
//!
//! `runner cloud` launches such machines. Any other has no such file, and nothing is made there. The worker tells it
//! itself, and not the driver over ssh, because a worker also goes on while its driver is away.

use std::time::Duration;

use fs_err::OpenOptions;
use tokio::task::AbortHandle;

/// The file whose time tells when the machine was last used.
pub const LAST_USED: &str = "/var/lib/runner/last-used";

/// Well below any time after which a machine would end itself: its timer looks once a minute.
const EVERY: Duration = Duration::from_secs(30);

/// Says that the machine is used, again and again, until it is dropped.
#[derive(Debug)]
pub struct InUse(AbortHandle);

impl InUse {
    /// Begins; must be called within a runtime.
    pub fn start() -> Self {
        let touching = tokio::spawn(async {
            loop {
                touch(LAST_USED);
                tokio::time::sleep(EVERY).await;
            }
        });
        InUse(touching.abort_handle())
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Sets a file's time to now, if it is there. What this program cannot do about it, it cannot do: the machine's time is
/// then counted from what was done before.
fn touch(path: &str) {
    use rustix::fs::{Timespec, Timestamps, UTIME_NOW, futimens};
    let now = || Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    if let Ok(file) = OpenOptions::new().append(true).open(path) {
        let _not_ours = futimens(&file, &Timestamps { last_access: now(), last_modification: now() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::SystemTime;

    #[test]
    fn a_file_is_touched_and_never_made() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("last-used");
        let name = path.to_str().expect("is text");
        touch(name);
        assert!(!path.exists());
        fs_err::write(&path, "").expect("writes");
        let file = std::fs::File::options().append(true).open(&path).expect("opens");
        file.set_modified(SystemTime::UNIX_EPOCH).expect("is set");
        touch(name);
        let modified = fs_err::metadata(&path).and_then(|about| about.modified()).expect("is there");
        assert!(modified > SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000));
    }
}
