//! Binds the address of a listener. An error says what to do about it.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};

/// Why a listener has no address.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {error}{}", advice(.error, .setting))]
pub struct ListenError {
    address: SocketAddr,
    /// What names the address: a flag or a setting.
    setting: &'static str,
    error: io::Error,
}

impl ListenError {
    /// Creates the error of an address that `setting` names.
    pub fn new(address: SocketAddr, setting: &'static str, error: io::Error) -> Self {
        Self { address, setting, error }
    }

    /// Returns whether another program has the address.
    pub fn is_in_use(&self) -> bool {
        self.error.kind() == ErrorKind::AddrInUse
    }
}

/// Binds `address`, which `setting` names.
///
/// # Errors
/// Fails if another program has it, or this one may not have it.
pub fn listen(address: SocketAddr, setting: &'static str) -> Result<TcpListener, ListenError> {
    TcpListener::bind(address).map_err(|error| ListenError::new(address, setting, error))
}

/// Returns what to do about an error. It follows the text of the error.
fn advice(error: &io::Error, setting: &str) -> String {
    match error.kind() {
        ErrorKind::AddrInUse => format!(
            "; another program has this port: stop it, or take another port with {setting}; port 0 takes a \
             free one"
        ),
        ErrorKind::PermissionDenied => format!(
            "; ports below 1024 are for root and for programs with CAP_NET_BIND_SERVICE (in a systemd unit \
             AmbientCapabilities=CAP_NET_BIND_SERVICE): grant it, or take a higher port with {setting}"
        ),
        ErrorKind::AddrNotAvailable => {
            format!("; this machine has no such address: take one that it has with {setting}")
        }
        _ => format!("; take another address with {setting}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_cannot_be_had_is_named_with_what_to_do() {
        let text = |kind: ErrorKind| {
            let address = SocketAddr::from(([127, 0, 0, 1], 80));
            ListenError::new(address, "--listen", kind.into()).to_string()
        };
        for (kind, expected) in [
            (ErrorKind::AddrInUse, "another program has this port"),
            (ErrorKind::PermissionDenied, "CAP_NET_BIND_SERVICE"),
            (ErrorKind::AddrNotAvailable, "has no such address"),
            (ErrorKind::OutOfMemory, "take another address"),
        ] {
            let text = text(kind);
            assert!(text.starts_with("cannot listen on 127.0.0.1:80: "), "{text}");
            assert!(text.contains(expected) && text.contains("--listen"), "{text}");
        }
    }
}
