//! Looks again, while a job runs, at where its hosts come from: a file that somebody edits, or a tag on EC2.
//!
//! What it sees is handed on whole, and only when it is something else than before; what follows from it is the engine's.
//! A list on the command line stays what it was.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::error::Fault;
use crate::fleet::{Fleet, HostSpec, Source};

/// A file is taken as it is once nobody has changed it for so long: an editor may write it in pieces.
const SETTLE: Duration = Duration::from_millis(200);

/// Asks EC2 for the hosts behind `ec2:…`, in the very way in which they were found at the start: the same machine must have
/// the same name, or it would seem to be another. It is given those that were found the last time, because new ones have
/// to prove that they have booted.
pub type Finder = Arc<dyn Fn(String, Vec<HostSpec>) -> BoxFuture<'static, Result<Fleet, Fault>> + Send + Sync>;

/// What the list says now.
#[derive(Debug)]
pub enum Listed {
    /// These hosts.
    Hosts(Fleet),
    /// It cannot be read; said once, until it can be.
    Unreadable(Fault),
}

/// Tells of every change, looking so often. Ends when nobody listens; at once where nothing can change.
pub async fn watch(source: Source, first: Fleet, finder: Finder, every: Duration, changes: mpsc::Sender<Listed>) {
    let watched = async {
        match &source {
            Source::ThisMachine | Source::List(_) => {}
            Source::File(path) => watch_file(path, &source, every, &changes).await,
            Source::Ec2(query) => watch_ec2(|hosts| finder(query.clone(), hosts), first, every, &changes).await,
        }
    };
    tokio::select! {
        () = watched => {}
        () = changes.closed() => {}
    }
}

async fn watch_file(path: &Path, source: &Source, every: Duration, changes: &mpsc::Sender<Listed>) {
    let mut known = Look::at(path);
    loop {
        sleep(every).await;
        let mut now = Look::at(path);
        if now == known {
            continue;
        }
        loop {
            sleep(SETTLE).await;
            let later = Look::at(path);
            if std::mem::replace(&mut now, later) == now {
                break;
            }
        }
        known = now;
        tell(changes, Fleet::resolve(source)).await;
    }
}

async fn watch_ec2(
    find: impl Fn(Vec<HostSpec>) -> BoxFuture<'static, Result<Fleet, Fault>>,
    first: Fleet,
    every: Duration,
    changes: &mpsc::Sender<Listed>,
) {
    let mut hosts = first.hosts.clone();
    let mut known = Some(first);
    loop {
        sleep(every).await;
        let found = find(hosts.clone()).await;
        let now = found.as_ref().ok().cloned();
        if let Some(fleet) = &now {
            hosts.clone_from(&fleet.hosts);
        }
        if now != known {
            known = now;
            tell(changes, found).await;
        }
    }
}

async fn tell(changes: &mpsc::Sender<Listed>, found: Result<Fleet, Fault>) {
    let listed = found.map_or_else(Listed::Unreadable, Listed::Hosts);
    // Nobody listens any more when the job is over.
    let _over = changes.send(listed).await;
}

/// What tells one state of a file from another without reading it; none: it is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Look(Option<(u64, u64, i64, i64, i64)>);

impl Look {
    fn at(path: &Path) -> Self {
        let about = fs_err::metadata(path).ok();
        Look(about.map(|it| (it.ino(), it.size(), it.mtime(), it.mtime_nsec(), it.ctime_nsec())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    const EVERY: Duration = Duration::from_millis(10);

    fn nowhere() -> Finder {
        Arc::new(|query, _| panic!("nobody asks for {query}"))
    }

    fn names(listed: Option<Listed>) -> Vec<String> {
        match listed {
            Some(Listed::Hosts(fleet)) => fleet.names(),
            other => panic!("no hosts: {other:?}"),
        }
    }

    #[tokio::test]
    async fn every_change_of_a_file_is_told_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("workers.txt");
        fs_err::write(&path, "a\n").expect("is written");
        let source = Source::File(path.clone());
        let (changes, mut seen) = mpsc::channel(8);
        let first = Fleet::resolve(&source).expect("hosts");
        let watching = tokio::spawn(watch(source, first, nowhere(), EVERY, changes));
        tokio::time::timeout(3 * SETTLE, seen.recv()).await.expect_err("nothing has changed");
        fs_err::write(&path, "a\nb\n").expect("is written");
        assert_eq!(names(seen.recv().await), ["a", "b"]);
        fs_err::write(&path, "b [\n").expect("is written");
        assert!(matches!(seen.recv().await, Some(Listed::Unreadable(_))));
        // As editors do: another file gets the name.
        fs_err::write(folder.path().join("new"), "b\n").expect("is written");
        fs_err::rename(folder.path().join("new"), &path).expect("is renamed");
        assert_eq!(names(seen.recv().await), ["b"]);
        drop(seen);
        watching.await.expect("ends");
    }

    #[tokio::test]
    async fn a_tag_is_asked_again_as_at_the_start_and_only_a_change_is_told() {
        let fleet = |hosts: &str| Fleet::resolve(&Source::List(hosts.to_owned())).expect("hosts");
        let answers = [Ok(fleet("i-1")), Ok(fleet("i-1")), Ok(fleet("i-1,i-2")), Err(Fault::new(Kind::Cloud, "no"))];
        let answers = std::sync::Mutex::new(answers.into_iter());
        let asked = Arc::new(std::sync::Mutex::new(Vec::new()));
        let asked_with = Arc::clone(&asked);
        let finder: Finder = Arc::new(move |query, hosts| {
            assert_eq!(query, "demo");
            asked.lock().expect("is free").push(hosts.len());
            let answer = answers.lock().expect("is free").next().unwrap_or_else(|| Ok(fleet("i-2")));
            Box::pin(std::future::ready(answer))
        });
        let (changes, mut seen) = mpsc::channel(8);
        let watching = tokio::spawn(watch(Source::Ec2("demo".to_owned()), fleet("i-1"), finder, EVERY, changes));
        assert_eq!(names(seen.recv().await), ["i-1", "i-2"]);
        assert!(matches!(seen.recv().await, Some(Listed::Unreadable(_))));
        assert_eq!(names(seen.recv().await), ["i-2"]);
        // With those that were seen last, also after a look that saw nothing.
        assert_eq!(asked_with.lock().expect("is free")[..5], [1, 1, 1, 2, 2]);
        drop(seen);
        watching.await.expect("ends");
    }

    #[tokio::test]
    async fn a_list_on_the_command_line_cannot_change() {
        let source = Source::List("a,b".to_owned());
        let first = Fleet::resolve(&source).expect("hosts");
        let (changes, mut seen) = mpsc::channel(1);
        watch(source, first, nowhere(), EVERY, changes).await;
        assert!(seen.recv().await.is_none());
    }
}
