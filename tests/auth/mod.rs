//! SMART Backend Services: tokens, who gets one and what it is good for, and every way to get one
//! that should not work.

mod assertions;
mod endpoint;
mod happy;
mod jwks;
mod ownership;
mod replay;
mod scopes;
mod tokens;

use crate::support::smart::Client;
use crate::support::{Server, Setup};

/// What a client may have in these tests.
const ALL: &str = "scopes = 'system/*.rs'\ngroups = '*'\nsystem_export = true\npatient_export = true";

/// A client and a server that knows it.
fn started(id: &str) -> (Client, Setup, Server) {
    let client = Client::new(id);
    let setup = Setup::new().smart_for(&client, ALL);
    let server = setup.start();
    (client, setup, server)
}
