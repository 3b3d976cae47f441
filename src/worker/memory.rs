//! How much memory the attempts of a worker may plan with together.

use std::path::{Path, PathBuf};

use crate::units::Bytes;

/// Where control groups are mounted (cgroups(7), systemd's file-hierarchy).
const CGROUPS: &str = "/sys/fs/cgroup";

/// The least of what was said, what the kernel says that programs may still take (proc(5), `MemAvailable`), and the limit
/// of this process's control group, beyond which it would be killed; 1 GiB where nobody says anything.
pub fn available(said: Option<Bytes>) -> Bytes {
    let read = |path: &str| fs_err::read_to_string(path).unwrap_or_default();
    let kernel = mem_available(&read("/proc/meminfo"));
    let group = group_limit(&read("/proc/self/cgroup"), Path::new(CGROUPS));
    [said, kernel, group].into_iter().flatten().min().unwrap_or(Bytes(1 << 30))
}

fn mem_available(meminfo: &str) -> Option<Bytes> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(Bytes(kibibytes << 10))
}

/// The least limit of the groups that `membership` names, as `/proc/self/cgroup` does, and of those above them. In a
/// container the name may be that on the host, of which only the top is to be seen here: that top is the container's.
fn group_limit(membership: &str, mounted: &Path) -> Option<Bytes> {
    membership.lines().filter_map(|line| limit_of_line(line, mounted)).min()
}

/// `0::/user.slice` is a group of version 2, `9:memory:/docker/1` one of version 1.
fn limit_of_line(line: &str, mounted: &Path) -> Option<Bytes> {
    let (_, line) = line.split_once(':')?;
    let (controllers, group) = line.split_once(':')?;
    let (root, file): (PathBuf, _) = match controllers {
        "" => (mounted.to_owned(), "memory.max"),
        _ if controllers.split(',').any(|name| name == "memory") => (mounted.join("memory"), "memory.limit_in_bytes"),
        _ => return None,
    };
    let group = root.join(group.trim_start_matches('/'));
    let groups = group.ancestors().take_while(|folder| folder.starts_with(&root));
    // Without a limit version 2 says `max`, and version 1 a number beyond all memory.
    groups.filter_map(|folder| fs_err::read_to_string(folder.join(file)).ok()?.trim().parse().ok().map(Bytes)).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_is_heard() {
        assert_eq!(mem_available("MemTotal: 9 kB\nMemAvailable:    2048 kB\n"), Some(Bytes(2 << 20)));
        assert_eq!(mem_available("MemTotal: 9 kB\n"), None);
    }

    #[test]
    fn the_least_limit_counts() {
        let folder = tempfile::tempdir().expect("a folder");
        for (file, text) in [
            ("a/memory.max", "5000\n"),
            ("a/b/memory.max", "max\n"),
            ("a/c/memory.max", "3000\n"),
            ("memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("memory/d/memory.limit_in_bytes", "700\n"),
        ] {
            let path = folder.path().join(file);
            fs_err::create_dir_all(path.parent().expect("a folder")).expect("is made");
            fs_err::write(path, text).expect("writes");
        }
        let check = |membership: &str, limit: Option<u64>| {
            assert_eq!(group_limit(membership, folder.path()), limit.map(Bytes), "{membership}");
        };
        check("", None);
        check("0::/\n", None);
        check("0::/a/b\n", Some(5000));
        check("0::/a/c\n", Some(3000));
        check("0::/a/not/seen/here\n", Some(5000));
        check("9:cpu,memory:/d\n0::/\n", Some(700));
        check("9:memory:/docker/1\n", Some(9_223_372_036_854_771_712));
        check("9:cpu:/d\n1:name=systemd:/d\n", None);
    }

    #[test]
    fn what_was_said_is_a_bound() {
        assert_eq!(available(Some(Bytes(1))), Bytes(1));
        assert!(available(Some(Bytes(u64::MAX))) < Bytes(u64::MAX));
    }
}
