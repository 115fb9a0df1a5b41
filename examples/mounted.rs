//! The routes of the server in the actix-web application of a host, beside routes, state and a middleware
//! of its own. The host authenticates: to `http::configure` every request is that of one client.
//!
//! Run it with `cargo run --example mounted`. A host needs the feature `server`:
//! `evanesce = { version = "0.1", default-features = false, features = ["server"] }`.

use std::error::Error;
use std::net::TcpListener;
use std::time::Duration;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::ErrorUnauthorized;
use actix_web::middleware::{Next, from_fn};
use actix_web::{App, HttpServer, web};
use evanesce::http::{Api, configure, not_found};
use evanesce::{
    CancelToken, Evanesce, ExportError, ExportRequest, Exporter, JobId, Part, PartSummary, PartWriter, Plan,
    ResourceType,
};
use jiff::Timestamp;

/// What may go wrong on another thread.
type Failure = Box<dyn Error + Send + Sync>;

/// The state of the host: a ward with its beds.
struct Ward {
    free_beds: usize,
}

async fn beds(ward: web::Data<Ward>) -> String {
    format!("{} beds are free", ward.free_beds)
}

/// The key that the host gives to its clients.
const KEY: (&str, &str) = ("x-api-key", "7f3a");

/// Refuses whoever has no key, on the host's routes and on ours.
async fn with_key(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    if request.headers().get(KEY.0).is_none_or(|key| key != KEY.1) {
        return Err(ErrorUnauthorized("give a key"));
    }
    next.call(request).await
}

/// Exports the patients of the ward.
struct Patients;

impl Exporter for Patients {
    fn plan(&self, _: &ExportRequest, _: &CancelToken) -> Result<Plan, ExportError> {
        Ok(Plan::new(Timestamp::now(), vec![Part { weight: 3, content: serde_json::Value::Null }]))
    }

    fn run(&self, _: &Part, out: &mut PartWriter, _: &CancelToken) -> Result<PartSummary, ExportError> {
        for id in ["a", "b", "c"] {
            let json = format!(r#"{{"resourceType":"Patient","id":"{id}"}}"#);
            out.resource(ResourceType::PATIENT, json.as_bytes())?;
            out.progress(1)?;
        }
        Ok(PartSummary::default())
    }
}

/// What a client of the host does: asks for beds, exports, downloads, deletes. Blocks. Returns the job.
fn visit(origin: &str) -> Result<JobId, Failure> {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let get = |url: &str| agent.get(url).header(KEY.0, KEY.1);
    let (own, kickoff) = (format!("{origin}/beds"), format!("{origin}/r4/default/$export?_type=Patient"));
    for url in [&own, &kickoff] {
        assert_eq!(agent.get(url).call()?.status(), 401);
    }
    assert_eq!(get(&own).call()?.body_mut().read_to_string()?, "7 beds are free");
    assert_eq!(get(&format!("{origin}/nowhere")).call()?.status(), 404);

    let accepted = get(&kickoff).header("Accept", "application/fhir+json").header("Prefer", "respond-async");
    let accepted = accepted.call()?;
    assert_eq!(accepted.status(), 202);
    let job = accepted.headers()["content-location"].to_str()?.to_string();
    println!("exported as {job}");
    let mut answer = get(&job).call()?;
    while answer.status() == 202 {
        std::thread::sleep(Duration::from_millis(300));
        answer = get(&job).call()?;
    }
    assert_eq!(answer.status(), 200);
    let manifest: serde_json::Value = answer.body_mut().read_json()?;
    let file = manifest["output"][0]["url"].as_str().ok_or("the manifest has no file")?;
    let lines = get(file).call()?.body_mut().read_to_string()?;
    println!("{lines}");
    assert_eq!(lines.lines().count(), 3);

    let deleted = agent.delete(&job).header(KEY.0, KEY.1).call()?;
    assert_eq!(deleted.status(), 202);
    for url in [&*job, file] {
        assert_eq!(get(url).call()?.status(), 404);
    }
    Ok(job.rsplit('/').next().unwrap_or_default().parse()?)
}

/// Shows it all. Fails if anything is not as it is said here.
pub async fn run() -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let data_dir = folder.path().join("exports");
    let evanesce = Evanesce::builder().data_dir(data_dir).exporter(Patients).start().await?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let origin = format!("http://{}", listener.local_addr()?);

    let (api, ward) = (Api::new(evanesce.clone(), &origin), web::Data::new(Ward { free_beds: 7 }));
    let app = move || {
        App::new()
            .wrap(from_fn(with_key))
            .app_data(ward.clone())
            .route("/beds", web::get().to(beds))
            .configure(configure(api.clone()))
            // URLs that nobody has are answered with an OperationOutcome.
            .default_service(not_found())
    };
    let server = HttpServer::new(app).workers(1).disable_signals().listen(listener)?.run();
    let handle = server.handle();
    let serving = actix_web::rt::spawn(server);

    let job = web::block(move || visit(&origin)).await??;
    let receipt = evanesce.wait_erased(job).await?.ok_or("there is no receipt")?;
    println!("{} files with {} bytes are gone, which were {}", receipt.files, receipt.bytes, receipt.was);

    // First who asks, then what answers.
    handle.stop(true).await;
    serving.await??;
    evanesce.stop(Duration::from_secs(10)).await;
    Ok(())
}

fn main() -> Result<(), Failure> {
    actix_web::rt::System::new().block_on(run())
}
