//! The built-in jobs, run in the worker process: no pipes, no copies, and combined as they go.
//!
//! [`map()`] turns the lines of a split into records, [`reduce()`] and [`Folding`] are what the reduces and combiners
//! do with sorted ones.

mod counts;
mod map;
mod reduce;
mod short_words;
mod sum;
mod top;

pub use map::{Circumstances, each as each_line, map};
pub use reduce::{Folding, each as each_record, reduce};

/// Where records go, as lines without newline.
pub type Emit<'a> = dyn FnMut(&[u8]) -> std::io::Result<()> + 'a;
