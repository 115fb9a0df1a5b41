//! How bodies and kick-offs are received (P13): the bodies of many clients have a bound in memory, and
//! kick-offs are parsed by a few threads, none of which answers requests.

use std::sync::Arc;
use std::time::Duration;

use actix_web::web::{Bytes, BytesMut, Payload};
use futures_util::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::http::ApiError;

/// The most bytes of a body that needs no place.
const SMALL: usize = 64 << 10;

/// The most larger bodies that are held at once, until their requests are answered.
const LARGE_AT_ONCE: usize = 16;

/// The most kick-offs that are parsed at once.
const READERS: usize = 4;

/// Seconds after which a place may be free again.
const RETRY_AFTER: u64 = 5;

/// The time that bodies may take, the places for large ones, and for kick-offs that are being parsed.
pub struct RequestIntake {
    patience: Duration,
    large: Arc<Semaphore>,
    readers: Arc<Semaphore>,
}

/// A whole body, which keeps its place as long as it exists.
pub struct ReceivedBody {
    /// Its bytes.
    pub bytes: Bytes,
    _place: Option<OwnedSemaphorePermit>,
}

impl RequestIntake {
    /// Creates an intake of bodies that may take as long as `patience` to arrive; zero = as long as
    /// they like.
    pub fn new(patience: Duration) -> Self {
        let (large, readers) = (Semaphore::new(LARGE_AT_ONCE), Semaphore::new(READERS));
        Self { patience, large: Arc::new(large), readers: Arc::new(readers) }
    }

    /// Awaits a body. Returns `None` if it takes too long.
    pub async fn in_time<T>(&self, body: impl Future<Output = T>) -> Option<T> {
        if self.patience.is_zero() {
            return Some(body.await);
        }
        tokio::time::timeout(self.patience, body).await.ok()
    }

    /// Receives a body of at most `limit` bytes.
    ///
    /// # Errors
    /// Fails with 413 if it is longer, 408 if it takes too long, 429 if it is large and too many others
    /// are held.
    pub async fn body(&self, payload: Payload, limit: usize) -> Result<ReceivedBody, ApiError> {
        let read = self.in_time(self.read(payload, limit)).await;
        read.unwrap_or_else(|| Err(ApiError::body_too_slow()))
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

    /// Runs a task that may take a while on a blocking thread; waits for a place first. A task that has
    /// begun runs to its end and keeps its place, even if nobody waits for it any more.
    ///
    /// # Errors
    /// Fails as `task` does, or with 500 if it panics.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn p13_a_body_may_take_as_long_as_it_is_given_and_any_time_without_a_limit() {
        let soon = Duration::from_millis(1);
        assert_eq!(RequestIntake::new(soon).in_time(std::future::pending::<()>()).await, None);
        assert_eq!(RequestIntake::new(Duration::ZERO).in_time(tokio::time::sleep(soon)).await, Some(()));
    }
}
