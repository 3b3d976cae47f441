//! Another list of hosts, which reaches a running job from outside.

use super::crew::Change;
use super::engine::Engine;
use super::host::Entrance;
use super::listing::Listed;
use crate::fleet::Fleet;
use crate::ids::WorkerId;
use crate::scheduler::Event;

impl Engine {
    /// Takes in that the list of hosts has changed. One that cannot be read changes nothing.
    pub(super) fn take_list(&mut self, listed: Listed, events: &mut Vec<Event>) {
        match listed {
            Listed::Hosts(fleet) => {
                self.follow(&fleet, events);
                self.store_hosts(&fleet);
            }
            Listed::Unreadable(fault) => {
                self.progress.say(&format!("the workers stay as they are, since the list cannot be read: {fault}"));
            }
        }
    }

    /// What is left behind on a host that joined later is looked for there too, and another driver finds its worker.
    fn store_hosts(&mut self, fleet: &Fleet) {
        if let Err(error) = self.folder.store_hosts(fleet, self.crew.places()) {
            self.progress.say(&format!("the hosts that join are not kept in the job's folder: {error:#}"));
        }
    }

    /// Connects the hosts that are new on the list, and lets those go that are on it no longer.
    fn follow(&mut self, fleet: &Fleet, events: &mut Vec<Event>) {
        for change in self.crew.follow(fleet) {
            match change {
                Change::Joins(worker, host, name) => {
                    self.hosts.push(self.starter.start(worker, name, host, Entrance::New));
                    events.push(Event::FleetGrows);
                }
                Change::Leaves(worker) => self.take_off(worker, events),
                Change::Stays(worker) => events.push(Event::WorkerKept(worker)),
            }
        }
        if self.is_settled() {
            events.push(Event::FleetComplete);
        }
    }

    /// A host that has not joined is let go at once; the scheduler does not know it.
    fn take_off(&mut self, worker: WorkerId, events: &mut Vec<Event>) {
        let host = &mut self.hosts[worker.index()];
        if host.pending {
            host.dismiss();
            self.crew.set_gone(worker);
        } else {
            events.push(Event::WorkerDraining(worker));
        }
    }
}
