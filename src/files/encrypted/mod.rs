//! Files that are stored encrypted, each with a key of its own that is derived from the key of its job
//! (P14). Above [`files`](crate::files) nobody knows of it.

mod files;
mod frames;
mod reader;
mod sink;
#[cfg(test)]
mod tests;

pub use files::{EncryptedFiles, KeyNotThere, NewFiles};
pub use frames::stored_length;
#[cfg(feature = "breakpoints")]
pub use reader::decrypt;
#[cfg(feature = "breakpoints")]
pub use sink::encrypt;
