//! Ctrl-C and SIGTERM while something is being made: the first one is waited for in order, the second ends the program.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::error::{Fault, Kind};

/// Whether somebody wants us to stop.
#[derive(Clone, Debug)]
pub struct Interrupts(watch::Receiver<Option<Kind>>);

impl Interrupts {
    /// Listens from now on.
    ///
    /// # Errors
    /// When the system gives no handlers.
    pub fn listen() -> std::io::Result<Self> {
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let (raised, receiver) = watch::channel(None);
        tokio::spawn(async move {
            for first in [true, false] {
                let kind = tokio::select! {
                    _ = interrupt.recv() => Kind::Interrupted,
                    _ = terminate.recv() => Kind::Terminated,
                };
                if !first {
                    std::process::exit(i32::from(kind.exit_code()));
                }
                raised.send_replace(Some(kind));
            }
        });
        Ok(Interrupts(receiver))
    }

    /// Nobody will ever, for tests.
    pub fn never() -> Self {
        Interrupts(watch::channel(None).1)
    }

    /// Fails if somebody did.
    ///
    /// # Errors
    /// The kind tells which.
    pub fn check(&self) -> Result<(), Fault> {
        match *self.0.borrow() {
            Some(kind) => Err(Fault::new(kind, "interrupted")),
            None => Ok(()),
        }
    }

    /// Waits until somebody does.
    pub async fn raised(&self) -> Fault {
        let mut receiver = self.0.clone();
        match receiver.wait_for(Option::is_some).await.map(|kind| *kind) {
            Ok(Some(kind)) => Fault::new(kind, "interrupted"),
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }
}
