//! One worker as the driver sees it: connected, greeted, prepared, then listened to.
//!
//! A task of its own does all that and turns it into [`Note`]s for the engine. It also keeps the watch: any message is a sign
//! of life, and silence makes the worker suspect, then lost. A connection that breaks is made again meanwhile
//! ([`super::line`]); the worker then tells all that it has, so nothing that was on the old one is missed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::line::{self, Broken, Line};
use super::prepare::{GOODBYE_MAX, prepare, say_goodbye};
use super::shared::{Note, Shared};
use super::state::Remains;
use crate::clock::{self, Moment};
use crate::fleet::HostSpec;
use crate::ids::WorkerId;
use crate::protocol::control::{Held, Holdings, Reign, Stay, ToDriver, ToWorker};
use crate::transport::Start;

/// How often a worker is told that its driver is there.
const PING_EVERY: Duration = Duration::from_secs(1);
/// How long the end of a job waits for a worker that is not heard of.
const FAREWELL_MAX: Duration = Duration::from_secs(10);
/// How long a worker may take to let its driver go.
const LEAVE_MAX: Duration = Duration::from_secs(5);

/// How a host comes into the job.
pub enum Entrance {
    /// It is new.
    New,
    /// It never joined, but the driver before this one may have begun to start its worker.
    Unheard,
    /// Its worker was met by the driver before this one; the line to it, if it was reached already.
    Known(Option<Box<(Line, Holdings)>>),
}

/// Runs a host from its connect to its end. Orders come through `orders`; their end is the end, and where
/// [`ToWorker::Shutdown`] was not the last, the worker stays.
pub async fn run(
    shared: Arc<Shared>,
    worker: WorkerId,
    host: HostSpec,
    entrance: Entrance,
    orders: mpsc::UnboundedReceiver<ToWorker>,
) -> Remains {
    let feed = Arc::clone(&shared.feed);
    let mut keeper = Keeper {
        shared,
        worker,
        host,
        orders,
        waiting: VecDeque::new(),
        suspect: false,
        lost: false,
        farewell: Farewell::Leave,
        remains: if matches!(entrance, Entrance::New) { Remains::Nothing } else { Remains::Something },
    };
    let line = match entrance {
        Entrance::New | Entrance::Unheard => keeper.enter().await,
        Entrance::Known(None) => keeper.regain(None, clock::now()).await,
        Entrance::Known(Some(met)) => {
            let (line, holdings) = *met;
            keeper.take_back(line, holdings).await
        }
    };
    if let Some(line) = line {
        keeper.keep(line).await;
    }
    feed.disconnect(worker);
    if keeper.lost {
        keeper.bury().await;
    }
    keeper.remains
}

/// See the module.
struct Keeper {
    shared: Arc<Shared>,
    worker: WorkerId,
    host: HostSpec,
    orders: mpsc::UnboundedReceiver<ToWorker>,
    /// Orders that came while there was no connection.
    waiting: VecDeque<ToWorker>,
    suspect: bool,
    /// Whether it was given up.
    lost: bool,
    farewell: Farewell,
    /// What is left of it, as things are.
    remains: Remains,
}

/// How the worker is left when orders have ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Farewell {
    /// It waits for another driver.
    Leave,
    /// It was told to end.
    Shutdown,
}

/// Why a line is listened to no longer.
enum Left {
    /// Orders have ended.
    Over(Line),
    /// It broke; nothing more comes from it.
    Broken,
    /// Nothing comes from it.
    Silent(Line),
    /// Another driver has taken over.
    Fenced(Reign),
}

impl Keeper {
    fn note(&self, note: Note) {
        // The engine is gone only when the job is over.
        let _over = self.shared.notes.send((self.worker, note));
    }

    /// From nothing to a worker that takes tasks.
    async fn enter(&mut self) -> Option<Line> {
        let start = Start::IfNone(self.shared.timing.orphan_grace);
        let shared = Arc::clone(&self.shared);
        let link = tokio::select! {
            // No order is given to a host that has not joined: this is the end of the job.
            _ = self.orders.recv() => return None,
            link = line::reach(&shared, &self.host) => match link {
                Ok(link) => link,
                Err(Broken::Fenced(reign)) => return self.end(Note::Fenced(reign)),
                Err(Broken::Gone(text) | Broken::Away(text)) => return self.end(Note::Refused(text)),
            },
        };
        self.remains = Remains::Something;
        let meeting = line::meet(&shared, self.worker, link, start);
        tokio::pin!(meeting);
        let met = tokio::select! {
            _ = self.orders.recv() => {
                if let Ok(Ok((line, _))) = timeout(FAREWELL_MAX, meeting).await {
                    self.remains = say_goodbye(line).await;
                }
                return None;
            }
            met = &mut meeting => met,
        };
        let (mut line, holdings) = match met {
            Ok(met) => met,
            Err(Broken::Fenced(reign)) => return self.end(Note::Fenced(reign)),
            Err(Broken::Gone(text) | Broken::Away(text)) => return self.end(Note::Refused(text)),
        };
        let ready = tokio::select! {
            _ = self.orders.recv() => Err(anyhow!("the job ended, or does without it")),
            ready = prepare(&self.shared, self.worker, &self.host, &mut line, &holdings) => ready,
        };
        match ready {
            Ok((slots, load)) => {
                self.note(Note::Joined { slots });
                load.into_iter().for_each(|load| self.note(Note::Said(ToDriver::Load(load))));
            }
            Err(error) => {
                self.note(Note::Refused(format!("{error:#}")));
                self.remains = say_goodbye(line).await;
                return None;
            }
        }
        if holdings.stay == Stay::EndsWithLogin {
            let name = self.host.name();
            self.note(Note::Advice(format!(
                "{name} kills what is left of a login (KillUserProcesses of logind.conf), and has no service manager for \
                 this user: what it has is lost with its connection"
            )));
        }
        if !holdings.attempts.is_empty() {
            self.note(Note::Holds(holdings.attempts));
        }
        Some(line)
    }

    fn end(&mut self, note: Note) -> Option<Line> {
        self.lost = matches!(note, Note::Lost(_));
        self.note(note);
        None
    }

    /// A worker that was given up and can be reached again, as long as the job lasts, has nothing that anybody wants: it is
    /// ended.
    async fn bury(&mut self) {
        let (shared, worker, host) = (Arc::clone(&self.shared), self.worker, self.host.clone());
        tokio::select! {
            // No order matters, but their end does.
            () = async { while self.orders.recv().await.is_some() {} } => {}
            met = line::connect_again(&shared, worker, &host) => if let Ok((line, _)) = met {
                self.remains = say_goodbye(line).await;
            },
        }
    }

    /// Listens to a worker, over as many lines as it takes.
    async fn keep(&mut self, mut line: Line) {
        loop {
            let next = match self.listen(line).await {
                Left::Over(line) => return self.part(line).await,
                Left::Fenced(reign) => return self.note(Note::Fenced(reign)),
                // It has ended, as it was told to.
                Left::Broken if self.farewell == Farewell::Shutdown => return,
                Left::Broken => {
                    let heard = clock::now();
                    self.shared.feed.suspend(self.worker);
                    self.regain(None, heard).await
                }
                Left::Silent(line) => {
                    let heard = line.heard;
                    self.regain(Some(line), heard).await
                }
            };
            match next {
                Some(regained) => line = regained,
                None => return,
            }
        }
    }

    /// Passes messages both ways.
    async fn listen(&mut self, mut line: Line) -> Left {
        let mut ping = tokio::time::interval(PING_EVERY);
        let bulk = line.bulk.clone();
        loop {
            let sent = tokio::select! {
                said = line.next() => match said {
                    Ok(ToDriver::Fenced(reign)) => return Left::Fenced(reign),
                    Ok(message) => {
                        if message == ToDriver::Bye {
                            self.remains = Remains::Nothing;
                        }
                        self.note(Note::Said(message));
                        Ok(())
                    }
                    Err(error) => Err(error),
                },
                order = next_order(&mut self.waiting, &mut self.orders) => match order {
                    Some(order) => self.send_all(&mut line, order).await,
                    None => return Left::Over(line),
                },
                // Without it the worker gets no input and its results are out of reach.
                () = bulk.closed() => Err(anyhow!("its connection for bulk data ended")),
                _ = ping.tick() => match clock::now().since(line.heard) >= self.shared.timing.suspect_after {
                    true => return Left::Silent(line),
                    false => line.send(&ToWorker::Ping).await,
                },
            };
            if sent.is_err() {
                line.close_later(&self.shared.closing);
                return Left::Broken;
            }
        }
    }

    /// Sends an order and all that wait behind it.
    async fn send_all(&mut self, line: &mut Line, first: ToWorker) -> anyhow::Result<()> {
        let mut next = Some(first);
        while let Some(order) = next {
            if order == ToWorker::Shutdown {
                self.farewell = Farewell::Shutdown;
            }
            line.feed(&order).await?;
            next = self.waiting.pop_front().or_else(|| self.orders.try_recv().ok());
        }
        line.flush().await
    }

    /// Waits until the worker is heard of again, over the line that fell silent or a new one; none once it is given up.
    async fn regain(&mut self, mut old: Option<Line>, heard: Moment) -> Option<Line> {
        if !std::mem::replace(&mut self.suspect, true) {
            self.note(Note::Suspect);
        }
        let lost_after = self.shared.timing.lost_after;
        let mut deadline = clock::instant(heard + lost_after).into();
        let mut over = false;
        let (shared, worker, host) = (Arc::clone(&self.shared), self.worker, self.host.clone());
        let again = line::connect_again(&shared, worker, &host);
        tokio::pin!(again);
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(deadline) => {
                    let text = format!("nothing was heard of it for {} s", lost_after.as_secs());
                    return self.end(Note::Lost(text));
                }
                said = next_of(&mut old) => match said {
                    Ok(ToDriver::Fenced(reign)) => return self.end(Note::Fenced(reign)),
                    Ok(message) => {
                        self.note(Note::Said(message));
                        self.be_back();
                        return old;
                    }
                    Err(_) => {
                        self.shared.feed.suspend(worker);
                        if let Some(line) = old.take() {
                            line.close_later(&self.shared.closing);
                        }
                    }
                },
                order = self.orders.recv(), if !over => match order {
                    Some(order) => self.waiting.push_back(order),
                    // One that is to end may still be reached, so that it does not have to wait for its own end.
                    None if self.waiting.back() == Some(&ToWorker::Shutdown) => {
                        over = true;
                        deadline = deadline.min(clock::instant(clock::now() + FAREWELL_MAX).into());
                    }
                    None => return None,
                },
                met = &mut again => match met {
                    Ok((line, holdings)) => {
                        if let Some(old) = old {
                            old.close_later(&self.shared.closing);
                        }
                        return self.take_back(line, holdings).await;
                    }
                    Err(Broken::Fenced(reign)) => return self.end(Note::Fenced(reign)),
                    Err(Broken::Gone(text) | Broken::Away(text)) => return self.end(Note::Lost(text)),
                },
            }
        }
    }

    /// Goes on over a new line.
    async fn take_back(&mut self, mut line: Line, holdings: Holdings) -> Option<Line> {
        if let Err(error) = prepare(&self.shared, self.worker, &self.host, &mut line, &holdings).await {
            return self.end(Note::Lost(format!("{error:#}")));
        }
        let mut attempts = holdings.attempts;
        // What it is about to be sent it has as good as received.
        attempts.extend(self.waiting.iter().filter_map(|order| match order {
            ToWorker::Start { attempt, .. } => Some((*attempt, Held::Waiting)),
            ToWorker::Prepare(_)
            | ToWorker::Kill(_)
            | ToWorker::Forget(_)
            | ToWorker::Peers(_)
            | ToWorker::PeerLost(_)
            | ToWorker::Published(_)
            | ToWorker::Keep { .. }
            | ToWorker::Ping
            | ToWorker::Leave
            | ToWorker::Shutdown => None,
        }));
        self.note(Note::Holds(attempts));
        self.be_back();
        Some(line)
    }

    fn be_back(&mut self) {
        self.suspect = false;
        self.note(Note::Back);
    }

    /// Ends the worker if that was ordered, else lets it wait for another driver.
    async fn part(&mut self, mut line: Line) {
        let time_max = match self.farewell {
            Farewell::Leave => LEAVE_MAX,
            Farewell::Shutdown => GOODBYE_MAX,
        };
        let parting = async {
            if self.farewell == Farewell::Leave {
                line.send(&ToWorker::Leave).await?;
            }
            line.until_bye().await
        };
        // One that does not answer sees the end of the connection, and cleans up by itself when its grace is over.
        if let (Ok(Ok(())), Farewell::Shutdown) = (timeout(time_max, parting).await, self.farewell) {
            self.remains = Remains::Nothing;
        }
        line.close().await;
    }
}

/// Those that waited come first.
async fn next_order(
    waiting: &mut VecDeque<ToWorker>,
    orders: &mut mpsc::UnboundedReceiver<ToWorker>,
) -> Option<ToWorker> {
    match waiting.pop_front() {
        Some(order) => Some(order),
        None => orders.recv().await,
    }
}

/// What a silent line says after all.
async fn next_of(line: &mut Option<Line>) -> anyhow::Result<ToDriver> {
    match line {
        Some(line) => line.next().await,
        None => std::future::pending().await,
    }
}
