//! Where the job stands, what is waited for, and what each host does or why it gets nothing: in words.

use super::host::{Host, Mark, Standing};
use super::task::State;
use super::worker::{Contact, Duty, Worker};
use super::{Completion, Course, Scheduler};
use crate::facts::Slowness;
use crate::ids::{Stage, WorkerId};
use crate::units::Span;

impl Scheduler {
    /// Lines for people: the stages, what is waited for, then the hosts. It may count through all tables.
    pub fn overview(&self) -> Vec<String> {
        let last = self.tasks.last_stage();
        let stages = [Stage::Map, Stage::Reduce].into_iter().filter(|stage| *stage <= last);
        let mut lines: Vec<String> = stages.map(|stage| self.describe_stage(stage)).collect();
        lines.push(self.awaited_by_job());
        let present = self.fleet.workers.iter().filter(|(_, worker)| worker.contact != Contact::Lost);
        lines.extend(present.map(|(id, _)| self.explain_worker(*id)));
        lines.extend(self.refused.iter().map(|text| format!("{text} (takes no part)")));
        lines
    }

    fn describe_stage(&self, stage: Stage) -> String {
        let table = self.tasks.stage(stage);
        let (mut done, mut committing) = (0, 0_usize);
        for (_, task) in table.iter() {
            done += u32::from(task.state.is_done());
            committing += usize::from(matches!(task.state, State::Committing { .. }));
        }
        let (mut running, mut sent) = (0, 0);
        for worker in self.fleet.workers.values() {
            running += worker.running.iter().filter(|attempt| attempt.task.stage == stage).count();
            sent += worker.queue.get(stage).len();
        }
        let waiting = table.ready_count();
        let mut text = format!("{stage}: {done} of {} done, {running} run, {waiting} wait", table.count());
        for (count, what) in [(sent, "sent ahead"), (committing, "being committed"), (table.copies as usize, "copies")]
        {
            if count > 0 {
                text += &format!(", {count} {what}");
            }
        }
        text
    }

    /// What keeps the job from its next step.
    fn awaited_by_job(&self) -> String {
        match &self.course {
            Course::Over => return "the job has ended".to_owned(),
            Course::Ending(_) => return "the job is about to end".to_owned(),
            Course::Settled | Course::Changed => {}
        }
        match self.completion {
            Completion::Asked => return "all parts are made; the output is being put in its place".to_owned(),
            Completion::NotAsked => {}
        }
        let maps = self.tasks.map.unfinished();
        let stage = if maps > 0 { Stage::Map } else { Stage::Reduce };
        let waiting = self.tasks.stage(stage).ready_count();
        match waiting {
            _ if self.fleet.counts.usable == 0 => format!("nothing can be started: {}", self.explain_no_host()),
            0 => format!("no {stage} waits for a place: those that are left run, or are on their way"),
            _ => format!(
                "{waiting} {stage} tasks wait for a place on {} usable hosts: `runner explain JOB TASK` says why one does",
                self.fleet.counts.usable
            ),
        }
    }

    /// What a worker does, and why it gets nothing, if so.
    fn explain_worker(&self, id: WorkerId) -> String {
        let worker = self.fleet.get(id);
        let (running, slots) = (worker.running.len(), worker.slots);
        let sent = worker.queue.map.len() + worker.queue.reduce.len();
        let mut text = format!("{}: {running} of {slots} slots taken", self.fleet.name(id));
        if sent > 0 {
            text += &format!(", {sent} sent ahead");
        }
        if !worker.outputs.is_empty() {
            text += &format!(", holds the output of {} tasks", worker.outputs.len());
        }
        if let Some(load) = &self.fleet.host(worker.host).load {
            let of = |percent: u32| f64::from(percent) / 100.0;
            text += &format!(", load {:.1} ({:.1} by others)", of(load.load_percent), of(load.others_percent));
        }
        if worker.lent.attempts > 0 {
            text += &format!(", {} wait for slots that {} has", worker.lent.attempts, worker.lent.holders.join(", "));
        }
        match self.explain_nothing(id, worker) {
            Some(why) => text + "; gets nothing: " + &why,
            None => text,
        }
    }

    /// Why a worker gets no new attempts now; none if it does, or is full.
    fn explain_nothing(&self, id: WorkerId, worker: &Worker) -> Option<String> {
        match worker.contact {
            Contact::Suspect => return Some("it does not answer".to_owned()),
            Contact::Lost => return Some("it is lost".to_owned()),
            Contact::Well => {}
        }
        match worker.duty {
            Duty::Serving => {}
            Duty::Draining if worker.running.is_empty() => {
                return Some("its host was taken off the list, and it goes once nobody needs what it holds".to_owned());
            }
            Duty::Draining => {
                return Some("its host was taken off the list, and it goes once what runs there has ended".to_owned());
            }
        }
        let host = self.fleet.host(worker.host);
        if let Some(shortage) = host.shortage {
            return Some(shortage.to_string());
        }
        match host.standing {
            Standing::Barred(until) => {
                let failures = host.blamed(&self.rules);
                let why = host.evidence.clone().unwrap_or_else(|| format!("{failures} different tasks failed there"));
                return Some(format!("{why} (forgotten in {})", Span(until.since(self.now))));
            }
            Standing::Outpaced(mark) => return Some(self.explain_mark(host, mark)),
            Standing::Good | Standing::Slow(_) => {}
        }
        let maps = self.tasks.map.unfinished();
        let stage = if maps > 0 { Stage::Map } else { Stage::Reduce };
        let is_full = !self.fleet.open(stage).any(|(_, open)| open == id);
        match (is_full, host.standing) {
            (true, Standing::Slow(mark)) => {
                Some(format!("its places are fewer, since {}", self.explain_mark(host, mark)))
            }
            (true, Standing::Good | Standing::Outpaced(_) | Standing::Barred(_)) => None,
            (false, _) => Some(self.explain_idle(stage, worker)),
        }
    }

    /// Why a place on a host that may get tasks stays free.
    fn explain_idle(&self, stage: Stage, worker: &Worker) -> String {
        let waiting = self.tasks.stage(stage).ready_count();
        let shunning =
            self.tasks.stage(stage).ready().filter(|task| self.shunned(*task).contains(&worker.host)).count();
        let maps = self.tasks.map.unfinished();
        match waiting {
            0 if maps > 0 && self.tasks.reduce.unfinished() > 0 => {
                format!("no map waits for a place, and the reduces wait for the {maps} maps that are left")
            }
            0 => format!("no {stage} waits for a place"),
            _ if shunning == waiting => format!("the {waiting} {stage} tasks that wait have failed there"),
            _ => format!("{waiting} {stage} tasks wait, and are about to be sent"),
        }
    }

    fn explain_mark(&self, host: &Host, mark: Mark) -> String {
        let left = Span(mark.until.since(self.now));
        let why = match (mark.slowness, &host.evidence) {
            (Some(Slowness { attempt, there, elsewhere, .. }), _) => {
                format!("{attempt} needed {} there and {} elsewhere", Span(there), Span(elsewhere))
            }
            (None, evidence) => evidence.clone().unwrap_or_default(),
        };
        format!("{why} (forgotten in {left})")
    }
}
