//! A job that runs, by the facts that it tells.

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout};

use serde_json::Value;

use super::Outcome;

/// A job that runs, and what it tells.
pub struct Running {
    pub child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    pub facts: Vec<Value>,
}

impl Running {
    /// That of a process whose stdout is piped.
    pub fn new(mut child: Child) -> Self {
        let lines = BufReader::new(child.stdout.take().expect("is piped")).lines();
        Running { child, lines, facts: Vec::new() }
    }

    /// Its id, which is known from its first fact on.
    pub fn id(&mut self) -> String {
        if self.facts.is_empty() {
            self.next();
        }
        self.facts[0]["job"].as_str().expect("the plan has it").to_owned()
    }

    /// Waits for a fact.
    pub fn wait_for(&mut self, is_meant: impl Fn(&Value) -> bool) {
        while let Some(fact) = self.next() {
            if is_meant(&fact) {
                return;
            }
        }
        panic!("the job ended without that fact: {:?}", self.facts.last());
    }

    /// Waits for a fact that may have been told already.
    pub fn wait_for_first(&mut self, is_meant: impl Fn(&Value) -> bool) {
        if !self.facts.iter().any(&is_meant) {
            self.wait_for(is_meant);
        }
    }

    /// Kills its driver.
    pub fn kill(&mut self) {
        self.child.kill().expect("is there");
        self.child.wait().expect("ends");
    }

    /// Sends its driver a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal).expect("is there");
    }

    /// Reads all facts to the end; gives them, and how it ended.
    pub fn end(mut self) -> (Vec<Value>, Outcome) {
        while self.next().is_some() {}
        (self.facts, Outcome::wait(self.child))
    }

    fn next(&mut self) -> Option<Value> {
        let line = self.lines.next()?.ok()?;
        let fact: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        self.facts.push(fact.clone());
        Some(fact)
    }
}

/// Whether an attempt started on this host.
pub fn starts_on(host: &str) -> impl Fn(&Value) -> bool {
    is("attempt_started", host)
}

/// Whether this happened on this host.
pub fn is(name: &str, host: &str) -> impl Fn(&Value) -> bool {
    move |fact| fact["fact"] == name && fact["host"] == host
}
