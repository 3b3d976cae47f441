//! `runner jobs`: the jobs that were started on this machine.

use super::context::{Context, Form, say};
use super::output::print;
use crate::driver::state::StateFolder;
use crate::report::{State, job_table};

/// Lists them, the oldest first.
///
/// # Errors
/// When the folder of jobs or stdout fails.
pub fn run(context: &Context) -> anyhow::Result<()> {
    let (jobs, unreadable) = StateFolder::new(&context.state_folder()?).list()?;
    unreadable.iter().for_each(|what| say(what));
    match context.form {
        Form::Json => print(|out| {
            jobs.iter().try_for_each(|job| {
                serde_json::to_writer(&mut *out, job)?;
                writeln!(out)
            })
        }),
        Form::Text if jobs.is_empty() => {
            say("no job was started on this machine yet");
            Ok(())
        }
        Form::Text => {
            print(|out| write!(out, "{}", job_table(&jobs)))?;
            if let Some(job) = jobs.iter().rev().find(|job| job.state == State::Interrupted) {
                say(&format!("`runner resume {}` goes on with the newest that was interrupted", job.id));
            }
            Ok(())
        }
    }
}
