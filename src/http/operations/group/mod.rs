//! `GET {base}/Group/{id}`, `GET {base}/Group` and `POST {base}/Group/_search` (K-14): the Groups that can
//! be exported. Ids and names may name patients or populations, so they are not logged (P12).

mod search;

use actix_web::http::header;
use actix_web::web::{self, Data, Payload};
use actix_web::{HttpRequest, HttpResponse};

use self::search::GroupSearch;
use super::common::{
    BAD_ACCEPT, BAD_BODY, BAD_READ, BEYOND_SCOPES, BUSY, CONDITIONS, ETAG, FAILED, NO_RESOURCE, NO_STORE,
    NO_TENANT, NOT_MEANT, READ_PARAMETERS, SEARCH_FORM, SEARCHED, UNCHANGED,
};
use super::description::{OperationDescription, OperationParameter, answer, resource};
use super::operation::{GET_HEAD, Operation, OperationUrl, POST, RequiredToken};
use crate::auth::Permission;
use crate::fhir::{CapabilityOffer, ResourceType};
use crate::http::caller::scope;
use crate::http::input::{query, reading};
use crate::http::negotiation::accept;
use crate::http::output::bundle::{Bundle, BundleEntry, BundleLink};
use crate::http::{Api, ApiError, ApiResult, AuthorizedCaller, output};

/// The parameters of a search.
const PARAMETERS: &[&str] = &["_id", "identifier", "name", "_count", "_after", "_total"];

static GROUPS_URL: OperationUrl = OperationUrl::new("groups", "/r4/{tenant}/Group", RequiredToken::Access);
static GROUP_URL: OperationUrl = OperationUrl::new("group", "/r4/{tenant}/Group/{id}", RequiredToken::Access);

/// `GET {base}/Group`.
pub static SEARCH: Operation = Operation {
    url: &GROUPS_URL,
    methods: GET_HEAD,
    offer: Some(CapabilityOffer::Interaction(
        "Group",
        "search-type",
        &[("_id", "token"), ("identifier", "token"), ("name", "string")],
    )),
    handler: || web::to(search),
    description: OperationDescription {
        summary: "The Groups that there are, by their ids.",
        parameters: &[READ_PARAMETERS, SEARCH_PARAMETERS],
        body: None,
        answers: &[SEARCHED, BAD_READ, BAD_ACCEPT, BEYOND_SCOPES, NO_TENANT, BUSY, FAILED],
    },
};

/// `POST {base}/Group/_search`.
pub static SEARCH_BY_POST: Operation = Operation {
    url: &OperationUrl::new("group-search", "/r4/{tenant}/Group/_search", RequiredToken::Access),
    methods: POST,
    offer: None,
    handler: || web::to(search_by_post),
    description: OperationDescription {
        summary: "The same, with the parameters in a form.",
        parameters: &[READ_PARAMETERS],
        body: Some(SEARCH_FORM),
        answers: &[SEARCHED, BAD_BODY, BAD_READ, BAD_ACCEPT, BEYOND_SCOPES, NO_TENANT, BUSY, FAILED],
    },
};

/// `GET {base}/Group/{id}`.
pub static READ: Operation = Operation {
    url: &GROUP_URL,
    methods: GET_HEAD,
    offer: Some(CapabilityOffer::Interaction("Group", "read", &[])),
    handler: || web::to(read),
    description: OperationDescription {
        summary: "A Group.",
        parameters: &[READ_PARAMETERS, CONDITIONS],
        body: None,
        answers: &[
            &[answer(200, "The Group.", &resource("Group")).with(&[ETAG, NO_STORE])],
            UNCHANGED,
            NOT_MEANT,
            BAD_READ,
            BAD_ACCEPT,
            NO_RESOURCE,
            NO_TENANT,
            BUSY,
            FAILED,
        ],
    },
};

const SEARCH_PARAMETERS: &[OperationParameter] = &[
    OperationParameter::query("_id", "All_Patients", "Ids, a comma-separated list."),
    OperationParameter::query(
        "identifier",
        "urn:example|cohort-1",
        "Identifiers as `value`, `system|value`, `|value` or `system|`; a comma-separated list.",
    ),
    OperationParameter::query("name", "all", "How the name begins, in any case; a comma-separated list."),
    OperationParameter::query("_count", "", "The most Groups of one page; 0 asks for `total` only.").number(),
    OperationParameter::query("_after", "All_Patients", "Where a page begins; `link` has it."),
    OperationParameter::query("_total", "", "`total` is there, and accurate, in any case.")
        .one_of(&["accurate", "estimate", "none"]),
];

async fn read(request: HttpRequest, api: Data<Api>) -> ApiResult {
    let media_type = accept::json(&request)?;
    let caller = api.caller(&request)?;
    let id = reading::id(&request)?;
    if !is_theirs(&caller, &id) {
        return Err(ApiError::unknown_resource());
    }
    let visible =
        scope::coverage(&caller.scopes, caller.base.as_str(), ResourceType::GROUP, Permission::Read)?;
    reading::parameters(&request, &[])?;
    let group =
        reading::ask(&api, &caller.tenant, move |exporter| exporter.read(ResourceType::GROUP, &id)).await?;
    let bases = api.bases(&caller);
    let group = group.filter(|group| visible.has(group, &bases));
    output::answer(&request, media_type, group.ok_or_else(ApiError::unknown_resource)?)
}

async fn search(request: HttpRequest, api: Data<Api>) -> ApiResult {
    find(&request, query::parse(request.query_string())?, &api).await
}

async fn search_by_post(request: HttpRequest, payload: Payload, api: Data<Api>) -> ApiResult {
    // In the order of G-7: who asks comes before the parameters.
    api.caller(&request)?;
    let given = reading::posted(&request, payload, &api).await?;
    find(&request, given, &api).await
}

async fn find(request: &HttpRequest, given: Vec<(String, String)>, api: &Api) -> ApiResult {
    let media_type = accept::json_by(request, &given)?;
    let caller = api.caller(request)?;
    let visible =
        scope::coverage(&caller.scopes, caller.base.as_str(), ResourceType::GROUP, Permission::Search)?;
    let parameters = reading::retain_known(request, given, PARAMETERS)?;
    let search = GroupSearch::of(&parameters)?;
    let (asking, bases) = (caller.clone(), api.bases(&caller));
    let page = reading::ask(api, &caller.tenant, move |exporter| {
        let read = |id: &str| {
            let group = exporter.read(ResourceType::GROUP, id)?;
            Ok(group.filter(|group| visible.has(group, &bases)))
        };
        let groups = exporter.groups()?;
        let mut found = Vec::new();
        for group in groups.iter().filter(|group| is_theirs(&asking, &group.id) && search.finds(group)) {
            // Groups that the client may not see are not counted either.
            if visible.is_all() || read(&group.id)?.is_some() {
                found.push(group.clone());
            }
        }
        search.page(&found, read)
    });
    let page = page.await?;

    let base = caller.base.as_str();
    let url = |parameters: &[(String, String)]| reading::url(&GROUPS_URL, base, parameters);
    let first: Vec<_> = parameters.iter().filter(|(name, _)| name != "_after").cloned().collect();
    let mut link = vec![
        BundleLink { relation: "self", url: url(&parameters) },
        BundleLink { relation: "first", url: url(&first) },
    ];
    if let Some(last) = page.next_after {
        let next = [first, vec![("_after".into(), last)]].concat();
        link.push(BundleLink { relation: "next", url: url(&next) });
    }
    let url = |id: &str| GROUP_URL.at(base, &[&reading::encoded(id)]);
    let entries = page.groups.iter().map(|(id, resource)| BundleEntry::found(url(id), resource));
    let bundle = Bundle::new(page.total, link, entries.collect());
    let body = serde_json::to_string(&bundle).map_err(|_| ApiError::internal())?;
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, media_type))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((header::VARY, "Accept"))
        .body(body))
}

/// Returns whether a client may export and read a Group. Others are answered as absent.
fn is_theirs(caller: &AuthorizedCaller, id: &str) -> bool {
    caller.application.as_ref().is_none_or(|application| application.groups.has(id))
}
