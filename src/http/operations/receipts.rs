//! What clients need to believe that their exports are gone: `GET {polling URL}/receipt`, the proof of an
//! erasure, for the owner alone (P10); `GET {base}/receipts/key`, the public key; `GET {base}/receipts/head`, the
//! last signed tree head. Each answer is bounded: a receipt, at most 128 hashes and a head (P13).

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use serde_json::json;

use super::common::{
    BAD_ACCEPT, FAILED, GENERAL, NO_JOB, NO_STORE, NO_TENANT, NOT_MEANT, OUTCOME, RETRY_AFTER, UNCHANGED,
};
use super::description::{BodyContent, DocumentedAnswer, OperationDescription, answer, content};
use super::operation::{GET_HEAD, Operation, OperationUrl, RequiredToken};
use crate::ProofAbsent;
use crate::fhir::{IssueCode, OperationOutcome, Severity};
use crate::http::error::outcome_response;
use crate::http::negotiation::accept;
use crate::http::{Api, ApiError, ApiResult, output};

/// The media type of the answers.
const JSON: &str = "application/json";

/// `GET {polling URL}/receipt`.
pub static RECEIPT_URL: OperationUrl =
    OperationUrl::new("receipt", "/r4/{tenant}/bulk-api/request/{job}/receipt", RequiredToken::Access);

/// The operation of [`RECEIPT_URL`].
pub static RECEIPT: Operation = Operation {
    url: &RECEIPT_URL,
    methods: GET_HEAD,
    offer: None,
    handler: || web::to(receipt),
    description: OperationDescription {
        summary: "The proof that an export of this client was erased.",
        parameters: &[GENERAL],
        body: None,
        answers: &[RECEIPT_ANSWERS, UNCHANGED, NOT_MEANT, NO_JOB, NO_TENANT, BAD_ACCEPT, FAILED],
    },
};

const RECEIPT_ANSWERS: &[DocumentedAnswer] = &[
    answer(200, "The receipt, its place in the tree, and the signed head.", PROOF).with(&[NO_STORE]),
    answer(202, "The export was deleted, and its files are not all gone yet.", OUTCOME)
        .with(&[RETRY_AFTER, NO_STORE]),
];

/// `GET {base}/receipts/key`.
pub static KEY: Operation = Operation {
    url: &OperationUrl::new("receipt-key", "/r4/{tenant}/receipts/key", RequiredToken::None),
    methods: GET_HEAD,
    offer: None,
    handler: || web::to(key),
    description: OperationDescription {
        summary: "The public key that checks receipts and tree heads.",
        parameters: &[GENERAL],
        body: None,
        answers: &[
            &[answer(200, "The key.", PUBLIC_KEY)],
            UNCHANGED,
            NOT_MEANT,
            NO_TENANT,
            BAD_ACCEPT,
            FAILED,
        ],
    },
};

/// `GET {base}/receipts/head`.
pub static HEAD: Operation = Operation {
    url: &OperationUrl::new("tree-head", "/r4/{tenant}/receipts/head", RequiredToken::Access),
    methods: GET_HEAD,
    offer: None,
    handler: || web::to(head),
    description: OperationDescription {
        summary: "The last signed tree head, which commits to all receipts so far.",
        parameters: &[GENERAL],
        body: None,
        answers: &[
            &[answer(200, "The head.", TREE_HEAD).with(&[NO_STORE])],
            UNCHANGED,
            NOT_MEANT,
            NO_TENANT,
            BAD_ACCEPT,
            FAILED,
        ],
    },
};

const PROOF: &[BodyContent] = &[content(JSON, "ErasureProof")];
const PUBLIC_KEY: &[BodyContent] = &[content(JSON, "ReceiptKey")];
const TREE_HEAD: &[BodyContent] = &[content(JSON, "TreeHead")];

/// Seconds after which it is worth while to ask for a receipt again.
const RETRY_SECONDS: u32 = 1;

async fn receipt(request: HttpRequest, api: Data<Api>) -> ApiResult {
    accept::json(&request)?;
    let caller = api.caller(&request)?;
    let job = Api::job(&request)?;
    match api.evanesce.prove_erasure(&caller.owner(), job).await {
        Ok(proof) => respond(&request, &proof),
        Err(ProofAbsent::NotYet) => Ok(not_yet()),
        Err(ProofAbsent::Unknown) => Err(ApiError::unknown_job()),
        Err(ProofAbsent::NotDeleted) => Err(ApiError::not_deleted()),
        Err(error @ (ProofAbsent::Unsigned | ProofAbsent::Unreadable(_))) => {
            tracing::error!(%job, %error, "an erasure cannot be proven");
            Err(ApiError::internal())
        }
    }
}

fn not_yet() -> HttpResponse {
    let text = "The export was deleted, and its files are not all gone yet; ask for the receipt again.";
    let outcome = OperationOutcome::new(Severity::Information, IssueCode::Processing, text);
    let mut response = outcome_response(StatusCode::ACCEPTED, &outcome);
    response.headers_mut().insert(header::RETRY_AFTER, RETRY_SECONDS.into());
    response
}

async fn key(request: HttpRequest, api: Data<Api>) -> ApiResult {
    accept::json(&request)?;
    api.tenant_of(&request)?;
    let key = api.evanesce.receipt_key().ok_or_else(ApiError::internal)?;
    let document = json!({"public_key": key, "key_id": key.id(), "algorithm": "Ed25519"});
    output::published(&request, JSON, document.to_string())
}

async fn head(request: HttpRequest, api: Data<Api>) -> ApiResult {
    accept::json(&request)?;
    api.caller(&request)?;
    respond(&request, &api.evanesce.tree_head().ok_or_else(ApiError::internal)?)
}

fn respond(request: &HttpRequest, document: &impl Serialize) -> ApiResult {
    let text = serde_json::to_string(document).map_err(|_| ApiError::internal())?;
    output::answer(request, JSON, text)
}

/// Returns the `Link` of a 202 to a DELETE: where the receipt will be.
pub fn link(base: &str, job: &str) -> (HeaderName, HeaderValue) {
    let link = format!("<{}>; rel=\"describedby\"; type=\"application/json\"", RECEIPT_URL.at(base, &[job]));
    (header::LINK, HeaderValue::try_from(link).expect("a URL of ours is visible ASCII"))
}
