//! From worker to worker: bytes that need not pass the driver.
//!
//! Each worker lets the others of its job in by a line in its user's `authorized_keys` ([`doorway`]; what such a line
//! says is in [`mod@line`], what becomes of the file's text in [`keys`], how the file is changed in [`home`]). The line leads
//! to [`entrance`], which hands the connection over ([`handover`]) to the worker's second socket, where [`guests`] are
//! served what their role names. The other way, [`roads`] gives a [`crate::protocol::bulk::Mux`] to a worker by its id, over
//! [`ssh`], or says that the driver has to pass things on.
//!
//! Nothing here knows what is fetched, or why.

mod doorway;
mod handover;
mod home;
mod keys;
mod line;
mod roads;
mod ssh;

pub mod entrance;
pub mod guests;

pub use doorway::{Doorway, machine, open, sweep};
pub use line::Form;
pub use roads::{Road, Roads};
