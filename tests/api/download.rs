//! The file request (requirements section 7): headers, conditions, ranges, and names that
//! are not those of a file.

use super::*;

#[test]
fn a_file_is_served_whole_conditionally_and_in_ranges() {
    let setup = Setup::new();
    let server = setup.start();
    let (_, manifest) = server.export("$export?_type=Patient");
    let url = first_file(&manifest);
    let whole = get(&url);
    assert_eq!(whole.status, 200);
    assert_eq!(whole.header("content-type"), "application/fhir+ndjson", "F-3");
    assert_eq!(whole.header("cache-control"), "no-store", "G-12");
    assert_eq!(whole.header("accept-ranges"), "bytes", "F-9");
    let size = whole.body.len();
    assert!(size > 20_000);
    assert_eq!(whole.header("content-length"), size.to_string());
    let tag = whole.header("etag");
    assert!(tag.starts_with('"') && tag.ends_with('"'), "strong: {tag}");
    let modified = whole.header("last-modified");
    let instant = jiff::fmt::rfc2822::parse(modified).unwrap().timestamp();
    assert!((jiff::Timestamp::now().as_second() - instant.as_second()).abs() < 60);

    let head = send("HEAD", &url, &[]);
    assert_eq!((head.status, head.body.len()), (200, 0));
    for name in ["content-type", "content-length", "etag", "last-modified", "accept-ranges"] {
        assert_eq!(head.header(name), whole.header(name), "{name}");
    }

    let weak = format!("W/{tag}");
    let other = "\"another\"";
    for (headers, status) in [
        (&[("If-None-Match", tag)][..], 304),
        (&[("If-None-Match", "*")], 304),
        (&[("If-None-Match", weak.as_str())], 304),
        (&[("If-None-Match", other)], 200),
        (&[("If-None-Match", "garbage")], 200),
        // If-None-Match goes before Range (RFC 9110, 13.2.2).
        (&[("If-None-Match", tag), ("Range", "bytes=0-1")], 304),
    ] {
        for method in ["GET", "HEAD"] {
            let answer = send(method, &url, headers);
            assert_eq!(answer.status, status, "{method} {headers:?}");
            assert_eq!(answer.header("etag"), tag);
            let expected: &[u8] = if status == 200 && method == "GET" { &whole.body } else { b"" };
            assert!(answer.body == expected, "{method} {headers:?}");
        }
    }

    let last = size - 1;
    // The bytes that come, and whether as a part.
    for (headers, expected) in [
        (&[("Range", "bytes=0-0".to_string())][..], Ok(0..1)),
        (&[("Range", "bytes=0-99".into())], Ok(0..100)),
        (&[("Range", "bytes=5000-9999".into())], Ok(5000..10_000)),
        (&[("Range", format!("bytes={last}-{last}"))], Ok(last..size)),
        (&[("Range", "bytes=-100".into())], Ok(size - 100..size)),
        (&[("Range", format!("bytes=-{}", size * 2))], Ok(0..size)),
        (&[("Range", "bytes=10000-".into())], Ok(10_000..size)),
        (&[("Range", "bytes=0-".into())], Ok(0..size)),
        (&[("Range", format!("bytes=0-{}", u64::MAX))], Ok(0..size)),
        (&[("Range", format!("bytes=-{}", u64::MAX))], Ok(0..size)),
        (&[("Range", format!("bytes={}-{}", u64::MAX, u64::MAX))], Err(416)),
        (&[("Range", format!("bytes=10-{}", size * 2))], Ok(10..size)),
        (&[("Range", format!("bytes={size}-"))], Err(416)),
        (&[("Range", format!("bytes={}-{}", size * 2, size * 3))], Err(416)),
        (&[("Range", "bytes=-0".into())], Err(416)),
        // More than one, other units and what is no range: the whole file.
        (&[("Range", "bytes=0-1,5-6".into())], Err(200)),
        (&[("Range", "lines=0-1".into())], Err(200)),
        (&[("Range", "bytes=9-2".into())], Err(200)),
        (&[("Range", "bytes=x".into())], Err(200)),
        (&[("Range", "bytes=".into())], Err(200)),
        (&[("Range", "bytes=18446744073709551616-".into())], Err(200)),
        (&[("Range", "bytes=0-9".into()), ("If-Range", tag.into())], Ok(0..10)),
        (&[("Range", "bytes=0-9".into()), ("If-Range", modified.into())], Ok(0..10)),
        (&[("Range", "bytes=0-9".into()), ("If-Range", other.into())], Err(200)),
        (&[("Range", "bytes=0-9".into()), ("If-Range", weak.clone())], Err(200)),
        (&[("Range", "bytes=0-9".into()), ("If-Range", "Mon, 01 Jan 2024 00:00:00 GMT".into())], Err(200)),
        (&[("Range", "bytes=0-9".into()), ("If-Range", "garbage".into())], Err(200)),
    ] {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = send("GET", &url, &headers);
        match expected {
            Ok(range) => {
                assert_eq!(answer.status, 206, "{headers:?}");
                let content_range = format!("bytes {}-{}/{size}", range.start, range.end - 1);
                assert_eq!(answer.header("content-range"), content_range);
                assert!(answer.body == whole.body[range.clone()], "{headers:?}");
                assert_eq!(answer.header("content-type"), "application/fhir+ndjson");
            }
            Err(416) => {
                assert_eq!((answer.status, answer.body.len()), (416, 0), "{headers:?}");
                assert_eq!(answer.header("content-range"), format!("bytes */{size}"));
            }
            Err(_) => {
                assert_eq!(answer.status, 200, "{headers:?}");
                assert_eq!(answer.header("content-range"), "");
                assert!(answer.body == whole.body, "{headers:?}");
            }
        }
        // Range is for GET alone (RFC 9110, 14.2).
        let head = send("HEAD", &url, &headers);
        assert_eq!((head.status, head.body.len(), head.header("content-range")), (200, 0, ""), "{headers:?}");
        assert_eq!(head.header("content-length"), size.to_string(), "{headers:?}");
    }

    let mut joined = Vec::new();
    while joined.len() < size {
        let range = format!("bytes={}-{}", joined.len(), joined.len() + 7000);
        joined.extend(send("GET", &url, &[("Range", &range), ("If-Range", tag)]).body);
    }
    assert!(joined == whole.body);
    assert_eq!(get(&url).header("etag"), tag, "the tag stays");
}

#[test]
fn accept_of_a_file_may_be_absent_or_one_of_its_names() {
    let setup = Setup::new();
    let server = setup.start();
    let (_, manifest) = server.export("$export?_type=Organization");
    let url = first_file(&manifest);
    for accept in [
        "*/*",
        "application/*",
        "application/fhir+ndjson",
        "application/ndjson",
        "ndjson",
        "text/html, */*;q=0.1",
        "ndjson;q=.5",
        "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2",
        "",
    ] {
        for method in ["GET", "HEAD"] {
            assert_eq!(send(method, &url, &[("Accept", accept)]).status, 200, "F-4: {accept}");
        }
    }
    for accept in
        ["application/fhir+json", "application/json", "text/plain", "application/ndjson;q=0", "nd json"]
    {
        let answer = send("GET", &url, &[("Accept", accept)]);
        assert_eq!(answer.outcome(), outcome(406, "structure"), "{accept}");
        assert_eq!(send("HEAD", &url, &[("Accept", accept)]).status, 406);
    }
}

#[test]
fn only_the_exact_name_of_a_file_of_the_job_is_served() {
    let setup = Setup::new();
    let server = setup.start();
    let (polling, manifest) = server.export("$export?_type=Organization");
    let (other_job, other) = server.export("$export?_type=Organization");
    let url = first_file(&manifest);
    let (folder, name) = url.rsplit_once('/').unwrap();
    let other_name = first_file(&other).rsplit_once('/').unwrap().1.to_string();
    let there = setup.data_dir().join("ready").join(job_id(&polling));
    let names = [
        name.to_lowercase(),
        name.to_uppercase(),
        format!("{name}%20"),
        format!("{name}."),
        format!("{name}%00"),
        format!("{name}%00.ndjson"),
        format!("%00{name}"),
        format!(".%2f{name}"),
        format!("%2e%2f{name}"),
        format!("..%2f{}%2f{name}", job_id(&polling)),
        format!("%2e%2e%2f{}%2f{name}", job_id(&polling)),
        format!("..%5c{}%5c{name}", job_id(&polling)),
        format!("..%252f{name}"),
        format!("{name}%2f"),
        format!("%2f{name}"),
        format!("%2F{}", there.join(name).display()).replace('/', "%2f"),
        "request.json".into(),
        "job.json".into(),
        "plan.json".into(),
        "..%2f..%2freceipts.ndjson".into(),
        "..%2f..%2f..%2f..%2f..%2f..%2fetc%2fpasswd".into(),
        "..%c0%af..%c0%afetc%c0%afpasswd".into(),
        "%2e%2e".into(),
        "..".into(),
        ".".into(),
        "*".into(),
        "%ff".into(),
        "x".repeat(3000),
        // Another job's file; and this one's under another job.
        other_name,
    ];
    for name in names {
        let url = format!("{folder}/{name}");
        // As it stands: a client library would tidy it.
        let path = url.split_once(raw::address(&server)).unwrap().1;
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let answer = raw::exchange(&server, request.as_bytes()).unwrap();
        assert_eq!(answer.outcome(), outcome(404, "not-found"), "F-10: {url}");
        assert!(!answer.json().to_string().contains(setup.data_dir().to_str().unwrap()));
    }
    for url in [
        format!("{}/{name}", other_job.replace("/request/", "/download/")),
        format!("{folder}/"),
        folder.to_string(),
        format!("{url}/"),
        format!("{folder}/x/%2e%2e/{name}"),
        format!("{folder}//{name}"),
        url.replace("/r4/default/", "/r4/another/"),
        url.replace(job_id(&polling), &job_id(&polling).to_uppercase()),
    ] {
        let path = url.split_once(raw::address(&server)).unwrap().1;
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let answer = raw::exchange(&server, request.as_bytes()).unwrap();
        // An id of hexadecimal digits only has no other case.
        if url != first_file(&manifest) {
            assert_eq!(answer.outcome(), outcome(404, "not-found"), "{url}");
        }
    }
    // The same name, spelt with escapes: the URL is the same one (RFC 3986, 6.2.2.2).
    assert_eq!(get(&url.replace("_Organization", "%5FOrganization")).status, 200);
    assert_eq!(get(&url).status, 200);
}
