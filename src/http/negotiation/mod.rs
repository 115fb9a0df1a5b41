//! What is negotiated with a client: the media type and coding of an answer, its version, and its
//! preferences.

pub mod accept;
pub mod conditions;
pub mod preferences;
