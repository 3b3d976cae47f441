//! A stream from the driver that outlives its connection: where one breaks, the next goes on.
//!
//! What was read is not asked for again. Without a driver it waits, which counts as waiting for input; only the end of its
//! attempt ends it.

use std::io::{self, Read};
use std::sync::Arc;

use tokio::runtime::Handle;

use super::context::Context;
use super::control::Control;
use crate::protocol::bulk::{IncomingReader, Request};

/// See the module; only for threads outside the runtime's own.
pub struct Steady {
    context: Arc<Context>,
    control: Arc<Control>,
    request: Request,
    runtime: Handle,
    reader: Option<IncomingReader>,
    /// Bytes that were read.
    at: u64,
}

impl Steady {
    /// Asks for bytes, once there is a connection.
    ///
    /// # Errors
    /// When the attempt of `control` ends before.
    pub async fn open(context: &Arc<Context>, control: &Arc<Control>, request: Request) -> io::Result<Self> {
        let (context, control) = (Arc::clone(context), Arc::clone(control));
        let runtime = Handle::current();
        let mut steady = Steady { context, control, request, runtime, reader: None, at: 0 };
        steady.reader = Some(steady.ask().await?);
        Ok(steady)
    }

    async fn ask(&self) -> io::Result<IncomingReader> {
        let mux = tokio::select! {
            mux = self.context.mux() => mux.map_err(io::Error::other)?,
            () = self.control.until_cut() => return Err(io::Error::other("the attempt was ended")),
        };
        let stream = mux.fetch_from(self.request.clone(), self.at);
        self.control.attach_stream(stream.aborter());
        Ok(stream.into_reader())
    }
}

impl Read for Steady {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let reader = match &mut self.reader {
                Some(reader) => reader,
                None => {
                    let runtime = self.runtime.clone();
                    let reader = runtime.block_on(self.ask())?;
                    self.reader.insert(reader)
                }
            };
            match self.context.link.read(|| reader.read(buffer)) {
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => self.reader = None,
                Ok(count) => {
                    self.at += count as u64;
                    return Ok(count);
                }
                Err(error) => return Err(error),
            }
        }
    }
}
