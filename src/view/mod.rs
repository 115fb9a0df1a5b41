//! What readers see: the published jobs, how far each is, who reads its files and how often it is
//! polled. The store's committer publishes a change here only after it is durable, so nobody reads
//! a state that a crash would take back.

mod downloads;
mod local;
mod partial;
mod polls;
mod progress;

pub use downloads::{DownloadTicket, OpenDownloads};
pub use local::{JobLookup, LocalView, PublishedJob, ViewChange};
pub use partial::{PartialManifests, parts_of};
pub use polls::PollLimit;
pub use progress::ExportProgress;
