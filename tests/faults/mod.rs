//! Faults, by what fails: system calls at every step (`matrix`), the store's files (`store`),
//! the disk (`full_disk`), descriptors, the clock, the source; and what the reaper does about
//! directories that should, or should not, be there (`strays`). Each test asks what the client
//! sees, what the operator sees, what is tried again, and that nothing is dropped.

mod descriptors;
mod full_disk;
mod matrix;
mod source;
mod store;
mod strays;
mod time;

use std::path::Path;

/// Copies a folder with all files that are in it.
fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (from, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        if from.is_dir() {
            copy_folder(&from, &to);
        } else if from.is_file() {
            std::fs::copy(from, to).unwrap();
        }
    }
}
