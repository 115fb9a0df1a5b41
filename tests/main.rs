//! All integration tests in one binary (linking is slow), by promise and by operation.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod api;
mod applications;
mod attacks;
mod audit;
mod auth;
mod cli;
mod client;
mod conformance;
mod console;
mod crash;
mod embed;
mod faults;
mod first_run;
mod forensics;
mod fsck;
mod logs;
mod manual;
mod model;
mod operator;
mod packaging;
mod privacy;
mod protocol;
mod races;
mod receipts;
mod select;
mod source;
mod space;
mod support;
mod transport;
mod upgrade;
