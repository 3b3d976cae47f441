//! A question before something that cannot be taken back.

use std::io::{self, BufRead, IsTerminal};

use super::output::print_error;
use crate::error::Fault;

/// Whether the user agrees: with `--yes`, or by typing it. `what` is what `--yes` would do without asking.
///
/// # Errors
/// Usage: nobody can be asked.
pub fn agrees(yes: bool, question: &str, what: &str) -> Result<bool, Fault> {
    if yes {
        return Ok(true);
    }
    if !io::stdin().is_terminal() {
        return Err(Fault::usage(format!("stdin is no terminal to ask at: --yes {what} without asking")));
    }
    let asked = print_error(&format!("{question} [y/N] "));
    let mut answer = String::new();
    let read = asked.and_then(|()| Ok(io::stdin().lock().read_line(&mut answer)?));
    Ok(read.is_ok() && ["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
}
