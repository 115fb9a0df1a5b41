//! One file: loaded into `NAME.part`, continued where a cut or an earlier run left it, verified, made
//! durable and named.
//!
//! A continuation asks for the plain text from a byte on (`Range`), and only if the file is still the
//! same (`If-Range`); a server that ignores either sends the whole file, and it is begun anew. The
//! entity tag of a coded answer is not that of the plain text, so such a file goes on by its
//! `Last-Modified`.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;

use flate2::read::MultiGzDecoder;
use ureq::http::{HeaderMap, Method, Response};
use ureq::{Body, BodyReader};

use super::content::{CheckedContent, ContentCheck, ContentError};
use super::error::{AttemptError, ClientError, ClientErrorKind};
use super::folder::OutFolder;
use super::http::{ClientRequest, LONGEST_OUTCOME, answered};
use super::links::{FileLink, FileLinks};
use super::manifest::PlannedFile;
use super::progress::ExportEvent;
use super::session::{Backoff, ExportSession};
use super::transport::{SmallAnswer, classify, header_of, read_small};
use super::words;
use crate::plain_file::{self, LinkPolicy};

/// How much is read and written at once.
const PIECE: usize = 256 << 10;

/// A part of a file that is not larger is not worth a note with which another run goes on.
const SMALL_FILE: u64 = 1 << 20;

/// Largest window of zstd, as a power of two: 8 MiB (RFC 8878, 3.1.1.1.2).
const ZSTD_WINDOW: u32 = 23;

/// How often the link of a file may be refused without a byte of it in between.
const MOST_REFUSALS: u32 = 3;

/// Has the file at a `place` of the plan in the folder, whatever is there of it already.
pub fn load(
    session: &ExportSession,
    folder: &OutFolder,
    links: &FileLinks,
    place: usize,
    link: FileLink,
) -> Result<CheckedContent, ClientError> {
    let planned = link.planned.clone();
    let name = &planned.name;
    let start = |have| session.tell(ExportEvent::FileStarted { name, bytes: planned.bytes, have });
    let content = match loaded_before(session, folder, &planned)? {
        Some(content) => {
            start(content.bytes);
            content
        }
        None => {
            let mut download = FileDownload::open(session, folder, links, place, link)?;
            start(download.check.bytes());
            let content = download.run()?;
            download.finish()?;
            content
        }
    };
    session.tell(ExportEvent::FileDone { name, bytes: content.bytes, count: content.count });
    Ok(content)
}

/// Checks a file that an earlier run named. What is not as it should be is removed.
fn loaded_before(
    session: &ExportSession,
    folder: &OutFolder,
    planned: &PlannedFile,
) -> Result<Option<CheckedContent>, ClientError> {
    let path = folder.join(&planned.name);
    let mut file = match plain_file::open(&path, LinkPolicy::Refuse) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(|error| ClientError::disk("read", &path, &error))?,
    };
    let checked = check_all(session, &mut file);
    let checked = checked.map_err(|error| ClientError::disk("read", &path, &error))?;
    // The look may have ended early.
    session.check()?;
    if let Ok(content) = checked.and_then(ContentCheck::finish)
        && content.difference(planned).is_none()
    {
        return Ok(Some(content));
    }
    plain_file::remove(&path).map_err(|error| ClientError::disk("remove", &path, &error))?;
    Ok(None)
}

/// Looks at all that is in a file.
fn check_all(session: &ExportSession, file: &mut File) -> io::Result<Result<ContentCheck, ContentError>> {
    let mut check = ContentCheck::new();
    let mut piece = vec![0; PIECE];
    loop {
        let read = file.read(&mut piece)?;
        if read == 0 || session.check().is_err() {
            return Ok(Ok(check));
        }
        if let Err(error) = check.feed(&piece[..read]) {
            return Ok(Err(error));
        }
    }
}

/// How a request for a file ended, if not with a failure.
enum AttemptEnd {
    /// There is no more of it.
    Whole,
    /// It is not what it should be.
    Wrong(String),
    /// Its link is refused.
    Refused(SmallAnswer),
}

/// A file on its way.
struct FileDownload<'a> {
    session: &'a ExportSession,
    folder: &'a OutFolder,
    links: &'a FileLinks,
    /// Its place in the plan.
    place: usize,
    link: FileLink,
    part: File,
    /// What is in the part.
    check: ContentCheck,
    /// The value of `If-Range` with which the part goes on.
    validator: Option<String>,
}

impl<'a> FileDownload<'a> {
    /// Opens the part, with what an earlier run left in it if it can go on.
    fn open(
        session: &'a ExportSession,
        folder: &'a OutFolder,
        links: &'a FileLinks,
        place: usize,
        link: FileLink,
    ) -> Result<Self, ClientError> {
        let path = folder.join(&part_name(&link.planned));
        let cannot = |error| ClientError::disk("write", &path, &error);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut part = plain_file::open_with(&mut options, &path, LinkPolicy::Refuse).map_err(cannot)?;
        let validator = folder.validator(&link.planned.name);
        let check = ContentCheck::new();
        let mut download = Self { session, folder, links, place, link, part, check, validator };
        if download.validator.is_some() {
            part = download.part.try_clone().map_err(cannot)?;
            match check_all(session, &mut part).map_err(cannot)? {
                Ok(check) => download.check = check,
                // A crash of the machine may leave anything at the end of a file.
                Err(_) => download.validator = None,
            }
        }
        if download.validator.is_none() {
            download.begin_anew()?;
        }
        Ok(download)
    }

    /// Loads until the file is whole and as it should be.
    fn run(&mut self) -> Result<CheckedContent, ClientError> {
        match self.run_once()? {
            Ok(content) => Ok(content),
            // Perhaps a continuation did not fit to what was there.
            Err(_) => {
                self.begin_anew()?;
                self.run_once()?.map_err(|difference| {
                    let _ = plain_file::remove(&self.folder.join(&part_name(&self.link.planned)));
                    self.differs(&difference)
                })
            }
        }
    }

    /// Loads until the file ends. The inner error says what is wrong with it.
    fn run_once(&mut self) -> Result<Result<CheckedContent, String>, ClientError> {
        let mut backoff = Backoff::new();
        let mut refusals = 0;
        loop {
            self.session.check()?;
            let before = self.check.bytes();
            let end = self.attempt();
            if self.check.bytes() > before {
                backoff.succeeded();
                refusals = 0;
            }
            match end {
                Ok(AttemptEnd::Whole) => {
                    let content = self.check.clone().finish();
                    return Ok(content.map_err(|error| error.to_string()).and_then(|content| {
                        let difference = content.difference(&self.link.planned);
                        difference.map_or(Ok(content), Err)
                    }));
                }
                Ok(AttemptEnd::Wrong(wrong)) => return Ok(Err(wrong)),
                Ok(AttemptEnd::Refused(answer)) if refusals == MOST_REFUSALS => {
                    return Err(self.session.http.refused_link(&self.link, &answer));
                }
                Ok(AttemptEnd::Refused(answer)) => {
                    let PlannedFile { name, url, .. } = &self.link.planned;
                    let reason = format!("the link of {name} is refused: {}", answered(url, &answer));
                    self.session.tell(ExportEvent::LinkRefused { reason: &reason });
                    if refusals > 0 {
                        self.session.sleep(backoff.next())?;
                    }
                    refusals += 1;
                    self.link = self.links.renew(self.session, self.place, &self.link)?;
                }
                Err(error) => self.session.wait_after(error, &mut backoff)?,
            }
        }
    }

    /// Makes one request and reads its answer to the end.
    fn attempt(&mut self) -> Result<AttemptEnd, AttemptError> {
        if self.validator.is_none() && self.check.bytes() > 0 {
            self.begin_anew()?;
        }
        let have = self.check.bytes();
        let mut request = ClientRequest::new(Method::GET, &self.link.planned.url, "application/fhir+ndjson");
        request.token = self.link.token;
        request.is_stream = true;
        match &self.validator {
            Some(validator) if have > 0 => {
                request.fields.push(("range", format!("bytes={have}-")));
                request.fields.push(("if-range", validator.clone()));
                request.fields.push(("accept-encoding", "identity".into()));
            }
            _ => request.fields.push(("accept-encoding", "gzip, zstd, identity".into())),
        }
        let answer = self.session.http.open(request)?;
        match answer.status().as_u16() {
            200 => self.begin_anew()?,
            206 if is_continuation(answer.headers(), have) && coding(answer.headers()).is_empty() => {}
            206 | 416 if self.has_all(answer.headers(), have) => return Ok(AttemptEnd::Whole),
            206 | 416 => {
                self.begin_anew()?;
                self.validator = None;
                let message = format!("{} came in another part than was asked for", self.link.planned.name);
                return Err(AttemptError::Transient(ClientError::server(message), None));
            }
            // What stores say of a link that has expired; a token was replaced before.
            400 | 401 | 403 | 404 | 410 => {
                let answer = read_small(&self.link.planned.url, answer, LONGEST_OUTCOME)?;
                return Ok(AttemptEnd::Refused(answer));
            }
            _ => {
                let url = &self.link.planned.url;
                let answer = read_small(url, answer, LONGEST_OUTCOME)?;
                return Err(self.session.http.refusal(url, &answer, "the server does not give a file"));
            }
        }
        self.note_validator(answer.headers())?;
        self.receive(answer)
    }

    /// Returns whether a 416 says that there is nothing behind what is here.
    fn has_all(&self, headers: &HeaderMap, have: u64) -> bool {
        header_of(headers, "content-range") == format!("bytes */{have}")
    }

    /// Keeps what another request needs to go on.
    fn note_validator(&mut self, headers: &HeaderMap) -> Result<(), ClientError> {
        if self.check.bytes() > 0 {
            return Ok(());
        }
        let tag = header_of(headers, "etag");
        let is_coded = !coding(headers).is_empty();
        let is_strong = tag.starts_with('"') && tag.len() <= 256;
        let modified = header_of(headers, "last-modified");
        self.validator = if is_strong && !is_coded {
            Some(tag.into())
        } else {
            (!modified.is_empty() && modified.len() <= 64).then(|| modified.into())
        };
        if self.link.planned.bytes.is_none_or(|bytes| bytes > SMALL_FILE) {
            self.folder.set_validator(&self.link.planned.name, self.validator.clone())?;
        }
        Ok(())
    }

    fn receive(&mut self, answer: Response<Body>) -> Result<AttemptEnd, AttemptError> {
        let content_type = header_of(answer.headers(), "content-type").to_owned();
        if words::is_html(&content_type, b"") {
            return Ok(AttemptEnd::Wrong("the server sent a web page in its place".into()));
        }
        let coding = coding(answer.headers());
        let body = answer.into_body().into_reader();
        let mut reader = match decoder(&coding, body) {
            Ok(reader) => reader,
            Err(_) => {
                let coding = words::words(&coding, 40);
                let message =
                    format!("the server sent a file in the coding '{coding}', which was not asked for");
                return Err(ClientError::server(message).into());
            }
        };
        let mut piece = vec![0; PIECE];
        loop {
            self.session.check()?;
            let read = match reader.read(&mut piece) {
                Ok(0) => return Ok(AttemptEnd::Whole),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.cut(error)),
            };
            if self.link.planned.bytes.is_some_and(|bytes| self.check.bytes() + read as u64 > bytes) {
                return Ok(AttemptEnd::Wrong("it has more bytes than the manifest says".into()));
            }
            let path = self.folder.join(&part_name(&self.link.planned));
            let written = self.part.write_all(&piece[..read]);
            written.map_err(|error| ClientError::disk("write", &path, &error))?;
            if let Err(error) = self.check.feed(&piece[..read]) {
                return Ok(AttemptEnd::Wrong(error.to_string()));
            }
            self.session
                .tell(ExportEvent::FileBytes { name: &self.link.planned.name, bytes: self.check.bytes() });
        }
    }

    /// Returns the failure of a transfer that broke off.
    fn cut(&mut self, error: io::Error) -> AttemptError {
        match classify(&self.link.planned.url, ureq::Error::from(error)) {
            AttemptError::Final(error) | AttemptError::Transient(error, _) => {
                let message = format!("{} broke off: {error}", self.link.planned.name);
                AttemptError::Transient(ClientError::new(error.kind(), message), None)
            }
        }
    }

    /// Throws away what is in the part.
    fn begin_anew(&mut self) -> Result<(), ClientError> {
        self.check = ContentCheck::new();
        let mut empty = || {
            self.part.set_len(0)?;
            self.part.seek(SeekFrom::Start(0))
        };
        let emptied = empty();
        let path = self.folder.join(&part_name(&self.link.planned));
        emptied.map(drop).map_err(|error| ClientError::disk("write", &path, &error))
    }

    /// Makes the file durable and gives it its name.
    fn finish(self) -> Result<(), ClientError> {
        self.session.check()?;
        let (from, to) =
            (self.folder.join(&part_name(&self.link.planned)), self.folder.join(&self.link.planned.name));
        let named = self.part.sync_all().and_then(|()| std::fs::rename(&from, &to));
        named.map_err(|error| ClientError::disk("write", &to, &error))?;
        self.folder.set_validator(&self.link.planned.name, None)
    }

    fn differs(&self, difference: &str) -> ClientError {
        let name = &self.link.planned.name;
        ClientError::new(
            ClientErrorKind::Differs,
            format!(
                "{name} is not what the server announced, twice: {difference}; it was thrown away. Tell the \
                 server's operator, or run the same command again"
            ),
        )
    }
}

fn part_name(planned: &PlannedFile) -> String {
    format!("{}.part", planned.name)
}

/// Returns whether a 206 begins where the part ends.
fn is_continuation(headers: &HeaderMap, have: u64) -> bool {
    let range = header_of(headers, "content-range").strip_prefix("bytes ");
    let first = range.and_then(|range| range.split_once('-')?.0.trim().parse::<u64>().ok());
    first == Some(have)
}

/// Returns the content coding of an answer, in lower case; empty for plain text.
fn coding(headers: &HeaderMap) -> String {
    let coding = header_of(headers, "content-encoding").trim().to_ascii_lowercase();
    if coding == "identity" { String::new() } else { coding }
}

fn decoder(coding: &str, body: BodyReader<'static>) -> io::Result<Box<dyn Read>> {
    Ok(match coding {
        "" => Box::new(body),
        "gzip" | "x-gzip" => Box::new(MultiGzDecoder::new(BufReader::with_capacity(PIECE, body))),
        "zstd" => {
            let mut decoder = zstd::stream::read::Decoder::new(body)?;
            decoder.window_log_max(ZSTD_WINDOW)?;
            Box::new(decoder)
        }
        _ => return Err(io::ErrorKind::Unsupported.into()),
    })
}
