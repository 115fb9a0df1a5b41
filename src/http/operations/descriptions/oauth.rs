//! The operations of SMART Backend Services, which without authentication are not there.

use super::{JSON, NO_STORE, NO_TENANT, NOT_MEANT, UNCHANGED, answer, of, refusal, with};
use crate::http::operations::operation::{Content, Description, Field};

const FORM: &str = "application/x-www-form-urlencoded";
const NO_CACHE: Field = ("Pragma", "no-cache");
const CACHED: Field = ("Cache-Control", "For how long it may be kept.");
const REFUSED: &[Content] = &[of("application/json", "OAuthError")];

/// `GET {base}/.well-known/smart-configuration`.
pub static SMART_CONFIGURATION: Description = Description {
    summary: "Where and how access tokens are given.",
    parameters: &[],
    body: None,
    answers: &[&[with(answer(200, "The configuration.", JSON), &[CACHED])], UNCHANGED, NOT_MEANT, NO_TENANT],
};

/// `GET {base}/auth/jwks`.
pub static JWKS: Description = Description {
    summary: "The public keys of access tokens.",
    parameters: &[],
    body: None,
    answers: &[&[with(answer(200, "A JSON Web Key Set.", JSON), &[CACHED])], UNCHANGED, NOT_MEANT, NO_TENANT],
};

/// `POST {base}/auth/token`.
pub static TOKEN: Description = Description {
    summary: "Gives an access token for a client assertion.",
    parameters: &[],
    body: Some(of(FORM, "TokenRequest")),
    answers: &[
        &[
            with(
                answer(200, "The token.", &[of("application/json", "TokenResponse")]),
                &[NO_STORE, NO_CACHE],
            ),
            with(
                answer(400, "`invalid_request`, `unsupported_grant_type` or `invalid_scope`.", REFUSED),
                &[NO_STORE, NO_CACHE],
            ),
            with(
                answer(401, "`invalid_client`: the assertion is not taken.", REFUSED),
                &[NO_STORE, NO_CACHE, ("WWW-Authenticate", "The scheme of the tokens.")],
            ),
            answer(413, "`invalid_request`: the body is too long.", REFUSED),
            answer(415, "`invalid_request`: the body is in a content coding.", REFUSED),
            with(
                answer(429, "`temporarily_unavailable`: too many requests for tokens.", REFUSED),
                &[super::RETRY_AFTER],
            ),
            answer(500, "`server_error`.", REFUSED),
            with(
                answer(503, "`temporarily_unavailable`: no assertion can be recorded now.", REFUSED),
                &[super::RETRY_AFTER],
            ),
        ],
        NO_TENANT,
    ],
};

/// `POST {base}/auth/introspect`.
pub static INTROSPECTION: Description = Description {
    summary: "Whether an access token is good, for applications that may ask.",
    parameters: &[],
    body: Some(of(FORM, "IntrospectionRequest")),
    answers: &[
        &[
            with(answer(200, "Whether it is active, and then what it says.", JSON), &[NO_STORE, NO_CACHE]),
            answer(400, "`invalid_request`.", REFUSED),
            answer(413, "`invalid_request`: the body is too long.", REFUSED),
            answer(415, "`invalid_request`: the body is in a content coding.", REFUSED),
            refusal(403, "The application may not ask (`forbidden`)."),
        ],
        NO_TENANT,
    ],
};
