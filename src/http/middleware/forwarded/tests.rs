//! Which reports of proxies are believed, as a table.

use actix_web::http::header::{HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;

const PEER: &str = "10.0.0.1";

fn proxies() -> NetworkSet {
    serde_json::from_str("[\"10.0.0.0/8\", \"fd00::/8\"]").unwrap()
}

fn headers(fields: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
        headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value);
    }
    headers
}

fn client(peer: &str, fields: &[(&str, &str)], kind: ProxyFields) -> (String, Option<bool>, Option<String>) {
    let peer = peer.parse().unwrap();
    let client = ForwardedClient::behind(peer, Some(false), &headers(fields), &proxies(), kind);
    (client.address.0.to_string(), client.is_https, client.origin)
}

#[test]
fn the_rightmost_address_that_is_no_trusted_proxy_is_the_client() {
    use ProxyFields::{Forwarded, XForwarded};
    for (kind, fields, expected) in [
        (XForwarded, &[][..], PEER),
        (XForwarded, &[("x-forwarded-for", "192.0.2.7")], "192.0.2.7"),
        (XForwarded, &[("x-forwarded-for", "6.6.6.6, 192.0.2.7")], "192.0.2.7"),
        (XForwarded, &[("x-forwarded-for", "6.6.6.6, 192.0.2.7, 10.0.0.9,10.0.0.8")], "192.0.2.7"),
        (XForwarded, &[("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "192.0.2.7")], "192.0.2.7"),
        (XForwarded, &[("x-forwarded-for", "10.0.0.3, 10.0.0.2")], "10.0.0.3"),
        (XForwarded, &[("x-forwarded-for", "2001:db8::7")], "2001:db8::7"),
        (XForwarded, &[("x-forwarded-for", "[2001:db8::7]:4711, fd00::2")], "2001:db8::7"),
        (XForwarded, &[("x-forwarded-for", "192.0.2.7:4711")], "192.0.2.7"),
        (XForwarded, &[("x-forwarded-for", "::ffff:192.0.2.7")], "192.0.2.7"),
        // Whatever stands before the client's address is its own invention.
        (XForwarded, &[("x-forwarded-for", "x, 192.0.2.7")], "192.0.2.7"),
        (XForwarded, &[("x-forwarded-for", "unknown, 192.0.2.7, 10.0.0.9")], "192.0.2.7"),
        (XForwarded, &[("x-forwarded-for", "127.0.0.1, 192.0.2.7")], "192.0.2.7"),
        (XForwarded, &[("x-forwarded-for", ",,\"a, 192.0.2.7")], "192.0.2.7"),
        (XForwarded, &[("x-forwarded-for", "\u{e9}, 192.0.2.7")], "192.0.2.7"),
        (XForwarded, &[("x-forwarded-for", "evil"), ("x-forwarded-for", "192.0.2.7")], "192.0.2.7"),
        (XForwarded, &[("x-forwarded-for", "fe80::1%eth0, 192.0.2.7")], "192.0.2.7"),
        (XForwarded, &[("x-forwarded-for", "192.0.2.7, fe80::1%eth0")], "fe80::1"),
        // A proxy that does not report whom it serves is the last known address.
        (XForwarded, &[("x-forwarded-for", "unknown")], PEER),
        (XForwarded, &[("x-forwarded-for", "192.0.2.7, evil")], PEER),
        (XForwarded, &[("x-forwarded-for", "192.0.2.7, ")], PEER),
        (XForwarded, &[("x-forwarded-for", "192.0.2.7"), ("x-forwarded-for", "")], PEER),
        (XForwarded, &[("x-forwarded-for", "6.6.6.6, unix:, 10.0.0.9")], "10.0.0.9"),
        (XForwarded, &[("x-forwarded-for", "192.0.2.256")], PEER),
        (XForwarded, &[("x-forwarded-for", "192.0.2.7:70000")], PEER),
        (XForwarded, &[("x-forwarded-for", "[192.0.2.7]:80")], PEER),
        (XForwarded, &[("x-forwarded-for", "192.0.2.7%eth0")], PEER),
        // A malformed part elsewhere says nothing of the address.
        (XForwarded, &[("x-forwarded-for", "192.0.2.7"), ("x-forwarded-proto", "gopher")], "192.0.2.7"),
        (XForwarded, &[("x-forwarded-for", "192.0.2.7"), ("x-forwarded-host", "a/b")], "192.0.2.7"),
        (XForwarded, &[("x-forwarded-for", "192.0.2.7"), ("x-forwarded-port", "70000")], "192.0.2.7"),
        // The fields that the proxies do not set are the client's.
        (XForwarded, &[("forwarded", "for=6.6.6.6")], PEER),
        (Forwarded, &[("x-forwarded-for", "6.6.6.6")], PEER),
        (Forwarded, &[("forwarded", "for=192.0.2.7")], "192.0.2.7"),
        (Forwarded, &[("forwarded", "For=\"[2001:db8::7]:4711\"")], "2001:db8::7"),
        (Forwarded, &[("forwarded", "for=6.6.6.6, for=192.0.2.7;by=_x, for=10.0.0.9")], "192.0.2.7"),
        (Forwarded, &[("forwarded", "for=6.6.6.6"), ("forwarded", "for=192.0.2.7")], "192.0.2.7"),
        (Forwarded, &[("forwarded", "for=6.6.6.6, for=unknown")], PEER),
        (Forwarded, &[("forwarded", "for=6.6.6.6, for=_hidden, for=10.0.0.9")], "10.0.0.9"),
        (Forwarded, &[("forwarded", "for=192.0.2.7, proto=https")], PEER),
        (Forwarded, &[("forwarded", "for=192.0.2.7;for=6.6.6.6")], PEER),
        (Forwarded, &[("forwarded", "for=\"192.0.2.7")], PEER),
        (Forwarded, &[("forwarded", "for=192.0.2.7, for=\"evil\\\"\"")], PEER),
        (Forwarded, &[("forwarded", "for=192.0.2.7;nonsense;proto=gopher;host=\"a/b\"")], "192.0.2.7"),
        (Forwarded, &[("forwarded", "for=192.0.2.7;secret=\"a,b;c\\\",d\"")], "192.0.2.7"),
        (Forwarded, &[("forwarded", "for=\"a,b\", for=192.0.2.7")], "192.0.2.7"),
        (Forwarded, &[("forwarded", "for=\"a, for=192.0.2.7")], "192.0.2.7"),
        (Forwarded, &[("forwarded", "secret=\"a\\\", for=192.0.2.7")], "192.0.2.7"),
        (Forwarded, &[("forwarded", "\u{e9};;=, for=192.0.2.7")], "192.0.2.7"),
    ] {
        assert_eq!(client(PEER, fields, kind).0, expected, "{fields:?}");
    }
    let long = format!("{}192.0.2.7, 10.0.0.9", "6.6.6.6,".repeat(1000));
    assert_eq!(client(PEER, &[("x-forwarded-for", &long)], XForwarded).0, "192.0.2.7");
    // As many proxies as are followed, and one more.
    for (proxies, expected) in [(LONGEST - 1, "192.0.2.7"), (LONGEST, "10.0.0.9")] {
        let long = format!("192.0.2.7{}", ",10.0.0.9".repeat(proxies));
        assert_eq!(client(PEER, &[("x-forwarded-for", &long)], XForwarded).0, expected);
        let hops = format!("for=192.0.2.7{}", ",for=10.0.0.9".repeat(proxies));
        assert_eq!(client(PEER, &[("forwarded", &hops)], Forwarded).0, expected);
    }
}

#[test]
fn nobody_is_exempt_by_the_address_of_a_proxy_or_of_its_machine() {
    let exempt: NetworkSet = serde_json::from_str("[\"127.0.0.0/8\", \"::1\", \"192.0.2.0/24\"]").unwrap();
    let proxies: NetworkSet = serde_json::from_str("[\"127.0.0.1\", \"192.0.2.1\"]").unwrap();
    for (peer, told, is_exempt) in [
        ("127.0.0.9", "6.6.6.6", true),
        ("127.0.0.1", "6.6.6.6", false),
        ("127.0.0.1", "192.0.2.7", true),
        ("127.0.0.1", "192.0.2.1", false),
        ("127.0.0.1", "127.0.0.9", false),
        ("127.0.0.1", "::1", false),
        ("127.0.0.1", "unknown", false),
        ("127.0.0.1", "", false),
        ("192.0.2.1", "::ffff:127.0.0.9", false),
        ("6.6.6.6", "127.0.0.9", false),
    ] {
        let told = headers(&[("x-forwarded-for", told)]);
        let peer = peer.parse().unwrap();
        let client = ForwardedClient::behind(peer, None, &told, &proxies, ProxyFields::XForwarded);
        assert_eq!(client.is_in(&exempt), is_exempt, "{peer} {told:?}");
    }
}

#[test]
fn whoever_is_no_trusted_proxy_is_believed_nothing() {
    let fields = [
        ("x-forwarded-for", "10.0.0.1"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "evil.example"),
        ("forwarded", "for=10.0.0.1;proto=https;host=evil.example"),
    ];
    for kind in [ProxyFields::XForwarded, ProxyFields::Forwarded] {
        assert_eq!(client("192.0.2.7", &fields, kind), ("192.0.2.7".into(), Some(false), None));
        assert_eq!(client("::ffff:10.0.0.1", &fields, kind).2, Some("https://evil.example".into()));
    }
}

#[test]
fn the_origin_is_that_of_the_proxy_that_told_of_the_client() {
    use ProxyFields::{Forwarded, XForwarded};
    let host = |value| ("x-forwarded-host", value);
    let https = ("x-forwarded-proto", "https");
    for (kind, fields, is_https, expected) in [
        (XForwarded, &[https, host("fhir.example.org")][..], Some(true), Some("https://fhir.example.org")),
        (XForwarded, &[host("Fhir.Example.org:8443")], None, Some("http://fhir.example.org:8443")),
        (XForwarded, &[https, host("[2001:db8::1]:8443")], Some(true), Some("https://[2001:db8::1]:8443")),
        (XForwarded, &[https], Some(true), None),
        (XForwarded, &[("x-forwarded-proto", "http")], Some(false), None),
        (XForwarded, &[https, host("a"), ("x-forwarded-port", "8443")], Some(true), Some("https://a:8443")),
        (XForwarded, &[https, host("a"), ("x-forwarded-port", "443")], Some(true), Some("https://a")),
        (XForwarded, &[https, host("a:1"), ("x-forwarded-port", "8443")], Some(true), Some("https://a:1")),
        // The last is the nearest proxy's; what stands before it may be the client's.
        (XForwarded, &[https, host("evil.example, a")], Some(true), Some("https://a")),
        (XForwarded, &[https, host("evil.example"), host("a")], Some(true), Some("https://a")),
        (Forwarded, &[("forwarded", "for=192.0.2.7;proto=https;host=a")], Some(true), Some("https://a")),
        (
            Forwarded,
            &[(
                "forwarded",
                "for=6.6.6.6;host=evil, for=192.0.2.7;proto=https;host=\"a:8443\", for=10.0.0.9;host=b",
            )],
            Some(true),
            Some("https://a:8443"),
        ),
        (Forwarded, &[("forwarded", "for=192.0.2.7;host=evil@a")], None, None),
        // A malformed part counts as absent, alone.
        (XForwarded, &[("x-forwarded-for", "unknown"), https, host("a")], Some(true), Some("https://a")),
        (XForwarded, &[https, host("a"), ("x-forwarded-port", "0")], Some(true), Some("https://a")),
        (XForwarded, &[https, host("a"), ("x-forwarded-port", "x")], Some(true), Some("https://a")),
        (XForwarded, &[("x-forwarded-proto", "gopher"), host("a")], None, Some("http://a")),
        (XForwarded, &[https, host("a/b")], Some(true), None),
        (XForwarded, &[https, host("evil.example, ")], Some(true), None),
        (XForwarded, &[https, host("\u{e9}, a")], Some(true), Some("https://a")),
        (Forwarded, &[("forwarded", "for=evil;proto=https;host=a")], Some(true), Some("https://a")),
        (Forwarded, &[("forwarded", "for=192.0.2.7;proto=https;host=\"a/b\"")], Some(true), None),
        (Forwarded, &[("forwarded", "for=192.0.2.7;proto=https;host=a;host=b")], Some(true), None),
    ] {
        let (_, https, origin) = client(PEER, fields, kind);
        assert_eq!((https, origin.as_deref()), (is_https, expected), "{fields:?}");
    }
}

#[test]
fn a_host_is_a_name_or_an_address_and_a_port_at_most() {
    for good in ["a", "fhir.example.org", "a:1", "192.0.2.7:8080", "[::1]", "[::1]:80", "a_b"] {
        assert!(host(good).is_some(), "{good}");
    }
    for bad in [
        "", "a/b", "a@b", "user:x@b", "a b", "a?x", "a#x", "a\\b", "a:", "a:x", "a:70000", "[::1", "[evil]",
        "::1", "a,b", "a%2fb", "<a>", "\"a\"", "a:1:2", "@", ":80", "[::1]x",
    ] {
        assert_eq!(host(bad), None, "{bad}");
    }
    assert_eq!(host(&"a".repeat(256)), None);
}

proptest! {
    #[test]
    fn no_field_panics_or_makes_a_url_that_is_none(value in "[ -~]{0,80}", name in 0..5_usize) {
        let names =
            ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-forwarded-port"];
        for kind in [ProxyFields::XForwarded, ProxyFields::Forwarded] {
            if let Some(origin) = client(PEER, &[(names[name], &value)], kind).2 {
                let url: actix_web::http::Uri = format!("{origin}/r4").parse().unwrap();
                prop_assert_eq!(url.path(), "/r4");
                prop_assert!(!origin.contains('@'));
            }
        }
    }
}
