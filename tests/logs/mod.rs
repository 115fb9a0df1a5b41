//! What is printed and logged, and what happens when nobody reads it, or it cannot be written (P13).

mod bounded;
mod commands;
mod levels;
mod life;
mod spans;
mod unread;

use std::fs::OpenOptions;
use std::process::Stdio;

/// An output whose reader has gone: each write fails with EPIPE.
fn gone() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

/// An output on a full disk: each write fails with ENOSPC.
fn full() -> Stdio {
    OpenOptions::new().write(true).open("/dev/full").unwrap().into()
}
