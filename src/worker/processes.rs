//! What a tree of processes takes, read from /proc (proc(5)): all processes of the host in one pass, then any tree of them.
//!
//! A supervisor is the subreaper of its command, so whatever that started is below it, also what called `setsid` or whose
//! parent has died.

use std::collections::HashMap;
use std::time::Duration;

use crate::units::Bytes;

/// The unit of the times in /proc, USER_HZ: 100 a second on every architecture that Rust calls x86_64, aarch64, riscv64,
/// powerpc64 or s390x.
const TICKS_PER_SECOND: u64 = 100;

/// A number of a process.
pub type Pid = i32;

/// What one line of `/proc/PID/stat` says, as far as it is of use here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// The parent.
    pub parent: Pid,
    /// Processor time of the process itself.
    pub own: Duration,
    /// Processor time of the children that it has waited for, and of theirs.
    pub reaped: Duration,
}

/// The processes of this host at one moment.
#[derive(Debug, Default)]
pub struct Census {
    processes: HashMap<Pid, Stat>,
    children: HashMap<Pid, Vec<Pid>>,
}

/// What the trees below some processes take.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// The processes, without those at the roots.
    pub processes: Vec<Pid>,
    /// Processor time: of those that live, and of those that were waited for.
    pub cpu_time: Duration,
}

impl Stat {
    /// That of a process; none where it is gone or hidden.
    pub fn read(pid: Pid) -> Option<Stat> {
        Stat::parse(&fs_err::read(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The name in brackets may hold anything, brackets included: the fields count from behind the last one.
    fn parse(stat: &[u8]) -> Option<Stat> {
        let behind = memchr::memrchr(b')', stat)? + 2;
        let text = std::str::from_utf8(stat.get(behind..)?).ok()?;
        let fields: Vec<&str> = text.split_ascii_whitespace().take(15).collect();
        let ticks = |field: usize| fields.get(field)?.parse::<u64>().ok();
        let time = |field: usize| Some(of_ticks(ticks(field)? + ticks(field + 1)?));
        Some(Stat { parent: fields.get(1)?.parse().ok()?, own: time(11)?, reaped: time(13)? })
    }
}

fn of_ticks(ticks: u64) -> Duration {
    Duration::from_millis(ticks.saturating_mul(1000 / TICKS_PER_SECOND))
}

impl Census {
    /// Looks at all processes.
    pub fn take() -> Self {
        let entries = fs_err::read_dir("/proc").into_iter().flatten().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        Census::of(pids.filter_map(|pid| Some((pid, Stat::read(pid)?))))
    }

    fn of(processes: impl IntoIterator<Item = (Pid, Stat)>) -> Self {
        let mut census = Census::default();
        for (pid, stat) in processes {
            census.processes.insert(pid, stat);
            census.children.entry(stat.parent).or_default().push(pid);
        }
        census
    }

    /// What the trees below `roots` take.
    pub fn below(&self, roots: &[Pid]) -> Taken {
        let mut taken = Taken::default();
        let mut open = roots.to_vec();
        while let Some(pid) = open.pop() {
            let Some(stat) = self.processes.get(&pid) else { continue };
            taken.cpu_time += stat.own + stat.reaped;
            if !roots.contains(&pid) {
                taken.processes.push(pid);
            }
            // A census is not taken in one moment: a number that was given anew meanwhile must not lead in circles.
            if taken.processes.len() <= self.processes.len() {
                open.extend(self.children.get(&pid).into_iter().flatten());
            }
        }
        taken
    }
}

/// How many threads of a process run, or wait for a processor or a disk: what the kernel's load average counts.
pub fn wants_processor(pid: Pid) -> u32 {
    let threads = fs_err::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let state = |stat: Vec<u8>| stat.get(memchr::memrchr(b')', &stat)? + 2).copied();
    let states = threads.filter_map(|thread| state(fs_err::read(thread.path().join("stat")).ok()?));
    u32::try_from(states.filter(|state| matches!(state, b'R' | b'D')).count()).unwrap_or(u32::MAX)
}

/// The memory of processes together. What they share counts for each, so it may be too much.
pub fn resident(pids: &[Pid]) -> Bytes {
    sum(pids.iter().filter_map(|pid| kilobytes(&format!("/proc/{pid}/status"), "VmRSS:")))
}

/// The same, where what several share counts once (`Pss`). It costs far more to ask, and kernels before 4.14 do not say.
pub fn proportional(pids: &[Pid]) -> Bytes {
    let one = |pid: &Pid| {
        kilobytes(&format!("/proc/{pid}/smaps_rollup"), "Pss:")
            .or_else(|| kilobytes(&format!("/proc/{pid}/status"), "VmRSS:"))
    };
    sum(pids.iter().filter_map(one))
}

fn sum(kilobytes: impl Iterator<Item = u64>) -> Bytes {
    Bytes(kilobytes.sum::<u64>().saturating_mul(1024))
}

fn kilobytes(path: &str, key: &str) -> Option<u64> {
    number_behind(&fs_err::read_to_string(path).ok()?, key)
}

/// How often the kernel's out-of-memory killer has killed on this host (`oom_kill` of /proc/vmstat, since Linux 4.13). It
/// counts what the limits of control groups kill too.
pub fn memory_kills() -> u64 {
    fs_err::read_to_string("/proc/vmstat").ok().and_then(|text| number_behind(&text, "oom_kill ")).unwrap_or(0)
}

fn number_behind(text: &str, key: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(key))?;
    rest.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_proc_are_read() {
        let line = b"42 (a) b (c) S 7 42 42 0 -1 4194304 90 0 0 0 150 50 1000 20 20 0 1 0 5 0 0";
        let expected = Stat { parent: 7, own: Duration::from_secs(2), reaped: Duration::from_millis(10_200) };
        assert_eq!(Stat::parse(line), Some(expected));
        assert_eq!(Stat::parse(b"42 (a) S 7 42"), None);
        assert_eq!(Stat::parse(b""), None);
        assert_eq!(number_behind("a 1\noom_kill 3\nb 2\n", "oom_kill "), Some(3));
        assert_eq!(number_behind("Name: x\nVmRSS:\t    12 kB\n", "VmRSS:"), Some(12));
    }

    #[test]
    fn trees_are_summed_up() {
        let stat = |parent: Pid, seconds: u64| Stat {
            parent,
            own: Duration::from_secs(seconds),
            reaped: Duration::from_secs(10 * seconds),
        };
        let census =
            Census::of([(1, stat(0, 100)), (2, stat(1, 1)), (3, stat(2, 2)), (4, stat(3, 3)), (9, stat(1, 50))]);
        let mut taken = census.below(&[2]);
        taken.processes.sort_unstable();
        assert_eq!(taken, Taken { processes: vec![3, 4], cpu_time: Duration::from_secs(66) });
        assert_eq!(census.below(&[7]), Taken::default());
        // Numbers that were given anew while the census was taken.
        let circle = Census::of([(2, stat(3, 0)), (3, stat(2, 0))]);
        assert!(circle.below(&[2]).processes.len() < 10);
    }

    #[test]
    fn this_process_is_found_and_has_memory() {
        let us = Pid::try_from(std::process::id()).expect("a number of a process");
        let stat = Stat::read(us).expect("we are there");
        assert!(Census::take().below(&[stat.parent]).processes.contains(&us));
        let (resident, proportional) = (resident(&[us]), proportional(&[us]));
        assert!(resident > Bytes::mebi(1) && proportional.0 <= resident.0 * 2, "{resident} {proportional}");
        assert_eq!(Stat::read(-1), None);
    }
}
