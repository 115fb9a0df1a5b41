//! Lines that are odd, and lines that are no resource: each costs itself only.

use super::*;

/// Exports a file of these lines, each with a good one behind it; says which were left out.
fn check(good: &[Vec<u8>], bad: &[(Vec<u8>, &str)]) {
    let (mut content, mut expected, mut texts) = (Vec::new(), Vec::new(), Vec::new());
    let mut number = 0;
    let odd = good.iter().map(|line| (line, None)).chain(bad.iter().map(|(line, why)| (line, Some(*why))));
    for (line, why) in odd {
        let between = resource("Basic", format!("between-{number}"), "x");
        content.extend([line, b"\n".as_slice(), between.as_bytes()].concat());
        expected.push(between.trim_end().as_bytes().to_vec());
        match why {
            None => expected.push(line.clone()),
            Some(why) => texts.push(about(number + 1, "a.ndjson", why)),
        }
        number += 2;
    }
    expected.sort();
    texts.sort();
    let folder = folder_of(content);
    let setup = Setup::new().source(folder.path());
    let server = setup.start();
    let (_, manifest) = server.export("$export");
    assert_eq!(broken(&manifest), texts);
    assert_same(&exported(&manifest), &expected);
}

/// A resource with this member.
fn basic(member: &[u8]) -> Vec<u8> {
    [b"{\"resourceType\":\"Basic\",", member, b"}"].concat()
}

fn observation(subject: &str) -> Vec<u8> {
    format!("{{\"resourceType\":\"Observation\",\"subject\":{subject}}}").into_bytes()
}

#[test]
fn numbers_of_any_size_and_any_text_are_no_faults() {
    let digits = "1234567890".repeat(40);
    let mut good: Vec<_> =
        ["1e999", "-1e999", "1e-999", "-0", "-0.0", "1E+2", "0.10", &digits[..40], &digits]
            .iter()
            .map(|number| basic(format!("\"n\":[{number},{{\"meta\":{number}}}]").as_bytes()))
            .collect();
    for text in
        ["\u{2028}\u{2029}", "\u{feff}", "\\u0000", "\u{7f}\u{80}", "\\ud800", "\\\\\\\"", "\u{10ffff}"]
    {
        good.push(basic(format!("\"x\":\"{text}\"").as_bytes()));
    }
    good.push(basic(b"\"x\" :\r[ 1 ,\t2 ] "));
    good.push(basic(b"\"x\":1,\"x\":2"));
    check(&good, &[]);
}

#[test]
fn numbers_of_any_size_are_no_faults_where_a_reference_is_looked_for() {
    let digits = "9".repeat(400);
    let numbers = ["7", "-0", "1E+2", &digits[..40], "1e999", &digits];
    check(&numbers.map(observation), &[]);
}

#[test]
fn nesting_of_any_depth_is_no_fault() {
    let nested = |depth, open: &str, close: &str| format!("{}1{}", open.repeat(depth), close.repeat(depth));
    let mut good = Vec::new();
    for depth in [130, 100_000] {
        for (open, close) in [("[", "]"), ("{\"x\":", "}")] {
            good.push(basic(format!("\"x\":{}", nested(depth, open, close)).as_bytes()));
        }
        good.push(basic(format!("\"meta\":{}", nested(depth, "{\"x\":", "}")).as_bytes()));
    }
    let unclosed = basic(format!("\"x\":{}", "[".repeat(100_000)).as_bytes());
    check(&good, &[(unclosed, "is not valid JSON")]);
}

#[test]
fn nesting_of_any_depth_is_no_fault_where_a_reference_is_looked_for() {
    let nested = |depth, open: &str, close: &str| format!("{}1{}", open.repeat(depth), close.repeat(depth));
    let deep =
        [nested(20, "[", "]"), nested(1000, "{\"x\":", "}"), nested(130, "[", "]"), nested(1000, "[", "]")];
    check(&deep.map(|subject| observation(&subject)), &[]);
}

#[test]
fn what_is_not_utf_8_is_broken_wherever_it_stands() {
    let not_utf8: [&[u8]; 7] =
        [b"\xff", b"\x80", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82", b"\xf0\x9f\x98"];
    let mut bad = Vec::new();
    for bytes in not_utf8 {
        bad.push((basic(&[b"\"x\":\"", bytes, b"\""].concat()), "is not UTF-8"));
        bad.push((basic(&[b"\"", bytes, b"\":1"].concat()), "is not UTF-8"));
        bad.push(([basic(b"\"x\":1").as_slice(), bytes].concat(), "is not UTF-8"));
        bad.push(([bytes, basic(b"\"x\":1").as_slice()].concat(), "is not UTF-8"));
    }
    check(&[], &bad);
}

#[test]
fn what_is_not_json_is_broken_and_so_are_two_resources_on_a_line() {
    let no_json = "is not valid JSON";
    let mut bad: Vec<_> =
        ["01", "+1", ".5", "1.", "1e", "NaN", "Infinity", "0x1", "nul", "'x'", "\"\t\"", ""]
            .iter()
            .map(|value| (basic(format!("\"x\":{value}").as_bytes()), no_json))
            .collect();
    bad.extend(
        ["\"x\":1,", "\"x\":[1,]", "x:1", "/**/\"x\":1", "\"x\":\"\\x\""]
            .map(|it| (basic(it.as_bytes()), no_json)),
    );
    bad.push((basic(b"\"x\":\"\0\""), no_json));
    bad.push(([basic(b"\"x\":1").as_slice(), b"\0"].concat(), no_json));
    bad.push((vec![0; 1000], "is not a JSON object"));
    bad.push(([b"\xEF\xBB\xBF".as_slice(), &basic(b"\"x\":1")].concat(), "is not a JSON object"));
    // Line ends that are none here: all of it is one line.
    for between in ["\r", "\u{2028}", "\u{85}", "\x0b"] {
        bad.push(([basic(b"\"x\":1"), between.into(), basic(b"\"x\":2")].concat(), no_json));
    }
    check(&[], &bad);
}

#[test]
fn keys_that_stand_twice_break_a_line_where_they_decide_and_nowhere_else() {
    let line = |text: &str| text.as_bytes().to_vec();
    let ambiguous = "has an element twice that says whose it is, or how old";
    let bad = [
        (r#"{"resourceType":"Basic","resourceType":"Basic"}"#, "has no resourceType, or two"),
        (r#"{"resourceType":"Basic","id":"a","id":"a"}"#, "has an id that is not a string, or two"),
        (r#"{"resourceType":"Basic","meta":{},"meta":{}}"#, ambiguous),
        (r#"{"resourceType":"Basic","meta":{"lastUpdated":1,"lastUpdated":1}}"#, ambiguous),
        (r#"{"resourceType":"Basic","subject":1,"subject":1}"#, ambiguous),
        (r#"{"subject":{"reference":1,"reference":1},"resourceType":"Basic"}"#, ambiguous),
    ];
    let good = [
        r#"{"resourceType":"Basic","code":1,"code":2}"#,
        r#"{"resourceType":"Basic","meta":{"tag":1,"tag":2}}"#,
        r#"{"resourceType":"Basic","contained":[{"id":"a","id":"a","resourceType":1,"resourceType":2}]}"#,
        r#"{"resourceType":"Basic","Id":"a","ID":"b","iD":"c"}"#,
    ];
    check(&good.map(line), &bad.map(|(text, why)| (line(text), why)));
}
