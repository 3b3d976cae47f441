//! One line of `authorized_keys`: what it lets in, in words that the sshd in question understands, and the note at its end
//! by which it is found again.
//!
//! The forms are those of `sshd(8)`, "AUTHORIZED_KEYS FILE FORMAT". An option that an sshd does not know makes it refuse
//! the line, so each gets no more than it understands; with a home that several hosts share, all of them read the line.

use std::fmt;
use std::str::FromStr;

use crate::ids::{JobId, WorkerId};

/// Before our note: the comment of the key begins with it, and nobody else's does.
const NOTE: &str = " runner-job ";

/// Since OpenSSH 7.7 reads `expiry-time` as local time, and only 9.1 knows of UTC, the older ones may be off by so much.
const ZONE_SECONDS_MAX: u64 = 14 * 3600;

/// What an sshd understands, the least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Form {
    /// Each right is taken away by its name.
    Parts,
    /// `restrict` (OpenSSH 7.2) takes away all, also those to come.
    Restrict,
    /// `expiry-time` (7.7), in the host's own time.
    LocalExpiry,
    /// `expiry-time` with a `Z` (9.1), in UTC.
    Expiry,
}

impl Form {
    /// What an sshd of this version understands, as it greets: `OpenSSH_9.2p1 Debian-2`.
    pub fn of_sshd(version: &str) -> Form {
        match openssh(version) {
            Some(version) if version >= (9, 1) => Form::Expiry,
            Some(version) if version >= (7, 7) => Form::LocalExpiry,
            Some(version) if version >= (7, 2) => Form::Restrict,
            Some(_) | None => Form::Parts,
        }
    }

    fn of_options(options: &str) -> Form {
        match options.split_once("expiry-time=\"") {
            Some((_, time)) if time.split('"').next().is_some_and(|time| time.ends_with('Z')) => Form::Expiry,
            Some(_) => Form::LocalExpiry,
            None if options.starts_with("restrict") => Form::Restrict,
            None => Form::Parts,
        }
    }

    /// The options that take all rights away but that to run the command.
    pub fn options(self, until: u64) -> String {
        match self {
            Form::Parts => "no-port-forwarding,no-X11-forwarding,no-agent-forwarding,no-pty".to_owned(),
            Form::Restrict => "restrict".to_owned(),
            Form::LocalExpiry => format!("restrict,expiry-time=\"{}\"", digits(until + ZONE_SECONDS_MAX)),
            Form::Expiry => format!("restrict,expiry-time=\"{}Z\"", digits(until)),
        }
    }
}

/// Major and minor version.
fn openssh(version: &str) -> Option<(u32, u32)> {
    let (major, rest) = version.strip_prefix("OpenSSH_")?.split_once('.')?;
    let minor: String = rest.chars().take_while(char::is_ascii_digit).collect();
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// `YYYYMMDDHHMMSS`.
fn digits(seconds: u64) -> String {
    crate::clock::utc_digits(seconds * 1000)
}

/// Who needs a line: a worker, and its process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Which worker of the job.
    pub worker: WorkerId,
    /// A name for the host, the same after it was started anew.
    pub host: String,
    /// A name for this run of the host.
    pub boot: String,
    /// The worker's process.
    pub process: u32,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}.{}", self.worker.0, self.host, self.boot, self.process)
    }
}

impl FromStr for Holder {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut words = text.split('.');
        let mut next = || words.next().filter(|word| !word.is_empty()).ok_or(());
        let worker = WorkerId(next()?.parse().map_err(drop)?);
        let (host, boot) = (next()?.to_owned(), next()?.to_owned());
        let process = next()?.parse().map_err(drop)?;
        if words.next().is_some() { Err(()) } else { Ok(Holder { worker, host, boot, process }) }
    }
}

/// What stood before the line when it was added, to be put back when it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// Whole lines, or nothing in a file that was there.
    Lines,
    /// A line without an end, which we gave it.
    OpenLine,
    /// No file.
    NoFile,
    /// No folder for one.
    NoFolder,
}

impl Before {
    const WORDS: [(Before, &str); 4] = [
        (Before::Lines, "lines"),
        (Before::OpenLine, "open-line"),
        (Before::NoFile, "no-file"),
        (Before::NoFolder, "no-folder"),
    ];

    fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(before, _)| *before == self).map_or("lines", |(_, word)| word)
    }
}

/// A line of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// What its readers understand.
    pub form: Form,
    /// Our binary on that host.
    pub binary: String,
    /// Type and key.
    pub public_key: String,
    /// The job.
    pub job: JobId,
    /// When it is of no use to anybody any more, in seconds since 1970.
    pub until: u64,
    /// Who needs it.
    pub holders: Vec<Holder>,
    /// What stood before it.
    pub before: Before,
}

impl Line {
    /// Reads a line, if it is one of ours.
    pub fn parse(text: &str) -> Option<Line> {
        let (entry, note) = text.trim_end().rsplit_once(NOTE)?;
        let (options, rest) = entry.split_once(",command=\"exec ")?;
        let (command, public_key) = rest.split_once("\" ")?;
        let mut words = note.split(' ');
        let job = words.next()?.parse().ok()?;
        let until = words.next()?.strip_prefix("until=")?.parse().ok()?;
        let before = words.next()?.strip_prefix("after=")?;
        let (before, _) = Before::WORDS.into_iter().find(|(_, word)| *word == before)?;
        let holders = words.next()?.strip_prefix("for=")?;
        let holders = holders.split(',').map(|word| word.parse().ok()).collect::<Option<Vec<Holder>>>()?;
        Some(Line {
            form: Form::of_options(options),
            binary: command.split(' ').next()?.to_owned(),
            public_key: public_key.to_owned(),
            job,
            until,
            holders,
            before,
        })
    }
}

impl fmt::Display for Line {
    /// The whole line, with its end. The command is read by the user's login shell, so it is plain words only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Line { binary, public_key, job, until, .. } = self;
        let holders: Vec<String> = self.holders.iter().map(ToString::to_string).collect();
        writeln!(
            f,
            "{},command=\"exec {binary} worker peer {job}\" {public_key}{NOTE}{job} until={until} after={} for={}",
            self.form.options(*until),
            self.before.word(),
            holders.join(",")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(form: Form) -> Line {
        Line {
            form,
            binary: "/home/ann/.cache/runner/b-x86_64/runner".to_owned(),
            public_key: "ssh-ed25519 AAAAC3".to_owned(),
            job: "wordcount-abc123".parse().expect("an id"),
            until: 1_790_000_000,
            holders: vec![Holder { worker: WorkerId(3), host: "h".into(), boot: "b".into(), process: 77 }],
            before: Before::Lines,
        }
    }

    #[test]
    fn each_sshd_gets_what_it_understands() {
        let check = |version: &str, form: Form| assert_eq!(Form::of_sshd(version), form, "{version}");
        check("OpenSSH_9.2p1 Debian-2+deb12u10", Form::Expiry);
        check("OpenSSH_10.0", Form::Expiry);
        check("OpenSSH_9.1", Form::Expiry);
        check("OpenSSH_9.0p1", Form::LocalExpiry);
        check("OpenSSH_7.7p1 Ubuntu-4", Form::LocalExpiry);
        check("OpenSSH_7.6", Form::Restrict);
        check("OpenSSH_7.2p2", Form::Restrict);
        check("OpenSSH_6.6.1", Form::Parts);
        check("dropbear_2022.83", Form::Parts);
        check("OpenSSH_for_Windows_9.5", Form::Parts);
    }

    #[test]
    fn lines_are_written_as_sshd_reads_them() {
        let check = |form: Form, start: &str| {
            let rest = "command=\"exec /home/ann/.cache/runner/b-x86_64/runner worker peer wordcount-abc123\" ssh-ed25519 \
                AAAAC3 runner-job wordcount-abc123 until=1790000000 after=lines for=3.h.b.77\n";
            assert_eq!(line(form).to_string(), format!("{start},{rest}"));
        };
        check(Form::Parts, "no-port-forwarding,no-X11-forwarding,no-agent-forwarding,no-pty");
        check(Form::Restrict, "restrict");
        // 2026-09-21 14:13:20 UTC, and 14 hours more.
        check(Form::LocalExpiry, "restrict,expiry-time=\"20260922041320\"");
        check(Form::Expiry, "restrict,expiry-time=\"20260921141320Z\"");
    }

    #[test]
    fn lines_are_read_back_and_others_are_not() {
        for form in [Form::Parts, Form::Restrict, Form::LocalExpiry, Form::Expiry] {
            for (before, _) in Before::WORDS {
                let line = Line { before, ..line(form) };
                assert_eq!(Line::parse(&line.to_string()), Some(line));
            }
        }
        for other in ["", "ssh-ed25519 AAAA ann@desk", "ssh-ed25519 AAAA runner-job x", "# runner-job a until=1"] {
            assert_eq!(Line::parse(other), None, "{other}");
        }
    }
}
