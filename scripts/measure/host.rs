//! An embedded instance, called from as many threads as there are clients.

use std::path::Path;
use std::time::{Duration, Instant};

use evanesce::config::Config;
use evanesce::job::{ClientId, JobId, Parameters};
use evanesce::{Evanesce, Kickoff};
use tokio::runtime::Runtime;

/// See the module.
pub struct Host {
    evanesce: Evanesce,
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    thread_local! {
        static RUNTIME: Runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    }
    RUNTIME.with(|runtime| runtime.block_on(future))
}

fn owner() -> ClientId {
    "measure".parse().expect("a valid name")
}

impl Host {
    pub fn start(data_dir: &Path, source: &Path) -> Self {
        let mut config = Config::default();
        config.source.folder = source.to_owned();
        config.export.max_active_jobs = 100_000;
        config.export.max_active_jobs_per_client = 0;
        config.export.max_finished_jobs_per_client = 0;
        config.export.max_known_jobs_per_client = 0;
        let builder = Evanesce::builder().config(config).data_dir(data_dir);
        Self { evanesce: block_on(builder.start()).expect("an instance") }
    }

    /// `count` complete exports.
    pub fn exports(&self, count: usize) -> Vec<JobId> {
        let kickoff = || Kickoff {
            parameters: Parameters::default().with_types(&["Location"]).expect("a type"),
            ..Kickoff::system()
        };
        block_on(async {
            let mut jobs = Vec::with_capacity(count);
            for _ in 0..count {
                jobs.push(self.evanesce.submit(kickoff(), owner()).await.expect("a job"));
            }
            for job in &jobs {
                self.evanesce.wait_finished(*job).await.expect("an end");
            }
            jobs
        })
    }

    /// A cancel, and how long it took to be durable.
    pub fn cancel(&self, job: JobId) -> Duration {
        let began = Instant::now();
        block_on(self.evanesce.cancel(job, owner())).expect("the first cancel");
        began.elapsed()
    }

    /// Waits until no mark is left.
    pub fn wait_erased(&self) {
        while block_on(self.evanesce.reaper_status()).is_some_and(|status| status.marked > 0) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
