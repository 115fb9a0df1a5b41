//! What the commands that read a chain have in common: the verdict about it, and Bundles of AuditEvents.

use std::io::{self, Write};

use jiff::Timestamp;
use serde_json::value::RawValue;

use super::table::{TextTone, counted, toned};

/// Returns the first line about a chain of so many lines: whether it is whole, or what is wrong with it.
pub fn verdict(lines: u64, wrong: Option<&str>) -> String {
    match wrong {
        None => format!(
            "{}: {}, each bound to the one before",
            toned(TextTone::Good, "whole"),
            counted(lines, "line")
        ),
        Some(wrong) => format!("{}: {wrong}", toned(TextTone::Bad, "wrong")),
    }
}

/// Writes a Bundle of any length. Only one entry is in memory at a time.
pub struct BundleWriter<'a> {
    out: &'a mut dyn Write,
    before: &'static str,
}

impl<'a> BundleWriter<'a> {
    /// Begins a Bundle.
    pub fn begin(out: &'a mut dyn Write) -> io::Result<Self> {
        let now = Timestamp::now();
        write!(out, r#"{{"resourceType":"Bundle","type":"collection","timestamp":"{now}""#)?;
        Ok(Self { out, before: ",\"entry\":[\n" })
    }

    /// Adds a resource, whose id is a UUID.
    pub fn add(&mut self, id: &str, resource: &RawValue) -> io::Result<()> {
        write!(self.out, r#"{}{{"fullUrl":"urn:uuid:{id}","resource":{resource}}}"#, self.before)?;
        self.before = ",\n";
        Ok(())
    }

    /// Ends the Bundle.
    pub fn end(self) -> io::Result<()> {
        writeln!(self.out, "{}}}", if self.before == ",\n" { "\n]" } else { "" })
    }
}
