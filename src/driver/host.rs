//! One worker as the driver sees it: connected, greeted, prepared, then listened to.
//!
//! A task of its own does all that and turns it into [`Note`]s for the engine. It also keeps the watch: any message is a
//! sign of life, and silence makes the worker suspect, then lost.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use futures::{SinkExt, StreamExt};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::feed::Feed;
use crate::clock::{self, Moment};
use crate::facts::Failure;
use crate::fleet::{HostSpec, Place};
use crate::ids::{Epoch, JobId, WorkerId};
use crate::protocol::bulk::Mux;
use crate::protocol::control::{Assignment, Hello, Role, ToDriver, ToWorker, Welcome};
use crate::protocol::frames;
use crate::transport::{Channel, Link, Transport};

/// How often a worker is told that its driver is there.
const PING_EVERY: Duration = Duration::from_secs(1);
/// How long a worker may take to remove its files.
const GOODBYE_MAX: Duration = Duration::from_secs(20);
/// How long a worker may take to answer a hello: it does nothing else then.
const HELLO_MAX: Duration = Duration::from_secs(20);

/// What a host's task tells the engine.
#[derive(Debug)]
pub enum Note {
    /// It can take tasks.
    Joined {
        /// Attempts at once.
        slots: u32,
    },
    /// It cannot take part; says why, and what helps.
    Refused(String),
    /// It says something.
    Said(ToDriver),
    /// Nothing was heard for a while.
    Suspect,
    /// It was heard of again.
    Back,
    /// It is gone, after it had joined.
    Lost(String),
}

/// When silence counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timing {
    /// A worker that is silent for so long gets nothing new.
    pub suspect_after: Duration,
    /// And is given up after so long.
    pub lost_after: Duration,
    /// How long a worker stays without a driver.
    pub orphan_grace: Duration,
}

/// What all hosts of a job share.
pub struct Shared {
    /// The job's id.
    pub job: JobId,
    /// This driver's build.
    pub build: String,
    /// This driver's epoch.
    pub epoch: Epoch,
    /// How hosts are reached.
    pub transport: Transport,
    /// What they are served.
    pub feed: Arc<Feed>,
    /// What each is told, but for who it is.
    pub assignment: Assignment,
    /// When silence counts.
    pub timing: Timing,
    /// Where notes go.
    pub notes: mpsc::UnboundedSender<(WorkerId, Note)>,
}

/// Runs a host from its connect to its end. Orders come through `orders`; their end is the end.
pub async fn run(shared: Arc<Shared>, worker: WorkerId, host: HostSpec, mut orders: mpsc::UnboundedReceiver<ToWorker>) {
    let note = |note| {
        // The engine is gone only when the job is over.
        let _over = shared.notes.send((worker, note));
    };
    let link = tokio::select! {
        // No order is given to a host that has not joined: this is the end of the job.
        _ = orders.recv() => return,
        link = connect(&shared, &host) => match link {
            Ok(link) => link,
            Err(error) => return note(Note::Refused(format!("{error:#}"))),
        }
    };
    match meet(&shared, worker, &host, &link).await {
        Ok((slots, conversation)) => converse(conversation, slots, orders, note, &shared.timing).await,
        Err(error) => note(Note::Refused(format!("{error:#}"))),
    }
    shared.feed.disconnect(worker);
    link.close().await;
}

/// From a worker that was given the job to its end.
async fn converse(
    mut conversation: Conversation,
    slots: u32,
    mut orders: mpsc::UnboundedReceiver<ToWorker>,
    note: impl Fn(Note),
    timing: &Timing,
) {
    let ready = tokio::select! {
        _ = orders.recv() => Err(anyhow!("the job ended")),
        ready = conversation.wait_until_ready() => ready,
    };
    if let Err(error) = ready {
        note(Note::Refused(format!("{error:#}")));
        return conversation.say_goodbye().await;
    }
    note(Note::Joined { slots });
    if let Err(error) = conversation.listen(orders, &note, timing).await {
        note(Note::Lost(format!("{error:#}")));
    }
}

async fn connect(shared: &Shared, host: &HostSpec) -> anyhow::Result<Link> {
    shared.transport.connect(host).await.map_err(|error| match error.fix(&host.name()) {
        fix if fix.is_empty() => anyhow!("{error}"),
        fix => anyhow!("{error}; {fix}"),
    })
}

/// From the link to a worker that was given the job.
async fn meet(shared: &Shared, worker: WorkerId, host: &HostSpec, link: &Link) -> anyhow::Result<(u32, Conversation)> {
    let grace = shared.timing.orphan_grace;
    // The control channel starts the worker process; only then is there a socket for the other.
    let control = greet(shared, link.open(&shared.job, worker, Role::Control, grace).await?, Role::Control).await?;
    let bulk = greet(shared, link.open(&shared.job, worker, Role::Bulk, grace).await?, Role::Bulk).await?;
    let bulk = Mux::start(bulk.reader, bulk.writer, Arc::clone(&shared.feed) as _);
    shared.feed.connect(worker, bulk.clone());
    let mut conversation = Conversation::new(control, bulk);
    let slots = slots_of(host, shared.assignment.slots, link);
    let mut assignment = Assignment { worker, slots, memory: host.memory, ..shared.assignment.clone() };
    if host.place == Place::Ssh {
        assignment.output_here = None;
    }
    conversation.sender.send(&ToWorker::Prepare(Box::new(assignment))).await?;
    Ok((slots, conversation))
}

/// The host's own number, else the setting's, else its cores.
fn slots_of(host: &HostSpec, setting: u32, link: &Link) -> u32 {
    let said = host.slots.or(Some(setting).filter(|slots| *slots > 0));
    said.unwrap_or_else(|| link.machine().cores).max(1)
}

/// Says who is there, and hears whether that is welcome.
async fn greet(shared: &Shared, mut channel: Channel, role: Role) -> anyhow::Result<Channel> {
    let hello = Hello { build: shared.build.clone(), job: shared.job.clone(), epoch: shared.epoch, role };
    frames::write_one(&mut channel.writer, &hello).await?;
    let welcome = timeout(HELLO_MAX, frames::read_one(&mut channel.reader)).await;
    match welcome.context("the worker did not answer")?? {
        Welcome::Accepted => Ok(channel),
        Welcome::Refused(text) => bail!(text),
    }
}

/// The control connection, and the bulk connection that belongs to it.
struct Conversation {
    bulk: Mux,
    receiver: frames::Receiver<ToDriver>,
    sender: frames::Sender<ToWorker>,
}

impl Conversation {
    fn new(channel: Channel, bulk: Mux) -> Self {
        Conversation { bulk, receiver: frames::receiver(channel.reader), sender: frames::sender(channel.writer) }
    }

    async fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        loop {
            match self.next().await? {
                ToDriver::Ready => return Ok(()),
                ToDriver::NotReady(failure) => bail!(in_words(&failure)),
                _other => {}
            }
        }
    }

    async fn next(&mut self) -> anyhow::Result<ToDriver> {
        let message = self.receiver.next().await.context("the connection ended")?;
        message.context("reading from the worker")
    }

    /// Passes messages both ways until the orders end, the worker is lost, or it has said goodbye.
    async fn listen(
        mut self,
        mut orders: mpsc::UnboundedReceiver<ToWorker>,
        note: impl Fn(Note),
        timing: &Timing,
    ) -> anyhow::Result<()> {
        let mut watch = Watch { heard: clock::now(), suspect: false };
        let mut ping = tokio::time::interval(PING_EVERY);
        loop {
            tokio::select! {
                message = self.receiver.next() => {
                    let message = message.context("the connection ended")?;
                    watch.heard_now(&note);
                    note(Note::Said(message.context("reading from the worker")?));
                }
                order = orders.recv() => match order {
                    Some(order) => self.send_all(order, &mut orders).await?,
                    None => {
                        self.say_goodbye().await;
                        return Ok(());
                    }
                },
                // Without it the worker gets no input and its results are out of reach.
                () = self.bulk.closed() => bail!("its connection for bulk data ended"),
                _ = ping.tick() => {
                    watch.look(&note, timing)?;
                    self.sender.send(&ToWorker::Ping).await.context("writing to the worker")?;
                }
            }
        }
    }

    /// Sends an order and all that wait behind it.
    async fn send_all(
        &mut self,
        first: ToWorker,
        orders: &mut mpsc::UnboundedReceiver<ToWorker>,
    ) -> anyhow::Result<()> {
        self.sender.feed(&first).await.context("writing to the worker")?;
        while let Ok(order) = orders.try_recv() {
            self.sender.feed(&order).await.context("writing to the worker")?;
        }
        self.sender.flush().await.context("writing to the worker")
    }

    /// Ends the worker, and waits until it has cleaned up.
    async fn say_goodbye(mut self) {
        let goodbye = async {
            self.sender.send(&ToWorker::Shutdown).await?;
            while let Ok(message) = self.next().await {
                if message == ToDriver::Bye {
                    break;
                }
            }
            anyhow::Ok(())
        };
        // A host that does not answer cleans up by itself, when its grace is over.
        let _late = timeout(GOODBYE_MAX, goodbye).await;
    }
}

/// Watches for silence.
struct Watch {
    heard: Moment,
    suspect: bool,
}

impl Watch {
    fn heard_now(&mut self, note: &impl Fn(Note)) {
        self.heard = clock::now();
        if std::mem::take(&mut self.suspect) {
            note(Note::Back);
        }
    }

    fn look(&mut self, note: &impl Fn(Note), timing: &Timing) -> anyhow::Result<()> {
        let silence = clock::now().since(self.heard);
        if silence >= timing.lost_after {
            bail!("nothing was heard of it for {} s", silence.as_secs());
        }
        if silence >= timing.suspect_after && !self.suspect {
            self.suspect = true;
            note(Note::Suspect);
        }
        Ok(())
    }
}

/// A failed setup with what the command said.
fn in_words(failure: &Failure) -> String {
    match failure.stderr_tail.as_str() {
        "" => failure.cause.to_string(),
        tail => format!("{}: {tail}", failure.cause),
    }
}
