//! The page of troubleshooting and the code have the same messages. What the server warns of, and why it
//! does not start, is found by a simple scan of the source: the last string among the arguments of each
//! `warn!` and `error!` that is not the value of a field, the text of each `#[error(...)]` of the files that
//! have the errors of a start, and the text of each `CliError::usage(format!(...))` of `serve`.

use std::path::{Path, PathBuf};

use super::page::project;

/// The files whose errors end a start with exit code 2.
const ERRORS_OF_A_START: [&str; 8] = [
    "builder/error.rs",
    "config/mod.rs",
    "store/mod.rs",
    "telemetry/otlp.rs",
    "auth/authority.rs",
    "auth/registry.rs",
    "transport/listen.rs",
    "transport/mod.rs",
];

/// The files of `serve` that say themselves why it does not start.
const STARTS: [&str; 3] = ["cli/serve.rs", "cli/operators.rs", "cli/follow.rs"];

/// A message that the source has.
struct SourceMessage {
    /// The file below `src`, and the line.
    place: String,
    text: String,
}

/// The `.rs` files below a folder, without those of tests.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let is_of_tests = |path: &Path| path.file_stem().is_some_and(|stem| stem == "tests");
    let below = paths.filter(|path| !is_of_tests(path)).flat_map(|path| match path.is_dir() {
        true => sources(&path),
        false => vec![path],
    });
    let mut files: Vec<_> = below.filter(|path| path.extension().is_some_and(|it| it == "rs")).collect();
    files.sort();
    files
}

/// The text of a file below `src` without its tests. A string may go over several lines.
fn code(file: &Path) -> String {
    let text = std::fs::read_to_string(file).unwrap();
    text.split("#[cfg(test)]\nmod tests").next().unwrap().into()
}

/// Returns the string whose opening quote was just passed, and what comes after it.
fn string(text: &str) -> (String, &str) {
    let mut is_escaped = false;
    let end = text.find(|c| {
        let is_end = c == '"' && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        is_end
    });
    let end = end.expect("a string has an end");
    let lines: Vec<_> = text[..end].split("\\\n").collect();
    let text_of =
        |(at, line): (usize, &&str)| if at == 0 { line.to_string() } else { line.trim_start().into() };
    (lines.iter().enumerate().map(text_of).collect::<String>().replace("\\\"", "\""), &text[end + 1..])
}

/// Returns the strings among the arguments that begin here, to the closing bracket, but for values of fields.
fn strings_of_arguments(mut text: &str) -> Vec<String> {
    let (mut depth, mut strings, mut before) = (1, Vec::new(), ' ');
    while let Some(at) = text.find(|c: char| !c.is_whitespace()) {
        let c = text[at..].chars().next().unwrap();
        text = &text[at + c.len_utf8()..];
        match c {
            '"' => {
                let (string, rest) = string(text);
                text = rest;
                if depth == 1 && before != '=' {
                    strings.push(string);
                }
            }
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
        before = c;
    }
    strings
}

/// Calls of `name`, such as `warn!(`, with what comes after each. Lines of comments are passed over.
fn calls<'a>(file: &Path, code: &'a str, name: &str) -> Vec<(String, &'a str)> {
    let below = file.strip_prefix(project().join("src")).unwrap().display().to_string();
    let found = code.match_indices(name).filter(|(at, _)| {
        let line = code[..*at].rsplit('\n').next().unwrap();
        let is_a_word = line.chars().next_back().is_none_or(|c| !c.is_alphanumeric() && c != '_');
        is_a_word && !line.trim_start().starts_with("//")
    });
    let place = |at: usize| format!("{below}:{}", 1 + code[..at].matches('\n').count());
    found.map(|(at, name)| (place(at), &code[at + name.len()..])).collect()
}

/// What the server logs as a warning or an error.
fn logged() -> Vec<SourceMessage> {
    let mut messages = Vec::new();
    for file in sources(&project().join("src")) {
        let code = code(&file);
        assert!(!code.contains("tracing::event!"), "{}: its level is not found here", file.display());
        for (place, rest) in ["warn!(", "error!("].iter().flat_map(|name| calls(&file, &code, name)) {
            let text = strings_of_arguments(rest).pop();
            let text = text.unwrap_or_else(|| panic!("{place}: its message should be a literal"));
            messages.push(SourceMessage { place, text });
        }
    }
    messages
}

/// Why the server does not start.
fn reasons_of_a_start() -> Vec<SourceMessage> {
    let of_errors = ERRORS_OF_A_START.iter().map(|file| (file, "#[error("));
    let of_serve = STARTS.iter().map(|file| (file, "CliError::usage(format!("));
    let mut messages = Vec::new();
    for (file, name) in of_errors.chain(of_serve) {
        let file = project().join("src").join(file);
        for (place, rest) in calls(&file, &code(&file), name) {
            let text = strings_of_arguments(rest).into_iter().next();
            messages.extend(text.map(|text| SourceMessage { place, text }));
        }
    }
    messages
}

/// The messages in the first cells of the page's tables; a cell may have several.
fn explained() -> Vec<String> {
    let page = std::fs::read_to_string(project().join("docs/troubleshooting.md")).unwrap();
    let cells = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` |"));
    cells.flat_map(|(cell, _)| cell.split("`, `").map(String::from).collect::<Vec<_>>()).collect()
}

/// What the page shows instead of what differs.
fn shown(message: &str) -> String {
    let mut parts = message.split('{');
    let first = parts.next().unwrap_or_default().to_string();
    parts.fold(first, |text, part| text + "..." + part.split_once('}').map_or(part, |(_, rest)| rest))
}

/// Whether the page explains a message by this quotation: what it quotes stands in the message, in order.
fn explains(quoted: &str, message: &str) -> bool {
    let message = shown(message);
    let words = quoted.replace("...", "");
    let is_whole = quoted == message;
    let mut rest = Some(message.as_str());
    for part in quoted.split("...").map(str::trim) {
        rest = rest.and_then(|rest| rest.split_once(part)).map(|(_, rest)| rest);
    }
    is_whole || (rest.is_some() && words.trim().len() >= 12)
}

/// The messages that no row explains, each with its place.
fn unexplained(messages: &[SourceMessage], explained: &[String]) -> Vec<String> {
    let is_explained = |message: &str| explained.iter().any(|quoted| explains(quoted, message));
    let missing = messages.iter().filter(|message| !is_explained(&message.text));
    missing.map(|SourceMessage { place, text }| format!("{place}: {text}")).collect()
}

/// In the quotes `...` stands for what differs.
#[test]
fn every_message_that_is_explained_is_one_that_the_code_has() {
    let files = sources(&project().join("src")).into_iter();
    let code: String = files.map(|file| std::fs::read_to_string(file).unwrap()).collect();
    // A text may go over several lines.
    let code: String = code.split("\\\n").map(str::trim_start).collect();
    let messages = explained();
    assert!(messages.len() > 170, "{}", messages.len());
    let parts = messages.iter().flat_map(|message| message.split("...")).map(str::trim);
    let missing: Vec<_> = parts.filter(|part| part.len() > 3 && !code.contains(part)).collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn every_warning_and_every_error_of_the_log_is_explained() {
    let (messages, explained) = (logged(), explained());
    assert!(messages.len() > 130, "{}", messages.len());
    assert!(
        messages.iter().any(|message| message.text == "fatal: the process ends, the next start reconciles")
    );
    let missing = unexplained(&messages, &explained);
    assert!(missing.is_empty(), "docs/troubleshooting.md has no row for {missing:#?}");
}

#[test]
fn every_reason_not_to_start_is_explained() {
    let explained = explained();
    let mut messages = reasons_of_a_start();
    assert!(messages.len() > 25, "{}", messages.len());
    // Such as `{key} ({}): {reason}`: it has no words to look for.
    messages.retain(|message| shown(&message.text).contains(char::is_alphabetic));
    let missing = unexplained(&messages, &explained);
    assert!(missing.is_empty(), "docs/troubleshooting.md has no row for {missing:#?}");
}

#[test]
fn the_scan_finds_messages_in_every_form_of_a_call_and_misses_none_without_a_row() {
    let file = project().join("src/made/up.rs");
    let code = "
        // warn!(\"of a comment\")
        my_warn!(\"of another macro\");
        tracing::warn!(name = \"a value\", ?both, of = f(\"(\"), \"a \\\"plain\\\" one\");
        error!(
            %error,
            \"over two \\
             lines: {NAME}\"
        );";
    let texts = |name: &str| -> Vec<_> {
        calls(&file, code, name)
            .into_iter()
            .map(|(_, rest)| strings_of_arguments(rest).pop().unwrap())
            .collect()
    };
    assert_eq!(texts("warn!("), ["a \"plain\" one"]);
    assert_eq!(texts("error!("), ["over two lines: {NAME}"]);
    let message = |text: &str| SourceMessage { place: "up.rs:1".into(), text: text.into() };
    let messages = [message("over two lines: {NAME}"), message("nobody explains this one")];
    let explained = ["over two lines: ...".to_string(), "a row of something else".into()];
    let missing = unexplained(&messages, &explained);
    assert_eq!(missing, ["up.rs:1: nobody explains this one"]);
}
