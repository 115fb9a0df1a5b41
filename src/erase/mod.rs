//! Everything that decides or performs an erasure.

mod holds;
mod queue;
mod sweep;
mod warrant;

pub use holds::{HoldBook, OrderError, WarrantRefusal};
pub use queue::{NextSweep, SweepQueue, SweepRetry};
pub use sweep::{Eraser, SweepResult};
pub use warrant::{Evidence, Ground, HoldRegistry, LiveEvidence, Warrant};
