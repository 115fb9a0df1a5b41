//! What clients read outside of exports: the CapabilityStatement, OperationDefinitions, Groups and Binaries.

use super::{
    BAD_ACCEPT, BAD_BODY, BAD_READ, BEYOND_SCOPES, BUSY, CONDITIONS, ETAG, FAILED, NO_RESOURCE, NO_STORE,
    NO_TENANT, NOT_MEANT, READ, UNCHANGED, answer, of, optional, with,
};
use crate::http::operations::operation::{Answer, Content, Description, Parameter, Place, Values};

const CAPABILITIES: &[Content] =
    &[of("application/fhir+json", "CapabilityStatement"), of("application/json", "CapabilityStatement")];

/// `GET {base}/metadata`.
pub static METADATA: Description = Description {
    summary: "The CapabilityStatement.",
    parameters: &[
        READ,
        &[Parameter {
            values: Values::OneOf(&["full", "normative", "terminology"]),
            ..optional("mode", Place::Query, "", "The same is answered to each.")
        }],
    ],
    body: None,
    answers: &[
        &[with(answer(200, "The statement.", CAPABILITIES), &[ETAG])],
        UNCHANGED,
        NOT_MEANT,
        BAD_READ,
        BAD_ACCEPT,
        NO_TENANT,
    ],
};

const DEFINITION: &[Content] =
    &[of("application/fhir+json", "OperationDefinition"), of("application/json", "OperationDefinition")];

/// `GET {base}/OperationDefinition/{id}`.
pub static OPERATION_DEFINITION: Description = Description {
    summary: "The definition of an export operation.",
    parameters: &[READ],
    body: None,
    answers: &[
        &[with(answer(200, "The definition.", DEFINITION), &[ETAG])],
        UNCHANGED,
        NOT_MEANT,
        BAD_READ,
        BAD_ACCEPT,
        BEYOND_SCOPES,
        NO_RESOURCE,
        NO_TENANT,
    ],
};

/// `GET {base}/OperationDefinition`.
pub static OPERATION_DEFINITIONS: Description = Description {
    summary: "The definitions of the export operations.",
    parameters: &[
        READ,
        &[optional(
            "url",
            Place::Query,
            "http://hl7.org/fhir/uv/bulkdata/OperationDefinition/export",
            "The canonical URL of the definition.",
        )],
    ],
    body: None,
    answers: &[SEARCHED, UNCHANGED, NOT_MEANT, BAD_READ, BAD_ACCEPT, NO_TENANT],
};
const SEARCHED: &[Answer] = &[answer(
    200,
    "A Bundle of what was found.",
    &[of("application/fhir+json", "Bundle"), of("application/json", "Bundle")],
)];

/// `POST {base}/OperationDefinition/_search`.
pub static OPERATION_DEFINITIONS_BY_POST: Description = Description {
    summary: "The same, with the parameters in a form.",
    parameters: &[READ],
    body: Some(of("application/x-www-form-urlencoded", "SearchForm")),
    answers: &[SEARCHED, UNCHANGED, NOT_MEANT, BAD_BODY, BAD_READ, BAD_ACCEPT, NO_TENANT],
};

/// `GET {base}/Group/{id}`.
pub static GROUP: Description = Description {
    summary: "A Group.",
    parameters: &[READ, CONDITIONS],
    body: None,
    answers: &[
        &[with(
            answer(
                200,
                "The Group.",
                &[of("application/fhir+json", "Group"), of("application/json", "Group")],
            ),
            &[ETAG, NO_STORE],
        )],
        UNCHANGED,
        NOT_MEANT,
        BAD_READ,
        BAD_ACCEPT,
        NO_RESOURCE,
        NO_TENANT,
        BUSY,
        FAILED,
    ],
};

/// `GET {base}/Group`.
pub static GROUPS: Description = Description {
    summary: "The Groups that there are, by their ids.",
    parameters: &[
        READ,
        &[
            optional("_id", Place::Query, "All_Patients", "Ids, a comma-separated list."),
            optional(
                "identifier",
                Place::Query,
                "urn:example|cohort-1",
                "Identifiers as `value`, `system|value`, `|value` or `system|`; a comma-separated list.",
            ),
            optional(
                "name",
                Place::Query,
                "all",
                "How the name begins, in any case; a comma-separated list.",
            ),
            Parameter {
                values: Values::Number,
                ..optional(
                    "_count",
                    Place::Query,
                    "",
                    "The most Groups of one page; 0 asks for `total` only.",
                )
            },
            optional("_after", Place::Query, "All_Patients", "Where a page begins; `link` has it."),
            Parameter {
                values: Values::OneOf(&["accurate", "estimate", "none"]),
                ..optional("_total", Place::Query, "", "`total` is there, and accurate, in any case.")
            },
        ],
    ],
    body: None,
    answers: &[SEARCHED, BAD_READ, BAD_ACCEPT, BEYOND_SCOPES, NO_TENANT, BUSY, FAILED],
};

/// `POST {base}/Group/_search`.
pub static GROUPS_BY_POST: Description = Description {
    summary: "The same, with the parameters in a form.",
    parameters: &[READ],
    body: Some(of("application/x-www-form-urlencoded", "SearchForm")),
    answers: &[SEARCHED, BAD_BODY, BAD_READ, BAD_ACCEPT, BEYOND_SCOPES, NO_TENANT, BUSY, FAILED],
};

/// Of URLs in attachments.
const HANDED_OUT: &[Parameter] = &[
    optional(
        "request",
        Place::Query,
        "6ccfb23c-34ff-4f4f-9f77-d54b92e10bd4",
        "With authentication: the export whose files have this URL.",
    ),
    optional("proof", Place::Query, "5f16", "With authentication: the proof that they have."),
];

/// `GET {base}/Binary/{id}`.
pub static BINARY: Description = Description {
    summary: "A Binary: as FHIR JSON if `Accept` names that, else its content.",
    parameters: &[READ, HANDED_OUT, CONDITIONS],
    body: None,
    answers: &[
        &[with(
            answer(
                200,
                "The Binary.",
                &[of("application/fhir+json", "Binary"), of("application/json", "Binary"), of("*/*", "Any")],
            ),
            &[ETAG, NO_STORE],
        )],
        UNCHANGED,
        NOT_MEANT,
        BAD_READ,
        BAD_ACCEPT,
        BEYOND_SCOPES,
        NO_RESOURCE,
        NO_TENANT,
        BUSY,
        FAILED,
    ],
};
