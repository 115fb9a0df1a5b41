//! P4, seen from those that are in: as long as a writer or a download is at work, its job has no
//! receipt, and no writer outlives its instance. Asked of the files themselves.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

#[derive(Clone)]
pub struct Witness {
    pub data_dir: PathBuf,
    pub broken: Arc<Mutex<Vec<String>>>,
    /// Instances started so far.
    lives: Arc<AtomicU64>,
    /// Which of them this one is.
    life: u64,
}

impl Witness {
    pub fn new(data_dir: PathBuf) -> Self {
        Self { data_dir, broken: Arc::default(), lives: Arc::default(), life: 0 }
    }

    /// The witness of the next instance.
    pub fn next_life(&self) -> Self {
        Self { life: self.lives.fetch_add(1, Ordering::SeqCst) + 1, ..self.clone() }
    }

    /// The job whose plan has this number.
    pub fn job_of_plan(&self, plan: u64) -> Option<String> {
        let folders = ["building", "trash"].map(|place| self.data_dir.join(place));
        let jobs = folders.iter().flat_map(|folder| fs::read_dir(folder).into_iter().flatten().flatten());
        let has_plan =
            |content: Vec<u8>| String::from_utf8_lossy(&content).contains(&format!("\"plan\":{plan}}}"));
        let found = jobs
            .map(|job| job.path())
            .find(|job| crate::support::read_stored(&job.join("plan.json")).is_ok_and(has_plan));
        found.map(|job| job.file_name().unwrap().to_string_lossy()[..36].into())
    }

    /// Says that `who` is at work for the job.
    pub fn at_work(&self, who: &str, job: Option<&str>) {
        let receipts = fs::read_to_string(self.data_dir.join("receipts.ndjson")).unwrap_or_default();
        let is_receipt = |line: &&str| line.contains("\"kind\":\"erasure\"");
        let erased = |job: &str| receipts.lines().filter(is_receipt).any(|line| line.contains(job));
        let broken = match job {
            _ if self.life > 0 && self.life < self.lives.load(Ordering::SeqCst) => {
                format!("{who} is at work for {job:?}, of an instance that has stopped")
            }
            None => format!("{who} has no directory"),
            Some(job) if erased(job) => format!("{who} is at work for {job}, which has its receipt"),
            Some(_) => return,
        };
        self.broken.lock().unwrap().push(broken);
    }
}
