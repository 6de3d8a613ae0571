//! Bodies of requests: how large they are, how long they take, and how much of the memory all of them have together.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::task::Poll;

use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use hyper::header::HeaderMap;

use super::app::App;
use super::error::ApiError;

/// Room that is made for a body before it comes.
const ROOM_MAX: usize = 16 * 1024;

/// A body, counted from its first byte to the answer.
pub(super) struct Body<'a> {
    pub(super) bytes: Vec<u8>,
    app: &'a App,
    counted: usize,
}

impl<'a> Body<'a> {
    fn new(app: &'a App) -> Body<'a> {
        Body {
            bytes: Vec::new(),
            app,
            counted: 0,
        }
    }

    fn push(&mut self, data: &[u8]) -> Result<(), ApiError> {
        if self.bytes.len() + data.len() > self.app.request_bytes_max {
            return Err(too_large(self.app));
        }
        self.counted += data.len();
        let all = self.app.bodies.fetch_add(data.len(), Ordering::Relaxed) + data.len();
        if all > self.app.bodies_bytes_max {
            let message = "Too many large requests at a time; try again";
            return Err(ApiError::new("ThrottlingException", message).with_status(503));
        }
        self.bytes.extend_from_slice(data);
        Ok(())
    }
}

impl Drop for Body<'_> {
    fn drop(&mut self) {
        self.app.bodies.fetch_sub(self.counted, Ordering::Relaxed);
    }
}

fn too_large(app: &App) -> ApiError {
    let message = format!("The request has more than {} bytes", app.request_bytes_max);
    ApiError::new("RequestEntityTooLargeException", message).with_status(413)
}

/// Reads a body, within the bounds of size and time.
pub(super) async fn read<'a>(
    app: &'a App,
    headers: &HeaderMap,
    mut incoming: Incoming,
) -> Result<Body<'a>, ApiError> {
    let announced = incoming.size_hint().lower();
    let encoded = headers
        .get("content-encoding")
        .is_some_and(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"));
    if encoded {
        let message = "Requests with a Content-Encoding are not understood";
        return Err(ApiError::new("UnsupportedMediaTypeException", message).with_status(415));
    }
    if announced > app.request_bytes_max as u64 {
        return Err(too_large(app));
    }
    let mut body = Body::new(app);
    // What is announced is not there yet, and need not come.
    let room = usize::try_from(announced).unwrap_or(usize::MAX);
    body.bytes.reserve(room.min(ROOM_MAX));
    let reading = async {
        while let Some(frame) = incoming.frame().await {
            let frame = frame.map_err(|error| {
                let message = format!("The request could not be read: {error}");
                ApiError::new("SerializationException", message)
            })?;
            if let Some(data) = frame.data_ref() {
                body.push(data)?;
            }
        }
        Ok::<_, ApiError>(())
    };
    let mut reading = pin!(reading);
    // Most bodies are there already: only what has to be waited for needs a timer.
    let begun = poll_fn(|context| Poll::Ready(reading.as_mut().poll(context))).await;
    let read = match begun {
        Poll::Ready(result) => Ok(result),
        Poll::Pending => tokio::time::timeout(app.body_time_max, reading).await,
    };
    match read {
        Ok(result) => result?,
        Err(_) => {
            let message = "The request took too long to arrive";
            return Err(ApiError::new("RequestTimeoutException", message).with_status(408));
        }
    }
    Ok(body)
}
