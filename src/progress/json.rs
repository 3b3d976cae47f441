//! Facts as JSON lines, for programs: one flat object a fact, `{"at_ms":1200,"fact":"attempt_started",...}`.
//!
//! Attempts and tasks are named as everywhere (`map-3.0`), workers by id and host. Numbers carry their unit in the name.
//! What is transient (how far an attempt is) is not in it. Keys may be added; none changes its meaning.

use std::fmt;
use std::io::{ErrorKind, Write};
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::board::Board;
use crate::facts::{Cause, End, Fact, Failure, Lag, Limit, Next, Plan, Shortage, Slowness, Stamped, Work};
use crate::ids::{AttemptId, WorkerId};
use crate::units::Bytes;

/// A stream of JSON lines, and one of words beside it.
pub struct Json {
    /// None once nobody reads any more.
    out: Option<Box<dyn Write + Send>>,
    err: Box<dyn Write + Send>,
}

/// A line: what happened and when stands first.
#[derive(Serialize)]
struct Line {
    at_ms: u64,
    fact: &'static str,
    #[serde(flatten)]
    fields: Map<String, Value>,
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Json").field("ended", &self.out.is_none()).finish_non_exhaustive()
    }
}

impl Json {
    /// Facts on `out`, words on `err`.
    pub fn new(out: Box<dyn Write + Send>, err: Box<dyn Write + Send>) -> Self {
        Json { out: Some(out), err }
    }

    /// Writes a fact. A reader that has gone is no error, and ends the writing.
    pub fn observe(&mut self, stamped: &Stamped, board: &Board) {
        let Some(out) = &mut self.out else { return };
        let line = line(stamped, board);
        let Err(error) = out.write_all(line.as_bytes()).and_then(|()| out.flush()) else { return };
        self.out = None;
        if error.kind() != ErrorKind::BrokenPipe {
            self.say(&format!("runner: the facts on stdout end here: {error}"));
        }
    }

    /// Words for people.
    pub fn say(&mut self, text: &str) {
        let _ = writeln!(self.err, "{text}");
    }
}

fn line(stamped: &Stamped, board: &Board) -> String {
    let (fact, fields) = fields(&stamped.fact, board);
    let fields = match fields {
        Value::Object(fields) => fields,
        other => Map::from_iter([("value".to_owned(), other)]),
    };
    let line = Line { at_ms: stamped.at.0 / 1000, fact, fields };
    // Strings and numbers always have a form in JSON.
    serde_json::to_string(&line).unwrap_or_default() + "\n"
}

/// The fact's name and what it carries.
fn fields(fact: &Fact, board: &Board) -> (&'static str, Value) {
    let on = |worker: &WorkerId| json!({"worker": worker.to_string(), "host": board.tally.host(*worker)});
    let run = |attempt: &AttemptId, worker: &WorkerId| joined([named(attempt), on(worker)]);
    match fact {
        Fact::JobPlanned(plan) => ("job_planned", plan_fields(plan)),
        Fact::JobResumed { epoch, driver, wall_ms } => {
            ("job_resumed", json!({"epoch": epoch.0, "driver": driver, "resumed_ms": wall_ms}))
        }
        Fact::WorkerJoined { worker, slots, .. } => ("worker_joined", joined([on(worker), json!({"slots": slots})])),
        Fact::WorkerRefused { host, reason } => ("worker_refused", json!({"host": host, "reason": reason})),
        Fact::WorkerSuspect { worker } => ("worker_suspect", on(worker)),
        Fact::WorkerBack { worker } => ("worker_back", on(worker)),
        Fact::WorkerLost { worker, reason } => ("worker_lost", joined([on(worker), json!({"reason": reason})])),
        Fact::WorkerBarred { worker, failures, until } => {
            ("worker_barred", joined([on(worker), json!({"failures": failures, "until_ms": until.0 / 1000})]))
        }
        Fact::WorkerRemembered { worker, share_percent, until, evidence } => {
            let held = json!({"share_percent": share_percent, "until_ms": until.0 / 1000, "evidence": evidence});
            ("worker_remembered", joined([on(worker), held]))
        }
        Fact::WorkerMarked { worker, slowness, share_percent, until } => {
            let evidence = slowness_fields(slowness);
            let held = json!({"share_percent": share_percent, "until_ms": until.0 / 1000});
            ("worker_marked", joined([on(worker), evidence, held]))
        }
        Fact::WorkerCleared { worker } => ("worker_cleared", on(worker)),
        Fact::WorkerHeld { worker, shortage } => {
            ("worker_held", joined([on(worker), json!({"text": shortage.to_string()}), shortage_fields(*shortage)]))
        }
        Fact::WorkerEased { worker } => ("worker_eased", on(worker)),
        Fact::WorkerDraining { worker } => ("worker_draining", on(worker)),
        Fact::WorkerKept { worker } => ("worker_kept", on(worker)),
        Fact::WorkerReleased { worker } => ("worker_released", on(worker)),
        Fact::StageStarted { stage } => ("stage_started", json!({"stage": stage})),
        Fact::StageFinished { stage } => ("stage_finished", json!({"stage": stage})),
        Fact::AttemptCopied { attempt, worker, of, from, lag } => {
            let straggler = json!({"of": of.to_string(), "from": board.tally.host(*from)});
            ("attempt_copied", joined([run(attempt, worker), straggler, lag_fields(lag)]))
        }
        Fact::AttemptQueued { attempt, worker } => ("attempt_queued", run(attempt, worker)),
        Fact::AttemptStarted { attempt, worker } => ("attempt_started", run(attempt, worker)),
        Fact::AttemptFinished { attempt, worker, work } => {
            ("attempt_finished", joined([run(attempt, worker), work_fields(work)]))
        }
        Fact::AttemptFailed { attempt, worker, failure, next } => {
            ("attempt_failed", joined([run(attempt, worker), failure_fields(failure), next_fields(*next)]))
        }
        Fact::AttemptDropped { attempt, worker, reason } => {
            ("attempt_dropped", joined([run(attempt, worker), json!({"reason": reason})]))
        }
        Fact::OutputLost { attempt } => ("output_lost", named(attempt)),
        Fact::PartCommitted { attempt, bytes } => ("part_committed", joined([named(attempt), json!({"bytes": bytes})])),
        Fact::JobFinished { end } => ("job_finished", end_fields(end)),
    }
}

fn named(attempt: &AttemptId) -> Value {
    json!({"attempt": attempt.to_string(), "task": attempt.task.to_string()})
}

fn plan_fields(plan: &Plan) -> Value {
    json!({
        "job": plan.job, "name": plan.name, "started_ms": plan.wall_ms, "output": plan.output.to_string_lossy(),
        "files": plan.files, "bytes": plan.bytes, "split_bytes": plan.splits, "reduces": plan.reduces,
    })
}

fn work_fields(work: &Work) -> Value {
    let counters: Vec<Value> = work
        .counters
        .iter()
        .map(|(group, name, amount)| json!({"group": group, "name": name, "amount": amount}))
        .collect();
    json!({
        "bytes_in": work.bytes_in, "records_in": work.records_in,
        "bytes_out": work.bytes_out, "records_out": work.records_out,
        "bytes_shuffled": work.bytes_shuffled, "bytes_relayed": work.bytes_relayed,
        "bytes_in_place": work.bytes_in_place, "bytes_local": work.bytes_local, "bytes_distant": work.bytes_distant,
        "spills": work.spills,
        // A JSON number is exact to 2^53 only.
        "hash": format!("{:016x}", work.hash),
        "took_ms": whole_ms(work.took), "counters": counters,
    })
}

fn failure_fields(failure: &Failure) -> Value {
    let (cause, detail) = match &failure.cause {
        Cause::Exit { step, code } => ("exit", json!({"step": step, "code": code})),
        Cause::Signal { step, signal } => ("signal", json!({"step": step, "signal": signal})),
        Cause::Silent { .. } => ("silent", json!({})),
        Cause::Input { .. } => ("input", json!({})),
        Cause::Record { .. } => ("record", json!({})),
        Cause::DiskFull { .. } => ("disk_full", json!({})),
        Cause::Fetch { source, .. } => ("fetch", json!({"source": source.to_string()})),
        Cause::Worker { .. } => ("worker", json!({})),
        Cause::Limit { limit, by } => ("limit", joined([limit_fields(*limit), json!({"by": by})])),
        Cause::OutOfMemory { step } => ("out_of_memory", json!({"step": step})),
    };
    let words = json!({"cause": cause, "text": failure.cause.to_string(), "stderr_tail": failure.stderr_tail});
    joined([words, detail])
}

fn shortage_fields(shortage: Shortage) -> Value {
    match shortage {
        Shortage::Processors { others_percent, cores } => {
            json!({"shortage": "processors", "others_load_percent": others_percent, "cores": cores})
        }
        Shortage::Memory { free: Bytes(free) } => json!({"shortage": "memory", "free_bytes": free}),
        Shortage::Disk { free: Bytes(free) } => json!({"shortage": "disk", "free_bytes": free}),
    }
}

fn limit_fields(limit: Limit) -> Value {
    match limit {
        Limit::Memory(Bytes(bytes)) => json!({"limit": "memory", "limit_bytes": bytes}),
        Limit::CpuTime(time) => json!({"limit": "cpu_time", "limit_ms": whole_ms(time)}),
        Limit::WallTime(time) => json!({"limit": "wall_time", "limit_ms": whole_ms(time)}),
        Limit::Processes(count) => json!({"limit": "processes", "limit_count": count}),
    }
}

fn lag_fields(lag: &Lag) -> Value {
    match lag {
        Lag::Rate { left, elsewhere } => json!({"left_ms": whole_ms(*left), "elsewhere_ms": whole_ms(*elsewhere)}),
        Lag::Overdue { worked, usual } => json!({"worked_ms": whole_ms(*worked), "usual_ms": whole_ms(*usual)}),
    }
}

fn slowness_fields(slowness: &Slowness) -> Value {
    let Slowness { attempt, there, winner, elsewhere } = slowness;
    let times = json!({"there_ms": whole_ms(*there), "elsewhere_ms": whole_ms(*elsewhere)});
    joined([named(attempt), json!({"winner": winner.to_string()}), times])
}

fn whole_ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn next_fields(next: Next) -> Value {
    match next {
        Next::Retry { left } => json!({"next": "retry", "failures_left": left}),
        Next::Covered => json!({"next": "covered"}),
        Next::GiveUp => json!({"next": "give_up"}),
    }
}

fn end_fields(end: &End) -> Value {
    match end {
        End::Done => json!({"end": "done"}),
        End::Failed { kind, text } => {
            json!({"end": "failed", "kind": kind, "exit_code": kind.exit_code(), "text": text})
        }
        End::Interrupted => json!({"end": "interrupted"}),
        End::Cancelled => json!({"end": "cancelled"}),
    }
}

/// One object with the fields of all.
fn joined<const N: usize>(objects: [Value; N]) -> Value {
    let fields = objects.into_iter().filter_map(|object| match object {
        Value::Object(fields) => Some(fields),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => None,
    });
    Value::Object(fields.flatten().collect())
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::super::tests::{Shared, run};
    use super::super::{Progress, Screen};
    use super::*;

    fn outputs(script: &str) -> (String, String) {
        let (out, err) = (Shared::default(), Shared::default());
        let screen = Screen::Json(Json::new(Box::new(out.clone()), Box::new(err.clone())));
        run(Progress::on(screen), script).finish();
        (out.text(), err.text())
    }

    #[test]
    fn facts_are_flat_objects() {
        let check = |script: &str, expected: &str| {
            let (out, _) = outputs(&format!("join 7 node07 4\n{script}"));
            assert_eq!(out.lines().last(), Some(expected), "{script}");
        };
        check("", r#"{"at_ms":0,"fact":"worker_joined","host":"node07","slots":4,"worker":"w7"}"#);
        check(
            "1200 start map-3.0 7",
            r#"{"at_ms":1200,"fact":"attempt_started","attempt":"map-3.0","host":"node07","task":"map-3","worker":"w7"}"#,
        );
        check("stage map", r#"{"at_ms":0,"fact":"stage_started","stage":"map"}"#);
        check(
            "plan 5 6 / 2",
            r#"{"at_ms":0,"fact":"job_planned","bytes":11,"files":2,"job":"wordcount-7k2m9q","name":"wordcount","output":"/out","reduces":2,"split_bytes":[5,6],"started_ms":1000000}"#,
        );
        check(
            "finish map-0.0 7 100 90 80 70 5",
            r#"{"at_ms":0,"fact":"attempt_finished","attempt":"map-0.0","bytes_distant":0,"bytes_in":100,"bytes_in_place":0,"bytes_local":0,"bytes_out":90,"bytes_relayed":0,"bytes_shuffled":80,"counters":[{"amount":5,"group":"words","name":"bad"}],"hash":"0000000000000000","host":"node07","records_in":10,"records_out":9,"spills":0,"task":"map-0","took_ms":70,"worker":"w7"}"#,
        );
        check(
            r"fail map-0.0 7 1 3 \e[1mno",
            r#"{"at_ms":0,"fact":"attempt_failed","attempt":"map-0.0","cause":"exit","code":1,"failures_left":3,"host":"node07","next":"retry","stderr_tail":"\u001b[1mno","step":"map","task":"map-0","text":"the map command exited with code 1","worker":"w7"}"#,
        );
        check(
            "end failed no such luck",
            r#"{"at_ms":0,"fact":"job_finished","end":"failed","exit_code":1,"kind":"task_failed","text":"no such luck"}"#,
        );
    }

    #[test]
    fn stdout_is_data_and_stderr_is_for_people() {
        let (out, err) =
            outputs("plan 5 / 0\n join 0 node01 1\n sample map-0.0 3 5\n fail map-0.0 0 1 3 oh\n tick 99000");
        assert_eq!(out.lines().count(), 3);
        assert!(err.starts_with("runner: map-0.0 failed on node01"), "{err}");
    }

    #[test]
    fn a_reader_that_has_gone_is_quiet_and_another_error_is_not() {
        struct Closed(ErrorKind);
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(self.0.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let check = |kind: ErrorKind, lines: usize| {
            let err = Shared::default();
            let screen = Screen::Json(Json::new(Box::new(Closed(kind)), Box::new(err.clone())));
            run(Progress::on(screen), "plan 5 / 0\n stage map\n end done").finish();
            assert_eq!(err.text().matches("stdout end here").count(), lines, "{kind}");
        };
        check(ErrorKind::BrokenPipe, 0);
        check(ErrorKind::StorageFull, 1);
    }
}
