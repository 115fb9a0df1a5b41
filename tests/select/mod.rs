//! What an export selects, held against an oracle that selects by reading everything: for random
//! sources, for the generated data set, and for each rule by itself. The tests speak to an
//! embedded instance and read the files that it made.

mod ages;
mod attachments;
mod changes;
mod compartments;
mod deletions;
mod generated;
mod groups;
mod lines;
mod members;
mod notes;
pub mod oracle;
mod organized;
mod patients;
mod properties;
mod provenances;
mod random;
mod references;
mod scopes;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};

use evanesce::config::Config;
use evanesce::job::{
    ExportAccess, ExportRequest, FailureReason, JobDocument, JobId, JobState, Level, Parameters,
};
use evanesce::{Evanesce, Kickoff, Submission, SubmitError};
use jiff::Timestamp;
use tempfile::TempDir;

use crate::support::{InstanceDir, PATIENCE, scratch};
use oracle::{References, Selection};

/// The files of a source: name and content.
type Files = Vec<(String, Vec<u8>)>;

/// What can be set that changes what an export holds, or might.
#[derive(Debug, Clone, Default)]
struct Settings {
    /// `export.references`; `None` leaves the default, which is `referenced`.
    references: Option<References>,
    /// `source.base_url`; `None` leaves the default, which is none.
    base_url: Option<String>,
    /// The Groups that the client may read; `None` for all.
    groups: Option<BTreeSet<String>>,
    /// Whether Devices go with their patients (`export.devices`); `None` leaves the default, which
    /// is that they do.
    devices_by_patient: Option<bool>,
    /// Whether parts and files are as small as they can be.
    small: bool,
}

impl Settings {
    fn references(references: References) -> Self {
        Self { references: Some(references), ..Self::default() }
    }

    /// What the oracle knows of a source under these settings.
    fn source<'a>(&'a self, files: &'a Files) -> oracle::Source<'a> {
        let mut source = oracle::Source::read(files, self.base_url.as_deref());
        source.groups = self.groups.clone();
        source.devices_by_patient = self.devices_by_patient.unwrap_or(true);
        source
    }
}

/// All settings of an instance. They are named here and nowhere else; one that the server does
/// not have is a panic that names it.
fn config(source: &Path, settings: &Settings) -> Config {
    let mut json = serde_json::to_value(Config::default()).unwrap();
    json["source"]["folder"] = source.to_str().unwrap().into();
    if let Some(references) = settings.references {
        json["export"]["references"] = format!("{references:?}").to_lowercase().into(); // SETTING
    }
    if let Some(base_url) = &settings.base_url {
        json["source"]["base_url"] = base_url.as_str().into(); // SETTING
    }
    if let Some(by_patient) = settings.devices_by_patient {
        let devices = if by_patient { "by-patient" } else { "by-reference" };
        json["export"]["devices"] = devices.into(); // SETTING
    }
    if settings.small {
        json["export"]["part_bytes"] = 4096.into();
        json["export"]["max_file_bytes"] = 4096.into();
    }
    serde_json::from_value(json).unwrap_or_else(|error| panic!("a setting is not there yet: {error}"))
}

/// An embedded instance over a folder of its own, or over one of others.
struct Instance {
    evanesce: Evanesce,
    settings: Settings,
    source: PathBuf,
    data: InstanceDir,
    /// Removed at the end.
    _source: Option<TempDir>,
}

impl Instance {
    async fn start(files: &[(String, Vec<u8>)], settings: Settings) -> Self {
        let folder = scratch();
        for (name, content) in files {
            std::fs::write(folder.path().join(name), content).unwrap();
        }
        let mut instance = Self::over(folder.path(), settings).await;
        instance._source = Some(folder);
        instance
    }

    /// An instance over a folder that is there already.
    async fn over(source: &Path, settings: Settings) -> Self {
        let data = InstanceDir::in_memory();
        let builder = Evanesce::builder().config(config(source, &settings)).data_dir(data.path());
        let evanesce = builder.start().await.unwrap();
        Self { evanesce, settings, source: source.into(), data, _source: None }
    }

    /// One of files with these lines each.
    async fn of(files: &[(&str, &[&str])]) -> Self {
        Self::start(&content(files), Settings::default()).await
    }

    fn path(&self, name: &str) -> PathBuf {
        self.source.join(name)
    }

    /// What is in the source now.
    fn files(&self) -> Files {
        let entries = std::fs::read_dir(&self.source).unwrap().map(|entry| entry.unwrap());
        let file = |entry: std::fs::DirEntry| {
            (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap())
        };
        entries.map(file).collect()
    }

    fn oracle(&self, kickoff: &Kickoff) -> Result<Selection, FailureReason> {
        self.ask(&self.files(), std::slice::from_ref(kickoff)).remove(0)
    }

    /// What the oracle says of each of these.
    fn ask(&self, files: &Files, kickoffs: &[Kickoff]) -> Vec<Result<Selection, FailureReason>> {
        let references = self.settings.references.unwrap_or(References::Referenced);
        let source = self.settings.source(files);
        kickoffs.iter().map(|kickoff| source.select(kickoff, references)).collect()
    }

    /// Starts an export of a client that may read the Groups of the settings.
    async fn submit(&self, kickoff: Kickoff) -> Result<JobId, SubmitError> {
        let (tenant, owner) = ("default".parse().unwrap(), "host".parse().unwrap());
        let mut request = ExportRequest::new(tenant, owner, kickoff, Timestamp::now());
        if let Some(groups) = &self.settings.groups {
            request.access = ExportAccess::everything().of_groups(groups.clone());
        }
        self.evanesce.submit_as(Submission::new(request)).await
    }

    /// What an export holds, or why it was refused at the kick-off.
    async fn export(&self, kickoff: &Kickoff) -> Result<Selection, FailureReason> {
        let submitted = self.submit(kickoff.clone());
        match tokio::time::timeout(PATIENCE, submitted).await.expect("an answer to the kick-off") {
            Ok(job) => Ok(self.finished(job).await),
            Err(SubmitError::Refused(reason)) => Err(reason),
            Err(error) => panic!("{kickoff:?}: {error}"),
        }
    }

    async fn finished(&self, job: JobId) -> Selection {
        let finished = tokio::time::timeout(PATIENCE, self.evanesce.wait_finished(job)).await;
        match finished.expect("the export ends") {
            Some(JobState::Complete(_)) => self.read(job),
            other => panic!("not complete: {other:?}"),
        }
    }

    /// The files of a job, and that they are what its document says of them.
    fn read(&self, job: JobId) -> Selection {
        let folder = self.data.path().join("ready").join(job.to_string());
        let document = crate::support::read_stored(&folder.join("job.json")).unwrap();
        let document: JobDocument = serde_json::from_slice(&document).unwrap();
        let files: Vec<_> = document.parts.iter().flat_map(|part| &part.files).collect();
        let mut selection = Selection::default();
        for file in &files {
            let content = crate::support::read_stored(&folder.join(&file.name)).unwrap();
            let lines = content.strip_suffix(b"\n").expect("a file ends with a line feed, and is not empty");
            let lines: Vec<_> = lines.split(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
            assert_eq!((file.count, file.bytes), (lines.len() as u64, content.len() as u64), "{}", file.name);
            assert!(file.name.ends_with(&format!("_{}.ndjson", file.resource_type)), "{}", file.name);
            if file.is_error() {
                selection.broken += lines.iter().map(|line| broken_lines(line)).sum::<u64>();
            } else if file.is_deleted() {
                selection.deleted.extend(lines.iter().flat_map(|line| deletions(line)));
            } else {
                selection.lines.entry(file.resource_type.clone()).or_default().extend(lines);
            }
        }
        let listed: BTreeSet<_> = files.iter().map(|file| file.name.clone()).collect();
        let there = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name());
        let there = there.map(|name| name.into_string().unwrap()).filter(|name| name.ends_with(".ndjson"));
        assert_eq!(listed, there.collect(), "every file is listed, and each once");
        assert_eq!(listed.len(), files.len());
        selection.lines.values_mut().for_each(|lines| lines.sort());
        selection.deleted.sort();
        selection
    }

    /// Asks for all of these at once and says where the answers differ from the oracle's.
    async fn compare(&self, kickoffs: &[Kickoff]) -> Result<(), String> {
        let exports = futures_util::future::join_all(kickoffs.iter().map(|kickoff| self.export(kickoff)));
        let expected = self.ask(&self.files(), kickoffs);
        for ((kickoff, actual), expected) in kickoffs.iter().zip(exports.await).zip(expected) {
            if actual != expected {
                let asked = format!("{kickoff:?}\nwith {:?}", self.settings);
                return Err(format!("{asked}\n{}", difference(&actual, &expected)));
            }
        }
        Ok(())
    }

    /// An export that holds exactly these resources (`Type/id`), and that the oracle agrees.
    #[track_caller]
    fn expect<'a>(&'a self, kickoff: &'a Kickoff, expected: &'a [&str]) -> impl Future<Output = ()> + 'a {
        let caller = std::panic::Location::caller();
        async move {
            let actual = self.export(kickoff).await;
            let oracle = self.oracle(kickoff);
            let expected: Vec<_> = expected.iter().map(|name| name.to_string()).collect();
            let sorted = |mut names: Vec<String>| {
                names.sort();
                names
            };
            let (named, oracle_named) = (actual.as_ref().map(names), oracle.as_ref().map(names));
            assert_eq!(oracle_named, Ok(sorted(expected.clone())), "the oracle errs: {caller}: {kickoff:?}");
            assert_eq!(named, Ok(sorted(expected)), "{caller}: {kickoff:?}");
            assert!(actual == oracle, "{caller}: {kickoff:?}\n{}", difference(&actual, &oracle));
        }
    }

    /// A kick-off that is refused, and that the oracle agrees.
    async fn expect_refusal(&self, kickoff: &Kickoff, reason: FailureReason) {
        assert_eq!(self.oracle(kickoff).err(), Some(reason), "the oracle errs: {kickoff:?}");
        let actual = self.export(kickoff).await;
        assert_eq!(actual.as_ref().map(names), Err(&reason), "{kickoff:?}");
    }
}

/// How many broken lines an outcome of an error file speaks of.
fn broken_lines(outcome: &[u8]) -> u64 {
    let outcome: serde_json::Value = serde_json::from_slice(outcome).unwrap();
    let text = outcome["issue"][0]["details"]["text"].as_str().unwrap();
    if let Some((count, _)) = text.split_once(" more lines of ") {
        return count.parse().unwrap();
    }
    // A file without a resource.
    if let Some((_, count)) = text.split_once("; nothing of it was exported, ") {
        return count.split(' ').next().unwrap().parse().unwrap();
    }
    u64::from(text.starts_with("Line "))
}

/// What a Bundle of a file of deletions says, and that it says nothing else (MF-6).
fn deletions(line: &[u8]) -> Vec<(String, Option<i128>)> {
    let mut bundle: serde_json::Value = serde_json::from_slice(line).unwrap();
    let updated = bundle["meta"]["lastUpdated"].as_str().map(str::to_string);
    let age = updated.as_ref().map(|text| text.parse::<Timestamp>().unwrap().as_nanosecond());
    let entries: Vec<_> =
        bundle["entry"].as_array().unwrap().iter().map(|entry| &entry["request"]["url"]).collect();
    let names: Vec<_> = entries.iter().map(|url| url.as_str().unwrap().to_string()).collect();
    assert!((1..=1000).contains(&names.len()), "{}", names.len());
    let entry = |name| serde_json::json!({"request": {"method": "DELETE", "url": name}});
    let mut expected = serde_json::json!({
        "resourceType": "Bundle", "type": "transaction",
        "entry": names.iter().map(entry).collect::<Vec<_>>(),
    });
    if let Some(updated) = updated {
        expected["meta"] = serde_json::json!({"lastUpdated": updated});
    }
    assert_eq!(bundle.take(), expected);
    names.into_iter().map(|name| (name, age)).collect()
}

/// A text that is not too long to be shown.
fn clipped(text: &str, length: usize) -> String {
    match text.char_indices().nth(length) {
        Some((end, _)) => format!("{}... of {} bytes", &text[..end], text.len()),
        None => text.into(),
    }
}

/// All resources of a selection as `Type/id`, sorted; `Type/-` is one without an id. Deletions
/// begin with a minus.
fn names(selection: &Selection) -> Vec<String> {
    let id = |line: &[u8]| {
        let json = oracle::json::Json::parse(std::str::from_utf8(line).unwrap()).unwrap();
        json.get("id").and_then(|id| id.text()).map_or("-".into(), |id| clipped(&id, 100))
    };
    let name = |(kind, lines): (&String, &Vec<Vec<u8>>)| {
        lines.iter().map(|line| format!("{kind}/{}", id(line))).collect::<Vec<_>>()
    };
    let deleted = selection.deleted.iter().map(|(name, _)| format!("-{name}"));
    let mut names: Vec<_> = selection.lines.iter().flat_map(name).chain(deleted).collect();
    names.sort();
    names
}

/// Where two answers differ, at some length.
fn difference(
    actual: &Result<Selection, FailureReason>,
    expected: &Result<Selection, FailureReason>,
) -> String {
    let (actual, expected) = match (actual, expected) {
        (Ok(actual), Ok(expected)) => (actual, expected),
        _ => {
            let (actual, expected) = (actual.as_ref().map(names), expected.as_ref().map(names));
            return format!("  the export gave {actual:?}\n  it should be {expected:?}");
        }
    };
    let mut text = String::new();
    if actual.broken != expected.broken {
        let (actual, expected) = (actual.broken, expected.broken);
        writeln!(text, "  broken lines: {actual} are reported, it should be {expected}").unwrap();
    }
    if actual.deleted != expected.deleted {
        let (actual, expected) = (&actual.deleted, &expected.deleted);
        writeln!(text, "  deletions: {actual:?} are told, it should be {expected:?}").unwrap();
    }
    let lines = |selection: &Selection| {
        let mut counts = BTreeMap::<Vec<u8>, usize>::new();
        selection.lines.values().flatten().for_each(|line| *counts.entry(line.clone()).or_default() += 1);
        counts
    };
    let (actual, expected) = (lines(actual), lines(expected));
    let tell = |text: &mut String, what, these: &BTreeMap<Vec<u8>, usize>, others: &BTreeMap<_, _>| {
        let more = these.iter().filter(|(line, count)| others.get(*line).unwrap_or(&0) < *count);
        for (line, _) in more.take(5) {
            let line = String::from_utf8_lossy(line);
            writeln!(text, "  {what}: {}", clipped(&line, 600)).unwrap();
        }
    };
    tell(&mut text, "should not be there", &actual, &expected);
    tell(&mut text, "should be there", &expected, &actual);
    if text.is_empty() { "  a line is in the file of another type".into() } else { text }
}

fn content(files: &[(&str, &[&str])]) -> Files {
    files.iter().map(|(name, lines)| (name.to_string(), (lines.join("\n") + "\n").into_bytes())).collect()
}

fn at_level(level: Level) -> Kickoff {
    Kickoff::new(level)
}

fn patient_level() -> Kickoff {
    at_level(Level::Patient)
}

fn group_level(id: &str) -> Kickoff {
    at_level(Level::Group { id: id.into() })
}

/// The same request for some types only.
fn aged(kickoff: Kickoff, since: Option<Timestamp>, until: Option<Timestamp>) -> Kickoff {
    Kickoff { parameters: Parameters { since, until, ..kickoff.parameters }, ..kickoff }
}

fn only(kickoff: Kickoff, types: &[&str]) -> Kickoff {
    Kickoff { parameters: kickoff.parameters.with_types(types).unwrap(), ..kickoff }
}

fn instant(text: &str) -> Option<jiff::Timestamp> {
    Some(text.parse().unwrap())
}

/// A group of these patients, and nothing more.
fn group(id: &str, patients: &[&str]) -> String {
    let member = |id: &&str| serde_json::json!({"entity": {"reference": format!("Patient/{id}")}});
    let members: Vec<_> = patients.iter().map(member).collect();
    serde_json::json!({"resourceType": "Group", "id": id, "actual": true, "member": members}).to_string()
}
