//! Clients that kick exports off, poll, download and delete over HTTP, all at once and at
//! random; and what they know afterwards. Whatever was acknowledged must hold in the next
//! process; what was asked for and not answered may be either way (P1, P2, P6, P8, P11).

mod aftermath;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use rand::RngExt;
use rand_pcg::Pcg64Mcg;

use crate::support::{Exported, KICKOFF, Setup, job_id, try_send};

/// The exports that clients ask for, of every level.
const EXPORTS: [&str; 6] = [
    "$export",
    "$export?_type=Patient,Encounter",
    "$export?_type=Goal",
    "Patient/$export?_type=Condition,Observation",
    "Group/All_Patients/$export?_type=Immunization",
    "$export?_since=2025-06-01T00:00:00Z",
];

/// Jobs that may be alive at once; above that clients delete before they kick off.
const ALIVE: usize = 6;

/// A job that was found deleted after so many starts is looked at again only in the end.
const STARTS: u32 = 3;

/// What clients were told of a job, and what they asked.
#[derive(Clone, Default)]
struct Known {
    export: usize,
    /// What it gave when it was first seen complete.
    exported: Option<Arc<Exported>>,
    failed: bool,
    /// DELETEs sent in this life of the server, and those that were answered.
    asked: u32,
    answered: u32,
    /// Whether one was answered 202, in any life.
    accepted: bool,
    /// Whether its time may have been over.
    may_expire: bool,
    /// Whether a client was told that it is deleted.
    seen_gone: bool,
    /// Starts after which it was found deleted.
    hidden: u32,
}

impl Known {
    /// Whether 404 `deleted` may be the answer.
    fn may_be_gone(&self) -> bool {
        self.asked > 0 || self.is_gone() || self.may_expire
    }

    fn is_gone(&self) -> bool {
        self.accepted || self.seen_gone
    }
}

/// How many of each were answered.
#[derive(Default)]
pub struct Counts {
    pub kickoffs: AtomicU32,
    pub deletes: AtomicU32,
    pub polls: AtomicU32,
    pub downloads: AtomicU32,
    pub abandoned: AtomicU32,
}

fn count(counter: &AtomicU32) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// See the module.
pub struct Clients {
    jobs: Mutex<BTreeMap<String, Known>>,
    pub counts: Counts,
    /// The lines of each export, sorted, by a server that nobody disturbs.
    expected: Arc<Vec<Vec<Vec<u8>>>>,
    /// Jobs that may have failed, because a write did.
    pub faults: AtomicU32,
    /// Whether the server lets jobs expire that these clients work with.
    expiring: bool,
}

fn sorted_lines(job: &Exported) -> Vec<Vec<u8>> {
    let lines = job.files.iter().flat_map(|(_, bytes)| bytes.split_inclusive(|b| *b == b'\n'));
    let mut lines: Vec<_> = lines.map(<[u8]>::to_vec).collect();
    lines.sort();
    lines
}

impl Clients {
    pub fn new(source: &Path) -> Self {
        let setup = Setup::new().source(source);
        let server = setup.start();
        let expected = EXPORTS.map(|path| {
            let (polling, manifest) = server.export(path);
            let job = Exported::of(&polling, &manifest);
            if path == "$export" {
                job.assert_is_the_source(source, |_| true);
            }
            assert!(!job.files.is_empty(), "{path}");
            sorted_lines(&job)
        });
        let (jobs, faults) = (Mutex::default(), AtomicU32::new(0));
        Self { jobs, counts: Counts::default(), expected: Arc::new(expected.into()), faults, expiring: false }
    }

    /// From here on the server lets complete jobs expire, or does not.
    pub fn expire(&mut self, expiring: bool) {
        self.expiring = expiring;
        for known in self.jobs.get_mut().unwrap().values_mut() {
            known.may_expire |= expiring;
        }
    }

    /// What these clients know now; they may go on.
    pub fn snapshot(&self) -> Self {
        let jobs = Mutex::new(self.jobs.lock().unwrap().clone());
        let faults = AtomicU32::new(self.faults.load(Ordering::Relaxed));
        Self {
            jobs,
            counts: Counts::default(),
            expected: self.expected.clone(),
            faults,
            expiring: self.expiring,
        }
    }

    /// These clients as they were before something, with what had been asked for after it:
    /// what they were told in between may have happened or not.
    pub fn asked_by(self, after: &Self) -> Self {
        for (id, known) in &mut *self.jobs.lock().unwrap() {
            let later = &after.jobs.lock().unwrap()[id];
            (known.asked, known.answered) = (later.asked.max(u32::from(later.accepted)), 0);
        }
        self
    }

    /// The jobs that were acknowledged.
    pub fn ids(&self) -> BTreeSet<String> {
        self.jobs.lock().unwrap().keys().cloned().collect()
    }

    /// DELETEs that were sent and not answered.
    pub fn unanswered(&self) -> u32 {
        self.jobs.lock().unwrap().values().map(|known| known.asked - known.answered).sum()
    }

    /// One client, until the server is gone.
    pub fn run(&self, base: &str, random: &mut Pcg64Mcg) {
        while self.act(base, random).is_ok() {}
    }

    fn act(&self, base: &str, random: &mut Pcg64Mcg) -> Result<(), ureq::Error> {
        let (chosen, any, alive) = {
            let jobs = self.jobs.lock().unwrap();
            let (mut alive, mut all) = (Vec::new(), Vec::new());
            for (id, known) in &*jobs {
                if known.hidden < STARTS {
                    all.push(id);
                    alive.extend((!known.is_gone() && known.asked == 0).then_some(id));
                }
            }
            let mut choose =
                |ids: &[&String]| (!ids.is_empty()).then(|| ids[random.random_range(0..ids.len())].clone());
            (choose(&alive), choose(&all), alive.len())
        };
        match (random.random_range(0..20), chosen, any) {
            (0..7, ..) | (_, None, _) if alive < ALIVE => {
                self.kick_off(base, random.random_range(0..EXPORTS.len()))
            }
            (0..3, Some(id), _) => self.delete(base, &id, random.random()),
            (3, Some(id), _) => self.delete_twice(base, &id),
            // One that was deleted before, perhaps.
            (4, _, Some(id)) => self.delete(base, &id, random.random()),
            (5..8, _, Some(id)) => self.look(base, &id, false),
            (8..11, Some(id), _) => self.look(base, &id, true),
            (_, Some(id), _) => self.look(base, &id, false),
            (_, None, _) => Ok(()),
        }
    }

    fn kick_off(&self, base: &str, export: usize) -> Result<(), ureq::Error> {
        let answer = try_send("GET", &format!("{base}/{}", EXPORTS[export]), &KICKOFF)?;
        if answer.status >= 500 {
            assert!(self.may_have_failed(), "{answer:?}");
            return Ok(());
        }
        assert_eq!(answer.status, 202, "{answer:?}");
        count(&self.counts.kickoffs);
        let id = job_id(answer.header("content-location")).to_string();
        let known = Known { export, may_expire: self.expiring, ..Known::default() };
        assert!(self.jobs.lock().unwrap().insert(id, known).is_none(), "an id was given twice");
        Ok(())
    }

    fn with<T>(&self, id: &str, look: impl FnOnce(&mut Known) -> T) -> T {
        look(self.jobs.lock().unwrap().get_mut(id).unwrap())
    }

    fn may_have_failed(&self) -> bool {
        self.faults.load(Ordering::Relaxed) > 0
    }

    /// DELETE by either URL.
    fn delete(&self, base: &str, id: &str, by_operation: bool) -> Result<(), ureq::Error> {
        let was_gone = self.with(id, |known| {
            known.asked += 1;
            known.is_gone()
        });
        let polling = format!("{base}/bulk-api/request/{id}");
        let answer = if by_operation {
            try_send("GET", &format!("{base}/Export/DeleteRequest?request={polling}"), &KICKOFF)?
        } else {
            try_send("DELETE", &polling, &[])?
        };
        self.with(id, |known| {
            known.answered += 1;
            match answer.outcome() {
                (202, code) => {
                    assert!(
                        code == "processing" && !was_gone && !known.accepted,
                        "two 202s: {id} {answer:?}"
                    );
                    count(&self.counts.deletes);
                    known.accepted = true;
                }
                // Another DELETE came first, by whichever client.
                (404, code) if code == "deleted" && (was_gone || known.asked > 1 || known.may_expire) => {
                    known.seen_gone = true;
                }
                _ => panic!("DELETE {id}: {answer:?}"),
            }
        });
        Ok(())
    }

    /// The same job by two clients at once, each with another URL.
    fn delete_twice(&self, base: &str, id: &str) -> Result<(), ureq::Error> {
        std::thread::scope(|scope| {
            let other = scope.spawn(|| self.delete(base, id, true));
            let own = self.delete(base, id, false);
            own.and(other.join().unwrap())
        })
    }

    /// Polls; reads the files of a job that is complete, or begins to.
    fn look(&self, base: &str, id: &str, abandon: bool) -> Result<(), ureq::Error> {
        let was_gone = self.with(id, |known| known.is_gone());
        let answer = try_send("GET", &format!("{base}/bulk-api/request/{id}"), &[])?;
        count(&self.counts.polls);
        if was_gone || answer.status == 404 {
            assert_eq!(answer.outcome(), (404, "deleted".into()), "{id}");
            self.with(id, |known| {
                assert!(known.may_be_gone(), "{id}: nobody has deleted it");
                known.seen_gone = true;
            });
            return Ok(());
        }
        let so_far = self.with(id, |known| known.clone());
        self.assert_follows(id, &so_far, answer.status);
        if answer.status != 200 {
            self.with(id, |known| known.failed |= answer.status >= 500);
            return Ok(());
        }
        let mut files = Vec::new();
        for file in answer.json()["output"].as_array().unwrap() {
            let url = file["url"].as_str().unwrap();
            if abandon {
                return self.abandon(url);
            }
            let answer = match try_send("GET", url, &[]) {
                // Cut by a deletion, or by the kill.
                Err(_) if self.with(id, |known| known.may_be_gone()) => return Ok(()),
                answer => answer?,
            };
            if answer.status == 404 && self.with(id, |known| known.may_be_gone()) {
                return Ok(());
            }
            assert_eq!(answer.status, 200, "{answer:?}");
            count(&self.counts.downloads);
            files.push((job_id(url).to_string(), answer.body));
        }
        self.seen(Exported { id: id.into(), files });
        Ok(())
    }

    /// Begins a download and goes away in the middle of it.
    fn abandon(&self, url: &str) -> Result<(), ureq::Error> {
        let config = ureq::Agent::config_builder().http_status_as_error(false);
        let agent: ureq::Agent = config.build().into();
        let mut response = agent.get(url).call()?;
        // Whatever comes, if anything does.
        let _ = response.body_mut().as_reader().read(&mut [0; 512]);
        count(&self.counts.abandoned);
        Ok(())
    }

    /// A complete job stays complete, a failed one failed, and one only fails if a write did.
    fn assert_follows(&self, id: &str, so_far: &Known, status: u16) {
        match status {
            200 => assert!(!so_far.failed, "{id} had failed and is complete"),
            202 => assert!(!so_far.failed && so_far.exported.is_none(), "{id} had ended and runs again"),
            500.. => {
                assert!(so_far.exported.is_none() && self.may_have_failed(), "{id} has failed: {status}")
            }
            _ => panic!("{id}: {status}"),
        }
    }

    /// A complete job has all that its export should have, and never changes (P6, P11).
    fn seen(&self, exported: Exported) {
        let known = self.with(&exported.id, |known| known.clone());
        match &known.exported {
            Some(before) => assert!(before.files == exported.files, "{}: other files", exported.id),
            None => {
                let same = sorted_lines(&exported) == self.expected[known.export];
                assert!(same, "{}: other resources than {} has", exported.id, EXPORTS[known.export]);
                self.with(&exported.id.clone(), |known| known.exported = Some(Arc::new(exported)));
            }
        }
    }
}
