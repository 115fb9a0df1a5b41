//! One data directory, the instance on it, and what clients were told.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use evanesce::Evanesce;
use evanesce::clock::Clock;
use evanesce::config::{Config, ConfigDuration};
use evanesce::hooks::Hooks;
use evanesce::job::JobId;

use super::director::Director;
use super::exporter::{Directed, Plans};
use super::witness::Witness;

use crate::support::InstanceDir;

/// The owner of jobs that the HTTP face serves, and one that it does not.
pub const OWNERS: [&str; 2] = ["built-in", "other"];

/// How long complete jobs live, in seconds; a jump of the clock would be an hour.
pub const RETENTION: i64 = 1800;

const HOUR: ConfigDuration = ConfigDuration(Duration::from_secs(3600));

/// What a client learned.
#[derive(Clone, Debug, PartialEq)]
pub enum Saw {
    /// 202 to the DELETE of this name.
    Accepted(String),
    /// 404 `deleted` to the DELETE of this name.
    AlreadyDeleted(String),
    /// 404 `deleted` to something else.
    Deleted,
    /// 404 `not-found`.
    Unknown,
    /// 202 to a poll.
    Active,
    /// 200 to a poll: types and names.
    Manifest(Vec<(String, String)>),
    /// A whole file of this type, by the plan of this number.
    File(String, u64),
    /// A transfer that failed.
    Cut,
    /// It went away itself.
    Left,
    /// The instance was going down.
    Stopped,
    /// Anything else.
    Odd(String),
}

/// What a client asked and learned of one job, and when: instants are numbers in their order.
#[derive(Clone, Debug)]
pub struct Seen {
    pub begun: u64,
    pub ended: u64,
    pub saw: Saw,
}

#[derive(Default)]
pub struct Told {
    /// By the number of the kick-off.
    pub jobs: BTreeMap<usize, Job>,
    /// Kick-offs that got no answer.
    pub lost_kickoffs: Vec<(u64, u64)>,
    /// When instances went down and came back.
    pub restarts: Vec<(u64, u64)>,
    /// Whether the clock was set forward.
    pub clock_advanced: bool,
    /// Operations that are not over.
    pub running: usize,
}

pub struct Job {
    pub id: JobId,
    pub owner: &'static str,
    pub seen: Vec<Seen>,
}

pub struct Room {
    config: Config,
    pub director: Arc<Director>,
    plans: Plans,
    pub witness: Witness,
    now: Arc<AtomicI64>,
    instants: AtomicU64,
    pub instance: Mutex<Option<Evanesce>>,
    pub told: Mutex<Told>,
    pub ended: Condvar,
    /// Goes last: the instance works in it.
    _folder: InstanceDir,
}

impl Room {
    pub fn new(director: Director, delete_grace: bool, expiry_drain: bool) -> Self {
        let folder = InstanceDir::new();
        let witness = Witness::new(folder.path().join("data"));
        let mut config = Config::default();
        let time = |long: bool| if long { HOUR } else { ConfigDuration(Duration::ZERO) };
        config.storage.data_dir = witness.data_dir.clone();
        config.export.workers = 2;
        config.export.cancel_deadline = HOUR;
        config.download.delete_grace = time(delete_grace);
        config.download.expiry_drain = time(expiry_drain);
        config.retention.completed = ConfigDuration(Duration::from_secs(RETENTION as u64));
        config.retention.orphan_grace = ConfigDuration(Duration::ZERO);
        config.reaper.interval = HOUR;
        config.reaper.watch = false;
        Self {
            config,
            director: Arc::new(director),
            plans: Plans::default(),
            witness,
            now: Arc::new(AtomicI64::new(1_800_000_000)),
            instants: AtomicU64::new(0),
            instance: Mutex::default(),
            told: Mutex::default(),
            ended: Condvar::new(),
            _folder: folder,
        }
    }

    pub fn data_dir(&self) -> PathBuf {
        self.witness.data_dir.clone()
    }

    pub fn instant(&self) -> u64 {
        self.instants.fetch_add(1, Ordering::SeqCst)
    }

    /// A running instance; there is one but while it is restarted.
    pub fn evanesce(&self) -> Option<Evanesce> {
        self.instance.lock().unwrap().clone()
    }

    /// Whether a download may be cut as soon as its job is deleted or expires.
    pub fn cuts(&self) -> bool {
        [self.config.download.delete_grace, self.config.download.expiry_drain]
            .contains(&ConfigDuration(Duration::ZERO))
    }

    /// Sets the clock to when all that is complete now has expired.
    pub fn advance_clock(&self) {
        self.now.fetch_add(RETENTION + 1, Ordering::SeqCst);
        self.told.lock().unwrap().clock_advanced = true;
    }

    pub async fn start(&self) -> Evanesce {
        let (director, now) = (self.director.clone(), self.now.clone());
        let (plans, witness) = (self.plans.clone(), self.witness.next_life());
        let exporter = Directed { director: director.clone(), plans, witness };
        let clock = Clock::new(move || jiff::Timestamp::from_second(now.load(Ordering::SeqCst)).unwrap());
        Evanesce::builder()
            .config(self.config.clone())
            .exporter(exporter)
            .clock(clock)
            .hooks(Hooks::directed(move |step| director.reach(step)))
            .start()
            .await
            .unwrap()
    }
}
