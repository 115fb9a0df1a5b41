//! The operations of the operators' listener, and the two health checks, which clients have as well.

use super::{JSON, NOT_MEANT, UNCHANGED, answer, of, refusal};
use crate::http::operations::operation::{Answer, Content, Description};

/// `GET /openapi.json` of operators.
pub static ADMIN_OPENAPI: Description = Description {
    summary: "This document.",
    parameters: &[],
    body: None,
    answers: &[DONE, UNCHANGED, NOT_MEANT],
};

/// `GET /healthz`.
pub static HEALTHZ: Description = Description {
    summary: "Whether the process answers.",
    parameters: &[],
    body: None,
    answers: &[&[answer(200, "It does.", JSON)]],
};

/// `GET /readyz`.
pub static READYZ: Description = Description {
    summary: "Whether the server can keep its promises.",
    parameters: &[],
    body: None,
    answers: &[&[answer(200, "It can.", JSON), answer(503, "It cannot.", JSON)]],
};

/// `GET /metrics`.
pub static METRICS: Description = Description {
    summary: "Metrics for Prometheus.",
    parameters: &[],
    body: None,
    answers: &[&[
        answer(200, "The metrics.", &[of("text/plain", "Any")]),
        refusal(404, "There is no recorder (`not-found`)."),
    ]],
};

const REASON: Content = of("application/json", "Reason");

const DONE: &[Answer] = &[
    answer(200, "It is done; a question has its answer.", JSON),
    refusal(401, "The operator's token is missing or wrong (`login`)."),
    refusal(409, "It cannot be done now; the text says why (`conflict`)."),
];

/// `GET /admin/status`.
pub static ADMIN_STATUS: Description = Description {
    summary: "What the reaper has done and has before it.",
    parameters: &[],
    body: None,
    answers: &[DONE],
};

/// `GET /admin/jobs`.
pub static ADMIN_JOBS: Description =
    Description { summary: "All jobs, the oldest first.", parameters: &[], body: None, answers: &[DONE] };

/// `DELETE /admin/jobs/{job}`.
pub static ADMIN_CANCEL: Description = Description {
    summary: "Ends a job, whosever it is, and has its files erased.",
    parameters: &[],
    body: None,
    answers: &[DONE],
};

/// `PUT /admin/jobs/{job}/hold`.
pub static ADMIN_HOLD: Description = Description {
    summary: "Puts a job under a legal hold.",
    parameters: &[],
    body: Some(REASON),
    answers: &[DONE],
};

/// `DELETE /admin/jobs/{job}/hold`.
pub static ADMIN_RELEASE: Description =
    Description { summary: "Releases a job from its hold.", parameters: &[], body: None, answers: &[DONE] };

/// `PUT /admin/reaper/pause`.
pub static ADMIN_PAUSE: Description =
    Description { summary: "Pauses the reaper.", parameters: &[], body: Some(REASON), answers: &[DONE] };

/// `DELETE /admin/reaper/pause`.
pub static ADMIN_RESUME: Description =
    Description { summary: "Resumes the reaper.", parameters: &[], body: None, answers: &[DONE] };

/// `POST /admin/clock/confirm`.
pub static ADMIN_CONFIRM_CLOCK: Description = Description {
    summary: "The wall clock is right although it jumped.",
    parameters: &[],
    body: None,
    answers: &[DONE],
};
