//! A host with an exporter of its own: the resources are rows of an SQLite database. It plans by type and
//! row number, honours `_type`, `_since`, `_until`, `_typeFilter` and what the client may have, and refuses
//! what it cannot do before the export is accepted.
//!
//! Run it with `cargo run --example sqlite_exporter`. A host needs no feature:
//! `evanesce = { version = "0.1", default-features = false }`.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Duration;

use evanesce::{
    BaseUrls, CancelToken, ClientId, Evanesce, ExportAccess, ExportError, ExportRequest, Exporter, Kickoff,
    Level, Parameters, Part, PartSummary, PartWriter, Plan, ResourceType, Submission, SubmitError,
    TypeFilter, TypeShare,
};
use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags, params};
use serde::{Deserialize, Serialize};

/// Rows of one part. A part is written as a whole or run again.
const ROWS: i64 = 500;

/// Every version of a resource is a row that never changes, so a part that is run again, even after a
/// restart, finds the same rows.
const SCHEMA: &str =
    "CREATE TABLE resource (type TEXT NOT NULL, json TEXT NOT NULL, changed INTEGER NOT NULL)";

/// Exports the rows of a database.
struct SqliteRows {
    database: PathBuf,
}

/// What a part is to write. It is stored in the plan.
#[derive(Serialize, Deserialize)]
struct RowRange {
    resource_type: ResourceType,
    first: i64,
    last: i64,
    /// Rows that changed later are left out: in milliseconds since 1970.
    until: i64,
}

/// The texts of these errors are logged: they name no patient.
fn unreadable(error: rusqlite::Error) -> ExportError {
    ExportError::SourceUnreadable(error.to_string())
}

impl SqliteRows {
    /// Opens the database. A connection belongs to one thread, and each part has a thread.
    fn open(&self) -> Result<Connection, ExportError> {
        Connection::open_with_flags(&self.database, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(unreadable)
    }
}

/// Returns the types that a request gets: what it asks for, and may have.
fn types_of(request: &ExportRequest) -> impl Iterator<Item = ResourceType> {
    let asked = &request.parameters().types;
    let is_asked = move |it: &ResourceType| {
        if asked.is_empty() { it.is_exported_at(request.level()) } else { asked.contains(it) }
    };
    let may_be_had = |it: &ResourceType| request.access.of_type(*it) != TypeShare::Nothing;
    ResourceType::all().filter(is_asked).filter(may_be_had)
}

/// Returns whether a resource passes the filters of the request, and those of what its client may have.
fn is_wanted(request: &ExportRequest, resource_type: ResourceType, json: &[u8]) -> bool {
    let passes = |filter: &TypeFilter| filter.matches(json, &BaseUrls::NONE);
    let asked: Vec<_> =
        request.parameters().type_filters.iter().filter(|it| it.resource_type() == resource_type).collect();
    let allowed = match request.access.of_type(resource_type) {
        TypeShare::Nothing => false,
        TypeShare::Matching(filters) => filters.iter().any(passes),
        TypeShare::All => true,
    };
    allowed && (asked.is_empty() || asked.into_iter().any(passes))
}

impl Exporter for SqliteRows {
    fn check(&self, request: &ExportRequest, _: &CancelToken) -> Result<Option<u64>, ExportError> {
        if let Level::Group { .. } = request.level() {
            return Err(ExportError::GroupNotFound);
        }
        let asked = request.parameters();
        let is_beyond = !asked.elements.is_empty()
            || !asked.patients.is_empty()
            || asked.provenances.is_some()
            || asked.organize_by.is_some();
        if is_beyond {
            return Err(ExportError::Other("this source knows types, times and filters only".into()));
        }
        // For which room is reserved, so that a disk is not filled half-way.
        let bytes: i64 = self
            .open()?
            .query_row("SELECT coalesce(sum(length(json) + 1), 0) FROM resource", [], |row| row.get(0))
            .map_err(unreadable)?;
        Ok(Some(bytes.unsigned_abs()))
    }

    fn plan(&self, request: &ExportRequest, cancel: &CancelToken) -> Result<Plan, ExportError> {
        let (database, now) = (self.open()?, Timestamp::now());
        let mut parts = Vec::new();
        for resource_type in types_of(request) {
            cancel.check()?;
            let rows =
                "SELECT coalesce(min(rowid), 1), coalesce(max(rowid), 0) FROM resource WHERE type = ?1";
            let (first, last): (i64, i64) = database
                .query_row(rows, [resource_type.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))
                .map_err(unreadable)?;
            for first in (first..=last).step_by(ROWS as usize) {
                let (last, until) = (last.min(first + ROWS - 1), now.as_millisecond());
                let range = RowRange { resource_type, first, last, until };
                let content =
                    serde_json::to_value(range).map_err(|error| ExportError::Other(error.to_string()))?;
                parts.push(Part { weight: (last - first + 1).unsigned_abs(), content });
            }
        }
        Ok(Plan::new(now, parts))
    }

    fn run(&self, part: &Part, out: &mut PartWriter, _: &CancelToken) -> Result<PartSummary, ExportError> {
        let range: RowRange =
            RowRange::deserialize(&part.content).map_err(|error| ExportError::Other(error.to_string()))?;
        let (database, request) = (self.open()?, out.request()?);
        let asked = request.parameters();
        let since = asked.since.map_or(i64::MIN, Timestamp::as_millisecond);
        let until = asked.until.map_or(i64::MAX, Timestamp::as_millisecond);
        let mut rows = database
            .prepare(
                "SELECT json FROM resource WHERE rowid BETWEEN ?1 AND ?2 AND type = ?3
                 AND changed <= ?4 AND changed > ?5 AND changed < ?6 ORDER BY rowid",
            )
            .map_err(unreadable)?;
        let of_type = range.resource_type;
        let mut rows = rows
            .query(params![range.first, range.last, of_type.as_str(), range.until, since, until])
            .map_err(unreadable)?;
        while let Some(row) = rows.next().map_err(unreadable)? {
            let json = row.get_ref(0).and_then(|json| Ok(json.as_bytes()?)).map_err(unreadable)?;
            if is_wanted(&request, of_type, json) {
                out.resource(of_type, json)?;
            }
            out.progress(1)?;
        }
        Ok(PartSummary::default())
    }
}

/// Makes a database of 2,000 Patients and 3,000 Observations, every third of which is preliminary.
fn fill(database: &Path) -> rusqlite::Result<()> {
    let mut database = Connection::open(database)?;
    database.execute(SCHEMA, [])?;
    let rows = database.transaction()?;
    let changed: i64 = 1_700_000_000_000;
    for n in 0..2_000 {
        let json = format!(r#"{{"resourceType":"Patient","id":"p{n}"}}"#);
        rows.execute("INSERT INTO resource VALUES ('Patient', ?1, ?2)", params![json, changed + n])?;
    }
    for n in 0..3_000 {
        let status = if n % 3 == 0 { "preliminary" } else { "final" };
        let json = format!(r#"{{"resourceType":"Observation","id":"o{n}","status":"{status}"}}"#);
        rows.execute("INSERT INTO resource VALUES ('Observation', ?1, ?2)", params![json, changed + n])?;
    }
    rows.commit()
}

/// Exports with these parameters. Returns how many resources of each type there were.
async fn export(
    evanesce: &Evanesce,
    parameters: Parameters,
    access: ExportAccess,
) -> Result<Vec<(String, u64)>, Box<dyn Error>> {
    let owner: ClientId = "warehouse".parse()?;
    let kickoff = Kickoff { parameters, ..Kickoff::system() };
    let request = ExportRequest::new("default".parse()?, owner.clone(), kickoff, evanesce.now());
    let job = evanesce.submit_as(Submission::new(ExportRequest { access, ..request })).await?;
    evanesce.wait_complete(job).await?;
    let mut counts = std::collections::BTreeMap::new();
    for file in evanesce.job(&owner.clone().into(), job).await?.files() {
        *counts.entry(file.resource_type).or_default() += file.count;
    }
    evanesce.cancel(job, owner).await?;
    evanesce.wait_erased(job).await?;
    Ok(counts.into_iter().collect())
}

/// Shows it all. Fails if anything is not as it is said here.
pub async fn run() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let database = folder.path().join("resources.sqlite");
    fill(&database)?;
    let exporter = SqliteRows { database };
    let evanesce =
        Evanesce::builder().data_dir(folder.path().join("exports")).exporter(exporter).start().await?;
    let count = |name: &str, count| (name.to_string(), count);

    let everything = export(&evanesce, Parameters::default(), ExportAccess::everything()).await?;
    println!("everything: {everything:?}");
    assert_eq!(everything, [count("Observation", 3_000), count("Patient", 2_000)]);

    // `_type`, `_since` and `_typeFilter`.
    let asked = Parameters::default().with_types(&["Observation"])?;
    let asked = asked.with_type_filters(&["Observation?status=final"])?;
    let asked = Parameters { since: Some(Timestamp::from_millisecond(1_700_000_001_499)?), ..asked };
    let some = export(&evanesce, asked, ExportAccess::everything()).await?;
    println!("final Observations since then: {some:?}");
    assert_eq!(some, [count("Observation", 1_000)]);

    // A client that may have no Patients, and only some Observations.
    let only = [("Observation".parse()?, vec!["status=preliminary".into()])];
    let restricted = export(&evanesce, Parameters::default(), ExportAccess::of_types(only.into())?).await?;
    println!("of a restricted client: {restricted:?}");
    assert_eq!(restricted, [count("Observation", 1_000)]);

    // What the source cannot do is refused at once.
    let elements = Parameters::default().with_elements(&["Patient.id"])?;
    let refused =
        evanesce.submit(Kickoff { parameters: elements, ..Kickoff::system() }, "warehouse".parse()?);
    let refused = refused.await.expect_err("this exporter has no _elements");
    println!("refused: {refused}");
    assert!(matches!(refused, SubmitError::Refused(_)));

    evanesce.stop(Duration::from_secs(10)).await;
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    run().await
}
