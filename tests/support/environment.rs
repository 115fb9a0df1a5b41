//! What the environment asks of the tests, and what it does not let them do.

/// A number from the environment, for the long form of a test.
pub fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap())
}

/// `EVANESCE_SEED`, or a new one.
pub fn seed() -> u64 {
    let new = || u64::from(std::process::id()) ^ jiff::Timestamp::now().as_nanosecond() as u64;
    number("EVANESCE_SEED").unwrap_or_else(new)
}

/// Says on the real standard error, past the capture of the test runner, that a test could
/// not be done here.
pub fn skip(what: &str, why: &str) {
    use std::io::Write;
    let text = format!("\n*** SKIPPED: {what}: {why} ***\n");
    // Nobody is there to be told if even this fails.
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}
