//! `GET {base}/Binary/{id}` (O-4): what attachments refer to, as FHIR JSON or as it is.
//!
//! With authentication, a client may read what attachments in the files of its own exports refer to. Their
//! URLs have `?request={job}&proof=...` and work until the export is deleted or expires. A URL without
//! them is for applications that may have all of their tenant.

use std::borrow::Cow;

use actix_web::HttpRequest;
use actix_web::http::header::{self, HeaderValue};
use actix_web::web::{self, Data};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mime::Mime;
use serde::Deserialize;

use super::common::{
    BAD_ACCEPT, BAD_READ, BEYOND_SCOPES, BUSY, CONDITIONS, ETAG, FAILED, NO_RESOURCE, NO_STORE, NO_TENANT,
    NOT_MEANT, READ_PARAMETERS, UNCHANGED,
};
use super::description::{self, OperationDescription, OperationParameter, answer};
use super::operation::{GET_HEAD, Operation, OperationUrl, RequiredToken};
use crate::JobAbsent;
use crate::auth::{Permission, ScopeCoverage, Scopes};
use crate::fhir::{CapabilityOffer, ResourceType};
use crate::http::caller::scope::{self, VisibleResources};
use crate::http::input::reading;
use crate::http::negotiation::accept::{self, check_accept};
use crate::http::{Api, ApiError, ApiResult, AuthorizedCaller, output};
use crate::job::{JobId, RequestSummary};

/// The job that handed out the URL.
const REQUEST: &str = "request";

/// The proof that it did.
const PROOF: &str = "proof";

/// All parameters, with authentication.
const URL_PARAMETERS: &[&str] = &[REQUEST, PROOF];

/// The elements of a Binary that are read.
#[derive(Deserialize)]
struct Binary<'a> {
    #[serde(rename = "contentType", borrow)]
    content_type: Option<Cow<'a, str>>,
    #[serde(borrow)]
    data: Option<Cow<'a, str>>,
}

/// `GET {base}/Binary/{id}`.
pub static READ: Operation = Operation {
    url: &OperationUrl::new("binary", "/r4/{tenant}/Binary/{id}", RequiredToken::Access),
    methods: GET_HEAD,
    offer: Some(CapabilityOffer::Interaction("Binary", "read", &[])),
    handler: || web::to(read),
    description: OperationDescription {
        summary: "A Binary: as FHIR JSON if `Accept` names that, else its content.",
        parameters: &[READ_PARAMETERS, HANDED_OUT, CONDITIONS],
        body: None,
        answers: &[
            &[answer(
                200,
                "The Binary.",
                &[
                    description::content("application/fhir+json", "Binary"),
                    description::content("application/json", "Binary"),
                    description::content("*/*", "Any"),
                ],
            )
            .with(&[ETAG, NO_STORE])],
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
    },
};

/// The parameters of URLs in attachments.
const HANDED_OUT: &[OperationParameter] = &[
    OperationParameter::query(
        REQUEST,
        "6ccfb23c-34ff-4f4f-9f77-d54b92e10bd4",
        "With authentication: the export whose files have this URL.",
    ),
    OperationParameter::query(PROOF, "5f16", "With authentication: the proof that they have."),
];

async fn read(request: HttpRequest, api: Data<Api>) -> ApiResult {
    // A JSON type that the client names, by `_format` or in `Accept`, is what it wants.
    let as_json = accept::wants_json(&request)?;
    let caller = api.caller(&request)?;
    let known = if caller.application.is_some() { URL_PARAMETERS } else { &[] };
    let parameters = reading::parameters(&request, known)?;
    let id = reading::id(&request)?;
    let visible = visible(&caller, &api, &id, &parameters).await?;
    let text =
        reading::ask(&api, &caller.tenant, move |exporter| exporter.read(ResourceType::BINARY, &id)).await?;
    let bases = api.bases(&caller);
    let text = text.filter(|text| visible.has(text, &bases));
    let text = text.ok_or_else(ApiError::unknown_resource)?;
    if let Some(media_type) = as_json {
        return output::answer(&request, media_type, text);
    }
    let (media_type, content) = content(&text)?;
    if check_accept(&request, &[media_type.essence_str()]).is_err() {
        return Err(ApiError::not_acceptable(format!(
            "The Accept header excludes what this URL answers: {media_type}, application/fhir+json."
        )));
    }
    let mut response = output::answer(&request, media_type.as_ref(), content)?;
    // The content may be a page, an image or a stylesheet with scripts. No browser may show or run it in
    // the name of this server, or fetch anything for it. All answers have `nosniff`.
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    let policy = HeaderValue::from_static("default-src 'none'; sandbox");
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    Ok(response)
}

/// Returns which Binaries of this id, of which there is one at most, the client may see by a URL with
/// these parameters.
///
/// # Errors
/// Fails with 404 `not-found`, as for an absent Binary, unless an export of the client handed out this
/// URL; with 404 `deleted` if that export is gone; with 403 if the scopes do not cover it.
async fn visible(
    caller: &AuthorizedCaller,
    api: &Api,
    id: &str,
    parameters: &[(String, String)],
) -> Result<VisibleResources, ApiError> {
    let Some(application) = &caller.application else { return Ok(VisibleResources::ALL) };
    let value = |wanted: &str| parameters.iter().find(|(name, _)| name == wanted).map(|(_, value)| value);
    let realm = caller.base.as_str();
    match (value(REQUEST), value(PROOF)) {
        (None, None) if application.is_unlimited() => {
            scope::coverage(&caller.scopes, realm, ResourceType::BINARY, Permission::Read)
        }
        (Some(job), Some(proof)) => {
            let job: JobId = job.parse().map_err(|_| ApiError::unknown_resource())?;
            let found = api.evanesce.job(&caller.owner(), job).await.map_err(|absent| match absent {
                JobAbsent::Deleted => ApiError::deleted(),
                JobAbsent::Unknown => ApiError::unknown_resource(),
            })?;
            let request = found.request().ok_or_else(ApiError::unknown_resource)?;
            match may_have(request, &caller.scopes, id, proof) {
                None => Err(ApiError::unknown_resource()),
                Some(true) => Ok(VisibleResources::ALL),
                Some(false) => Err(ApiError::beyond_scopes(
                    realm,
                    "The scopes of the access token cover neither Binaries nor the resource that refers to \
                     this one; ask for a token with the scopes of the export.",
                )),
            }
        }
        _ => Err(ApiError::unknown_resource()),
    }
}

/// Returns whether a client with these scopes may read a Binary that its own export handed out; `None` if
/// it did not hand it out. The Binary counts as part of the resource that refers to it: whoever may have
/// one may have both.
fn may_have(request: &RequestSummary, scopes: &Scopes, id: &str, proof: &str) -> Option<bool> {
    let of_type = request.handed_out(id, proof)?;
    let binaries = scopes.coverage(ResourceType::BINARY, Permission::Read);
    Some(binaries == ScopeCoverage::All || scopes.may_have(of_type, &request.access))
}

/// Returns the media type and the bytes of a Binary.
fn content(text: &[u8]) -> Result<(Mime, Vec<u8>), ApiError> {
    let unreadable = || {
        ApiError::not_acceptable(
            "The content of this Binary cannot be read; send Accept: application/fhir+json.",
        )
    };
    let Binary { content_type, data } = serde_json::from_slice(text).map_err(|_| unreadable())?;
    let media_type = content_type.and_then(|content_type| content_type.parse().ok());
    let mut data = data.unwrap_or_default().into_owned();
    data.retain(|character| !character.is_ascii_whitespace());
    let content = STANDARD.decode(data).map_err(|_| unreadable())?;
    Ok((media_type.unwrap_or(mime::APPLICATION_OCTET_STREAM), content))
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;
    use jiff::Timestamp;

    use super::*;
    use crate::Kickoff;
    use crate::job::{ExportRequest, ProofSigner};

    fn scopes(text: &str) -> Scopes {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn o_4_a_binary_that_was_handed_out_is_for_whoever_may_have_what_refers_to_it() {
        let (tenant, owner) = ("t".parse().unwrap(), "o".parse().unwrap());
        let asked = ExportRequest::new(tenant, owner, Kickoff::system(), Timestamp::UNIX_EPOCH);
        let request = RequestSummary::of(&asked);
        let of_job = || {
            let handout = Some(ProofSigner::new(asked.tenant.clone(), JobId::random()));
            RequestSummary { handout, ..request.clone() }
        };
        let (ours, theirs) = (of_job(), of_job());
        let proof = |request: &RequestSummary, of_type: &str, id: &str| {
            let query = request.handout.as_ref().unwrap().query(of_type, id);
            query.split_once("&proof=").unwrap().1.to_string()
        };
        let may = |request: &RequestSummary, scope: &str, proof: &str| {
            may_have(request, &scopes(scope), "b", proof)
        };
        let (of_document, of_patient) =
            (proof(&ours, "DocumentReference", "b"), proof(&ours, "Patient", "b"));
        let part = "system/DocumentReference.rs?status=current";
        for (scope, document, patient) in [
            ("system/*.read", true, true),
            ("system/DocumentReference.read", true, false),
            ("system/Patient.rs", false, true),
            ("system/Binary.r", true, true),
            ("system/Binary.s", false, false),
            (part, false, false),
            ("system/Observation.rs", false, false),
        ] {
            assert_eq!(may(&ours, scope, &of_document), Some(document), "{scope}");
            assert_eq!(may(&ours, scope, &of_patient), Some(patient), "{scope}");
        }
        let restricted = RequestSummary { access: scopes(part).access().summary(), ..ours.clone() };
        assert_eq!(may(&restricted, part, &of_document), Some(true));
        let other = "system/DocumentReference.rs?status=superseded";
        assert_eq!(may(&restricted, other, &of_document), Some(false));
        let of_another =
            [proof(&theirs, "Patient", "b"), proof(&ours, "Patient", "c"), "".into(), "00".into()];
        for proof in &of_another {
            assert_eq!(may(&ours, "system/*.read", proof), None, "{proof}");
        }
        assert_eq!(may(&request, "system/*.read", &of_patient), None);
    }

    #[test]
    fn json_is_for_those_who_name_it() {
        let asks = |accept: &str| {
            let request = TestRequest::default().insert_header((header::ACCEPT, accept)).to_http_request();
            accept::wants_json(&request).unwrap().is_some()
        };
        for accept in ["application/fhir+json", "*/*, Application/JSON", "application/json;q=0.1, text/plain"]
        {
            assert!(asks(accept), "{accept}");
        }
        for accept in ["*/*", "application/*", "application/pdf", "application/json;q=0, */*", "nonsense"] {
            assert!(!asks(accept), "{accept}");
        }
        assert!(accept::wants_json(&TestRequest::default().to_http_request()).unwrap().is_none());
    }

    #[test]
    fn content_is_decoded_and_what_is_odd_does_no_harm() {
        let read = |text: &str| content(text.as_bytes()).map(|(kind, bytes)| (kind.to_string(), bytes));
        assert_eq!(
            read(r#"{"contentType":"text/plain","data":"aGV\nsbG8="}"#),
            Ok(("text/plain".into(), b"hello".to_vec()))
        );
        assert_eq!(read("{}"), Ok(("application/octet-stream".into(), Vec::new())));
        let odd = r#"{"contentType":"text/html\r\nSet-Cookie: x","data":"aA=="}"#;
        assert_eq!(read(odd), Ok(("application/octet-stream".into(), b"h".to_vec())));
        for bad in [r#"{"data":"!"}"#, r#"{"data":1}"#, "[]"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
