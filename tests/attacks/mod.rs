//! What an attacker tries that no other module is about: paths, planted links, lines in the log.
//! SECURITY.md says which test shows what; the attacks on tokens stand in `auth`, those on the
//! connection in `transport`, hostile requests of all sorts in `api`.

mod logs;
mod modes;
mod paths;
mod planted;
mod strangers;

use crate::api::raw;
use crate::support::{Answer, Server};

/// A request whose line and fields are sent as they stand; `None` if it is not answered.
fn ask(server: &Server, line: &str, fields: &str) -> Option<Answer> {
    raw::exchange(server, format!("{line}\r\nHost: localhost\r\n{fields}\r\n").as_bytes())
}
