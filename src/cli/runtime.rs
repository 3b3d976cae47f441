//! From the command line into asynchronous code.

/// Runs a future to its end on a runtime of its own.
///
/// # Errors
/// When the machine has no threads left.
pub fn wait_for<F: Future>(future: F) -> anyhow::Result<F::Output> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(future))
}
