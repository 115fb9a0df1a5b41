//! docs/requirements.md and the code agree: each id that is cited has a row, and each row has tests
//! that exist, assert something and cite it, or says why it has none.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// How many ids there are, by their letters.
const FAMILIES: [(&str, u32); 15] = [
    ("P", 15),
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
    ("C", 22),
    ("INF", 14),
];

/// How a row begins that has no test.
const REASONS: [&str; 2] = ["out of scope: ", "planned: "];

fn id(family: &str, number: u32) -> String {
    let dash = if matches!(family, "P" | "C") { "" } else { "-" };
    format!("{family}{dash}{number}")
}

/// The ids that a text cites, whether or not there are such.
fn cited(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_'));
    let is_id = |word: &&str| {
        let letters = word.trim_end_matches(|c: char| c.is_ascii_digit());
        let (family, has_dash) = letters.strip_suffix('-').map_or((letters, false), |family| (family, true));
        let digits = word.len() - letters.len();
        let is_short = matches!(family, "P" | "C");
        (1..3).contains(&digits)
            && is_short != has_dash
            && FAMILIES.iter().any(|(letters, _)| *letters == family)
    };
    words.filter(is_id).map(str::to_owned).collect()
}

/// The beginning of the name of a test that is named by this id.
fn prefix(id: &str) -> String {
    format!("{}_", id.to_lowercase().replace('-', "_"))
}

/// A test as it stands in its file, which rustfmt has laid out.
struct TestText {
    name: String,
    /// Its comments, attributes and body.
    text: String,
    /// The head of its file.
    head: String,
}

impl TestText {
    fn cites(&self, id: &str) -> bool {
        let name = self.name.rsplit("::").next().unwrap_or_default();
        let prefix = prefix(id);
        let is_named = name.starts_with(&prefix) || name.contains(&format!("_{prefix}"));
        is_named || cited(&self.text).contains(id) || cited(&self.head).contains(id)
    }

    /// Whether it calls a macro or a function whose name begins with `assert`.
    fn asserts(&self) -> bool {
        let code = self.text.lines().filter(|line| !line.trim_start().starts_with("//"));
        code.flat_map(|line| line.match_indices("assert").map(|(at, _)| &line[at..])).any(|call| {
            call.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '_').starts_with(['(', '!'])
        })
    }

    /// What keeps it from holding this requirement.
    fn fault(&self, id: &str) -> Option<&'static str> {
        match () {
            () if !self.asserts() => Some("asserts nothing"),
            () if self.text.contains("#[ignore") => Some("is ignored"),
            () if !self.cites(id) => Some("does not cite it"),
            () => None,
        }
    }
}

/// The tests of a file whose module has this path.
fn tests_of(module: &str, content: &str) -> Vec<TestText> {
    let head: String = content.lines().take_while(|line| line.starts_with("//!")).collect();
    let lines: Vec<_> = content.lines().collect();
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut modules: Vec<(usize, &str)> = Vec::new();
    let mut tests = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let trimmed = line.trim_start();
        if trimmed == "}" && modules.last().is_some_and(|(depth, _)| *depth == indent(line)) {
            modules.pop();
        }
        if let Some(name) = trimmed.strip_suffix(" {").and_then(|line| line.rsplit_once("mod ")) {
            modules.push((indent(line), name.1));
        }
        if trimmed != "#[test]" && !(trimmed.starts_with("#[") && trimmed.ends_with("::test]")) {
            continue;
        }
        let is_before =
            |line: &&&str| line.trim_start().starts_with("//") || line.trim_start().starts_with("#[");
        let before = lines[..at].iter().rev().take_while(is_before).count();
        let Some(signature) = lines[at..].iter().position(|line| line.contains("fn ")) else { continue };
        let signature = at + signature;
        let name = lines[signature].split_once("fn ").unwrap().1.split('(').next().unwrap();
        let closes = |other: &&str| other.trim() == "}" && indent(other) == indent(line);
        let length = match lines[signature].ends_with("{}") {
            true => 0,
            false => lines[signature..].iter().position(closes).unwrap_or_default(),
        };
        let path = modules.iter().map(|(_, name)| *name).chain([name]);
        let path: Vec<_> = (!module.is_empty()).then_some(module).into_iter().chain(path).collect();
        let text = lines[at - before..=signature + length].join("\n");
        tests.push(TestText { name: path.join("::"), text, head: head.clone() });
    }
    tests
}

/// Calls `look` with the module's path and the content of each Rust file below a folder.
fn each_file(folder: &Path, module: &str, look: &mut impl FnMut(&str, &str)) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let inner = [module, name].iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>();
        let inner = inner.join("::");
        if path.is_dir() {
            each_file(&path, &inner, look);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let is_own = !matches!(name, "mod" | "lib" | "main");
            look(if is_own { &inner } else { module }, &std::fs::read_to_string(&path).unwrap());
        }
    }
}

/// The rows of the page: the last cell of each, by the id.
fn rows(page: &str) -> BTreeMap<String, String> {
    let mut rows = BTreeMap::new();
    for line in page.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |")) {
        let cells: Vec<_> = line.split(" | ").collect();
        if cells[0] != "id" {
            assert!(cells.len() == 3 && cells[1].ends_with('.'), "not a row: {line}");
            assert!(rows.insert(cells[0].into(), cells[2].into()).is_none(), "{} has two rows", cells[0]);
        }
    }
    rows
}

#[test]
fn every_requirement_is_held_by_tests_that_assert_and_cite_it_and_every_id_that_is_cited_is_one() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let rows = rows(&std::fs::read_to_string(root.join("docs/requirements.md")).unwrap());
    let mut faults = BTreeSet::new();
    let known: BTreeSet<_> =
        FAMILIES.iter().flat_map(|(family, count)| (1..=*count).map(|n| id(family, n))).collect();
    faults.extend(known.iter().filter(|id| !rows.contains_key(*id)).map(|id| format!("{id} has no row")));
    faults.extend(rows.keys().filter(|id| !known.contains(*id)).map(|id| format!("{id} is of no family")));

    let mut tests: BTreeMap<String, Vec<TestText>> = BTreeMap::new();
    let mut look = |module: &str, content: &str| {
        let mut ids = cited(content);
        for test in tests_of(module, content) {
            let name = test.name.rsplit("::").next().unwrap_or_default().to_owned();
            let mut parts = name.split('_').map(str::to_uppercase);
            let first = parts.next().unwrap_or_default();
            let second = parts.next().unwrap_or_default();
            // `p13_…` has its number with its letter, `k_2_…` behind it.
            ids.extend(cited(&format!("{first} {first}-{second}")));
            tests.entry(test.name.clone()).or_default().push(test);
        }
        let unknown = ids.into_iter().filter(|id| !rows.contains_key(id));
        faults.extend(unknown.map(|id| format!("{module} cites {id}, which has no row")));
    };
    each_file(&root.join("src"), "", &mut look);
    each_file(&root.join("tests"), "", &mut look);
    for (id, held) in &rows {
        let names: Vec<_> = held.split('`').skip(1).step_by(2).collect();
        if names.is_empty() && !REASONS.iter().any(|reason| held.starts_with(reason)) {
            faults.insert(format!("{id} has neither a test nor a reason"));
        }
        for name in names {
            // A unit test and one of this binary may share a name.
            let found = tests.get(name).map(|tests| tests.iter().map(|test| test.fault(id)).min());
            match found {
                None => faults.insert(format!("{id}: there is no test {name}")),
                Some(Some(Some(fault))) => faults.insert(format!("{id}: {name} {fault}")),
                Some(_) => false,
            };
        }
    }
    assert!(
        faults.is_empty(),
        "docs/requirements.md:\n{}",
        faults.into_iter().collect::<Vec<_>>().join("\n")
    );
}

#[test]
fn a_test_that_is_emptied_ignored_or_about_something_else_holds_nothing() {
    let found = |text: &str| {
        let tests = tests_of("room", text);
        assert_eq!(tests.len(), 1);
        assert_eq!(tests[0].name, "room::tests::k_2_x");
        (tests[0].fault("K-2"), tests[0].fault("K-3"))
    };
    let of = |attribute: &str, body: &str| {
        found(&format!(
            "mod tests {{\n    /// Also K-3.\n    #[test]{attribute}\n    fn k_2_x() {body}\n}}\n"
        ))
    };
    assert_eq!(of("", "{\n        assert_eq!(1, 1);\n    }"), (None, None));
    assert_eq!(of("", "{\n        job.assert_intact();\n    }"), (None, None));
    let nothing = Some("asserts nothing");
    assert_eq!(of("", "{}"), (nothing, nothing));
    assert_eq!(of("", "{\n        // assert!(later);\n        start();\n    }"), (nothing, nothing));
    let ignored = Some("is ignored");
    assert_eq!(of("\n    #[ignore]", "{\n        assert!(is());\n    }"), (ignored, ignored));
    let other = found("mod tests {\n    #[test]\n    fn k_2_x() {\n        assert!(is());\n    }\n}\n");
    assert_eq!(other, (None, Some("does not cite it")));
    assert_eq!(cited("K-2, (P13) but no P-384, K2, C-3 or XK-2"), ["K-2", "P13"].map(String::from).into());
}
