//! The engine of `_typeFilter` by itself, for the comparison with another implementation:
//! `engine FILTERS LINES [BASE_URL]` reads a filter a line and a resource a line, and prints a
//! line for each filter: `!` and why it is refused, or a digit for each resource, 1 if it
//! matches. Without FILTERS and LINES it prints the parameters of all types.

use std::env;
use std::error::Error;
use std::fs;
use std::io::{self, BufWriter, Write};

use evanesce::fhir::ResourceType;
use evanesce::fhir::reference::BaseUrls;
use evanesce::fhir::search::{TypeFilter, parameters};

fn main() -> Result<(), Box<dyn Error>> {
    let mut out = BufWriter::new(io::stdout().lock());
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [filters, lines, base_url @ ..] = &arguments[..] else {
        for resource_type in ResourceType::all() {
            for (code, kind) in parameters(resource_type) {
                writeln!(out, "{}\t{code}\t{}", resource_type.as_str(), kind.as_str())?;
            }
        }
        return Ok(out.flush()?);
    };
    let bases = BaseUrls::new(base_url);
    let (filters, lines) = (fs::read_to_string(filters)?, fs::read(lines)?);
    let lines: Vec<_> = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
    for filter in filters.lines() {
        match TypeFilter::parse(filter) {
            Ok(filter) => {
                for line in &lines {
                    out.write_all(if filter.matches(line, &bases) { b"1" } else { b"0" })?;
                }
            }
            Err(error) => write!(out, "!{error}")?,
        }
        writeln!(out)?;
    }
    Ok(out.flush()?)
}
