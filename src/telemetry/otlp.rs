//! Sends spans to an OpenTelemetry collector (OTLP over HTTP), from a thread of its own with a bounded
//! queue. A collector that is away, slow or refuses costs spans, which are counted, and nothing else (P13).
//!
//! The trace of a job is found by its id: the trace id of its spans is the job's, whichever process made
//! them, and the span of the job is the parent of its parts and sweeps. What clients send as `traceparent`
//! is not taken over: it would let them choose what is traced, and under which id.

use std::fmt;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use opentelemetry::trace::{SpanContext, SpanId, TraceId, TraceState, TracerProvider};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider, Span, SpanData, SpanExporter, SpanProcessor,
};
use tracing::Subscriber;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::Layer;
use tracing_subscriber::registry::LookupSpan;
use ureq::tls::{RootCerts, TlsConfig};
use uuid::Uuid;

use super::spans::{self, TARGET};
use super::spans_ended;
use crate::auth::authorities;

/// The variables that name a PEM file with the authorities that vouch for a collector (HTTPS), the first that
/// is set. Without one these are Mozilla's.
const AUTHORITIES: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE"];

/// Spans that wait for the collector. More are dropped.
const QUEUE: usize = 2048;

/// Spans in one request.
const BATCH: usize = 512;

/// How long one request may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long the end of the process waits for the last spans.
const LAST_SPANS: Duration = Duration::from_secs(1);

/// The longest answer of a collector in bytes.
const LONGEST_ANSWER: u64 = 64 << 10;

/// Fields of spans that the log calls otherwise than OpenTelemetry does.
const RENAMED: [(&str, &str); 3] =
    [("method", "http.request.method"), ("client", "client.address"), ("request_id", "evanesce.request.id")];

/// The field that names the job.
const JOB_FIELD: &str = "evanesce.job.id";

/// The field that tells the span of a job that goes on after a restart.
const RESUMED_FIELD: &str = "evanesce.job.resumed";

/// Sends spans until it is dropped, which waits for the last ones, but only for a moment.
pub struct SpanSender(SdkTracerProvider);

impl Drop for SpanSender {
    fn drop(&mut self) {
        // A collector that is away has been counted.
        let _ = self.0.shutdown_with_timeout(LAST_SPANS);
    }
}

/// Why spans cannot be sent.
#[derive(Debug, thiserror::Error)]
#[error("spans cannot be sent: {0}; see telemetry.otlp_endpoint and OTEL_EXPORTER_OTLP_ENDPOINT")]
pub struct OtlpError(String);

/// The layer that makes spans of OpenTelemetry, and what sends them.
type Sending<S> = (Box<dyn Layer<S> + Send + Sync>, SpanSender);

/// Returns the layer that sends spans, and what keeps it going, if the setting `endpoint` or the
/// environment says where to.
///
/// # Errors
/// Fails if the environment has no usable URL, or names a file of authorities that cannot be used.
pub fn layer<S>(endpoint: Option<&str>) -> Result<Option<Sending<S>>, OtlpError>
where
    S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
{
    if endpoint.is_none() && spans::endpoint_variable(|name| std::env::var_os(name)).is_none() {
        return Ok(None);
    }
    let collector = Collector::new(trusted_authorities()?);
    let exporter = opentelemetry_otlp::SpanExporter::builder().with_http().with_http_client(collector);
    let exporter = exporter.with_protocol(Protocol::HttpBinary).with_timeout(PATIENCE);
    let exporter = match endpoint {
        Some(endpoint) => exporter.with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/'))),
        None => exporter,
    };
    let exporter = exporter.build().map_err(|error| OtlpError(error.to_string()))?;
    let waiting = Arc::new(AtomicUsize::new(0));
    let config = BatchConfigBuilder::default().with_max_queue_size(QUEUE).with_max_export_batch_size(BATCH);
    let exporter = CountedExporter { exporter, waiting: waiting.clone(), fails: AtomicBool::new(false) };
    let sender = BatchSpanProcessor::builder(exporter).with_batch_config(config.build()).build();
    let resource =
        Resource::builder().with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
    let resource = match std::env::var_os("OTEL_SERVICE_NAME") {
        Some(_) => resource,
        None => resource.with_service_name("evanesce"),
    };
    let provider = SdkTracerProvider::builder()
        .with_span_processor(JobTraces { sender, waiting })
        .with_resource(resource.build())
        .build();
    let is_sent = filter_fn(|line| line.is_span() && (line.target() == TARGET || line.name() == "request"));
    let layer = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("evanesce"))
        .with_location(false)
        .with_threads(true)
        .with_target(false)
        .with_tracked_inactivity(false)
        // Spans of jobs are never entered.
        .with_context_activation(false)
        .with_filter(is_sent);
    spans::note_sending();
    Ok(Some((layer.boxed(), SpanSender(provider))))
}

/// Returns the authorities that vouch for the collector.
fn trusted_authorities() -> Result<RootCerts, OtlpError> {
    let mut files = AUTHORITIES.into_iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
    let Some((name, file)) = files.find(|(_, file)| !file.is_empty()) else {
        return Ok(RootCerts::WebPki);
    };
    let file = Path::new(&file);
    authorities(file).map_err(|error| OtlpError(format!("{name}: {}: {error}", file.display())))
}

/// Gives the spans of a job their trace, and counts those for which there is no room.
#[derive(Debug)]
struct JobTraces {
    sender: BatchSpanProcessor,
    waiting: Arc<AtomicUsize>,
}

impl SpanProcessor for JobTraces {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, mut span: SpanData) {
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= QUEUE {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return spans_ended("full", 1);
        }
        put_in_trace(&mut span);
        self.sender.on_end(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.sender.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.sender.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.sender.set_resource(resource);
    }
}

/// Puts a span that names a job into the trace of that job, and gives fields their names.
fn put_in_trace(span: &mut SpanData) {
    for field in &mut span.attributes {
        if let Some((_, name)) = RENAMED.iter().find(|(old, _)| field.key.as_str() == *old) {
            field.key = (*name).into();
        }
    }
    let field = |name: &str| span.attributes.iter().find(|field| field.key.as_str() == name);
    let job = field(JOB_FIELD).and_then(|field| field.value.as_str().parse::<Uuid>().ok());
    let Some(job) = job else { return };
    let is_resumed = field(RESUMED_FIELD).is_some_and(|field| field.value == Value::Bool(true));
    let (trace, root) = (TraceId::from(job.as_u128()), SpanId::from(job.as_u128() as u64));
    let (id, parent) = match &*span.name {
        "job" if !is_resumed => (root, SpanId::INVALID),
        _ => (span.span_context.span_id(), root),
    };
    let flags = span.span_context.trace_flags();
    span.span_context = SpanContext::new(trace, id, flags, false, TraceState::NONE);
    span.parent_span_id = parent;
}

/// Counts spans that were sent, and those that could not be.
#[derive(Debug)]
struct CountedExporter {
    exporter: opentelemetry_otlp::SpanExporter,
    waiting: Arc<AtomicUsize>,
    /// Whether the last batch failed. The log tells of the first that does and of the first that does not.
    fails: AtomicBool,
}

impl CountedExporter {
    fn note(&self, exported: &OTelSdkResult) {
        let failed_before = self.fails.swap(exported.is_err(), Ordering::Relaxed);
        match exported {
            Err(error) if !failed_before => {
                tracing::warn!(%error, "the collector does not take spans: they are lost, and counted");
            }
            Ok(()) if failed_before => tracing::info!("the collector takes spans again"),
            _ => {}
        }
    }
}

impl SpanExporter for CountedExporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = batch.len();
        self.waiting.fetch_sub(count, Ordering::Relaxed);
        let exported = self.exporter.export(batch).await;
        spans_ended(if exported.is_ok() { "sent" } else { "failed" }, count);
        self.note(&exported);
        exported
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

/// The connection to the collector.
struct Collector(ureq::Agent);

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Collector")
    }
}

impl Collector {
    fn new(roots: RootCerts) -> Self {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let tls = TlsConfig::builder()
            .unversioned_rustls_crypto_provider(Arc::new(provider))
            .root_certs(roots)
            .build();
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_global(Some(PATIENCE))
            .tls_config(tls);
        Self(config.build().into())
    }

    fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let response = self.0.run(request.map(|body| body.to_vec()))?;
        let (head, mut body) = response.into_parts();
        let body = body.with_config().limit(LONGEST_ANSWER).read_to_vec()?;
        Ok(Response::from_parts(head, body.into()))
    }
}

// As `async_trait` writes it. It blocks: it is called on the sender's own thread.
impl HttpClient for Collector {
    fn send_bytes<'a, 'f>(
        &'a self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'f>>
    where
        'a: 'f,
        Self: 'f,
    {
        Box::pin(async move { self.send(request) })
    }
}
