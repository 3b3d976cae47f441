//! The socket of a running job: how another terminal asks its driver for something.
//!
//! A driver binds it in the job's folder, which is ours alone. Who asks writes one [`Ask`] as a line of JSON and reads
//! [`Answer`]s, a line each, until the driver closes: so that an older or newer `runner` is understood, or told that it is
//! not, and one question can have many answers. Nothing is decided here: questions go to the engine.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::folders::SocketFolder;
use crate::ids::TaskId;

/// The socket's name in the job's folder.
const NAME: &str = "socket";

/// More than any question has.
const ASK_BYTES_MAX: u64 = 4096;

/// How long somebody may take to say what is wanted.
const ASK_TIME_MAX: Duration = Duration::from_secs(10);

/// How long the end of a job waits for those who hear of it.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(1);

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// End the job for good; the driver closes when nothing is left of it.
    Cancel,
    /// Why does this task not run, or each host do what it does?
    Explain {
        /// Which; none for the whole job.
        task: Option<TaskId>,
    },
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// A line for people.
    Said(String),
    /// This driver cannot answer that; says why.
    Refused(String),
}

/// A question on its way to the engine.
#[derive(Debug)]
pub struct Asked {
    /// What is asked.
    pub ask: Ask,
    /// Where answers go. Its end is the end of the answers, but for a cancelled job's.
    pub answers: mpsc::UnboundedSender<Answer>,
}

/// The socket of the job that this process drives; removed when it is closed.
#[derive(Debug)]
pub struct AskSocket {
    path: PathBuf,
    accepting: JoinHandle<()>,
    over: watch::Sender<Over>,
}

/// Whether the job has ended and nothing is left of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Over {
    No,
    Yes,
}

impl AskSocket {
    /// Listens in a job's folder, whose lock is held: a socket that lies there is one of a driver that is gone.
    ///
    /// # Errors
    /// When it cannot be bound.
    pub fn bind(folder: &Path) -> anyhow::Result<(AskSocket, mpsc::UnboundedReceiver<Asked>)> {
        let path = folder.join(NAME);
        match fs_err::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            Ok(()) | Err(_) => {}
        }
        let listener = UnixListener::bind(SocketFolder::open(folder)?.path(NAME))?;
        fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        let (asked, asks) = mpsc::unbounded_channel();
        let (over, over_seen) = watch::channel(Over::No);
        let accepting = tokio::spawn(accept_all(listener, asked, over_seen));
        Ok((AskSocket { path, accepting, over }, asks))
    }

    /// Tells those who wait for the end that it has come, and stops listening.
    pub async fn close(self) {
        let _gone = fs_err::remove_file(&self.path);
        self.over.send_replace(Over::Yes);
        let _late = tokio::time::timeout(CLOSE_TIME_MAX, self.accepting).await;
    }
}

/// Lets callers in until the job is over, and waits for their last words.
async fn accept_all(listener: UnixListener, asked: mpsc::UnboundedSender<Asked>, over: watch::Receiver<Over>) {
    let mut callers = JoinSet::new();
    let mut ended = over.clone();
    loop {
        tokio::select! {
            () = until_over(&mut ended) => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    callers.spawn(serve(stream, asked.clone(), over.clone()));
                }
                // Descriptors are short: whoever waits is served once some are free.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            },
            Some(_left) = callers.join_next() => {}
        }
    }
    drop(asked);
    while callers.join_next().await.is_some() {}
}

/// Waits for the end of the job, or that of its driver.
async fn until_over(over: &mut watch::Receiver<Over>) {
    let _or_gone = over.wait_for(|over| *over == Over::Yes).await;
}

/// Serves one caller. One that goes away is no reason for anything.
async fn serve(stream: UnixStream, asked: mpsc::UnboundedSender<Asked>, over: watch::Receiver<Over>) {
    let _gone = converse(stream, asked, over).await;
}

async fn converse(
    stream: UnixStream,
    asked: mpsc::UnboundedSender<Asked>,
    mut over: watch::Receiver<Over>,
) -> io::Result<()> {
    let (input, mut output) = stream.into_split();
    let mut line = String::new();
    let mut input = BufReader::new(input.take(ASK_BYTES_MAX));
    tokio::time::timeout(ASK_TIME_MAX, input.read_line(&mut line)).await??;
    let ask: Ask = match serde_json::from_str(&line) {
        Ok(ask) => ask,
        Err(error) => {
            let text = format!("the driver of this job is another version of runner, and does not know that: {error}");
            return write(&mut output, &Answer::Refused(text)).await;
        }
    };
    let (answers, mut answers_in) = mpsc::unbounded_channel();
    let waits_for_the_end = ask == Ask::Cancel;
    if asked.send(Asked { ask, answers }).is_err() {
        return write(&mut output, &Answer::Refused("the job is just ending".to_owned())).await;
    }
    while let Some(answer) = answers_in.recv().await {
        write(&mut output, &answer).await?;
    }
    if waits_for_the_end {
        until_over(&mut over).await;
    }
    Ok(())
}

async fn write(output: &mut (impl AsyncWriteExt + Unpin), answer: &Answer) -> io::Result<()> {
    let line = serde_json::to_string(answer).map_err(io::Error::other)? + "\n";
    output.write_all(line.as_bytes()).await
}

/// Asks the driver of the job in `folder`, and hands out its answers until it closes.
///
/// # Errors
/// When no driver listens, or what it says cannot be read.
pub async fn ask(folder: &Path, ask: &Ask, mut hear: impl FnMut(Answer)) -> io::Result<()> {
    let opened = SocketFolder::open(folder)?;
    let (input, mut output) = UnixStream::connect(opened.path(NAME)).await?.into_split();
    let line = serde_json::to_string(ask).map_err(io::Error::other)? + "\n";
    output.write_all(line.as_bytes()).await?;
    let mut lines = BufReader::new(input).lines();
    while let Some(line) = lines.next_line().await? {
        hear(serde_json::from_str(&line).map_err(io::Error::other)?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A job's folder with a name too long for a socket.
    fn deep() -> (tempfile::TempDir, PathBuf) {
        let parent = tempfile::tempdir().expect("a folder");
        let folder = parent.path().join("x".repeat(120));
        fs_err::create_dir(&folder).expect("is made");
        (parent, folder)
    }

    async fn hear_all(folder: &Path, question: &Ask) -> Vec<Answer> {
        let mut heard = Vec::new();
        ask(folder, question, |answer| heard.push(answer)).await.expect("somebody listens");
        heard
    }

    #[tokio::test]
    async fn questions_are_answered_in_folders_of_any_depth() {
        let (_parent, folder) = deep();
        fs_err::write(folder.join(NAME), "what a driver that was killed left").expect("writes");
        let (socket, mut asks) = AskSocket::bind(&folder).expect("binds");
        assert_eq!(fs_err::metadata(folder.join(NAME)).expect("is there").permissions().mode() & 0o777, 0o600);
        tokio::spawn(async move {
            while let Some(Asked { ask, answers }) = asks.recv().await {
                let _gone = answers.send(Answer::Said(format!("{ask:?}")));
            }
        });
        let task = Some(TaskId::map(3));
        assert_eq!(
            hear_all(&folder, &Ask::Explain { task }).await,
            [Answer::Said(format!("{:?}", Ask::Explain { task }))]
        );
        socket.close().await;
        assert!(!folder.join(NAME).exists());
        assert!(ask(&folder, &Ask::Cancel, |_| {}).await.is_err());
    }

    #[tokio::test]
    async fn who_cancels_hears_when_nothing_is_left() {
        let (_parent, folder) = deep();
        let (socket, mut asks) = AskSocket::bind(&folder).expect("binds");
        let caller = tokio::spawn(async move { hear_all(&folder, &Ask::Cancel).await });
        let asked = asks.recv().await.expect("somebody asks");
        asked.answers.send(Answer::Said("it ends".to_owned())).expect("is there");
        drop(asked);
        assert!(!caller.is_finished());
        socket.close().await;
        assert_eq!(caller.await.expect("ends"), [Answer::Said("it ends".to_owned())]);
    }

    #[tokio::test]
    async fn what_is_not_known_is_refused_in_words() {
        let (_parent, folder) = deep();
        let (_socket, _asks) = AskSocket::bind(&folder).expect("binds");
        let opened = SocketFolder::open(&folder).expect("opens");
        let mut stream = UnixStream::connect(opened.path(NAME)).await.expect("connects");
        stream.write_all(b"{\"dance\":{}}\n").await.expect("writes");
        let mut said = String::new();
        stream.read_to_string(&mut said).await.expect("reads");
        assert!(said.contains("another version") && said.contains("dance"), "{said}");
    }
}
