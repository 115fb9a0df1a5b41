//! Everything that decides or performs an erasure.

mod backlog;
mod expiry;
mod holds;
mod queue;
pub mod reconcile;
mod scan;
mod sweep;
mod warrant;

pub use backlog::ReaperStatus;
pub use expiry::{DueJobs, expires_at};
pub use holds::{HoldBook, OrderError, WarrantRefusal};
pub use queue::{NextSweep, SweepQueue, SweepRetry};
pub use scan::{Nominations, Sightings, Survey};
pub use sweep::{Eraser, SweepResult};
pub use warrant::{Evidence, Ground, HoldRegistry, LiveEvidence, Warrant};
