//! Section 10: what the server says of itself.

use super::*;

#[test]
fn cp_1_metadata_is_public_and_takes_every_name_of_json() {
    let setup = Setup::new();
    let server = setup.start();
    let url = format!("{}/metadata", server.base);
    for headers in [
        &[][..],
        &[("Accept", "application/fhir+json")],
        &[("Accept", "application/json")],
        &[("Accept", "application/json+fhir")],
    ] {
        let answer = send("GET", &url, headers);
        assert_eq!((answer.status, &answer.json()["resourceType"]), (200, &"CapabilityStatement".into()));
    }
}
