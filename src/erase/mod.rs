//! Everything that decides or performs an erasure.

mod holds;
mod queue;
pub mod reconcile;
mod scan;
mod sweep;
mod warrant;

pub use holds::{HoldBook, OrderError, WarrantRefusal};
pub use queue::{NextSweep, SweepQueue, SweepRetry};
pub use scan::{Nominations, Sightings};
pub use sweep::{Eraser, SweepResult};
pub use warrant::{Evidence, Ground, HoldRegistry, LiveEvidence, Warrant};
