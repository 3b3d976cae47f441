//! What a dataset is: names, generations, parts, the manifest that makes a generation complete, and the digests by which
//! a copy is known to be right.
//!
//! There is no catalogue: the truth is what lies in the data folders of the workers,
//! `NAME/GENERATION/part-00003-of-00016` and beside the parts a [`Manifest`], which is written last. The newest complete
//! [`Generation`] of a name counts; one that holds a tombstone says that there is nothing, so that a host which was away
//! brings nothing back. Both ends read names and patterns with the code here, so that neither has to trust the other.
//!
//! Nothing here touches a file or a host: `worker::data` owns a folder, `datasets` speaks to many of them.

mod digest;
mod generation;
mod holding;
mod manifest;
mod name;
mod pattern;

pub use digest::{BLOCK_BYTES, Digest, Digester, hash_of};
pub use generation::{Generation, PutId};
pub use holding::{Held, HeldPart, HeldState, Listing, StoreId};
pub use manifest::{Form, Manifest, Outline, Part};
pub use name::{Name, parse_part_file, part_file, staged_file};
pub use pattern::Pattern;
