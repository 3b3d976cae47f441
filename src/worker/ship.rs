//! Shipped files on the worker's side, and the setup command.

use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use tar::Archive;

use super::blame::{carry, cause_of};
use super::context::Context;
use super::control::Control;
use super::stderr::Log;
use super::steady::Steady;
use super::through::Commands;
use crate::facts::{Cause, Failure};
use crate::input::Codec;
use crate::input::decode::decode;
use crate::job::{FileForm, ShippedFile};
use crate::protocol::bulk::Request;

/// Gets everything in place that a task may need; `control` ends the setup command.
///
/// # Errors
/// As the driver should show it.
pub async fn prepare(context: Arc<Context>, control: Arc<Control>) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::of(cause_of(&error));
    context.scratch.prepare().and_then(|()| context.make_output()).map_err(failed)?;
    for index in 0..context.job().files.len() {
        fetch_file(&context, &control, index).await.map_err(failed)?;
    }
    tokio::task::spawn_blocking(move || set_up(&context, &control))
        .await
        .map_err(|error| failed(io::Error::other(error)))?
}

async fn fetch_file(context: &Arc<Context>, control: &Arc<Control>, index: usize) -> io::Result<()> {
    let stream = Steady::open(context, control, Request::File { index: index as u32 }).await?;
    let (file, folder) = (context.job().files[index].clone(), context.scratch.files());
    let unpacking = tokio::task::spawn_blocking(move || {
        let named = |error: io::Error| {
            let text = format!("shipping {}: {error}", file.source.display());
            if cause_of(&error).is_disk_full() { error } else { carry(Cause::Worker { text }) }
        };
        unpack(&file, stream, &folder).map_err(named)
    });
    unpacking.await.map_err(io::Error::other)?
}

/// Plain files and folders come as a tar stream, which keeps their modes; archives as they are.
fn unpack(file: &ShippedFile, mut stream: impl Read + Send + 'static, folder: &Path) -> io::Result<()> {
    match file.form {
        FileForm::Plain | FileForm::Folder => {
            Archive::new(&mut stream).unpack(folder)?;
            // The end of the stream confirms that nothing is missing.
            io::copy(&mut stream, &mut io::sink()).map(drop)
        }
        FileForm::Archive => {
            // The driver called it an archive by the same names.
            let codec = Codec::of_archive(&file.name).unwrap_or(Codec::Plain);
            Archive::new(decode(codec, stream)?).unpack(folder)
        }
    }
}

/// Runs the setup command in the folder of the shipped files.
fn set_up(context: &Context, control: &Arc<Control>) -> Result<(), Failure> {
    let Some(command) = &context.job().setup else { return Ok(()) };
    let log = Log::new(context.scratch.setup_log(), context.job().limits.stderr_max);
    let (folder, env) = (context.scratch.files(), context.environment());
    let commands = Commands { folder: &folder, env: &env, control, log: &log, nice: context.bounds.job.nice };
    let result = commands.alone("setup", command);
    let stderr_tail = log.finish().tail;
    result.map_err(|error| Failure { cause: cause_of(&error), stderr_tail })
}
