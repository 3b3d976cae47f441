//! The two connections to one worker, made, greeted, and made again.

use std::time::Duration;

use anyhow::Context;
use futures::{SinkExt, StreamExt};
use tokio::time::{sleep, timeout};
use tokio_util::task::TaskTracker;

use super::shared::Shared;
use crate::clock::{self, Moment};
use crate::fleet::HostSpec;
use crate::ids::WorkerId;
use crate::protocol::bulk::Mux;
use crate::protocol::control::{Hello, Holdings, Reign, Role, ToDriver, ToWorker, Welcome};
use crate::protocol::frames;
use crate::transport::{Channel, ConnectError, Link, Start};

/// How long a worker may take to answer a hello: it does nothing else then.
const HELLO_MAX: Duration = Duration::from_secs(20);

/// Before a connection is tried again; doubled each time, up to a bound that leaves a few tries before a worker is given up.
const WAIT_MIN: Duration = Duration::from_millis(100);
const WAIT_MAX: Duration = Duration::from_secs(5);

/// See the module.
pub struct Line {
    /// The machine.
    pub link: Link,
    /// For bytes.
    pub bulk: Mux,
    /// When the worker was last heard.
    pub heard: Moment,
    receiver: frames::Receiver<ToDriver>,
    sender: frames::Sender<ToWorker>,
}

/// Why there is no line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broken {
    /// The host cannot be reached, or not now.
    Away(String),
    /// The host was reached, and no worker of the job is there, or none that would have us.
    Gone(String),
    /// The worker obeys another driver.
    Fenced(Reign),
}

/// Connects to a host, and to its worker, which tells what it has.
///
/// # Errors
/// As [`Broken`] says.
pub async fn connect(
    shared: &Shared,
    worker: WorkerId,
    host: &HostSpec,
    start: Start,
) -> Result<(Line, Holdings), Broken> {
    let link = reach(shared, host).await?;
    meet(shared, worker, link, start).await
}

/// Connects to a host.
///
/// # Errors
/// Always [`Broken::Away`].
pub async fn reach(shared: &Shared, host: &HostSpec) -> Result<Link, Broken> {
    shared.transport.connect(host).await.map_err(|error| match error.fix(&host.name()) {
        fix if fix.is_empty() => Broken::Away(error.to_string()),
        fix => Broken::Away(format!("{error}; {fix}")),
    })
}

/// Connects to the worker on a host, which tells what it has. What was begun should come to its end: a worker that was
/// started and is not met has nobody who ends it.
///
/// # Errors
/// As [`Broken`] says.
pub async fn meet(shared: &Shared, worker: WorkerId, link: Link, start: Start) -> Result<(Line, Holdings), Broken> {
    // The control channel starts the worker process; only then is there a socket for the other.
    let met = async {
        let control = greet(shared, open(shared, &link, worker, Role::Control, start).await?, Role::Control).await?;
        let bulk = greet(shared, open(shared, &link, worker, Role::Bulk, Start::No).await?, Role::Bulk).await?;
        let mut receiver = frames::receiver(control.reader);
        let first = timeout(HELLO_MAX, receiver.next()).await;
        match first.ok().flatten() {
            Some(Ok(ToDriver::Holds(holdings))) => Ok((receiver, frames::sender(control.writer), bulk, holdings)),
            Some(Ok(ToDriver::Fenced(reign))) => Err(Broken::Fenced(reign)),
            Some(Ok(_)) | Some(Err(_)) | None => Err(Broken::Away("the worker did not tell what it has".to_owned())),
        }
    };
    match met.await {
        Ok((receiver, sender, bulk, holdings)) => {
            let bulk = Mux::start(bulk.reader, bulk.writer, std::sync::Arc::clone(&shared.feed) as _);
            Ok((Line { link, bulk, heard: clock::now(), receiver, sender }, holdings))
        }
        Err(broken) => {
            link.close().await;
            Err(broken)
        }
    }
}

/// Connects to a worker that was met before, as often as it takes.
///
/// # Errors
/// Never [`Broken::Away`].
pub async fn connect_again(shared: &Shared, worker: WorkerId, host: &HostSpec) -> Result<(Line, Holdings), Broken> {
    let mut wait = WAIT_MIN;
    loop {
        match connect(shared, worker, host, Start::No).await {
            Err(Broken::Away(_)) => {}
            done => return done,
        }
        sleep(wait).await;
        wait = (wait * 2).min(WAIT_MAX);
    }
}

async fn open(shared: &Shared, link: &Link, worker: WorkerId, role: Role, start: Start) -> Result<Channel, Broken> {
    link.open(&shared.job, worker, role, start).await.map_err(|error| match error {
        ConnectError::Start { text } => Broken::Gone(text),
        other => Broken::Away(other.to_string()),
    })
}

/// Says who is there, and hears whether that is welcome.
async fn greet(shared: &Shared, mut channel: Channel, role: Role) -> Result<Channel, Broken> {
    let hello = Hello { build: shared.build.clone(), job: shared.job.clone(), reign: shared.reign.clone(), role };
    let greeted = async {
        frames::write_one(&mut channel.writer, &hello).await?;
        frames::read_one(&mut channel.reader).await
    };
    match timeout(HELLO_MAX, greeted).await {
        Ok(Ok(Welcome::Accepted)) => Ok(channel),
        Ok(Ok(Welcome::Refused(text))) => Err(Broken::Gone(text)),
        Ok(Ok(Welcome::Fenced(reign))) => Err(Broken::Fenced(reign)),
        Ok(Err(error)) => Err(Broken::Away(format!("greeting the worker: {error}"))),
        Err(_) => Err(Broken::Away("the worker did not answer".to_owned())),
    }
}

impl Line {
    /// The next message.
    ///
    /// # Errors
    /// When the connection ends.
    pub async fn next(&mut self) -> anyhow::Result<ToDriver> {
        let message = self.receiver.next().await.context("the connection ended")?;
        self.heard = clock::now();
        message.context("reading from the worker")
    }

    /// Waits for the worker's last word.
    ///
    /// # Errors
    /// When the connection ends before.
    pub async fn until_bye(&mut self) -> anyhow::Result<()> {
        while self.next().await? != ToDriver::Bye {}
        Ok(())
    }

    /// Sends a message.
    ///
    /// # Errors
    /// When the connection is broken; likewise for those below.
    pub async fn send(&mut self, message: &ToWorker) -> anyhow::Result<()> {
        self.sender.send(message).await.context("writing to the worker")
    }

    /// Sends a message with the next [`Line::flush`].
    pub async fn feed(&mut self, message: &ToWorker) -> anyhow::Result<()> {
        self.sender.feed(message).await.context("writing to the worker")
    }

    /// Sends what was fed.
    pub async fn flush(&mut self) -> anyhow::Result<()> {
        self.sender.flush().await.context("writing to the worker")
    }

    /// Cores of the machine.
    pub fn cores(&self) -> u32 {
        self.link.machine().cores
    }

    /// Ends both connections, and the ssh processes of the link.
    pub async fn close(self) {
        self.bulk.close();
        drop((self.receiver, self.sender));
        self.link.close().await;
    }

    /// The same in the background, for a line that is dead and may take its time; the end of the job waits for it.
    pub fn close_later(self, closing: &TaskTracker) {
        closing.spawn(self.close());
    }
}
