//! Groups and Binaries of a host's own exporter: what it gives, and what clients are told when
//! it is busy, fails or panics.

use std::sync::Arc;

use actix_web::{App, test};
use evanesce::Evanesce;
use evanesce::export::{CancelToken, ExportError, Exporter, GroupName, Part, PartSummary, PartWriter, Plan};
use evanesce::fhir::ResourceType;
use evanesce::http::{self, Api};
use evanesce::job::ExportRequest;
use jiff::Timestamp;
use serde_json::Value;

use crate::support::{FakeExporter, InstanceDir};

/// Reads what its ids say; has nothing to export.
struct ReadsById;

impl Exporter for ReadsById {
    fn read(&self, resource_type: ResourceType, id: &str) -> Result<Option<Vec<u8>>, ExportError> {
        match id {
            "there" => {
                let resource_type = resource_type.as_str();
                Ok(Some(format!(r#"{{"resourceType":"{resource_type}","id":"there"}}"#).into_bytes()))
            }
            "busy" => Err(ExportError::Busy),
            "broken" => Err(ExportError::Other("/secret/path is broken".into())),
            "panic" => panic!("told to"),
            _ => Ok(None),
        }
    }

    fn groups(&self) -> Result<Arc<Vec<GroupName>>, ExportError> {
        let groups = ["busy", "gone", "there"].map(|id| GroupName {
            id: id.into(),
            name: Some(id.into()),
            ..GroupName::default()
        });
        Ok(Arc::new(groups.into()))
    }

    fn plan(&self, _: &ExportRequest, _: &CancelToken) -> Result<Plan, ExportError> {
        Ok(Plan::new(Timestamp::now(), Vec::new()))
    }

    fn run(&self, _: &Part, _: &mut PartWriter, _: &CancelToken) -> Result<PartSummary, ExportError> {
        Ok(PartSummary::default())
    }
}

/// Status, `Retry-After` and body of what a host with this exporter answers to each path.
async fn answers<const N: usize>(
    exporter: impl Exporter + 'static,
    paths: [&str; N],
) -> [(u16, String, Value); N] {
    let folder = InstanceDir::new();
    let evanesce = Evanesce::builder().data_dir(folder.path()).exporter(exporter).start().await.unwrap();
    let app = App::new().configure(http::configure(Api::new(evanesce, "https://fhir.example.org")));
    let app = test::init_service(app).await;
    let mut answers = Vec::new();
    for path in paths {
        let uri = format!("/r4/default/{path}");
        let request = test::TestRequest::get().uri(&uri).insert_header(("Accept", "application/fhir+json"));
        let answer = test::call_service(&app, request.to_request()).await;
        let retry_after = answer.headers().get("retry-after").map_or("", |value| value.to_str().unwrap());
        let (status, retry_after) = (answer.status().as_u16(), retry_after.to_string());
        let body = test::read_body(answer).await;
        answers.push((status, retry_after, serde_json::from_slice(&body).unwrap()));
    }
    answers.try_into().unwrap()
}

#[actix::test]
async fn what_a_host_gives_is_served_and_what_goes_wrong_is_told() {
    for resource in ["Group", "Binary"] {
        let paths = ["there", "nobody", "busy", "broken", "panic"].map(|id| format!("{resource}/{id}"));
        let [there, nobody, busy, broken, panic] =
            answers(ReadsById, std::array::from_fn(|n| paths[n].as_str())).await;
        assert_eq!((there.0, &there.2["resourceType"]), (200, &resource.into()));
        for ((status, retry_after, outcome), expected, code) in [
            (nobody, (404, ""), "not-found"),
            (busy, (503, "5"), "transient"),
            (broken, (500, ""), "exception"),
            (panic, (500, ""), "exception"),
        ] {
            assert_eq!(
                (status, &*retry_after, &outcome["issue"][0]["code"]),
                (expected.0, expected.1, &code.into())
            );
            assert!(!outcome.to_string().contains("secret"), "P12");
        }
    }
}

#[actix::test]
async fn a_page_leaves_out_what_is_gone_and_is_no_page_if_the_host_is_busy() {
    let [page, busy] = answers(ReadsById, ["Group?name=gone,there", "Group"]).await;
    assert_eq!((page.0, &page.2["total"]), (200, &2.into()));
    assert_eq!(page.2["entry"].as_array().unwrap().len(), 1);
    assert_eq!(page.2["entry"][0]["fullUrl"], "https://fhir.example.org/r4/default/Group/there");
    assert_eq!((busy.0, &*busy.1), (503, "5"));
}

#[actix::test]
async fn an_exporter_that_only_exports_has_no_groups() {
    let [search, group, binary] =
        answers(FakeExporter::writes_nothing(), ["Group", "Group/All_Patients", "Binary/x"]).await;
    assert_eq!((search.0, &search.2["total"], &search.2["entry"]), (200, &0.into(), &Value::Null));
    assert_eq!((group.0, binary.0), (404, 404));
}
