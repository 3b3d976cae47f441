//! Why a task is not running, in words.

use super::task::{Live, Phase, State, Task};
use super::worker::Contact;
use super::{Course, Hiring, Scheduler};
use crate::ids::{AttemptId, Stage, TaskId, WorkerId};
use crate::units::Span;

impl Scheduler {
    /// Where a task stands and what it waits for, as sentences for people. It may count through the whole table.
    pub fn explain(&self, id: TaskId) -> String {
        let Some(task) = self.tasks.find(id) else { return format!("there is no {id} in this job") };
        let standing = match task.state {
            State::Committed { attempt } => format!("{id} is done: the output of {attempt} is committed"),
            State::Held { attempt, worker } => {
                format!("{id} is done: the segment of {attempt} is on {}", self.fleet.name(worker))
            }
            State::Committing { attempt, worker } => {
                format!("{id} has run: the output of {attempt} is on its way from {}", self.fleet.name(worker))
            }
            State::Out => {
                let live: Vec<String> = task.live.iter().map(|live| self.explain_live(live)).collect();
                live.join("; ")
            }
            State::Ready if self.course == Course::Over => format!("{id} is not done, and the job has ended"),
            State::Ready => format!("{id} is ready: {}", self.explain_ready(id, task)),
        };
        standing + &self.explain_past(task)
    }

    fn explain_live(&self, live: &Live) -> String {
        let Live { id, worker, phase, since, .. } = *live;
        let (host, time) = (self.fleet.name(worker), Span(self.now.since(since)));
        let silent = match self.fleet.get(worker).contact {
            Contact::Suspect => ", which is silent",
            Contact::Well | Contact::Lost => "",
        };
        match phase {
            Phase::Queued => {
                format!("{id} was sent to {host}{silent} {time} ago and awaits {}", self.awaited(id, worker))
            }
            Phase::Running => format!("{id} runs on {host}{silent} for {time}"),
        }
    }

    fn awaited(&self, id: AttemptId, worker: WorkerId) -> String {
        let worker = self.fleet.get(worker);
        match id.task.stage {
            _ if worker.running.len() >= worker.slots as usize => "a slot there".to_owned(),
            _ if worker.lent.attempts > 0 => format!("a slot there, which {} has", worker.lent.holders.join(", ")),
            Stage::Map => "its input".to_owned(),
            Stage::Reduce => "its segments".to_owned(),
        }
    }

    fn explain_ready(&self, id: TaskId, task: &Task) -> String {
        let unfinished = self.tasks.map.unfinished();
        if id.stage == Stage::Reduce && unfinished > 0 {
            return format!("it waits for the maps, of which {unfinished} are to go");
        }
        let usable = self.fleet.counts.usable;
        if usable == 0 {
            return self.explain_no_host();
        }
        let shunned = self.shunned(id);
        if !shunned.is_empty() && self.fleet.open(id.stage).next().is_some() {
            let names: Vec<&str> = shunned.iter().map(|host| self.fleet.host(*host).name.as_str()).collect();
            return format!("it waits for a place on a host other than {}, which failed it", names.join(", "));
        }
        if self.awaits_home(task, &shunned) {
            return "it waits a moment for a slot where its split lies".to_owned();
        }
        let before = self.tasks.stage(id.stage).ready().take_while(|other| *other != id).count();
        let note = match (shunned.is_empty(), task.avoids().is_empty()) {
            (true, false) => "; it has failed on every usable host, so any will do",
            (true, true) | (false, _) => "",
        };
        format!("every place is taken (usable hosts: {usable}, tasks before it: {before}){note}")
    }

    pub(super) fn explain_no_host(&self) -> String {
        let (present, barred) = (self.fleet.counts.present, self.fleet.counts.barred);
        match (present, self.hiring) {
            (0, Hiring::Open) => "no worker has joined".to_owned(),
            (0, Hiring::Complete) if !self.fleet.draining.is_empty() => "all hosts were taken off the list".to_owned(),
            (0, Hiring::Complete) => "no worker is left".to_owned(),
            _ => {
                let short = self.fleet.counts.short;
                let silent = present.saturating_sub(barred + short);
                format!("no host can be used: {silent} silent, {barred} barred, {short} loaded or short of something")
            }
        }
    }

    fn explain_past(&self, task: &Task) -> String {
        let Some(trouble) = &task.trouble else { return String::new() };
        let (failures, max) = (trouble.failures, self.rules.attempts_max);
        if failures == 0 { String::new() } else { format!(" (failures so far: {failures} of {max})") }
    }
}
