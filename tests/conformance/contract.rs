//! The contract of an erasure (`src/erase/mod.rs`) names a test for each clause. Each of them is
//! there, is a test, and is not empty.

use std::path::{Path, PathBuf};

const CONTRACT: &str = include_str!("../../src/erase/mod.rs");

/// The tests that the contract's tables name, as `module::name`.
fn named() -> Vec<&'static str> {
    let rows = CONTRACT.lines().filter(|line| line.starts_with("//! | ") && !line.contains("| clause |"));
    let test = |row: &'static str| {
        let cell = row.trim_end_matches(" |").rsplit("| ").next().unwrap();
        cell.strip_prefix('`')
            .and_then(|cell| cell.strip_suffix('`'))
            .unwrap_or_else(|| panic!("no test: {row}"))
    };
    rows.map(test).collect()
}

/// The file of a module below `src` or `tests`.
fn file_of(modules: &[&str]) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let is_unit = modules.last() == Some(&"tests");
    let (folder, modules) = if is_unit { ("src", &modules[..modules.len() - 1]) } else { ("tests", modules) };
    let path = modules.iter().fold(root.join(folder), |path, module| path.join(module));
    let (file, tests) = (path.with_extension("rs"), path.join("tests.rs"));
    if is_unit && tests.exists() {
        return tests;
    }
    if file.exists() { file } else { path.join("mod.rs") }
}

/// The body of a test; `None` if there is no such function, or it is no test.
fn body<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let at = text.find(&format!("fn {name}("))?;
    let (before, from) = text.split_at(at);
    let attributes = before.rsplit("\n\n").next().unwrap();
    let is_test = ["#[test]", "#[tokio::test]"].iter().any(|attribute| attributes.contains(attribute));
    let opening = from.find('{')?;
    let mut depth = 0;
    let end = from[opening..].char_indices().find(|(_, c)| {
        depth += i32::from(*c == '{') - i32::from(*c == '}');
        depth == 0
    })?;
    is_test.then_some(&from[opening + 1..opening + end.0])
}

#[test]
fn each_clause_of_the_contract_names_a_test_that_is_there_and_not_empty() {
    let named = named();
    assert!(named.len() > 20, "{named:?}");
    for test in named {
        let path: Vec<_> = test.split("::").collect();
        let (name, modules) = path.split_last().unwrap();
        let file = file_of(modules);
        let text =
            std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{test}: {e}: {}", file.display()));
        let body = body(&text, name).unwrap_or_else(|| panic!("{test} is not there, or no test"));
        assert!(body.contains("assert"), "{test} asserts nothing");
    }
}
