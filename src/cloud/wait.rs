//! Waiting until instances let us in: all at once, each at its own pace, and no longer than a limit.
//!
//! The only proof is a login. Each host is tried at most once every `pace.poll`, with some chance in it, because sshd
//! counts what fails against our address. What cannot get better by waiting, such as a key that is refused three times,
//! ends the wait for that host alone.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::time::timeout_at;

use super::api::Api;
use super::labels;
use super::machine::{Machine, State};
use super::pace::pause;
use super::record::Cluster;
use super::welcome::{Ledger, Welcome, hold, welcome};
use crate::clock;
use crate::transport::{ConnectError, Transport};

/// So often a host may refuse our key, or show a wrong one, before we believe it. It boots, and may not have read its
/// user data yet; but each refusal counts against our address.
const REFUSALS_MAX: u32 = 3;

/// Lines of a console that are shown.
const CONSOLE_LINES: usize = 2;

/// Who came, and why the others did not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arrivals {
    /// The ids of those that let us in.
    pub ready: Vec<String>,
    /// The ids of the others, each with a sentence.
    pub missing: Vec<(String, String)>,
}

/// Waits for instances of a cluster until `enough` of them have let us in, all were tried to the end, or time is up.
///
/// # Errors
/// When this machine's files fail us.
pub async fn wait(
    api: &Api,
    cluster: &mut Cluster,
    transport: &Transport,
    ids: &[String],
    enough: usize,
    limit: Duration,
    say: &dyn Fn(&str),
) -> anyhow::Result<Arrivals> {
    let door = Door {
        api,
        transport,
        ids,
        cluster: Mutex::new(cluster),
        seen: RefCell::default(),
        last_words: RefCell::default(),
    };
    let deadline = clock::instant(clock::now() + limit).into();
    door.look().await?;
    let mut ready = Vec::new();
    let mut arriving: FuturesUnordered<_> = ids.iter().map(|id| door.arrive(id)).collect();
    let arrivals = async {
        while let Some((id, came)) = arriving.next().await {
            let Some(key) = came else { continue };
            ready.push(id.clone());
            match key {
                Welcome::OwnKey => say(&format!("{id} is there ({} of {})", ready.len(), ids.len())),
                Welcome::GivenKey(reason) => {
                    say(&format!("{id} is there, but keeps the host key it was given: {reason}"))
                }
            }
            if ready.len() >= enough {
                break;
            }
        }
    };
    let watched = timeout_at(deadline, async {
        tokio::select! {
            () = arrivals => Ok(()),
            error = door.watch() => Err(error),
        }
    });
    if let Ok(done) = watched.await {
        done?;
    }
    drop(arriving);
    let missing = door.missing(&ready).await;
    Ok(Arrivals { ready, missing })
}

struct Door<'a> {
    api: &'a Api,
    transport: &'a Transport,
    ids: &'a [String],
    cluster: Ledger<'a>,
    /// The instances as EC2 last told.
    seen: RefCell<HashMap<String, Machine>>,
    /// What was last in the way of each.
    last_words: RefCell<BTreeMap<String, String>>,
}

impl Door<'_> {
    /// Asks EC2 again and again where all of them stand. Ends with an error only.
    async fn watch(&self) -> anyhow::Error {
        loop {
            pause(self.api.pace().poll).await;
            if let Err(error) = self.look().await {
                return error;
            }
        }
    }

    /// Asks EC2 where all of them stand, in one question. It is about the others of the cluster too: jobs that run there
    /// have the same configuration for ssh.
    async fn look(&self) -> anyhow::Result<()> {
        let all = labels::of_id(&hold(&self.cluster).record.id);
        // What is wrong with one question may be right with the next; the limit ends it.
        let Ok(machines) = self.api.machines(&all).await else { return Ok(()) };
        hold(&self.cluster).write_ssh_config(&machines)?;
        self.seen.borrow_mut().extend(machines.into_iter().map(|machine| (machine.id.clone(), machine)));
        Ok(())
    }

    /// Tries one until it lets us in, or never will.
    async fn arrive<'a>(&self, id: &'a String) -> (&'a String, Option<Welcome>) {
        let mut refusals = 0;
        let mut tried = false;
        loop {
            match self.standing(id) {
                Standing::Waits(words) => self.note(id, words),
                Standing::Gone(words) => {
                    self.note(id, words);
                    return (id, None);
                }
                Standing::Runs => {
                    if !tried {
                        self.note(id, "it runs, and has not answered yet".into());
                        tried = true;
                    }
                    match welcome(self.transport, &self.cluster, id).await {
                        Ok(came) => return (id, Some(came)),
                        Err(error) => {
                            refusals += u32::from(counts(&error));
                            self.note(id, error.to_string());
                            if refusals >= REFUSALS_MAX || is_final(&error) {
                                return (id, None);
                            }
                        }
                    }
                }
            }
            pause(self.api.pace().poll).await;
        }
    }

    fn standing(&self, id: &str) -> Standing {
        let reach = hold(&self.cluster).record.request.reach;
        let seen = self.seen.borrow();
        let Some(machine) = seen.get(id) else { return Standing::Waits("EC2 does not know of it yet".into()) };
        let why = machine.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        match machine.state {
            State::Pending => Standing::Waits("it is still pending".into()),
            State::Running if machine.address(reach).is_none() => Standing::Waits("it has no address yet".into()),
            State::Running => Standing::Runs,
            State::Stopping | State::Stopped | State::ShuttingDown | State::Terminated => {
                Standing::Gone(format!("it is {}{why}", machine.state))
            }
        }
    }

    fn note(&self, id: &str, words: String) {
        self.last_words.borrow_mut().insert(id.to_owned(), words);
    }

    /// A sentence for each that did not come, with what its console says.
    async fn missing(&self, ready: &[String]) -> Vec<(String, String)> {
        let absent = self.ids.iter().filter(|id| !ready.contains(id));
        let sentences = absent.map(async |id| {
            let words = self.last_words.borrow().get(id).cloned();
            let words = words.unwrap_or_else(|| "there was no time to try".into());
            let runs = self.seen.borrow().get(id).is_some_and(|machine| machine.state == State::Running);
            // What it says is only of use where it runs, and EC2 is asked gently: this is no time for another error.
            let console = if runs { self.api.console(id).await.unwrap_or_default() } else { String::new() };
            (id.clone(), format!("{words}{}", last_lines(&console)))
        });
        futures::stream::iter(sentences).buffered(8).collect().await
    }
}

/// Where an instance stands on its way.
enum Standing {
    /// Not to be tried yet.
    Waits(String),
    /// To be tried.
    Runs,
    /// Never to be tried.
    Gone(String),
}

/// Whether the host itself said no.
fn counts(error: &ConnectError) -> bool {
    matches!(error, ConnectError::Denied { .. } | ConnectError::HostKeyUnknown | ConnectError::HostKeyChanged { .. })
}

/// Whether no time will help.
fn is_final(error: &ConnectError) -> bool {
    match error {
        ConnectError::Configuration { .. } | ConnectError::Here { .. } | ConnectError::OtherSystem { .. } => true,
        ConnectError::Jump { error, .. } => counts(error) || is_final(error),
        _ => false,
    }
}

fn last_lines(console: &str) -> String {
    let lines: Vec<&str> = console.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    match &lines[lines.len().saturating_sub(CONSOLE_LINES)..] {
        [] => String::new(),
        last => format!("; its console ends: {}", last.join(" | ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_host_says_itself_counts_against_it() {
        let denied =
            || ConnectError::Denied { user: "ec2-user".into(), methods: "publickey".into(), locked_keys: Vec::new() };
        assert!(counts(&denied()) && !is_final(&denied()));
        assert!(!counts(&ConnectError::Refused { port: 22 }) && !is_final(&ConnectError::NoRoute));
        assert!(is_final(&ConnectError::Configuration { text: "x".into() }));
        assert!(is_final(&ConnectError::Jump { name: "gate".into(), error: Box::new(denied()) }));
        let dropped = ConnectError::Jump { name: "gate".into(), error: Box::new(ConnectError::Dropped { tries: 1 }) };
        assert!(!is_final(&dropped));
    }

    #[test]
    fn the_end_of_a_console_is_shown() {
        assert_eq!(last_lines("a\n\n b\r\nc \n"), "; its console ends: b | c");
        assert_eq!(last_lines("\n"), "");
    }
}
