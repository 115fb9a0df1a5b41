//! Hostile or broken reads and searches: metadata, OperationDefinitions, Groups, Binaries.

use super::hostile::Expected::{Good, Library, Ours};
use super::hostile::{assert_unharmed, check, check_line};
use super::*;

const NOT_FOUND: super::hostile::Expected = Ours(404, "not-found");
const STRUCTURE: super::hostile::Expected = Ours(400, "structure");
const INVALID: super::hostile::Expected = Ours(400, "invalid");
const NOT_SUPPORTED: super::hostile::Expected = Ours(400, "not-supported");
const NOT_ACCEPTABLE: super::hostile::Expected = Ours(406, "structure");
const TOO_LONG: super::hostile::Expected = Ours(414, "too-long");

#[test]
fn hostile_ids_are_ids_that_nobody_has() {
    let setup = Setup::new();
    let server = setup.start();
    let long = |n: usize| "x".repeat(n);
    for resource in ["Group", "Binary", "OperationDefinition"] {
        for (id, expected) in [
            ("..".to_string(), NOT_FOUND),
            (".".into(), NOT_FOUND),
            ("%2e%2e".into(), NOT_FOUND),
            ("..%2f..%2f..%2fetc%2fpasswd".into(), NOT_FOUND),
            ("%2Fetc%2Fpasswd".into(), NOT_FOUND),
            ("%5c..%5c".into(), NOT_FOUND),
            ("%00".into(), NOT_FOUND),
            ("All_Patients%00".into(), NOT_FOUND),
            ("all_patients".into(), NOT_FOUND),
            ("All_Patients%20".into(), NOT_FOUND),
            ("All_Patients/".into(), NOT_FOUND),
            ("All_Patients/_history/1".into(), NOT_FOUND),
            ("x;jsessionid=1".into(), NOT_FOUND),
            ("Patient%2FAll_Patients".into(), NOT_FOUND),
            ("%22%7B%7D".into(), NOT_FOUND),
            ("'%20OR%201=1--".into(), NOT_FOUND),
            ("$export".into(), NOT_FOUND),
            ("$everything".into(), NOT_FOUND),
            ("%F0%9F%92%A9".into(), NOT_FOUND),
            ("%0d%0aSet-Cookie:x".into(), NOT_FOUND),
            ("%25".into(), NOT_FOUND),
            ("*".into(), NOT_FOUND),
            ("-1".into(), NOT_FOUND),
            (long(8000), NOT_FOUND),
            (long(8192), TOO_LONG),
            ("%".into(), STRUCTURE),
            ("%4".into(), STRUCTURE),
            ("%%30".into(), STRUCTURE),
            ("%ff".into(), STRUCTURE),
            ("%c0%ae".into(), STRUCTURE),
            ("%ed%a0%80".into(), STRUCTURE),
            ("x?_format=%zz".into(), STRUCTURE),
            ("x?_format=xml".into(), NOT_ACCEPTABLE),
            ("x?_format=json&_format=xml".into(), NOT_ACCEPTABLE),
            ("x?_elements=id".into(), NOT_SUPPORTED),
            (format!("x?{}", long(3000)), NOT_SUPPORTED),
            ("\u{1}".into(), Library(400)),
        ] {
            check_line(&server, &format!("GET /r4/default/{resource}/{id} HTTP/1.1"), "", expected);
        }
    }
    assert_unharmed(&setup, &server);
    let log = setup.settled_log(&server);
    assert!(!log.contains("passwd") && !log.contains("jsessionid"), "P12");
}

#[test]
fn hostile_searches_are_refused_or_find_nothing() {
    let setup = Setup::new();
    let server = setup.start();
    let long = |n: usize| "x".repeat(n);
    for (path, expected) in [
        ("Group?_count=".to_string(), INVALID),
        ("Group?_count=-1".into(), INVALID),
        ("Group?_count=1.5".into(), INVALID),
        ("Group?_count=1e3".into(), INVALID),
        ("Group?_count=0x10".into(), INVALID),
        ("Group?_count=%00".into(), INVALID),
        ("Group?_count=%D9%A3".into(), INVALID),
        ("Group?_count=4294967296".into(), INVALID),
        (format!("Group?_count={}", "9".repeat(5000)), INVALID),
        ("Group?_count=4294967295".into(), Good(200)),
        ("Group?_count=0".into(), Good(200)),
        ("Group?_count=1&_count=1".into(), NOT_SUPPORTED),
        ("Group?_after=".into(), Good(200)),
        ("Group?_after=%00".into(), Good(200)),
        ("Group?_after=%F4%8F%BF%BF".into(), Good(200)),
        ("Group?_after=x&_after=y".into(), NOT_SUPPORTED),
        (format!("Group?_after={}", long(8000)), Good(200)),
        ("Group?_after=%ff".into(), STRUCTURE),
        ("Group?name=".into(), INVALID),
        ("Group?name".into(), INVALID),
        ("Group?name=,".into(), INVALID),
        (format!("Group?name={}", ",".repeat(5000)), INVALID),
        ("Group?name=%5C".into(), INVALID),
        ("Group?name=%5C,".into(), Good(200)),
        ("Group?name=%00".into(), Good(200)),
        ("Group?name=.*%2B(a%2B)%2B$".into(), Good(200)),
        ("Group?name=%C4%B0%C3%9F%EF%AC%83".into(), Good(200)),
        ("Group?name=%'".into(), STRUCTURE),
        ("Group?name[]=x".into(), NOT_SUPPORTED),
        ("Group?name:missing=true".into(), NOT_SUPPORTED),
        ("Group?Name=x".into(), NOT_SUPPORTED),
        (format!("Group?{}", "name=x&".repeat(100)), Good(200)),
        (format!("Group?{}", "name=x&".repeat(101)), Ours(400, "too-costly")),
        (format!("Group?_id={}", "x,".repeat(2000)), INVALID),
        (format!("Group?_id={}x", "x,".repeat(99)), Good(200)),
        (format!("Group?_id={}x", "x,".repeat(100)), Ours(400, "too-costly")),
        ("Group?_id=../All_Patients".into(), Good(200)),
        ("Group?_id[$ne]=".into(), NOT_SUPPORTED),
        ("Group?member=Patient/1".into(), NOT_SUPPORTED),
        ("Group?_include=*".into(), NOT_SUPPORTED),
        ("Group?_has:x:y:z=1".into(), NOT_SUPPORTED),
        ("Group?_format=application/x-ndjson".into(), NOT_ACCEPTABLE),
        ("Group?%0d%0aX:=1".into(), NOT_SUPPORTED),
        ("Group?=".into(), NOT_SUPPORTED),
        ("Group?&&&".into(), Good(200)),
        ("Group?#name=%".into(), Good(200)),
        (format!("Group?name={}", long(8192)), TOO_LONG),
        ("Group/".into(), NOT_FOUND),
        ("Group/?_count=1".into(), NOT_FOUND),
        ("group".into(), NOT_FOUND),
        ("Group/_search".into(), Ours(405, "not-supported")),
        ("Binary".into(), NOT_FOUND),
        ("Binary?_count=1".into(), NOT_FOUND),
        ("OperationDefinition?url=".into(), Good(200)),
        ("OperationDefinition?url=file:///etc/passwd".into(), Good(200)),
        ("OperationDefinition?url=http://169.254.169.254/".into(), Good(200)),
        (format!("OperationDefinition?url={}", long(8000)), Good(200)),
        ("OperationDefinition?url=%".into(), STRUCTURE),
        ("OperationDefinition?name=export".into(), NOT_SUPPORTED),
        ("metadata?mode=%00".into(), INVALID),
        ("metadata?mode=FULL".into(), INVALID),
        ("metadata?mode=full&mode=x".into(), INVALID),
        ("metadata?_format=application/fhir%2Bjson%00".into(), NOT_ACCEPTABLE),
        ("metadata?_format[]=json".into(), NOT_SUPPORTED),
        ("metadata/".into(), NOT_FOUND),
        (".well-known/smart-configuration/".into(), NOT_FOUND),
        ("Patient".into(), NOT_FOUND),
        ("Patient/$everything".into(), NOT_FOUND),
        ("Observation/$export".into(), NOT_FOUND),
    ] {
        check_line(&server, &format!("GET /r4/default/{path} HTTP/1.1"), "", expected);
    }
    for path in ["/openapi.json/", "/openapi.json%00", "/OpenAPI.json", "/openapi.yaml", "/r4/openapi.json/x"]
    {
        check_line(&server, &format!("GET {path} HTTP/1.1"), "", NOT_FOUND);
    }
    assert_unharmed(&setup, &server);
    assert!(!setup.settled_log(&server).contains("169.254"), "P12");
}

#[test]
fn other_methods_and_bodies_do_nothing_to_what_is_read() {
    let setup = Setup::new();
    let server = setup.start();
    let body = "Content-Type: application/fhir+json\r\nContent-Length: 24\r\n";
    for path in ["metadata", "Group", "Group/All_Patients", "Binary/x", "OperationDefinition/export"] {
        for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "get", "GET\u{7f}"] {
            let request = format!(
                "{method} /r4/default/{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{body}\r\n{{\"resourceType\":\"Group\"}}"
            );
            let expected = if method.ends_with('\u{7f}') { Library(400) } else { Ours(405, "not-supported") };
            check(&server, request.as_bytes(), expected);
        }
        let status = if path == "Binary/x" { Ours(404, "not-found") } else { Good(200) };
        check_line(&server, &format!("GET /r4/default/{path} HTTP/1.1"), body, status);
    }
    assert_unharmed(&setup, &server);
}
