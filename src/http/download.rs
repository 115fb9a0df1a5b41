//! `GET|HEAD {base}/bulk-api/download/{job}/{file}` (REQUIREMENTS section 7): streamed, with
//! ranges. A download holds a ticket; when the job ends and the grace is over, the file is
//! taken away from it and the client sees a failed transfer, never a short file that looks
//! whole.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use actix_web::body::SizedStream;
use actix_web::http::header::{
    self, ByteRangeSpec, ContentRange, ContentRangeSpec, ETag, EntityTag, Header, IfRange,
};
use actix_web::http::{Method, StatusCode};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use bytes::Bytes;
use futures_util::stream;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::accept::{NDJSON, check_accept};
use super::conditions::is_unchanged;
use super::status::http_date;
use super::{Api, ApiError};
use crate::files::{Files, FilesError, Place, ReadAt};
use crate::hooks::Step;
use crate::job::{JobId, JobState, OutputFile};
use crate::store::{Lookup, Published, Ticket};

/// Bytes read and sent at once.
const CHUNK: u64 = 1 << 20;

/// The longest that a mark's publication may come after the rename of its directory, whose
/// syncs may queue behind other bytes; a file that is missing for longer is lost.
const PUBLICATION: Duration = Duration::from_secs(5);

/// `GET|HEAD {output url}`.
pub async fn download(request: HttpRequest, api: Data<Api>) -> Result<HttpResponse, ApiError> {
    check_accept(&request, NDJSON)?;
    api.check_tenant(&request)?;
    let job = Api::job(&request)?;
    let services = api.evanesce.services();
    let (lookup, ticket) = services.view().begin_download(&api.tenant, &api.client, job);
    let published = match lookup {
        Lookup::Found(published) => published,
        Lookup::Deleted => return Err(ApiError::deleted()),
        Lookup::Unknown => return Err(ApiError::unknown_job()),
    };
    let Some(ticket) = ticket else { return Err(ApiError::unknown_file()) };
    services.hooks.reach(Step::DownloadRegistered);
    let name = request.match_info().get("file").unwrap_or_default();
    // F-10: the name is compared, never joined to a path.
    let file = published.file(name).ok_or_else(ApiError::unknown_file)?;

    let entity_tag = EntityTag::new_strong(file.name.split('_').next().unwrap_or_default().to_owned());
    let mut response = describe(&published, entity_tag.clone());
    if is_unchanged(&request, &entity_tag) {
        return Ok(response.status(StatusCode::NOT_MODIFIED).finish());
    }
    let range = match requested_range(&request, &published, &entity_tag, file.bytes) {
        Requested::Whole => 0..file.bytes,
        Requested::Part(range) => {
            let (first, last) = (range.start, range.end - 1);
            let part =
                ContentRangeSpec::Bytes { range: Some((first, last)), instance_length: Some(file.bytes) };
            response.status(StatusCode::PARTIAL_CONTENT).insert_header(ContentRange(part));
            range
        }
        Requested::Nothing => {
            let none = ContentRangeSpec::Bytes { range: None, instance_length: Some(file.bytes) };
            return Ok(response
                .status(StatusCode::RANGE_NOT_SATISFIABLE)
                .insert_header(ContentRange(none))
                .finish());
        }
    };
    response.insert_header((header::CONTENT_TYPE, "application/fhir+ndjson"));
    if request.method() == Method::HEAD {
        return Ok(response
            .no_chunking(range.end - range.start)
            .streaming(stream::empty::<io::Result<Bytes>>()));
    }
    let reader = match open(services.files.clone(), job, &file).await {
        Ok(reader) => reader,
        Err(error) => {
            drop(ticket);
            if !error.is_missing() {
                tracing::error!(%job, %error, "a file of a complete job cannot be opened");
                return Err(ApiError::internal());
            }
            // A mark moves the directory to `trash/` before it is published, which is moments away.
            let lookup = || services.view().lookup(&api.tenant, &api.client, job);
            let gone = services.view().wait_for(|_| match lookup() {
                // It failed: what it had written is gone.
                Lookup::Found(found) if found.file(name).is_none() => Some(ApiError::unknown_file()),
                Lookup::Found(_) => None,
                Lookup::Deleted => Some(ApiError::deleted()),
                Lookup::Unknown => Some(ApiError::unknown_job()),
            });
            return Err(tokio::time::timeout(PUBLICATION, gone).await.unwrap_or_else(|_| {
                tracing::error!(%job, %error, "a file of a complete job cannot be opened");
                ApiError::internal()
            }));
        }
    };
    services.hooks.reach(Step::DownloadOpened);
    let length = range.end - range.start;
    let body = body(Download { reader, ticket }, range);
    Ok(response.body(SizedStream::new(length, body)))
}

async fn open(files: Arc<dyn Files>, job: JobId, file: &OutputFile) -> Result<Arc<dyn ReadAt>, FilesError> {
    let name = file.name.clone();
    // Of an export that still runs, which may be complete at any moment (ST-9).
    let open = move || {
        let open = |place| files.open(job, place)?.open_file(&name);
        match open(Place::Ready) {
            Err(error) if error.is_missing() => open(Place::Building).or_else(|_| open(Place::Ready)),
            opened => opened,
        }
    };
    match tokio::task::spawn_blocking(open).await {
        Ok(opened) => opened,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

/// The fields that describe a file; it never changes while it is there.
fn describe(published: &Published, entity_tag: EntityTag) -> HttpResponseBuilder {
    let mut response = HttpResponse::Ok();
    response.insert_header(ETag(entity_tag));
    response.insert_header((header::ACCEPT_RANGES, "bytes"));
    response.insert_header((header::CACHE_CONTROL, "no-store"));
    if let JobState::Complete(completion) = &published.record.state {
        response.insert_header((header::LAST_MODIFIED, http_date(completion.completed_at)));
    }
    response
}

enum Requested {
    Whole,
    Part(Range<u64>),
    Nothing,
}

/// One range is served; several, or what is no range, give the whole file (RFC 9110, 14.2).
fn requested_range(request: &HttpRequest, published: &Published, tag: &EntityTag, length: u64) -> Requested {
    let Ok(header::Range::Bytes(ranges)) = header::Range::parse(request) else { return Requested::Whole };
    let [range] = &ranges[..] else { return Requested::Whole };
    if request.headers().contains_key(header::IF_RANGE) {
        let same = match IfRange::parse(request) {
            Ok(IfRange::EntityTag(theirs)) => theirs.strong_eq(tag),
            Ok(IfRange::Date(theirs)) => match &published.record.state {
                JobState::Complete(completion) => theirs == http_date(completion.completed_at),
                _ => false,
            },
            Err(_) => false,
        };
        if !same {
            return Requested::Whole;
        }
    }
    match ByteRangeSpec::to_satisfiable_range(range, length) {
        Some((first, last)) => Requested::Part(first..last + 1),
        None => Requested::Nothing,
    }
}

/// What a download holds; shared with a read that is under way.
struct Download {
    reader: Arc<dyn ReadAt>,
    ticket: Ticket,
}

/// Ends the watch over a download when its body is dropped.
struct Finished(CancellationToken);

impl Drop for Finished {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// The bytes of `range`. A client that does not read holds nothing back: when the ticket is
/// cut, the file is taken out of the slot whether or not the body is being asked for more.
fn body(download: Download, range: Range<u64>) -> impl stream::Stream<Item = io::Result<Bytes>> + use<> {
    let cut = download.ticket.cut().clone();
    let slot = Arc::new(Mutex::new(Some(Arc::new(download))));
    let finished = CancellationToken::new();
    let (watched, ended) = (slot.clone(), finished.clone());
    actix_web::rt::spawn(async move {
        tokio::select! {
            () = cut.cancelled() => drop(watched.lock().take()),
            () = ended.cancelled() => {}
        }
    });
    let state = (slot, range, Finished(finished));
    stream::try_unfold(state, |(slot, range, finished)| async move {
        if range.is_empty() {
            return Ok(None);
        }
        let held = slot.lock().clone();
        let Some(download) = held else {
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the export was deleted"));
        };
        let (start, length) = (range.start, (range.end - range.start).min(CHUNK));
        let read = move || -> io::Result<Bytes> {
            let mut buffer = vec![0; usize::try_from(length).map_err(io::Error::other)?];
            let read = download.reader.read_full_at(&mut buffer, start)?;
            if read == buffer.len() {
                Ok(Bytes::from(buffer))
            } else {
                Err(io::ErrorKind::UnexpectedEof.into())
            }
        };
        let chunk = tokio::task::spawn_blocking(read).await.map_err(io::Error::other)??;
        Ok(Some((chunk, (slot, start + length..range.end, finished))))
    })
}
