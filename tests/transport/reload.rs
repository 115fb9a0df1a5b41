//! A certificate is replaced while the server runs.

use super::*;

/// Waits until new connections get `identity`'s certificate.
fn wait_for(server: &Server, identity: &Identity) {
    eventually("the new certificate", || identity.connect(server).ok());
}

#[test]
fn a_new_certificate_is_for_new_connections_and_open_ones_go_on() {
    let (old, new) = (Identity::new(), Identity::new());
    let setup = old.setup();
    let server = setup.start();
    let mut open = old.connect(&server).unwrap();
    assert_eq!(ask(&mut open, METADATA).0, 200);
    std::fs::copy(new.certificate(), old.certificate()).unwrap();
    std::fs::copy(new.key(), old.key()).unwrap();
    wait_for(&server, &new);
    assert!(old.connect(&server).is_err(), "the old one is not given any more");
    assert_eq!(ask(&mut open, METADATA).0, 200, "an open connection goes on");
}

#[test]
fn a_pair_that_cannot_be_used_is_refused_and_the_one_before_stays() {
    let (old, new) = (Identity::new(), Identity::new());
    let setup = old.setup();
    let server = setup.start();
    let refusals = || setup.log().matches("the one before it stays in use").count();
    for (certificate, key) in [
        // Half of a pair; nonsense; nothing.
        (Some(std::fs::read(new.certificate()).unwrap()), std::fs::read(old.key()).unwrap()),
        (Some(b"nonsense".to_vec()), std::fs::read(old.key()).unwrap()),
        (None, std::fs::read(new.key()).unwrap()),
    ] {
        let before = refusals();
        match certificate {
            Some(bytes) => std::fs::write(old.certificate(), bytes).unwrap(),
            None => std::fs::remove_file(old.certificate()).unwrap(),
        }
        std::fs::write(old.key(), key).unwrap();
        eventually("the refusal", || (refusals() > before).then_some(()));
        assert_eq!(ask(&mut old.connect(&server).unwrap(), METADATA).0, 200, "the old one stays");
    }
    // And the next good one is taken.
    std::fs::copy(new.certificate(), old.certificate()).unwrap();
    std::fs::copy(new.key(), old.key()).unwrap();
    wait_for(&server, &new);
    let text = metrics(&server);
    assert!(text.contains("evanesce_certificate_reads_total{outcome=\"taken\"} 1"), "{text}");
    assert!(text.contains("evanesce_certificate_reads_total{outcome=\"refused\"}"), "{text}");
    assert!(text.contains("evanesce_certificate_expiry_seconds 4070908800"), "{text}");
}

#[test]
fn a_certificate_behind_a_link_that_is_turned_is_taken() {
    // As Kubernetes mounts secrets: the files are links into a folder behind a link.
    let (old, new) = (Identity::new(), Identity::new());
    let mount = tempfile::tempdir().unwrap();
    let path = |name: &str| mount.path().join(name);
    let link = |to: &Path, name: &str| std::os::unix::fs::symlink(to, path(name)).unwrap();
    link(old.folder.path(), "data");
    link(Path::new("data/cert.pem"), "cert.pem");
    link(Path::new("data/key.pem"), "key.pem");
    let setup = Setup::new()
        .set(&format!("tls.certificate={}", path("cert.pem").display()))
        .set(&format!("tls.key={}", path("key.pem").display()));
    let server = setup.start();
    assert!(old.connect(&server).is_ok());
    link(new.folder.path(), "data.new");
    std::fs::rename(path("data.new"), path("data")).unwrap();
    wait_for(&server, &new);
}

fn metrics(server: &Server) -> String {
    server.metrics()
}
