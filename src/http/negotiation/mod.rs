//! What is negotiated with a client: the form of an answer, its version, and how it is handled.

pub mod accept;
pub mod conditions;
pub mod preferences;
