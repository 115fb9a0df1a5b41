//! Faults, by what fails: system calls at every step (`matrix`), the store's files (`store`),
//! the disk (`full_disk`), descriptors, the clock, the source; and what the reaper does about
//! directories that should, or should not, be there (`strays`). Each test asks what the client
//! sees, what the operator sees, what is tried again, and that nothing is dropped.

use crate::support::copy_folder;
mod descriptors;
mod full_disk;
mod in_place;
mod matrix;
pub mod mount;
mod own_files;
mod source;
mod store;
mod strays;
mod time;
