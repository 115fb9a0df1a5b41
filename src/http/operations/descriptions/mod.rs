//! What clients are told of each operation: parameters, bodies, answers. Those of every URL
//! stand once, in `ANYWHERE`; those of URLs that need a token, in `NO_TOKEN`.

mod oauth;
mod operators;
mod reading;

pub use oauth::{INTROSPECTION, JWKS, SMART_CONFIGURATION, TOKEN};
pub use operators::{
    ADMIN_CANCEL, ADMIN_CONFIRM_CLOCK, ADMIN_HOLD, ADMIN_JOBS, ADMIN_OPENAPI, ADMIN_PAUSE, ADMIN_RELEASE,
    ADMIN_RESUME, ADMIN_STATUS, HEALTHZ, METRICS, READYZ,
};
pub use reading::{
    BINARY, GROUP, GROUPS, GROUPS_BY_POST, METADATA, OPERATION_DEFINITION, OPERATION_DEFINITIONS,
    OPERATION_DEFINITIONS_BY_POST,
};

use crate::http::operations::operation::{Answer, Content, Description, Field, Parameter, Place, Values};

const RETRY_AFTER: Field = ("Retry-After", "Whole seconds after which it is worth while to ask again.");
const ETAG: Field = ("ETag", "Names this content.");
const NO_STORE: Field = ("Cache-Control", "no-store");

const NOTHING: &[Content] = &[];
const OUTCOME: &[Content] = &[of("application/fhir+json", "OperationOutcome")];
const FILE: &[Content] = &[of("application/fhir+ndjson", "Ndjson")];
const JSON: &[Content] = &[of("application/json", "Any")];

/// Of every URL.
pub static ANYWHERE: &[Answer] = &[
    refusal(414, "The URL is too long (`too-long`)."),
    with(
        refusal(429, "Too many requests from this address or of this client (`throttled`)."),
        &[RETRY_AFTER],
    ),
    refusal(421, "The request is for a host that is not answered for without authentication (`security`)."),
    refusal(431, "The header fields are too long (`too-long`), or too many: then without a body."),
];

/// Of every URL that needs a token.
pub static NO_TOKEN: &[Answer] = &[
    refusal(400, "An access token stands in the URL, or there are several (`login`)."),
    with(
        refusal(
            401,
            "There is no access token, or it is not valid here (`login`), or it has expired (`expired`).",
        ),
        &[("WWW-Authenticate", "The scheme, and what is wrong with the token.")],
    ),
];

const NO_TENANT: &[Answer] = &[refusal(404, "The tenant is not known (`not-found`).")];
const BAD_ACCEPT: &[Answer] = &[refusal(406, "`Accept` excludes what this URL answers (`structure`).")];
const FAILED: &[Answer] = &[refusal(500, "The server could not do it (`exception`).")];
const NO_JOB: &[Answer] =
    &[refusal(404, "No such request of this client (`not-found`), or not any more (`deleted`).")];
const NO_RESOURCE: &[Answer] = &[refusal(404, "There is no such resource (`not-found`).")];
const BEYOND_SCOPES: &[Answer] = &[with(
    refusal(403, "The scopes of the access token do not cover this (`security`)."),
    &[("WWW-Authenticate", "The scheme, and that the scopes are insufficient.")],
)];
const UNCHANGED: &[Answer] = &[with(answer(304, "It is what `If-None-Match` names.", NOTHING), &[ETAG])];
const NOT_MEANT: &[Answer] = &[refusal(
    412,
    "What `If-Match`, `If-None-Match` or `If-Unmodified-Since` says does not hold: nothing is done (`conflict`).",
)];
const BUSY: &[Answer] = &[with(refusal(503, "The source is being indexed (`transient`)."), &[RETRY_AFTER])];
const BAD_READ: &[Answer] = &[
    refusal(
        400,
        "The URL cannot be understood (`structure`), or has a parameter that is not supported \
         (`not-supported`), a value that makes no sense (`invalid`), or too many values (`too-costly`).",
    ),
    refusal(406, "`_format` asks for what is not there (`structure`)."),
];

const FORMAT: Parameter = Parameter {
    name: "_format",
    place: Place::Query,
    is_required: false,
    values: Values::OneOf(&["json", "application/json", "application/fhir+json"]),
    description: "The format of the answer.",
};
const PRETTY: Parameter = Parameter {
    name: "_pretty",
    place: Place::Query,
    is_required: false,
    values: Values::OneOf(&["true", "false"]),
    description: "Ignored.",
};
const LENIENT: Parameter = Parameter {
    name: "Prefer",
    place: Place::Header,
    is_required: false,
    values: Values::OneOf(&["handling=strict", "handling=lenient"]),
    description: "With `handling=lenient`, parameters that are not supported are ignored.",
};
const RESPOND_ASYNC: Parameter = Parameter {
    name: "Prefer",
    place: Place::Header,
    is_required: true,
    values: Values::OneOf(&["respond-async", "respond-async, handling=strict"]),
    description: "The operation is asynchronous only.",
};
const PAGE: Parameter = Parameter {
    name: "page",
    place: Place::Query,
    is_required: false,
    values: Values::Number,
    description: "The page of the manifest, from 0, as its `link` names it.",
};
const EXPORT_STATUS: Field =
    ("X-Export-Status", "What the status would be if the kick-off had not preferred to have it told apart.");
const GENERAL: &[Parameter] = &[FORMAT, PRETTY];
const READ: &[Parameter] = &[FORMAT, PRETTY, LENIENT];

/// Of a polling URL under Soarian's rules (C2, C3).
pub static POLLS_OF_SOARIAN: &[Parameter] = &[RESPOND_ASYNC];
const IF_MATCH: Parameter =
    optional("If-Match", Place::Header, "*", "An ETag: the request is about what has it, and nothing else.");
const CONDITIONS: &[Parameter] = &[
    IF_MATCH,
    optional("If-None-Match", Place::Header, "\"x\"", "An ETag, whose content is not sent once more."),
];

const KICKED_OFF: &[Answer] = &[
    with(
        answer(202, "The export is queued.", OUTCOME),
        &[("Content-Location", "The polling location, an absolute URL."), NO_STORE],
    ),
    refusal(
        400,
        "The URL or the body is malformed (`structure`), a parameter is not supported (`not-supported`) \
         or makes no sense (`invalid`), the group has groups as members (`not-supported`), or more is \
         asked for than one export may have (`too-costly`).",
    ),
    refusal(404, "A type is not exported (`not-supported`), or there is no such group (`not-found`)."),
    refusal(406, "`Accept` or `Prefer: respond-async` is missing, or excludes what there is (`structure`)."),
    refusal(409, "This client has the same export already (`duplicate`); `Link` leads to it."),
    refusal(422, "The export is larger than all exports together may be (`too-costly`)."),
    with(
        refusal(
            429,
            "Too many exports are queued, running or kept, or too many large bodies come at once (`throttled`).",
        ),
        &[RETRY_AFTER],
    ),
    refusal(501, "Exports of all patients are not offered (`not-found`)."),
    with(refusal(503, "There is no room for another export now (`no-store`)."), &[RETRY_AFTER]),
];
const BAD_BODY: &[Answer] = &[
    refusal(408, "The body did not come to its end in time (`timeout`)."),
    refusal(413, "The body is too long (`too-long`)."),
    refusal(415, "The body is of another media type (`structure`)."),
];

/// `GET .../$export`; its query parameters are those of the export operations.
pub static KICK_OFF: Description = Description {
    summary: "Starts an export.",
    parameters: &[&[RESPOND_ASYNC], GENERAL],
    body: None,
    answers: &[KICKED_OFF, BEYOND_SCOPES, NO_TENANT, FAILED],
};

/// `POST .../$export`.
pub static KICK_OFF_BY_POST: Description = Description {
    summary: "Starts an export, with its parameters in a Parameters resource.",
    parameters: &[&[RESPOND_ASYNC], GENERAL],
    body: Some(of("application/fhir+json", "Parameters")),
    answers: &[KICKED_OFF, BAD_BODY, BEYOND_SCOPES, NO_TENANT, FAILED],
};

/// `GET {polling URL}`.
pub static STATUS: Description = Description {
    summary: "The progress of an export; when it is complete, its manifest.",
    parameters: &[&[PAGE], GENERAL, CONDITIONS],
    body: None,
    answers: &[
        &[
            with(
                answer(
                    200,
                    "The export is complete; or, if the kick-off preferred `separate-export-status`, whatever \
                     `X-Export-Status` says.",
                    &[of("application/json", "Manifest"), of("application/fhir+json", "OperationOutcome")],
                ),
                &[EXPORT_STATUS, ("Expires", "When the files go away."), ETAG, NO_STORE],
            ),
            with(
                answer(
                    202,
                    "The export is queued or running; with what there is if partial manifests are allowed.",
                    &[of("application/json", "Manifest")],
                ),
                &[("X-Progress", "How far it is, in percent."), RETRY_AFTER, NO_STORE],
            ),
            refusal(
                400,
                "The URL cannot be understood (`structure`), or the export failed: the group has groups as \
                 members (`not-supported`).",
            ),
            refusal(
                404,
                "The manifest has no such page, or the export failed: the group is not defined or not active \
                 (`not-found`).",
            ),
            with(refusal(429, "The export is polled too often (`throttled`)."), &[RETRY_AFTER]),
            refusal(500, "The export failed (`processing`)."),
        ],
        UNCHANGED,
        NOT_MEANT,
        NO_JOB,
        NO_TENANT,
        BAD_ACCEPT,
        FAILED,
    ],
};

const DELETED: &[Answer] = &[
    with(answer(202, "The export is cancelled and its files are going away.", OUTCOME), &[NO_STORE]),
    refusal(500, "The deletion could not be recorded, or not confirmed on disk (`exception`)."),
];

/// `DELETE {polling URL}`.
pub static DELETE: Description = Description {
    summary: "Cancels an export, or deletes its files.",
    parameters: &[&[IF_MATCH], GENERAL],
    body: None,
    answers: &[DELETED, NOT_MEANT, NO_JOB, NO_TENANT, BAD_ACCEPT],
};

/// `GET {base}/Export/DeleteRequest`.
pub static DELETE_REQUEST: Description = Description {
    summary: "The same as DELETE of a polling location.",
    parameters: &[
        &[
            RESPOND_ASYNC,
            IF_MATCH,
            Parameter {
                is_required: true,
                ..optional(
                    "request",
                    Place::Query,
                    "6ccfb23c-34ff-4f4f-9f77-d54b92e10bd4",
                    "The polling location, or the id at its end.",
                )
            },
        ],
        GENERAL,
    ],
    body: None,
    answers: &[
        DELETED,
        &[refusal(400, "Not one parameter `request` (`structure`, `invalid`, `not-supported`).")],
        &[refusal(406, "`Prefer: respond-async` is missing (`structure`).")],
        NOT_MEANT,
        NO_JOB,
        NO_TENANT,
        BAD_ACCEPT,
    ],
};

/// `GET {file URL}`.
pub static DOWNLOAD: Description = Description {
    summary: "A file of an export that is complete.",
    parameters: &[
        &[
            optional("Range", Place::Header, "bytes=0-99", "One range of bytes."),
            optional("If-Range", Place::Header, "\"x\"", "An ETag or a date, for which the range is meant."),
            optional("Accept-Encoding", Place::Header, "gzip", "gzip, zstd or identity, with weights."),
        ],
        CONDITIONS,
    ],
    body: None,
    answers: &[
        &[
            with(answer(200, "The file.", FILE), FILE_FIELDS),
            with(answer(206, "The range.", FILE), FILE_FIELDS),
            with(
                answer(
                    304,
                    "It is what `If-None-Match` names, or not newer than `If-Modified-Since`.",
                    NOTHING,
                ),
                FILE_FIELDS,
            ),
            with(answer(416, "The range is not in the file.", NOTHING), FILE_FIELDS),
            refusal(404, "The request has no such file (`not-found`)."),
        ],
        NOT_MEANT,
        BEYOND_SCOPES,
        NO_JOB,
        NO_TENANT,
        BAD_ACCEPT,
        FAILED,
    ],
};
const FILE_FIELDS: &[Field] = &[
    ETAG,
    NO_STORE,
    ("Vary", "Accept-Encoding"),
    ("Accept-Ranges", "bytes"),
    ("Last-Modified", "When the export was complete."),
];

/// `GET /openapi.json`.
pub static OPENAPI: Description = Description {
    summary: "This document.",
    parameters: &[],
    body: None,
    answers: &[&[with(answer(200, "An OpenAPI 3.1 document.", JSON), &[ETAG])], UNCHANGED, NOT_MEANT],
};

const fn of(media_type: &'static str, schema: &'static str) -> Content {
    Content { media_type, schema }
}

const fn answer(status: u16, meaning: &'static str, content: &'static [Content]) -> Answer {
    Answer { status, meaning, content, fields: &[] }
}

const fn refusal(status: u16, meaning: &'static str) -> Answer {
    answer(status, meaning, OUTCOME)
}

const fn with(answer: Answer, fields: &'static [Field]) -> Answer {
    Answer { fields, ..answer }
}

const fn optional(
    name: &'static str,
    place: Place,
    example: &'static str,
    description: &'static str,
) -> Parameter {
    Parameter { name, place, is_required: false, values: Values::Like(example), description }
}
