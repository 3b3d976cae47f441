//! What other terminals ask of a running job.

use super::Engine;
use crate::driver::ask::{Answer, Ask, Asked};
use crate::scheduler::Event;

impl Engine {
    /// Answers another terminal. What it wants to know is in the scheduler, but for hosts that have not joined yet.
    pub(super) fn answer(&mut self, Asked { ask, answers }: Asked, events: &mut Vec<Event>) {
        let say = |text: String| {
            let _gone = answers.send(Answer::Said(text));
        };
        match ask {
            Ask::Cancel => {
                events.push(Event::Cancelled);
                say("the job is being ended".to_owned());
            }
            Ask::Explain { task: Some(task) } => say(self.scheduler.explain(task)),
            Ask::Explain { task: None } => {
                self.scheduler.overview().into_iter().for_each(say);
                let pending = self.hosts.iter().filter(|host| host.pending);
                pending.for_each(|host| say(format!("{}: is being connected and made ready", host.name)));
            }
        }
    }
}
