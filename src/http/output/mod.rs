//! What several operations answer with.

pub mod bundle;
pub mod documents;
