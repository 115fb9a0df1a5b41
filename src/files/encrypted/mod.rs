//! Files that are stored encrypted, each with a key of its own that is derived from the key of its job
//! (P14). Above [`files`](crate::files) nobody knows of it.

mod frames;
mod reader;
mod sink;
#[cfg(test)]
mod tests;

pub use frames::{is_encrypted, stored_length};
pub use reader::{DecryptingReader, decrypt};
pub use sink::{EncryptingSink, encrypt};
