//! How much memory the attempts of a worker may plan with together, and how much is free at a moment.

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

/// What programs may still take at this moment: the least of what the kernel says and of what the limits of our control
/// groups leave. Pages of files that nobody uses count as free.
pub fn free() -> Bytes {
    let read = |path: &str| fs_err::read_to_string(path).unwrap_or_default();
    let kernel = mem_available(&read("/proc/meminfo"));
    let left = group_left(&read("/proc/self/cgroup"), Path::new(CGROUPS));
    kernel.into_iter().chain(left).min().unwrap_or(Bytes(u64::MAX))
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

fn limit_of_line(line: &str, mounted: &Path) -> Option<Bytes> {
    let (folders, files) = groups_of_line(line, mounted)?;
    folders.iter().filter_map(|folder| number(&folder.join(files.limit))).min().map(Bytes)
}

/// The same for what the limits leave.
fn group_left(membership: &str, mounted: &Path) -> Option<Bytes> {
    membership.lines().filter_map(|line| left_of_line(line, mounted)).min()
}

fn left_of_line(line: &str, mounted: &Path) -> Option<Bytes> {
    let (folders, files) = groups_of_line(line, mounted)?;
    let left = |folder: &PathBuf| {
        let (limit, usage) = (number(&folder.join(files.limit))?, number(&folder.join(files.usage))?);
        let stat = fs_err::read_to_string(folder.join("memory.stat")).unwrap_or_default();
        let idle = stat.lines().find_map(|line| line.strip_prefix(files.idle)?.trim().parse().ok()).unwrap_or(0);
        Some(limit.saturating_sub(usage.saturating_sub(idle)))
    };
    folders.iter().filter_map(left).min().map(Bytes)
}

/// The names of what a version of control groups says about memory.
struct Files {
    limit: &'static str,
    usage: &'static str,
    /// Of `memory.stat`: pages of files that were not used lately.
    idle: &'static str,
}

const VERSION_1: Files =
    Files { limit: "memory.limit_in_bytes", usage: "memory.usage_in_bytes", idle: "total_inactive_file " };
const VERSION_2: Files = Files { limit: "memory.max", usage: "memory.current", idle: "inactive_file " };

/// The folders of a group and of those above it: `0::/user.slice` is a group of version 2, `9:memory:/docker/1` one of
/// version 1.
fn groups_of_line(line: &str, mounted: &Path) -> Option<(Vec<PathBuf>, Files)> {
    let (_, line) = line.split_once(':')?;
    let (controllers, group) = line.split_once(':')?;
    let (root, files) = match controllers {
        "" => (mounted.to_owned(), VERSION_2),
        _ if controllers.split(',').any(|name| name == "memory") => (mounted.join("memory"), VERSION_1),
        _ => return None,
    };
    let group = root.join(group.trim_start_matches('/'));
    let folders = group.ancestors().take_while(|folder| folder.starts_with(&root)).map(Path::to_owned).collect();
    Some((folders, files))
}

/// Without a limit version 2 says `max`, and version 1 a number beyond all memory.
fn number(path: &Path) -> Option<u64> {
    fs_err::read_to_string(path).ok()?.trim().parse().ok()
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
            ("memory/d/memory.usage_in_bytes", "600\n"),
            ("memory/d/memory.stat", "cache 9\ntotal_inactive_file 50\n"),
            ("a/c/memory.current", "2900\n"),
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
        let left = |membership: &str| group_left(membership, folder.path());
        assert_eq!(left("0::/a/c\n"), Some(Bytes(100)));
        assert_eq!(left("9:memory:/d\n"), Some(Bytes(150)));
        assert_eq!(left("0::/a/b\n"), None);
    }

    #[test]
    fn what_was_said_is_a_bound() {
        assert_eq!(available(Some(Bytes(1))), Bytes(1));
        assert!(available(Some(Bytes(u64::MAX))) < Bytes(u64::MAX));
    }
}
