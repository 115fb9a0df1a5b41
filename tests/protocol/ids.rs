//! Every id of the requirements has a test that is named by it, or a reason why it has none.

use std::collections::BTreeSet;
use std::path::Path;

/// How many requirements there are, by the letters of their ids.
const IDS: &[(&str, u32)] = &[
    ("G", 12),
    ("K", 20),
    ("ST", 11),
    ("D", 9),
    ("MF", 10),
    ("F", 10),
    ("O", 5),
    ("SC", 1),
    ("RG", 2),
    ("T", 6),
    ("SCP", 3),
    ("CP", 6),
];

/// Ids without a test of their own, and why.
const REASONS: &[(&str, &str)] = &[
    ("F-6", "files are served by the server itself; nothing redirects"),
    ("O-5", "describes another product"),
];

/// The names of all tests below a folder.
fn tests(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            tests(&path, names);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(path).unwrap();
            let mut is_test = false;
            for line in text.lines().map(str::trim) {
                let function = line.strip_prefix("fn ").or_else(|| line.strip_prefix("async fn "));
                match function {
                    Some(rest) if is_test => {
                        names.insert(rest.split('(').next().unwrap_or_default().to_string());
                        is_test = false;
                    }
                    Some(_) => is_test = false,
                    None => is_test |= line.starts_with("#[") && line.ends_with("test]"),
                }
            }
        }
    }
}

#[test]
fn every_requirement_has_a_test_that_is_named_by_it_or_a_reason_why_not() {
    let mut names = BTreeSet::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests(&root.join("tests"), &mut names);
    tests(&root.join("src"), &mut names);
    let (mut missing, mut stale) = (Vec::new(), Vec::new());
    for id in IDS.iter().flat_map(|(letters, count)| (1..=*count).map(move |n| format!("{letters}-{n}"))) {
        let prefix = format!("{}_", id.to_lowercase().replace('-', "_"));
        let has_test = names.iter().any(|name| name.starts_with(&prefix));
        let has_reason = REASONS.iter().any(|(of, _)| *of == id);
        if !has_test && !has_reason {
            missing.push(id);
        } else if has_test && has_reason {
            stale.push(id);
        }
    }
    assert!(missing.is_empty(), "neither a test nor a reason: {missing:?}");
    assert!(stale.is_empty(), "a test and a reason why there is none: {stale:?}");
}
