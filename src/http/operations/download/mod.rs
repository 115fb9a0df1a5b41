//! `GET|HEAD {base}/bulk-api/download/{job}/{file}` (REQUIREMENTS section 7): a file, streamed, in the
//! content coding that the client wants, with ranges. When the job ends and the grace is over, the file is
//! taken from the download and the client sees a failed transfer, never a short file that looks whole.
//!
//! Whatever form a file is stored in, it is served as plain text, gzip or zstd (F-5): as it is stored if
//! the client wants that, else decompressed or compressed on its way. For RFC 9110 each coding is a
//! representation of its own, with its own entity tag (8.8.3.3), and a range is one of the bytes *after*
//! coding (14.2), which are of no use without those before. So ranges are served of the plain text only: a
//! request with `Range` gets plain text, unless it excludes that; then the range is ignored, as the
//! standard allows. A client that continues a coded download sends `If-Range` with the tag that it got. It
//! is not that of the plain text, so the client gets the whole file.

mod body;

use std::io;
use std::ops::Range;

use actix_web::body::SizedStream;
use actix_web::http::header::{
    self, ByteRangeSpec, ContentRange, ContentRangeSpec, ETag, EntityTag, Header, HeaderValue, HttpDate,
    IfRange,
};
use actix_web::http::{Method, StatusCode, Version};
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use bytes::Bytes;
use futures_util::stream::{self, StreamExt};

use self::body::DownloadChunks;
use super::common::{
    BAD_ACCEPT, BEYOND_SCOPES, CONDITIONS, ETAG, FAILED, NO_JOB, NO_STORE, NO_TENANT, NOT_MEANT,
};
use super::description::{
    AnswerHeader, BodyContent, DocumentedAnswer, OperationDescription, OperationParameter, answer, content,
    refusal,
};
use super::operation::{GET_HEAD, Operation, OperationUrl, RequiredToken};
use crate::JobSnapshot;
use crate::files::coded::{PieceCompressor, body_bytes};
use crate::files::{FilesError, OpenOutput};
use crate::http::negotiation::accept::{NDJSON, check_accept, choose_coding};
use crate::http::negotiation::conditions::CurrentVersion;
use crate::http::output::http_date;
use crate::http::{Api, ApiError, ApiResult, AuthorizedCaller};
use crate::job::{ContentCoding, JobId, JobState, OutputFile};

/// The URL of a file.
pub static FILE_URL: OperationUrl =
    OperationUrl::new("download", "/r4/{tenant}/bulk-api/download/{job}/{file}", RequiredToken::Access);

/// `GET {file URL}`.
pub static DOWNLOAD: Operation = Operation {
    url: &FILE_URL,
    methods: GET_HEAD,
    offer: None,
    handler: || web::to(download),
    description: OperationDescription {
        summary: "A file of an export that is complete.",
        parameters: &[PARAMETERS, CONDITIONS],
        body: None,
        answers: &[ANSWERS, NOT_MEANT, BEYOND_SCOPES, NO_JOB, NO_TENANT, BAD_ACCEPT, FAILED],
    },
};

const PARAMETERS: &[OperationParameter] = &[
    OperationParameter::header("Range", "bytes=0-99", "One range of bytes."),
    OperationParameter::header("If-Range", "\"x\"", "An ETag or a date, for which the range is meant."),
    OperationParameter::header("Accept-Encoding", "gzip", "gzip, zstd or identity, with weights."),
];

const FILE: &[BodyContent] = &[content(NDJSON[0], "Ndjson")];
const FILE_HEADERS: &[AnswerHeader] = &[
    ETAG,
    NO_STORE,
    ("Vary", "Accept-Encoding"),
    ("Accept-Ranges", "bytes"),
    ("Last-Modified", "When the export was complete."),
];
const ANSWERS: &[DocumentedAnswer] = &[
    answer(200, "The file.", FILE).with(FILE_HEADERS),
    answer(206, "The range.", FILE).with(FILE_HEADERS),
    answer(304, "It is what `If-None-Match` names, or not newer than `If-Modified-Since`.", &[])
        .with(FILE_HEADERS),
    answer(416, "The range is not in the file.", &[]).with(FILE_HEADERS),
    refusal(404, "The request has no such file (`not-found`)."),
];

async fn download(request: HttpRequest, api: Data<Api>) -> HttpResponse {
    let answer = respond(&request, &api).await;
    let mut response = answer.unwrap_or_else(HttpResponse::from_error);
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    response
}

async fn respond(request: &HttpRequest, api: &Api) -> ApiResult {
    check_accept(request, NDJSON)?;
    let caller = api.caller(request)?;
    let job = Api::job(request)?;
    let owner = caller.owner();
    let name = request.match_info().get("file").unwrap_or_default();
    let download = api.evanesce.register_download(&owner, job, name).await?;
    let file = download.file();
    check_scopes(&caller, file, download.job())?;
    let level = api.evanesce.config().download.compression_level;
    let coding = choose_form(request, file, level)?;
    let entity_tag = entity_tag(file, coding);
    let modified = modified(download.job());
    let mut response = describe(modified, entity_tag.clone());
    let current = CurrentVersion { tag: Some(&entity_tag), modified };
    if current.is_unchanged_for(request)? {
        return Ok(response.status(StatusCode::NOT_MODIFIED).finish());
    }
    response.insert_header((header::CONTENT_TYPE, NDJSON[0]));
    let form = match coding {
        None => match requested_range(request, modified, &entity_tag, file.bytes) {
            RequestedRange::Whole => FileRepresentation::Text(0..file.bytes),
            RequestedRange::Part(range) => {
                response.status(StatusCode::PARTIAL_CONTENT);
                response.insert_header(content_range(Some(&range), file.bytes));
                FileRepresentation::Text(range)
            }
            RequestedRange::Nothing => {
                let mut response = describe(modified, entity_tag);
                response.insert_header(content_range(None, file.bytes));
                return Ok(response.status(StatusCode::RANGE_NOT_SATISFIABLE).finish());
            }
        },
        Some(coding) => {
            response.insert_header((header::CONTENT_ENCODING, coding.name()));
            coded_form(job, file, coding, level)?
        }
    };
    let length = form.length();
    if request.method() == Method::HEAD {
        if let Some(length) = length {
            response.no_chunking(length);
        }
        return Ok(response.streaming(stream::empty::<io::Result<Bytes>>()));
    }
    let place = api.limits().admit_download()?;
    let file = file.clone();
    let text_bytes = file.bytes;
    let chunks = download.open(move |opened| form.chunks(opened, text_bytes)).await?;
    let caller = api.audited_caller(request, &caller);
    let record = api.evanesce.record_download(caller, job, &file.name, length);
    let body = body::body(job, chunks, record).map(move |chunk| {
        let _held = &place;
        chunk
    });
    Ok(match length {
        Some(length) => response.body(SizedStream::new(length, body)),
        None => response.streaming(body),
    })
}

/// The form in which a file is sent.
enum FileRepresentation {
    /// Plain text, all of it or a part.
    Text(Range<u64>),
    /// The stored form, which has so many bytes.
    Stored(u64),
    /// Compressed on its way, at this level.
    Compressed(ContentCoding, u8),
}

impl FileRepresentation {
    /// Returns its length in bytes, if that is known.
    fn length(&self) -> Option<u64> {
        match self {
            Self::Text(range) => Some(range.end - range.start),
            Self::Stored(length) => Some(*length),
            Self::Compressed(..) => None,
        }
    }

    /// Returns the chunks of a file whose text has so many bytes.
    fn chunks(self, opened: OpenOutput, text_bytes: u64) -> Result<DownloadChunks, FilesError> {
        Ok(match (self, opened) {
            (Self::Stored(_), OpenOutput::Coded(opened)) => body::stored(opened),
            (Self::Compressed(coding, level), opened) => {
                body::compressed(opened.text(), text_bytes, PieceCompressor::new(coding, level)?)
            }
            (Self::Text(range), opened) => body::text(opened.text(), range),
            // A plain file has no stored coding.
            (Self::Stored(length), OpenOutput::Plain(opened)) => body::text(opened, 0..length),
        })
    }
}

/// Checks that the scopes of this token, which may not be that of the kick-off, cover a file (F-2).
fn check_scopes(caller: &AuthorizedCaller, file: &OutputFile, job: &JobSnapshot) -> Result<(), ApiError> {
    if caller.scopes.may_have_file(file, job.request()) {
        return Ok(());
    }
    let text = "The scopes of the access token do not cover all that may be in this file; ask for a token \
                with the scopes that it was exported with.";
    Err(ApiError::beyond_scopes(caller.base.as_str(), text))
}

/// Returns the form of a file in a coding: as it is stored, or compressed on its way.
fn coded_form(
    job: JobId,
    file: &OutputFile,
    coding: ContentCoding,
    level: u8,
) -> Result<FileRepresentation, ApiError> {
    let Some(coded) = file.coded.filter(|coded| coded.coding == coding) else {
        return Ok(FileRepresentation::Compressed(coding, level));
    };
    body_bytes(file.bytes, &coded).map(FileRepresentation::Stored).ok_or_else(|| {
        tracing::error!(%job, "the record of a coded file makes no sense");
        ApiError::internal()
    })
}

/// Returns the coding that the client wants of those that are available; a `level` of 0 leaves only the
/// stored one and plain text.
fn choose_form(
    request: &HttpRequest,
    file: &OutputFile,
    level: u8,
) -> Result<Option<ContentCoding>, ApiError> {
    let stored = file.coded.map(|coded| coded.coding);
    // To a client of HTTP/1.0 an answer of unknown length ends with its connection: a part would look like
    // the whole.
    let can_compress = level > 0 && request.version() >= Version::HTTP_11;
    // The cheapest first.
    let others = [None, Some(ContentCoding::Zstd), Some(ContentCoding::Gzip)];
    let others = others.into_iter().filter(|form| *form != stored && (form.is_none() || can_compress));
    let offered: Vec<_> = std::iter::once(stored).chain(others).collect();
    let coding = choose_coding(request, &offered)?;
    if coding.is_some() && may_be_part(request) && choose_coding(request, &[None]).is_ok() {
        Ok(None)
    } else {
        Ok(coding)
    }
}

/// Returns the tag of a form of a file. A file never changes.
fn entity_tag(file: &OutputFile, coding: Option<ContentCoding>) -> EntityTag {
    let name = file.name.split('_').next().unwrap_or_default();
    EntityTag::new_strong(
        coding.map_or_else(|| name.to_owned(), |coding| format!("{name}-{}", coding.name())),
    )
}

fn content_range(range: Option<&Range<u64>>, length: u64) -> ContentRange {
    let range = range.map(|range| (range.start, range.end - 1));
    ContentRange(ContentRangeSpec::Bytes { range, instance_length: Some(length) })
}

/// Returns an answer with the fields that describe a file.
fn describe(modified: Option<HttpDate>, entity_tag: EntityTag) -> HttpResponseBuilder {
    let mut response = HttpResponse::Ok();
    response.insert_header(ETag(entity_tag));
    response.insert_header((header::ACCEPT_RANGES, "bytes"));
    response.insert_header((header::CACHE_CONTROL, "no-store"));
    if let Some(modified) = modified {
        response.insert_header((header::LAST_MODIFIED, modified));
    }
    response
}

/// Returns when the files of an export were last modified; `None` while it runs.
fn modified(job: &JobSnapshot) -> Option<HttpDate> {
    match job.state() {
        JobState::Complete(completion) => Some(http_date(completion.completed_at)),
        _ => None,
    }
}

/// Returns whether a part may be answered: `Range` is for GET alone (RFC 9110, 14.2).
fn may_be_part(request: &HttpRequest) -> bool {
    request.method() == Method::GET && request.headers().contains_key(header::RANGE)
}

enum RequestedRange {
    Whole,
    Part(Range<u64>),
    Nothing,
}

/// Returns the range that is requested. Several ranges, or a malformed one, give the whole file (RFC 9110,
/// 14.2).
fn requested_range(
    request: &HttpRequest,
    modified: Option<HttpDate>,
    tag: &EntityTag,
    length: u64,
) -> RequestedRange {
    if !may_be_part(request) {
        return RequestedRange::Whole;
    }
    let Ok(header::Range::Bytes(ranges)) = header::Range::parse(request) else {
        return RequestedRange::Whole;
    };
    let [range] = &ranges[..] else { return RequestedRange::Whole };
    if request.headers().contains_key(header::IF_RANGE) {
        let same = match IfRange::parse(request) {
            Ok(IfRange::EntityTag(theirs)) => theirs.strong_eq(tag),
            Ok(IfRange::Date(theirs)) => modified == Some(theirs),
            Err(_) => false,
        };
        if !same {
            return RequestedRange::Whole;
        }
    }
    match ByteRangeSpec::to_satisfiable_range(range, length) {
        Some((first, last)) => RequestedRange::Part(first..last + 1),
        None => RequestedRange::Nothing,
    }
}
