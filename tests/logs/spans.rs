//! Spans of jobs, parts and sweeps at a small OpenTelemetry collector. One that is away, slow or broken
//! harms nothing (P13), and nothing in a span names a patient (P12).

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as AnyValue;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use prost::Message;
use rustix::process::Signal;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::support::*;
use crate::transport::Identity;

/// What a collector answers.
#[derive(Clone, Copy, PartialEq)]
enum Answers {
    Taken,
    Refused,
    Never,
}

/// A collector on a free port, for as long as the tests run.
struct Collector {
    url: String,
    bodies: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Collector {
    fn start(answers: Answers) -> Self {
        Self::over("http", move |stream, taken| converse(stream, answers, taken))
    }

    /// One that has a certificate, and takes everything.
    fn with_tls(identity: &Identity) -> Self {
        let certificate = CertificateDer::from_pem_file(identity.certificate()).unwrap();
        let key = PrivateKeyDer::from_pem_file(identity.key()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.unwrap().with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
        let config = Arc::new(config);
        Self::over("https", move |stream, taken| {
            let connection = ServerConnection::new(config.clone()).unwrap();
            converse(StreamOwned::new(connection, stream), Answers::Taken, taken);
        })
    }

    fn over(
        scheme: &str,
        converse: impl Fn(TcpStream, &Mutex<Vec<Vec<u8>>>) + Clone + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("{scheme}://{}", listener.local_addr().unwrap());
        let bodies = Arc::<Mutex<Vec<Vec<u8>>>>::default();
        let taken = bodies.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (taken, converse) = (taken.clone(), converse.clone());
                std::thread::spawn(move || converse(stream.unwrap(), &taken));
            }
        });
        Self { url, bodies }
    }

    /// All spans so far, and the name of the service that sent them.
    fn spans(&self) -> Vec<Span> {
        let bodies = self.bodies.lock().unwrap();
        let requests = bodies.iter().map(|body| ExportTraceServiceRequest::decode(&**body).unwrap());
        let resources = requests.flat_map(|request| request.resource_spans);
        let scopes = resources.flat_map(|resource| {
            let attributes = resource.resource.unwrap().attributes;
            assert!(attributes.iter().any(|field| field.key == "service.name"), "{attributes:?}");
            resource.scope_spans
        });
        scopes.flat_map(|scope| scope.spans).collect()
    }

    /// The spans with that name of the trace, once there are any.
    fn wait_for(&self, trace: &[u8], name: &str) -> Vec<Span> {
        eventually(name, || {
            let all = self.spans().into_iter();
            let found: Vec<_> = all.filter(|span| span.trace_id == trace && span.name == name).collect();
            (!found.is_empty()).then_some(found)
        })
    }
}

/// Takes requests of one connection.
fn converse(stream: impl Read + Write, answers: Answers, taken: &Mutex<Vec<Vec<u8>>>) {
    let mut reader = BufReader::new(stream);
    loop {
        let (mut length, mut head) = (0, String::new());
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            let lower = line.to_ascii_lowercase();
            if let Some(text) = lower.strip_prefix("content-length:") {
                length = text.trim().parse().unwrap();
            }
            if line == "\r\n" {
                break;
            }
            head.push_str(&lower);
        }
        assert!(head.starts_with("post /v1/traces ") && head.contains("application/x-protobuf"), "{head}");
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        taken.lock().unwrap().push(body);
        let status = match answers {
            Answers::Taken => "200 OK",
            Answers::Refused => "500 Internal Server Error",
            Answers::Never => {
                let _ = reader.read(&mut [0]);
                return;
            }
        };
        write!(reader.get_mut(), "HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").unwrap();
        reader.get_mut().flush().unwrap();
    }
}

/// A server that sends its spans often.
fn start(setup: &Setup, change: impl FnOnce(&mut Command)) -> Server {
    let mut command = setup.command();
    command.env("OTEL_BSP_SCHEDULE_DELAY", "50");
    change(&mut command);
    setup.launch(command)
}

fn sending_to(url: &str) -> impl FnOnce(&mut Command) {
    move |command| {
        command.args(["--set", &format!("telemetry.otlp_endpoint={url}")]);
    }
}

/// The trace of a job: its id.
fn trace_of(job: &str) -> Vec<u8> {
    hex::decode(job.replace('-', "")).unwrap()
}

fn fields(span: &Span) -> BTreeMap<&str, String> {
    let text = |value: &AnyValue| match value {
        AnyValue::StringValue(text) => text.clone(),
        AnyValue::IntValue(number) => number.to_string(),
        AnyValue::BoolValue(value) => value.to_string(),
        other => format!("{other:?}"),
    };
    let value = |field: &opentelemetry_proto::tonic::common::v1::KeyValue| {
        text(field.value.as_ref().unwrap().value.as_ref().unwrap())
    };
    span.attributes.iter().map(|field| (field.key.as_str(), value(field))).collect()
}

/// Exports and deletes. Returns the job's id when its files are gone.
fn live_a_life(setup: &Setup, server: &Server) -> String {
    let (polling, _) = server.export("$export");
    assert_eq!(delete(&polling).status, 202);
    let job = job_id(&polling).to_string();
    setup.receipt(&job);
    job
}

#[test]
fn a_collector_gets_the_spans_of_a_job_and_of_its_parts_and_of_its_sweep() {
    let collector = Collector::start(Answers::Taken);
    let setup = Setup::new().set("export.part_bytes=262144");
    let server = start(&setup, sending_to(&collector.url));
    let (polling, manifest) = server.export("$export");
    let job = job_id(&polling).to_string();
    let trace = trace_of(&job);
    let [job_span] = &collector.wait_for(&trace, "job")[..] else { panic!("there is one") };
    assert!(job_span.parent_span_id.is_empty(), "it is the root");
    let of_job = fields(job_span);
    assert_eq!((of_job["evanesce.job.id"].as_str(), of_job["evanesce.state"].as_str()), (&*job, "complete"));
    assert_eq!(of_job["evanesce.files"], manifest["output"].as_array().unwrap().len().to_string());
    let parts = collector.wait_for(&trace, "part");
    assert_eq!(of_job["evanesce.parts"], parts.len().to_string());
    assert!(parts.len() > 1, "{parts:?}");
    let resources = |span: &Span| fields(span)["evanesce.resources"].parse::<u64>().unwrap();
    assert_eq!(parts.iter().map(resources).sum::<u64>(), resources(job_span));
    for part in &parts {
        assert_eq!(part.parent_span_id, job_span.span_id);
        assert!(part.start_time_unix_nano >= job_span.start_time_unix_nano);
        assert!(part.end_time_unix_nano <= job_span.end_time_unix_nano);
    }

    // The trace is the job's in the next process as well.
    let mut server = server;
    server.signal(Signal::TERM);
    server.wait_exit();
    let server = start(&setup, sending_to(&collector.url));
    assert_eq!(delete(&polling_url(&server, &job)).status, 202);
    let receipt = setup.receipt(&job);
    let [sweep] = &collector.wait_for(&trace, "sweep")[..] else { panic!("there is one") };
    assert_eq!(sweep.parent_span_id, job_span.span_id);
    assert_eq!(fields(sweep)["evanesce.files"], receipt["files"].to_string());
    eventually("sent spans are counted", || {
        (server.metric("evanesce_spans_total{outcome=\"sent\"}") > 0.0).then_some(())
    });
}

#[test]
fn spans_have_opentelemetry_s_names_and_nothing_that_clients_send() {
    const PLANTED: &str = "Mrn-4711-Wintergreen";
    let collector = Collector::start(Answers::Taken);
    let setup = Setup::new();
    let server = start(&setup, sending_to(&collector.url));
    let theirs = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let named =
        [("traceparent", theirs), ("X-Request-Id", PLANTED), ("User-Agent", PLANTED), KICKOFF[0], KICKOFF[1]];
    for path in
        [format!("$export?patient={PLANTED}"), format!("Group/{PLANTED}/$export"), PLANTED.to_string()]
    {
        assert!(send("GET", &format!("{}/{path}", server.base), &named).status >= 400, "{path}");
    }
    let answer = send("GET", &format!("{}/metadata", server.base), &named);
    let id = answer.header("x-request-id");
    let of_request = |span: &Span| fields(span).get("evanesce.request.id").is_some_and(|found| found == id);
    let span = eventually("the span of the request", || collector.spans().into_iter().find(of_request));
    let of_span = fields(&span);
    assert_eq!(of_span["http.request.method"], "GET");
    assert_eq!(of_span["http.response.status_code"], "200");
    assert_eq!(of_span["client.address"], "127.0.0.1");
    assert!(of_span["http.route"].ends_with("/metadata"), "{of_span:?}");
    assert_eq!(span.kind, 2, "a server's");
    let job = live_a_life(&setup, &server);
    collector.wait_for(&trace_of(&job), "sweep");
    let bodies = collector.bodies.lock().unwrap();
    for body in &*bodies {
        assert!(memchr::memmem::find(body, PLANTED.as_bytes()).is_none(), "P12");
    }
    drop(bodies);
    let trace = hex::decode("0af7651916cd43dd8448eb211c80319c").unwrap();
    assert!(collector.spans().iter().all(|span| span.trace_id != trace), "clients choose no trace");
}

#[test]
fn a_part_that_fails_is_an_error_in_its_span_and_in_that_of_its_job() {
    let collector = Collector::start(Answers::Taken);
    let source = copy_of_source();
    let setup = Setup::new().source(source.path()).braked(200_000);
    let server = start(&setup, sending_to(&collector.url));
    let polling = server.kickoff("$export");
    server.wait_braked(&polling);
    for file in std::fs::read_dir(source.path()).unwrap() {
        std::fs::write(file.unwrap().path(), "").unwrap();
    }
    setup.release_brake();
    let trace = trace_of(job_id(&polling));
    let [span] = &collector.wait_for(&trace, "job")[..] else { panic!("there is one") };
    assert_eq!(span.status.as_ref().unwrap().code(), StatusCode::Error);
    assert_eq!((&*fields(span)["evanesce.state"], &*fields(span)["error.type"]), ("failed", "SourceChanged"));
    let is_error =
        |span: &Span| span.status.as_ref().is_some_and(|status| status.code() == StatusCode::Error);
    assert!(collector.wait_for(&trace, "part").iter().any(is_error));
}

#[test]
fn p13_a_collector_that_is_away_or_slow_or_refuses_harms_nothing_and_is_counted() {
    let nobody = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let [refuses, sleeps] = [Answers::Refused, Answers::Never].map(Collector::start);
    for (url, counted) in [(&nobody, true), (&refuses.url, true), (&sleeps.url, false)] {
        let setup = Setup::new();
        let mut server = start(&setup, sending_to(url));
        live_a_life(&setup, &server);
        let failed = || (server.metric("evanesce_spans_total{outcome=\"failed\"}") > 0.0).then_some(());
        if counted {
            eventually("failed spans are counted", failed);
        } else {
            // The queue fills behind the one request that is under way.
            let full = || {
                let healthz = format!("{}/healthz", server.operators);
                (0..200).for_each(|_| assert_eq!(get(&healthz).status, 200));
                (server.metric("evanesce_spans_total{outcome=\"full\"}") > 0.0).then_some(())
            };
            eventually("what there is no room for is counted", full);
        }
        live_a_life(&setup, &server);
        server.signal(Signal::TERM);
        assert_eq!(server.wait_exit().code(), Some(0), "{url}");
    }
}

#[test]
fn the_endpoint_comes_from_the_setting_or_from_the_environment_or_there_is_none() {
    let collectors = [Answers::Taken, Answers::Taken].map(Collector::start);
    let [by_setting, by_environment] = &collectors;
    let setup = Setup::new();
    let server = start(&setup, |command| {
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", &by_environment.url);
    });
    let job = live_a_life(&setup, &server);
    by_environment.wait_for(&trace_of(&job), "sweep");
    server.kill();
    let before = by_environment.spans().len();
    let server = start(&setup, |command| {
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", &by_environment.url);
        sending_to(&by_setting.url)(command);
    });
    let job = live_a_life(&setup, &server);
    by_setting.wait_for(&trace_of(&job), "sweep");
    assert_eq!(by_environment.spans().len(), before, "the setting wins");
    let end = setup.try_launch({
        let mut command = setup.command();
        command.args(["--set", "telemetry.otlp_endpoint=collector:4317"]);
        command
    });
    assert_eq!(end.err().and_then(|end| end.code()), Some(2));
    assert!(setup.log().contains("telemetry.otlp_endpoint should be"), "{}", setup.log());
}

#[test]
fn a_collector_with_a_certificate_of_ones_own_authority_is_believed_if_that_is_named() {
    const AUTHORITY: &str = "OTEL_EXPORTER_OTLP_CERTIFICATE";
    let identity = Identity::new();
    let collector = Collector::with_tls(&identity);
    let setup = Setup::new();
    let server = start(&setup, |command| {
        command.env(AUTHORITY, identity.certificate());
        // Another program's; this one has no gRPC.
        command.env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
        sending_to(&collector.url)(command);
    });
    let job = live_a_life(&setup, &server);
    collector.wait_for(&trace_of(&job), "sweep");
    server.kill();
    let before = collector.spans().len();

    // Nobody knows that authority.
    let setup = Setup::new();
    let server = start(&setup, sending_to(&collector.url));
    live_a_life(&setup, &server);
    setup.wait_logged("the collector does not take spans");
    for _ in 0..2 {
        let failed = server.metric("evanesce_spans_total{outcome=\"failed\"}");
        assert_eq!(get(&format!("{}/healthz", server.operators)).status, 200);
        eventually("more spans fail", || {
            (server.metric("evanesce_spans_total{outcome=\"failed\"}") > failed).then_some(())
        });
    }
    assert_eq!(setup.log().matches("the collector does not take spans").count(), 1, "it is told once");
    assert_eq!(collector.spans().len(), before);
    server.kill();

    let end = setup.try_launch({
        let mut command = setup.command();
        command.env(AUTHORITY, "nowhere.pem");
        sending_to(&collector.url)(&mut command);
        command
    });
    assert_eq!(end.err().and_then(|end| end.code()), Some(2));
    let log = setup.log();
    assert!(log.contains(&format!("spans cannot be sent: {AUTHORITY}: nowhere.pem: ")), "{log}");
}
