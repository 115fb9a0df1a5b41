//! What clients, time and the operator do. Each runs on a thread of its own, as long as it takes.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::http::{Method, StatusCode};
use actix_web::{App, test};
use evanesce::http::{self, Api};
use evanesce::{CancelError, Evanesce, Kickoff};
use serde_json::Value;

use super::exporter::plan_of;
use super::room::*;
use super::threads::POLLING;

const BASE: &str = "http://races";

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    KickOff {
        number: usize,
        owner: &'static str,
    },
    Delete {
        job: usize,
        name: String,
    },
    /// A DELETE with a name: the same may be sent again.
    Cancel {
        job: usize,
        name: String,
    },
    Status {
        job: usize,
    },
    /// Reads so many chunks at most.
    Download {
        job: usize,
        file: usize,
        chunks: usize,
    },
    /// The reaper passes, when the clock was set forward or not.
    Pass {
        later: bool,
    },
    Restart,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// Begins an action.
pub fn begin(room: &Arc<Room>, action: Action) {
    let room = room.clone();
    room.told.lock().unwrap().running += 1;
    let evanesce =
        if action == Action::Restart { room.instance.lock().unwrap().take() } else { room.evanesce() };
    let name = if action == Action::Restart { POLLING } else { "client" };
    let run = move || {
        actix_web::rt::System::new().block_on(perform(&room, evanesce, action));
        room.told.lock().unwrap().running -= 1;
        room.ended.notify_all();
    };
    std::thread::Builder::new().name(name.into()).spawn(run).unwrap();
}

async fn perform(room: &Room, evanesce: Option<Evanesce>, action: Action) {
    let begun = room.instant();
    let see = |job: usize, saw| {
        let ended = room.instant();
        room.told.lock().unwrap().jobs.get_mut(&job).unwrap().seen.push(Seen { begun, ended, saw });
    };
    let id = |job: &usize| room.told.lock().unwrap().jobs[job].id;
    match (action, evanesce) {
        (Action::Restart, old) => restart(room, old, begun).await,
        (action, None) => panic!("{action:?} without an instance"),
        (Action::KickOff { number, owner }, Some(evanesce)) => {
            let submitted = evanesce.submit(Kickoff::system(), owner.parse().unwrap()).await;
            let ended = room.instant();
            let mut told = room.told.lock().unwrap();
            match submitted {
                Ok(id) => drop(told.jobs.insert(number, Job { id, owner, seen: Vec::new() })),
                Err(_) => told.lost_kickoffs.push((begun, ended)),
            }
        }
        (Action::Cancel { job, name }, Some(evanesce)) => {
            let by = "somebody".parse().unwrap();
            let cancelled = evanesce.cancel_as(id(&job), by, name.clone()).await;
            see(
                job,
                match cancelled {
                    Ok(_) => Saw::Accepted(name),
                    Err(CancelError::AlreadyDeleted) => Saw::AlreadyDeleted(name),
                    Err(CancelError::NotFound) => Saw::Unknown,
                    Err(CancelError::Stopped) => Saw::Stopped,
                    Err(error) => Saw::Odd(error.to_string()),
                },
            );
        }
        (Action::Delete { job, name }, Some(evanesce)) => {
            let path = format!("/r4/default/bulk-api/request/{}", id(&job));
            let (status, body) = send(evanesce, Method::DELETE, &path).await;
            see(
                job,
                match (status, issue(body).await) {
                    (StatusCode::ACCEPTED, _) => Saw::Accepted(name),
                    (StatusCode::NOT_FOUND, code) if code == "deleted" => Saw::AlreadyDeleted(name),
                    (status, code) => refused(status, &code),
                },
            );
        }
        (Action::Status { job }, Some(evanesce)) => see(job, poll(evanesce, id(&job)).await),
        (Action::Download { job, file, chunks }, Some(evanesce)) => {
            let saw = match poll(evanesce.clone(), id(&job)).await {
                Saw::Manifest(files) => {
                    let (kind, name) = &files[file % files.len()];
                    let path = format!("/r4/default/bulk-api/download/{}/{name}", id(&job));
                    download(room, evanesce, &id(&job).to_string(), kind, &path, chunks).await
                }
                other => other,
            };
            see(job, saw);
        }
        (Action::Pass { later }, Some(evanesce)) => {
            if later {
                room.advance_clock();
            }
            // Refused if another pass is under way, or the instance goes down.
            let _ = evanesce.pause_reaper("races", "so that it passes when it is resumed").await;
            let _ = evanesce.resume_reaper("races").await;
        }
    }
}

/// The instance is stopped, whatever it is at; all handles are let go of; the next one starts.
async fn restart(room: &Room, old: Option<Evanesce>, begun: u64) {
    if let Some(old) = old {
        old.stop(Duration::from_secs(3600)).await;
        drop(old);
        let told = room.told.lock().unwrap();
        drop(room.ended.wait_while(told, |told| told.running > 1).unwrap());
    }
    let next = room.start().await;
    *room.instance.lock().unwrap() = Some(next);
    let ended = room.instant();
    room.told.lock().unwrap().restarts.push((begun, ended));
}

async fn send(evanesce: Evanesce, method: Method, path: &str) -> (StatusCode, BoxBody) {
    let app = test::init_service(App::new().configure(http::configure(Api::new(evanesce, BASE)))).await;
    let request = test::TestRequest::default().method(method).uri(path).to_request();
    let response = test::call_service(&app, request).await;
    (response.status(), response.map_into_boxed_body().into_body())
}

/// The next bytes of a body; `None` at its end.
async fn chunk(body: &mut BoxBody) -> Option<Result<Vec<u8>, ()>> {
    let next = std::future::poll_fn(|context| Pin::new(&mut *body).poll_next(context)).await;
    next.map(|chunk| chunk.map(|bytes| bytes.to_vec()).map_err(drop))
}

async fn json(mut body: BoxBody) -> Value {
    let mut content = Vec::new();
    while let Some(Ok(bytes)) = chunk(&mut body).await {
        content.extend(bytes);
    }
    serde_json::from_slice(&content).unwrap_or_default()
}

async fn issue(body: BoxBody) -> String {
    json(body).await["issue"][0]["code"].as_str().unwrap_or_default().into()
}

fn refused(status: StatusCode, code: &str) -> Saw {
    match (status, code) {
        (StatusCode::NOT_FOUND, "deleted") => Saw::Deleted,
        (StatusCode::NOT_FOUND, "not-found") => Saw::Unknown,
        _ => Saw::Odd(format!("{status} {code}")),
    }
}

async fn poll(evanesce: Evanesce, job: evanesce::job::JobId) -> Saw {
    let (status, body) = send(evanesce, Method::GET, &format!("/r4/default/bulk-api/request/{job}")).await;
    let answer = json(body).await;
    let text = |value: &Value| value.as_str().unwrap().to_string();
    match status {
        StatusCode::ACCEPTED => Saw::Active,
        StatusCode::OK => {
            let files = answer["output"].as_array().unwrap().iter();
            let name = |file: &Value| text(&file["url"]).rsplit('/').next().unwrap().to_string();
            Saw::Manifest(files.map(|file| (text(&file["type"]), name(file))).collect())
        }
        status => refused(status, answer["issue"][0]["code"].as_str().unwrap_or_default()),
    }
}

async fn download(room: &Room, evanesce: Evanesce, job: &str, kind: &str, path: &str, chunks: usize) -> Saw {
    room.director.park("a client has the manifest");
    let (status, mut body) = send(evanesce, Method::GET, path).await;
    if status != StatusCode::OK {
        return refused(status, &issue(body).await);
    }
    let mut content = Vec::new();
    for _ in 0..chunks {
        room.director.park("a client reads");
        match chunk(&mut body).await {
            Some(Ok(bytes)) => {
                content.extend(bytes);
                // Of one that was cut the last read may come after its end.
                if !room.cuts() {
                    room.witness.at_work("a download", Some(job));
                }
            }
            Some(Err(())) => return Saw::Cut,
            None => {
                let odd = || Saw::Odd(format!("{} bytes that are no whole {kind}", content.len()));
                return plan_of(kind, &content).map_or_else(odd, |plan| Saw::File(kind.into(), plan));
            }
        }
    }
    room.director.park("a client goes away");
    Saw::Left
}
