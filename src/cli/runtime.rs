//! From the command line into asynchronous code.

/// Each stream of input that is served blocks a thread, and there may be two a slot of the whole fleet.
const THREADS_MAX: usize = 4096;

/// Runs a future to its end on a runtime of its own.
///
/// # Errors
/// When the machine has no threads left.
pub fn wait_for<F: Future>(future: F) -> anyhow::Result<F::Output> {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    Ok(runtime.max_blocking_threads(THREADS_MAX).enable_all().build()?.block_on(future))
}
