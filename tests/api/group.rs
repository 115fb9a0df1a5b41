//! The Group-level kick-off against hosts with exporters of their own: what reaches the
//! exporter, and what its look at a request answers. A refusal leaves nothing behind, and the
//! id of a group, which may name a population, is in no log (P12).

use std::net::TcpListener;
use std::sync::mpsc::channel;
use std::sync::{Arc, Once};
use std::thread::JoinHandle;

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpServer};
use evanesce::clock::Clock;
use evanesce::config::Config;
use evanesce::export::{CHECK_PATIENCE, ExportError};
use evanesce::fhir::ResourceType;
use evanesce::http::{self, Api};
use evanesce::job::{ALL_PATIENTS, ExportRequest, Level};
use evanesce::store::{SledStore, Store};
use evanesce::{Builder, Evanesce};
use jiff::Timestamp;
use parking_lot::Mutex;

use super::*;

/// A group that nobody should read of in a log.
const SECRET: &str = "Hiv-Positive-Of-Ward-7";

/// A host that serves our routes; stopped when it is dropped, and all that it works with before
/// that returns: its data directory may be removed then.
pub struct Served {
    pub base: String,
    evanesce: Evanesce,
    server: ServerHandle,
    thread: Option<JoinHandle<()>>,
}

impl Served {
    pub fn start(builder: Builder) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (base, (told, started)) = (format!("{url}/r4/default"), channel());
        let serve = async move {
            let evanesce = builder.start().await.unwrap();
            let api = Api::new(evanesce.clone(), url);
            let app = move || App::new().configure(http::configure(api.clone()));
            let server = HttpServer::new(app).workers(1).disable_signals().listen(listener).unwrap().run();
            told.send((evanesce, server.handle())).unwrap();
            server.await.unwrap();
        };
        let thread = Some(std::thread::spawn(|| actix_web::rt::System::new().block_on(serve)));
        let (evanesce, server) = started.recv_timeout(PATIENCE).unwrap();
        Self { base, evanesce, server, thread }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // The command is sent at once; the thread tells when it is carried out.
        drop(self.server.stop(false));
        let ended = self.thread.take().map(JoinHandle::join);
        // A worker of the server may have its handle a moment longer.
        let stopping = self.evanesce.stop(PATIENCE);
        actix_web::rt::System::new().block_on(stopping);
        assert!(std::thread::panicking() || matches!(ended, Some(Ok(()))));
    }
}

/// A host that may have one active job, and the requests it looks at.
struct Host {
    served: Served,
    seen: Arc<Mutex<Vec<ExportRequest>>>,
}

impl Host {
    fn start(
        data_dir: &Path,
        clock: Clock,
        check: impl Fn(&str) -> Result<(), ExportError> + Send + Sync + 'static,
    ) -> Self {
        let seen: Arc<Mutex<Vec<ExportRequest>>> = Arc::default();
        let exporter = FakeExporter::writes_nothing().plan(|_| Ok(plan_of([])));
        let exporter = exporter.check({
            let seen = Arc::clone(&seen);
            move |request| {
                seen.lock().push(request.clone());
                match &request.kickoff.level {
                    Level::Group { id } => check(id).map(|()| None),
                    Level::System | Level::Patient => Ok(None),
                }
            }
        });
        let mut config = Config::default();
        config.export.max_active_jobs = 1;
        let builder = Evanesce::builder().config(config).data_dir(data_dir).clock(clock).exporter(exporter);
        Self { served: Served::start(builder), seen }
    }

    fn call(&self, path: &str) -> Answer {
        send("GET", &format!("{}/{path}", self.served.base), &KICKOFF)
    }

    /// A kick-off that is accepted; its job is deleted, so that there is room for the next one.
    fn kickoff(&self, path: &str) -> ExportRequest {
        let answer = self.call(path);
        assert_eq!(answer.status, 202, "{path}: {answer:?}");
        assert_eq!(delete(answer.header("content-location")).status, 202, "{path}");
        self.seen.lock().last().unwrap().clone()
    }
}

/// What this process logs: how many refusals, and the lines with `SECRET`.
static LOG: Mutex<(usize, Vec<String>)> = Mutex::new((0, Vec::new()));

struct Log;

impl std::io::Write for Log {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        let mut log = LOG.lock();
        let text = String::from_utf8_lossy(line);
        log.0 += usize::from(text.contains("a kick-off was refused"));
        if text.contains(SECRET) {
            log.1.push(text.into());
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Begins to watch the log of this process, in more detail than an operator would.
fn watch_log() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let filter = tracing_subscriber::EnvFilter::new("info,evanesce=trace,actix_http=off");
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| Log).init();
    });
}

fn accept_all(_: &str) -> Result<(), ExportError> {
    Ok(())
}

#[test]
fn a_group_kick_off_reaches_the_exporter_with_its_id_and_bounds() {
    let folder = InstanceDir::new();
    let host = Host::start(folder.path(), Clock::system(), accept_all);
    let long = "x".repeat(8000);
    for (sent, id) in [
        ("All_Patients", ALL_PATIENTS),
        ("a-1.B", "a-1.B"),
        ("%41ll%5FPatients", ALL_PATIENTS),
        ("a%2Fb", "a/b"),
        ("a%2fb", "a/b"),
        // In a path a plus is a plus.
        ("a+b", "a+b"),
        ("a%2Bb", "a+b"),
        ("a%20b", "a b"),
        // Decoded once.
        ("%2541", "%41"),
        ("%25zz", "%zz"),
        ("%00", "\0"),
        ("%0d%0aX:1", "\r\nX:1"),
        ("%C3%A9", "\u{e9}"),
        ("..", ".."),
        ("%2e%2e%2Fx", "../x"),
        ("$export", "$export"),
        ("a;b=c", "a;b=c"),
        (&long, &long),
    ] {
        let request = host.kickoff(&format!("Group/{sent}/$export"));
        assert_eq!(request.kickoff.level, Level::Group { id: id.into() }, "{sent}");
    }

    let query = "_type=Patient&_since=2024-01-31T09:30:00.5+01:00&_until=2024-02-01T00:00:00Z";
    let path = format!("Group/g/%24export?{query}");
    let request = host.kickoff(&path);
    let instant = |text: &str| Some(text.parse::<Timestamp>().unwrap());
    assert_eq!(request.parameters().since, instant("2024-01-31T08:30:00.5Z"));
    assert_eq!(request.parameters().until, instant("2024-02-01T00:00:00Z"));
    assert_eq!(request.parameters().types, [ResourceType::PATIENT]);
    assert_eq!(request.kickoff.url, format!("{}/{path}", host.served.base), "C7");
    for (path, level) in [("$export", Level::System), ("Patient/$export", Level::Patient)] {
        let request = host.kickoff(&format!("{path}?{query}"));
        assert_eq!((request.level(), request.parameters().since.is_some()), (&level, true));
    }
    let request = host.kickoff("$export");
    assert_eq!((request.parameters().since, request.parameters().until), (None, None));
}

#[test]
fn a_since_is_in_the_future_by_the_clock_of_the_server() {
    let folder = InstanceDir::new();
    let new_year: Timestamp = "2001-01-01T00:00:00Z".parse().unwrap();
    let host = Host::start(folder.path(), Clock::new(move || new_year), accept_all);
    host.kickoff("$export?_since=2001-01-01T00:05:00Z&_until=2050-01-01T00:00:00Z");
    for path in ["$export?_since=2001-01-01T00:05:00.001Z", "Group/g/$export?_since=2002-01-01T00:00:00Z"] {
        assert_eq!(host.call(path).outcome(), outcome(400, "invalid"), "{path}");
    }
}

#[test]
fn a_refused_group_gets_the_reason_and_leaves_nothing_behind() {
    watch_log();
    let folder = InstanceDir::new();
    let host = Host::start(folder.path(), Clock::system(), |id| match id {
        ALL_PATIENTS => Ok(()),
        "nested" => Err(ExportError::GroupNested),
        "unreadable" => Err(ExportError::SourceUnreadable(format!("no table for {SECRET}"))),
        _ => Err(ExportError::GroupNotFound),
    });
    let (long, longer) = ("x".repeat(8000), "x".repeat(9000));
    for (id, status, code) in [
        ("unknown", 404, "not-found"),
        (SECRET, 404, "not-found"),
        ("all_patients", 404, "not-found"),
        ("All_Patients%20", 404, "not-found"),
        ("All_Patients%2F", 404, "not-found"),
        ("All_Patients%00", 404, "not-found"),
        ("..", 404, "not-found"),
        ("%2F", 404, "not-found"),
        ("%2e%2e%2F%2e%2e%2Fetc", 404, "not-found"),
        ("%F0%9F%92%A9", 404, "not-found"),
        ("%22%3Cscript%3E", 404, "not-found"),
        (&long, 404, "not-found"),
        ("nested", 400, "not-supported"),
        ("unreadable", 500, "processing"),
        // What is no text is not asked for.
        ("%ff", 400, "structure"),
        ("%c0%ae", 400, "structure"),
        ("%", 400, "structure"),
        ("%4", 400, "structure"),
        ("%zz", 400, "structure"),
        ("unknown%ff", 400, "structure"),
        // Other places.
        ("", 404, "not-found"),
        ("unknown/x", 404, "not-found"),
        (&longer, 414, "too-long"),
    ] {
        let answer = host.call(&format!("Group/{id}/$export"));
        let shown = &id[..id.len().min(80)];
        assert_eq!(answer.outcome(), outcome(status, code), "{shown}");
        assert_eq!(answer.header("content-location"), "", "{shown}");
        assert!(answer.body.len() < 1000, "{shown}: {answer:?}");
        assert!(memchr::memmem::find(&answer.body, SECRET.as_bytes()).is_none(), "{answer:?}");
    }
    assert_eq!(host.call("Group/$export").outcome(), outcome(404, "not-found"));
    // The parameters are looked at first (G-7).
    assert_eq!(host.call("Group/unknown/$export?_type=").outcome(), outcome(400, "invalid"));
    let disk = Disk(folder.path().into());
    for place in ["building", "ready", "trash"] {
        assert_eq!(disk.jobs(place), [""; 0], "{place}");
    }
    let (refusals, found) = LOG.lock().clone();
    assert!(refusals >= 14, "the log was watched: {refusals}");
    assert_eq!(found, [""; 0], "P12");
    // A refused job is not active: there is room for one.
    host.kickoff("Group/All_Patients/$export");
    drop(host);
    let records = SledStore::open(&folder.path().join("store")).unwrap().load().unwrap();
    assert_eq!(records.len(), 1, "only that one was recorded: {records:?}");
}

#[test]
fn a_look_that_takes_too_long_is_not_waited_for() {
    let folder = InstanceDir::new();
    let (release, released) = channel::<()>();
    let released = Mutex::new(released);
    let host = Host::start(folder.path(), Clock::system(), move |_| {
        // Until the test lets it go, or is over.
        let _ = released.lock().recv();
        Err(ExportError::GroupNotFound)
    });
    let began = std::time::Instant::now();
    let answer = host.call("Group/slow/$export");
    assert_eq!(answer.status, 202, "{answer:?}");
    assert!(began.elapsed() >= CHECK_PATIENCE);
    let polling = answer.header("content-location");
    eventually("the export", || (get(polling).status == 200).then_some(()));
    drop(release);
}

#[test]
fn a_look_that_panics_is_a_500_and_the_server_goes_on() {
    let folder = InstanceDir::new();
    let host = Host::start(folder.path(), Clock::system(), |id| match id {
        "panics" => panic!("on purpose"),
        _ => Ok(()),
    });
    for _ in 0..3 {
        let answer = host.call("Group/panics/$export");
        assert_eq!((answer.status, answer.issue()), (500, ("fatal".into(), "processing".into())));
        assert!(!String::from_utf8(answer.body).unwrap().contains("on purpose"));
    }
    assert_eq!(Disk(folder.path().into()).jobs("building"), [""; 0]);
    host.kickoff("Group/fine/$export");
}
