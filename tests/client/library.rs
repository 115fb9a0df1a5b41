//! The client as a library: the example of a host that loads each night what changed.

use evanesce::client::{ClientErrorKind, ExportOptions, SilentProgress, StopSignal, export};

use super::*;

#[allow(dead_code, reason = "nobody calls its main")]
#[path = "../../examples/bulk_client.rs"]
mod bulk_client;

#[test]
fn a_host_loads_each_night_what_changed_since_the_night_before() {
    let keys = ClientKeys::new();
    let setup = keys.register(Setup::new());
    let server = setup.start();
    let archive = temporary_folder();
    let night = || {
        let credentials = bulk_client::backend("acme", &keys.private()).unwrap();
        bulk_client::load_night(&server.base, archive.path(), credentials, &StopSignal::new()).unwrap()
    };
    let first = night();
    assert!(first.resources > 1000, "{first:?}");
    let second = night();
    assert_eq!((second.resources, second.was_complete), (0, false), "nothing changed: {second:?}");
    for summary in [&first, &second] {
        assert!(summary.deleted.as_deref().unwrap_or_default().contains("202"), "{summary:?}");
        assert!(summary.out.join("manifest.json").exists());
    }
}

#[test]
fn a_host_stops_an_export_by_its_signal() {
    let setup = Setup::new();
    let server = setup.start();
    let folder = temporary_folder();
    let stop = StopSignal::new();
    stop.stop();
    let options = ExportOptions::new(&server.base, folder.path().join("out"));
    let error = export(options, SilentProgress, &stop).unwrap_err();
    assert_eq!(error.kind(), ClientErrorKind::Interrupted, "{error}");
    assert!(!folder.path().join("out/manifest.json").exists());
}
