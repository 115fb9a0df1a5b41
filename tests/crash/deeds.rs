//! What is done to a server that is going to be killed, on a data directory where a complete
//! and a failed job stand already; and what must be found when it is started for the last time.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::sync::OnceLock;

use super::machine::Machine;
use crate::support::{
    Answer, Exported, KICKOFF, PATIENCE, Remaining, Server, Setup, assert_disk_equals_store, assert_erased,
    assert_receipts, copy_folder, eventually, get, job_id, polling_url, run_to_death, spawn, try_send,
    wait_remaining,
};

/// What the client does to the server that is going to be killed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Deed {
    /// DELETE of a complete job.
    DeleteComplete,
    /// DELETE of a job that has written some of its files, beside another that runs on.
    DeleteRunning,
    /// DELETE of a job that is held after its `job.json`, before its commit.
    DeleteFinishing,
    /// DELETE of a job of which a writer is held, and fenced soon.
    DeleteStuck,
    /// DELETE of a failed job.
    DeleteFailed,
    /// Nothing: time to live is over.
    Expire,
    /// An export of everything.
    Export,
    /// An export of everything, of which a write fails.
    Fail,
    /// Nothing: the server is only started.
    Start,
}

/// What becomes of the job.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum End {
    /// Gone, with one receipt of this reason.
    Erased(&'static str),
    /// Complete, with all that the source has.
    Complete,
    /// Failed: the client is told so, and no file is left.
    Failed,
    /// Nobody was told: as if nothing had happened, or gone for this reason.
    Untold(&'static str),
}
use Deed::*;
use End::*;

/// The steps of a deletion from which on its 202 may be on its way.
const TOLD: [&str; 10] = [
    "acknowledged",
    "last-one-out",
    "sweep-begins",
    "job-key-destroyed",
    "unlink-begins",
    "file-unlinked",
    "directory-removed",
    "sweep-ends",
    "receipt-written",
    "receipt-appended",
];

/// Whether the last of these breakpoints is one of a deletion whose 202 may be on its way.
pub fn comes_after_202(breaks: &str) -> bool {
    let step = breaks.rsplit(' ').next().unwrap().split(['>', ':', '=']).next().unwrap();
    TOLD.contains(&step)
}

/// How many bytes exports write that should still run when something happens to them: half of them,
/// in more than `FILES` files.
const BRAKE: u64 = 700_000;

/// How many output files a running job has before it is deleted: more than any two processes that
/// are killed among their unlinks remove.
const FILES: usize = 8;

/// Jobs that are made once, and a data directory with them that each test gets a copy of.
pub struct Before {
    pub setup: Setup,
    pub victim: Exported,
    pub bystander: Exported,
    pub failed: String,
}

pub fn before() -> &'static Before {
    static BEFORE: OnceLock<Before> = OnceLock::new();
    BEFORE.get_or_init(|| {
        let setup = Setup::new().set("export.part_bytes=65536");
        let server = setup.start_with(&FAULT);
        let failed = server.kickoff("$export");
        let gone = || (get(&failed).status >= 500 && files_of(&setup, &failed) == ["job.json"]).then_some(());
        eventually("the failure", gone);
        let export = |path| {
            let (polling, manifest) = server.export(path);
            Exported::of(&polling, &manifest)
        };
        let (bystander, victim) = (export("$export?_type=Patient,Group"), export("$export"));
        server.kill();
        // Each start makes it again; a copy would be 64 MiB of nothing.
        std::fs::remove_file(setup.data_dir().join("ballast")).unwrap();
        Before { failed: job_id(&failed).into(), setup, victim, bystander }
    })
}

impl Before {
    /// The store as it was then takes the place of the one that is there now.
    pub fn put_store_back(&self, setup: &Setup) {
        let store = setup.data_dir().join("store");
        std::fs::remove_dir_all(&store).unwrap();
        copy_folder(&self.setup.data_dir().join("store"), &store);
    }

    /// The files of the victim as they were then.
    pub fn put_victim_back(&self, setup: &Setup) {
        let ready = |setup: &Setup| setup.data_dir().join("ready").join(&self.victim.id);
        copy_folder(&ready(&self.setup), &ready(setup));
    }
}

/// One write fails, among those of the first output files.
const FAULT: [&str; 2] = ["--fault", "write:28:1:6"];

fn files_of(setup: &Setup, polling: &str) -> Vec<String> {
    let folder = setup.data_dir().join("building").join(job_id(polling));
    std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
}

/// One test: what it works on, and what it has done so far.
pub struct Scene {
    pub machine: Machine,
    deed: Deed,
    /// The job that is concerned.
    pub id: String,
    /// Another one that was running.
    neighbour: Option<String>,
    /// Whether the client got its 202.
    told: bool,
}

impl Scene {
    /// The whole of a test: the deed, and each process killed in turn.
    pub fn play(deed: Deed, kills: &[&str], end: End) {
        let (first, later) = kills.split_first().unwrap();
        let mut scene = Self::set(deed, end);
        scene.act(first);
        for kill in later {
            run_to_death(&scene.machine.setup, &breakpoints(kill));
        }
        scene.check(end);
    }

    pub fn set(deed: Deed, end: End) -> Self {
        let setup = Self::settings(deed, end);
        copy_folder(&before().setup.data_dir(), &setup.data_dir());
        Self::on(setup.into(), deed)
    }

    /// Where what was `before` is on the disk already.
    pub fn on(machine: Machine, deed: Deed) -> Self {
        let id = if deed == DeleteFailed { &before().failed } else { &before().victim.id };
        Self { machine, deed, id: id.clone(), neighbour: None, told: false }
    }

    pub fn settings(deed: Deed, end: End) -> Setup {
        let mut setup = Setup::new().set("export.part_bytes=65536").set("reaper.watch=false");
        if matches!(end, Erased("orphan") | Untold("orphan")) {
            setup = setup.set("retention.orphan_grace=0s").set("reaper.interval=50ms");
        }
        if deed == Expire {
            setup = setup.set("retention.completed=1ms");
        }
        setup
    }

    fn arguments<'a>(&self, breaks: &'a str) -> Vec<&'a str> {
        let mut arguments = breakpoints(breaks);
        match self.deed {
            DeleteStuck => arguments.extend(["--set", "export.cancel_deadline=20ms"]),
            Fail => arguments.extend(FAULT),
            _ => {}
        }
        arguments
    }

    /// Does the deed to a server with these breakpoints and sees it die.
    pub fn act(&mut self, breaks: &str) {
        let arguments = self.arguments(breaks);
        if matches!(self.deed, Expire | Start) {
            return run_to_death(&self.machine.setup, &arguments);
        }
        let server = self.machine.setup.start_with(&arguments);
        let (method, url) = self.prepare(&server, breaks);
        let answer = try_send(method, &url, &KICKOFF);
        if breaks.ends_with("=kill") {
            wait_killed(server)
        } else {
            server.kill()
        }
        if self.deed == DeleteRunning {
            self.machine.setup.release_brake();
        }
        self.note(breaks, answer.ok().as_ref());
    }

    /// As `act`, but the server is held at the last breakpoint. If the deed was done before,
    /// the server is only started.
    pub fn hold(&mut self, breaks: &str, is_done: bool) -> Server {
        let arguments = self.arguments(breaks);
        if is_done || matches!(self.deed, Expire | Start) {
            let server = spawn(&self.machine.setup, &arguments);
            self.wait_held();
            return server;
        }
        let server = self.machine.setup.start_with(&arguments);
        let (method, url) = self.prepare(&server, breaks);
        let (told, answer) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            if let Ok(answer) = try_send(method, &url, &KICKOFF) {
                // Nobody waits for one that comes after the step.
                let _ = told.send(answer);
            }
        });
        self.wait_held();
        self.note(breaks, answer.try_recv().ok().as_ref());
        server
    }

    /// Waits until a thread of the server is held.
    fn wait_held(&self) {
        self.machine.setup.wait_logged("held at");
    }

    /// Brings a server so far that the deed is one request.
    fn prepare(&mut self, server: &Server, breaks: &str) -> (&'static str, String) {
        match self.deed {
            Expire | Start => unreachable!("nobody asks for anything"),
            Export | Fail => return ("GET", format!("{}/$export", server.base)),
            DeleteComplete | DeleteFailed => {}
            DeleteRunning => {
                self.machine.setup.brake(BRAKE);
                self.neighbour = Some(job_id(&server.kickoff("$export")).into());
                self.id = halfway(&self.machine.setup, server);
            }
            DeleteStuck => {
                self.id = job_id(&server.kickoff("$export")).into();
                self.wait_held();
            }
            DeleteFinishing => {
                self.id = job_id(&server.kickoff("$export")).into();
                let sealed = if breaks.starts_with("moved-to-ready") { "ready" } else { "building" };
                let sealed = self.machine.setup.data_dir().join(sealed).join(&self.id).join("job.json");
                eventually("the seal", || sealed.exists().then_some(()));
            }
        }
        ("DELETE", polling_url(server, &self.id))
    }

    /// What the client was told, and what the deed was done to.
    fn note(&mut self, breaks: &str, answer: Option<&Answer>) {
        self.told = answer.is_some();
        if !matches!(self.deed, Export | Fail) {
            if let Some(answer) = answer {
                assert_eq!(answer.outcome(), (202, "processing".into()));
            }
            // One that finishes is held before it is asked to go, and the breakpoint is another's.
            let may_be_told =
                comes_after_202(breaks) || self.deed == DeleteFinishing && !breaks.contains(' ');
            assert!(!self.told || may_be_told, "told before {breaks}");
            return;
        }
        let known = [&before().victim.id, &before().bystander.id, &before().failed];
        // The answer may have been lost: the disk knows the job's id.
        let disk = self.machine.setup.disk();
        let mut jobs =
            ["building", "ready"].iter().flat_map(|place| disk.jobs(place)).collect::<BTreeSet<_>>();
        jobs.retain(|id| !known.contains(&id));
        let [id] = &Vec::from_iter(jobs)[..] else { panic!("one new job expected: {:?}", disk.files()) };
        if let Some(answer) = answer {
            assert_eq!((answer.status, job_id(answer.header("content-location"))), (202, id.as_str()));
        }
        self.id = id.clone();
    }

    /// This scene as a power loss would leave it now, and the machine that lives on.
    pub fn without_power(self, server: &Server) -> (Self, Machine) {
        let machine = self.machine.without_power(server);
        (Self { machine, ..self }, self.machine)
    }

    /// Starts the last server, and checks everything.
    pub fn check(self, end: End) {
        let Self { machine: Machine { setup, .. }, id, .. } = &self;
        let before = before();
        let server = setup.start();
        let mut left = Remaining::default();
        let mut erased = BTreeSet::new();
        // What nobody deletes must stay as it is.
        if self.deed == Expire {
            for job in [&before.bystander.id, &before.failed] {
                self.assert_gone(&server, job, "expired");
                erased.insert(job.clone());
            }
        } else {
            before.bystander.assert_intact(&server);
            left.complete.insert(before.bystander.id.clone());
            left.complete.insert(before.victim.id.clone());
            left.failed.insert(before.failed.clone());
        }
        left.complete.remove(id);
        left.failed.remove(id);
        match self.outcome(&server, end) {
            Complete => {
                Exported::wait(&server, id).assert_is_the_source(&setup.source, |_| true);
                left.complete.insert(id.clone());
            }
            Failed => {
                assert!(get(&polling_url(&server, id)).status >= 500);
                left.failed.insert(id.clone());
            }
            Untold(_) => setup.disk().wait_gone(id),
            Erased(reason) => {
                self.assert_gone(&server, id, reason);
                erased.insert(id.clone());
            }
        }
        if left.complete.contains(&before.victim.id) {
            before.victim.assert_intact(&server);
        }
        if let Some(neighbour) = &self.neighbour {
            Exported::wait(&server, neighbour).assert_is_the_source(&setup.source, |_| true);
            left.complete.insert(neighbour.clone());
        }
        wait_remaining(setup, &server, &left);
        server.kill();
        if let Untold(_) = end {
            // A kick-off that a power loss took back altogether has none.
            erased.extend(setup.receipts().iter().map(|_| id.clone()));
        }
        assert_receipts(setup, &erased);
        assert_disk_equals_store(setup);
    }

    /// Which of two ends it is, where nobody was told.
    fn outcome(&self, server: &Server, end: End) -> End {
        let Untold(reason) = end else { return end };
        assert!(!self.told, "somebody was told");
        match (get(&polling_url(server, &self.id)).status, reason) {
            (404, "orphan") => end,
            (404, _) => Erased(reason),
            _ => Complete,
        }
    }

    fn assert_gone(&self, server: &Server, id: &str, reason: &str) {
        if reason == "expired" {
            eventually("the expiry", || (get(&polling_url(server, id)).status == 404).then_some(()));
        }
        if reason == "orphan" {
            assert!(!self.told, "a kick-off was acknowledged before it was durable");
            self.machine.setup.disk().wait_gone(id);
            assert_eq!(self.machine.setup.receipt(id)["reason"], "orphan");
            // Nobody was told of it: to every client it is unknown (P10).
            assert_eq!(get(&polling_url(server, id)).outcome(), (404, "not-found".into()));
            return;
        }
        let files = if *id == before().victim.id { &before().victim.files[..] } else { &[] };
        let receipt = assert_erased(&self.machine.setup, server, id, files, &[reason]);
        let asked = matches!(reason, "deleted" | "cancelled");
        assert!(!asked || receipt["by"].is_string() && receipt["request_id"].is_string(), "{receipt}");
    }
}

/// The id of an export that has some files and is not done.
fn halfway(setup: &Setup, server: &Server) -> String {
    let polling = server.kickoff("$export");
    let outputs = || files_of(setup, &polling).iter().filter(|name| name.ends_with(".ndjson")).count();
    eventually("some files", || (outputs() >= FILES).then_some(()));
    job_id(&polling).into()
}

pub fn breakpoints(text: &str) -> Vec<&str> {
    text.split(' ').flat_map(|breakpoint| ["--breakpoint", breakpoint]).collect()
}

/// The process dies of SIGKILL by itself.
fn wait_killed(mut server: Server) {
    let status = server.wait_exit();
    assert_eq!(status.signal(), Some(9), "within {PATIENCE:?}: {status:?}");
}
