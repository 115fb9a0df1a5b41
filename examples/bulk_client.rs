//! The bulk client in a host: each night it loads what changed since the night before, from any FHIR Bulk Data
//! server. A night that was cut off goes on where it stopped, and the server erases its own files afterwards.
//!
//! Run it with `cargo run --example bulk_client -- URL FOLDER [CLIENT_ID KEY.pem]`. A host needs the
//! feature `client`, and builds no server:
//! `evanesce = { version = "0.1", default-features = false, features = ["client"] }`.

use std::error::Error;
use std::path::Path;

use evanesce::client::{
    BackendClient, ClientKey, Credentials, ExportEvent, ExportOptions, ExportProgress, ExportSummary,
    StopSignal, export,
};

/// Tells the host's log of each file that is whole, and of what is tried again.
struct HostLog;

impl ExportProgress for HostLog {
    fn on_event(&self, event: ExportEvent<'_>) {
        match event {
            ExportEvent::FileDone { name, bytes, count } => {
                println!("{name}: {count} resources, {bytes} bytes");
            }
            ExportEvent::Retrying { reason, delay } => eprintln!("{reason}; again in {delay:?}"),
            _ => {}
        }
    }
}

/// Returns the `transactionTime` of a night that was loaded to its end: its manifest is written last.
fn transaction_time(night: &Path) -> Option<String> {
    let manifest: serde_json::Value =
        serde_json::from_slice(&std::fs::read(night.join("manifest.json")).ok()?).ok()?;
    Some(manifest["transactionTime"].as_str()?.to_owned())
}

/// Loads the first night that is not whole, into a folder of its own below `archive`. Blocks; a service calls
/// it on a thread for such calls, and raises `stop` when it shuts down.
pub fn load_night(
    base: &str,
    archive: &Path,
    credentials: Credentials,
    stop: &StopSignal,
) -> Result<ExportSummary, Box<dyn Error>> {
    let mut since = None;
    let mut night = 1;
    while let Some(time) = transaction_time(&archive.join(format!("night-{night:04}"))) {
        since = Some(time);
        night += 1;
    }
    let mut options = ExportOptions::new(base, archive.join(format!("night-{night:04}")));
    options.parameters = since.map(|time| ("_since".to_owned(), time)).into_iter().collect();
    options.credentials = credentials;
    options.delete_after = true;
    Ok(export(options, HostLog, stop)?)
}

/// Returns a client of SMART Backend Services: its name at the server, and its private key as PEM or JWK.
pub fn backend(client_id: &str, key: &Path) -> Result<Credentials, Box<dyn Error>> {
    let key = ClientKey::from_text(&std::fs::read(key)?, None)?;
    Ok(Credentials::Backend(Box::new(BackendClient::new(client_id, key))))
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (base, archive, credentials) = match arguments.as_slice() {
        [base, archive] => (base, archive, Credentials::None),
        [base, archive, client_id, key] => (base, archive, backend(client_id, key.as_ref())?),
        _ => return Err("arguments: URL FOLDER [CLIENT_ID KEY.pem]".into()),
    };
    std::fs::create_dir_all(archive)?;
    let summary = load_night(base, archive.as_ref(), credentials, &StopSignal::new())?;
    println!("{} resources of {}", summary.resources, summary.transaction_time);
    Ok(())
}
