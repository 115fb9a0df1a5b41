//! What several operations say of themselves: parameters and answers. The answers of every URL stand
//! once, in [`ANYWHERE`]; those of every URL that needs an access token, in [`NO_TOKEN`].

use super::description::{
    AnswerHeader, BodyContent, DocumentedAnswer, OperationParameter, answer, content, refusal, resource,
};
use crate::http::input::form::FORM;

pub const RETRY_AFTER: AnswerHeader =
    ("Retry-After", "Whole seconds after which it is worth while to ask again.");
pub const ETAG: AnswerHeader = ("ETag", "Names this content.");
pub const NO_STORE: AnswerHeader = ("Cache-Control", "no-store");

pub const OUTCOME: &[BodyContent] = &[content("application/fhir+json", "OperationOutcome")];
pub const JSON: &[BodyContent] = &[content("application/json", "Any")];

/// The answers of every URL.
pub static ANYWHERE: &[DocumentedAnswer] = &[
    refusal(414, "The URL is too long (`too-long`)."),
    refusal(429, "Too many requests from this address or of this client (`throttled`).").with(&[RETRY_AFTER]),
    refusal(421, "The request is for a host that is not answered for without authentication (`security`)."),
    refusal(431, "The header fields are too long (`too-long`), or too many: then without a body."),
];

/// The answers of every URL that needs an access token.
pub static NO_TOKEN: &[DocumentedAnswer] = &[
    refusal(400, "An access token stands in the URL, or there are several (`login`)."),
    refusal(
        401,
        "There is no access token, or it is not valid here (`login`), or it has expired (`expired`).",
    )
    .with(&[("WWW-Authenticate", "The scheme, and what is wrong with the token.")]),
];

pub const NO_TENANT: &[DocumentedAnswer] = &[refusal(404, "The tenant is not known (`not-found`).")];
pub const BAD_ACCEPT: &[DocumentedAnswer] =
    &[refusal(406, "`Accept` excludes what this URL answers (`structure`).")];
pub const FAILED: &[DocumentedAnswer] = &[refusal(500, "The server could not do it (`exception`).")];
pub const NO_JOB: &[DocumentedAnswer] =
    &[refusal(404, "No such request of this client (`not-found`), or not any more (`deleted`).")];
pub const NO_RESOURCE: &[DocumentedAnswer] = &[refusal(404, "There is no such resource (`not-found`).")];
pub const BEYOND_SCOPES: &[DocumentedAnswer] =
    &[refusal(403, "The scopes of the access token do not cover this (`security`).")
        .with(&[("WWW-Authenticate", "The scheme, and that the scopes are insufficient.")])];
pub const UNCHANGED: &[DocumentedAnswer] =
    &[answer(304, "It is what `If-None-Match` names.", &[]).with(&[ETAG])];
pub const NOT_MEANT: &[DocumentedAnswer] = &[refusal(
    412,
    "What `If-Match`, `If-None-Match` or `If-Unmodified-Since` says does not hold: nothing is done (`conflict`).",
)];
pub const BUSY: &[DocumentedAnswer] =
    &[refusal(503, "The source is being indexed (`transient`).").with(&[RETRY_AFTER])];
pub const BAD_READ: &[DocumentedAnswer] = &[
    refusal(
        400,
        "The URL cannot be understood (`structure`), or has a parameter that is not supported \
         (`not-supported`), a value that makes no sense (`invalid`), or too many values (`too-costly`).",
    ),
    refusal(406, "`_format` asks for what is not there (`structure`)."),
];
pub const BAD_BODY: &[DocumentedAnswer] = &[
    refusal(408, "The body did not come to its end in time (`timeout`)."),
    refusal(413, "The body is too long (`too-long`)."),
    refusal(415, "The body is of another media type (`structure`)."),
];

/// The answer of a search.
pub const SEARCHED: &[DocumentedAnswer] = &[answer(200, "A Bundle of what was found.", &resource("Bundle"))];

/// The body of a search by POST.
pub const SEARCH_FORM: BodyContent = content(FORM, "SearchForm");

const FORMAT: OperationParameter = OperationParameter::query("_format", "", "The format of the answer.")
    .one_of(&["json", "application/json", "application/fhir+json"]);
const PRETTY: OperationParameter =
    OperationParameter::query("_pretty", "", "Ignored.").one_of(&["true", "false"]);
const LENIENT: OperationParameter = OperationParameter::header(
    "Prefer",
    "",
    "With `handling=lenient`, parameters that are not supported are ignored.",
)
.one_of(&["handling=strict", "handling=lenient"]);
pub const RESPOND_ASYNC: OperationParameter =
    OperationParameter::header("Prefer", "", "The operation is asynchronous only.")
        .one_of(&["respond-async", "respond-async, handling=strict"])
        .required();
pub const IF_MATCH: OperationParameter = OperationParameter::header(
    "If-Match",
    "*",
    "An ETag: the request is about what has it, and nothing else.",
);

/// The parameters of every URL.
pub const GENERAL: &[OperationParameter] = &[FORMAT, PRETTY];
/// The parameters of every read and search.
pub const READ_PARAMETERS: &[OperationParameter] = &[FORMAT, PRETTY, LENIENT];
/// The conditions of a read.
pub const CONDITIONS: &[OperationParameter] = &[
    IF_MATCH,
    OperationParameter::header("If-None-Match", "\"x\"", "An ETag, whose content is not sent once more."),
];
