//! A stream that gives up on a reader who reads nothing.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::connection::Pulse;

/// A stream whose writes fail once nothing could be written for some time.
#[derive(Debug)]
pub(super) struct Patient<S> {
    stream: S,
    time_max: Duration,
    pulse: Arc<Pulse>,
    /// When it gives up, while the other side takes nothing.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<S> Patient<S> {
    pub(super) fn new(stream: S, time_max: Duration, pulse: Arc<Pulse>) -> Patient<S> {
        Patient {
            stream,
            time_max,
            pulse,
            deadline: None,
        }
    }

    /// What has come of an attempt to write, or the end of patience.
    fn judged<T>(
        &mut self,
        context: &mut Context<'_>,
        attempt: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if attempt.is_ready() {
            if self.deadline.take().is_some() {
                self.pulse.set_stalled(false);
            }
            return attempt;
        }
        if self.deadline.is_none() {
            self.pulse.set_stalled(true);
        }
        let time_max = self.time_max;
        let sleep = || Box::pin(tokio::time::sleep(time_max));
        let deadline = self.deadline.get_or_insert_with(sleep);
        match deadline.as_mut().poll(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let attempt = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.judged(context, attempt)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let attempt = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.judged(context, attempt)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let attempt = Pin::new(&mut self.stream).poll_flush(context);
        self.judged(context, attempt)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let attempt = Pin::new(&mut self.stream).poll_shutdown(context);
        self.judged(context, attempt)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    /// Takes so many bytes, and then none.
    struct Room(usize);

    impl AsyncWrite for Room {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            let taken = bytes.len().min(self.0);
            self.0 -= taken;
            match taken {
                0 => Poll::Pending,
                taken => Poll::Ready(Ok(taken)),
            }
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn patience_begins_anew_with_what_is_taken() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build();
        runtime.unwrap().block_on(async {
            let mut stream = Patient::new(Room(4), Duration::from_millis(10), Arc::default());
            let taken = poll_fn(|context| Pin::new(&mut stream).poll_write(context, b"123456"));
            assert_eq!(taken.await.unwrap(), 4);
            let refused = poll_fn(|context| Pin::new(&mut stream).poll_write(context, b"56"));
            assert_eq!(refused.await.unwrap_err().kind(), io::ErrorKind::TimedOut);
            stream.stream.0 = 1;
            let taken = poll_fn(|context| Pin::new(&mut stream).poll_write(context, b"56"));
            assert_eq!(taken.await.unwrap(), 1);
            assert!(stream.deadline.is_none());
            let refused = poll_fn(|context| Pin::new(&mut stream).poll_flush(context));
            assert_eq!(refused.await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        });
    }
}
