//! The orders that no single page owns: the reaper and the clock.

use actix_web::web::{self, ServiceConfig};

use super::visit::{DoneOrder, Visit};
use super::{PageResult, ROOT};
use crate::control::OperatorRequest;

/// Adds the routes.
pub fn mount(config: &mut ServiceConfig) {
    config.service(web::resource("/reaper/pause").post(pause));
    config.service(web::resource("/reaper/resume").post(resume));
    config.service(web::resource("/clock/confirm").post(confirm_clock));
}

async fn pause(visit: Visit) -> PageResult {
    let order = OperatorRequest::Pause { reason: visit.reason()? };
    visit.carry_out(order, ROOT, DoneOrder::Paused).await
}

async fn resume(visit: Visit) -> PageResult {
    visit.carry_out(OperatorRequest::Resume, ROOT, DoneOrder::Resumed).await
}

async fn confirm_clock(visit: Visit) -> PageResult {
    visit.carry_out(OperatorRequest::ConfirmClock, ROOT, DoneOrder::Confirmed).await
}
