//! What clients send: queries, bodies and forms, read strictly.

pub mod body;
pub mod form;
pub mod intake;
pub mod query;
pub mod reading;
