//! What becomes of the text of an `authorized_keys` when lines of ours come and go. Nothing else in it changes, and when the last
//! of ours goes, its bytes are those that it had.

use super::line::{Before, Form, Holder, Line};
use crate::ids::JobId;

/// What a file is to become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It stays as it is.
    None,
    /// It gets this text.
    Text(Vec<u8>),
    /// It was not there before us, and goes.
    Remove,
    /// Nor was its folder.
    RemoveWithFolder,
}

/// A text in lines, each with its end.
struct Lines(Vec<Vec<u8>>);

impl Lines {
    fn of(text: &[u8]) -> Self {
        Lines(text.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect())
    }

    fn ours(&self, index: usize) -> Option<Line> {
        self.0.get(index).and_then(|line| std::str::from_utf8(line).ok()).and_then(Line::parse)
    }

    fn all_ours(&self) -> impl DoubleEndedIterator<Item = (usize, Line)> {
        (0..self.0.len()).filter_map(|index| Some((index, self.ours(index)?)))
    }

    fn set(&mut self, index: usize, line: &Line) {
        self.0[index] = line.to_string().into_bytes();
    }

    fn text(&self) -> Vec<u8> {
        self.0.concat()
    }

    /// Takes a line of ours out. What it knows of the file's state before us is handed to the next line if that is ours
    /// too; with the last one, that state comes back.
    fn remove(&mut self, index: usize, before: Before) -> Option<Change> {
        self.0.remove(index);
        if before == Before::Lines {
            return None;
        }
        if let Some(next) = self.ours(index) {
            self.set(index, &Line { before, ..next });
            return None;
        }
        match before {
            Before::OpenLine if index == self.0.len() => {
                if let Some(last) = self.0.last_mut() {
                    last.pop();
                }
                None
            }
            Before::NoFile if self.0.is_empty() => Some(Change::Remove),
            Before::NoFolder if self.0.is_empty() => Some(Change::RemoveWithFolder),
            // Somebody has added lines behind ours, which stay.
            Before::Lines | Before::OpenLine | Before::NoFile | Before::NoFolder => None,
        }
    }
}

/// The text with `line`, whose `before` is what is known of a file without text; or with one more holder for the line
/// that the job has there already, in a form that both understand.
pub fn add(text: &[u8], line: &Line) -> Change {
    let mut lines = Lines::of(text);
    let there = lines.all_ours().find(|(_, there)| there.job == line.job);
    match there {
        Some((index, there)) => {
            let form = Form::min(there.form, line.form);
            let new = line.holders.iter().filter(|holder| !there.holders.contains(holder));
            let holders = there.holders.iter().chain(new).cloned().collect();
            let until = there.until.max(line.until);
            lines.set(index, &Line { form, holders, until, ..there });
        }
        None => {
            let before = match lines.0.last_mut() {
                None => line.before,
                Some(last) if last.ends_with(b"\n") => Before::Lines,
                Some(last) => {
                    last.push(b'\n');
                    Before::OpenLine
                }
            };
            lines.0.push(Line { before, ..line.clone() }.to_string().into_bytes());
        }
    }
    Change::Text(lines.text())
}

/// The text without this holder, and without the job's line if nobody else needs it.
pub fn remove(text: &[u8], job: &JobId, holder: &Holder) -> Change {
    retain(text, |line| {
        if line.job == *job {
            line.holders.retain(|other| other != holder);
        }
    })
}

/// The text without holders that are gone, and without lines that nobody needs or that are past their time.
pub fn sweep(text: &[u8], now: u64, is_gone: impl Fn(&JobId, &Holder) -> bool) -> Change {
    retain(text, |line| {
        if line.until < now {
            line.holders.clear();
        }
        let job = line.job.clone();
        line.holders.retain(|holder| !is_gone(&job, holder));
    })
}

/// Changes the lines that are ours; those that are left without a holder go.
fn retain(text: &[u8], change: impl Fn(&mut Line)) -> Change {
    let mut lines = Lines::of(text);
    let mut end = None;
    // From the end, so that places stay right.
    for (index, line) in lines.all_ours().rev().collect::<Vec<_>>() {
        let mut changed = line.clone();
        change(&mut changed);
        if changed.holders.is_empty() {
            end = end.or(lines.remove(index, line.before));
        } else if changed != line {
            lines.set(index, &changed);
        }
    }
    let new = lines.text();
    match end {
        Some(end) => end,
        None if new == text => Change::None,
        None => Change::Text(new),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::WorkerId;
    use proptest::prelude::*;

    fn holder(worker: u32) -> Holder {
        Holder { worker: WorkerId(worker), host: format!("h{}", worker % 3), boot: "b".into(), process: worker }
    }

    fn job(number: u32) -> JobId {
        JobId::new("job", u64::from(number))
    }

    fn line(number: u32, worker: u32, before: Before) -> Line {
        Line {
            form: Form::Expiry,
            binary: "/r".to_owned(),
            public_key: "ssh-ed25519 AAAA".to_owned(),
            job: job(number),
            until: 1000,
            holders: vec![holder(worker)],
            before,
        }
    }

    /// A file, or none, as the changes leave it.
    #[derive(Clone, Debug, PartialEq)]
    enum File {
        There(Vec<u8>),
        Missing,
        NoFolder,
    }

    impl File {
        fn text(&self) -> Vec<u8> {
            match self {
                File::There(text) => text.clone(),
                File::Missing | File::NoFolder => Vec::new(),
            }
        }

        fn before(&self) -> Before {
            match self {
                File::There(_) => Before::Lines,
                File::Missing => Before::NoFile,
                File::NoFolder => Before::NoFolder,
            }
        }

        fn apply(&mut self, change: Change) {
            match change {
                Change::None => {}
                Change::Text(text) => *self = File::There(text),
                Change::Remove => *self = File::Missing,
                Change::RemoveWithFolder => *self = File::NoFolder,
            }
        }
    }

    proptest! {
        #[test]
        fn the_old_bytes_come_back_in_whatever_order_jobs_come_and_go(
            old in prop_oneof![
                Just(File::Missing),
                Just(File::NoFolder),
                "(ssh-rsa AAAA x\n|\n|# note\n|\u{e9}){0,4}(open)?".prop_map(|text| File::There(text.into_bytes())),
            ],
            steps in prop::collection::vec((0u32..3, 0u32..4, any::<bool>()), 0..20),
        ) {
            let mut file = old.clone();
            for (number, worker, comes) in steps {
                let change = match comes {
                    true => add(&file.text(), &line(number, worker, file.before())),
                    false => remove(&file.text(), &job(number), &holder(worker)),
                };
                file.apply(change);
            }
            for number in 0..3 {
                for worker in 0..4 {
                    file.apply(remove(&file.text(), &job(number), &holder(worker)));
                }
            }
            prop_assert_eq!(file, old);
        }
    }

    #[test]
    fn the_line_of_a_shared_home_has_a_form_that_all_its_hosts_understand() {
        let Change::Text(text) = add(b"", &line(1, 1, Before::NoFile)) else { panic!("it is added") };
        let Change::Text(text) = add(&text, &Line { form: Form::Parts, ..line(1, 2, Before::Lines) }) else {
            panic!("it is added")
        };
        let lines: Vec<_> = Lines::of(&text).all_ours().map(|(_, line)| line).collect();
        assert_eq!(lines.len(), 1);
        assert_eq!((lines[0].form, lines[0].holders.len()), (Form::Parts, 2));
    }

    #[test]
    fn what_somebody_adds_behind_stays() {
        let Change::Text(mut text) = add(b"open", &line(1, 1, Before::Lines)) else { panic!("it is added") };
        text.extend_from_slice(b"new\n");
        assert_eq!(remove(&text, &job(1), &holder(1)), Change::Text(b"open\nnew\n".to_vec()));
        let Change::Text(mut text) = add(b"", &line(1, 1, Before::NoFile)) else { panic!("it is added") };
        text.extend_from_slice(b"new\n");
        assert_eq!(remove(&text, &job(1), &holder(1)), Change::Text(b"new\n".to_vec()));
    }

    #[test]
    fn stale_lines_are_swept() {
        let Change::Text(text) = add(b"old\n", &line(1, 1, Before::Lines)) else { panic!("it is added") };
        let Change::Text(text) = add(&text, &line(2, 2, Before::Lines)) else { panic!("it is added") };
        assert_eq!(sweep(&text, 1000, |_, _| false), Change::None);
        let Change::Text(rest) = sweep(&text, 1000, |job, _| *job == self::job(1)) else { panic!("one goes") };
        assert_eq!(Lines::of(&rest).all_ours().map(|(_, line)| line.job).collect::<Vec<_>>(), [job(2)]);
        assert_eq!(sweep(&text, 1001, |_, _| false), Change::Text(b"old\n".to_vec()));
    }
}
