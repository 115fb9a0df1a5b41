//! How kick-offs are taken in (P13): what many clients send at once has a bound in memory, and is
//! understood by few threads, of which none answers requests.

use std::sync::Arc;
use std::time::Duration;

use actix_web::web::{Bytes, BytesMut, Payload};
use futures_util::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::http::ApiError;

/// Bytes of a body that is read without waiting for a place.
const SMALL: usize = 64 << 10;

/// Larger bodies that are held at once, until their kick-offs are answered.
const LARGE_AT_ONCE: usize = 16;

/// Kick-offs that are understood at once.
const READERS: usize = 4;

/// How long a body may be on its way.
const PATIENCE: Duration = Duration::from_secs(30);

/// Seconds after which there may be a place again.
const RETRY_AFTER: u64 = 5;

/// The places in which bodies and kick-offs are read, and the threads that read them.
pub struct RequestIntake {
    large: Arc<Semaphore>,
    readers: Arc<Semaphore>,
}

/// A whole body. As long as it is there it has its place.
pub struct ReceivedBody {
    /// What was sent.
    pub bytes: Bytes,
    _place: Option<OwnedSemaphorePermit>,
}

impl Default for RequestIntake {
    fn default() -> Self {
        Self { large: Arc::new(Semaphore::new(LARGE_AT_ONCE)), readers: Arc::new(Semaphore::new(READERS)) }
    }
}

impl RequestIntake {
    /// The whole body, if it has no more than `limit` bytes and comes in time.
    ///
    /// # Errors
    /// 413 if it is longer, 408 if it takes longer, 429 if it is large and too many others are.
    pub async fn body(&self, payload: Payload, limit: usize) -> Result<ReceivedBody, ApiError> {
        let read = tokio::time::timeout(PATIENCE, self.read(payload, limit));
        read.await.unwrap_or_else(|_elapsed| Err(ApiError::body_too_slow()))
    }

    async fn read(&self, mut payload: Payload, limit: usize) -> Result<ReceivedBody, ApiError> {
        let (mut bytes, mut place) = (BytesMut::new(), None);
        while let Some(chunk) = payload.next().await {
            let chunk = chunk.map_err(|_| ApiError::malformed_body("The body could not be read."))?;
            let length = bytes.len() + chunk.len();
            if length > limit {
                return Err(ApiError::body_too_long(limit));
            }
            if length > SMALL && place.is_none() {
                let free = self.large.clone().try_acquire_owned();
                place = Some(free.map_err(|_| ApiError::too_many_bodies(RETRY_AFTER))?);
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(ReceivedBody { bytes: bytes.freeze(), _place: place })
    }

    /// Does what may take a while on a thread for that; waits until one is free. What was begun is
    /// done to its end, and keeps its place, whether or not anybody still waits for it.
    ///
    /// # Errors
    /// Those of `task`; 500 if it panics.
    pub async fn run<T: Send + 'static>(
        &self,
        task: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let place = self.readers.clone().acquire_owned().await.expect("nobody closes the semaphore");
        let done = tokio::task::spawn_blocking(move || {
            let _place = place;
            task()
        });
        done.await.unwrap_or_else(|_panic| {
            tracing::error!("a panic over a kick-off");
            Err(ApiError::internal())
        })
    }
}
