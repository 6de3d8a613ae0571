//! [`channel`]: a bounded channel of events, whose senders hear what became of each.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use super::ack::{Ack, Settled};
use super::events::{Event, Events};
use super::{Reading, Source};
use crate::engine::error::Error;
use crate::task::lock;

/// An event for a channel: JSON text.
#[derive(Debug, Default)]
pub struct Message {
    payload: Vec<u8>,
    name: Option<Box<str>>,
    ack: Ack,
}

impl Message {
    /// A message with that payload.
    #[must_use]
    pub fn new(payload: impl Into<Vec<u8>>) -> Message {
        Message {
            payload: payload.into(),
            ..Message::default()
        }
    }

    /// The name of its execution: see [`Event::name`].
    #[must_use]
    pub fn name(mut self, name: &str) -> Message {
        self.name = Some(name.into());
        self
    }

    /// What hears of it when it is settled: see [`Ack`].
    #[must_use]
    pub fn ack(mut self, ack: Ack) -> Message {
        self.ack = ack;
        self
    }

    /// Its payload.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }
}

impl<T: Into<Vec<u8>>> From<T> for Message {
    fn from(payload: T) -> Message {
        Message::new(payload)
    }
}

/// A message that was not taken.
#[derive(Debug)]
pub enum SendError {
    /// There is no stream any more.
    Closed(Message),
    /// There is no room at the moment.
    Full(Message),
}

impl SendError {
    /// The message, for another attempt.
    #[must_use]
    pub fn into_message(self) -> Message {
        match self {
            SendError::Closed(message) | SendError::Full(message) => message,
        }
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SendError::Closed(_) => "the stream has ended",
            SendError::Full(_) => "the channel is full",
        })
    }
}

impl std::error::Error for SendError {}

/// Makes a channel that holds so many messages, and one at least.
///
/// ```
/// use quickstep::engine::{Outcome, PipelineRecorder, Stream, StreamOptions, channel};
/// use quickstep::{Engine, StateMachine};
///
/// let machine = StateMachine::compile(r#"{"StartAt": "A", "States": {"A": {"Type": "Pass", "End": true}}}"#)
///     .expect("the definition is valid");
/// let engine = Engine::builder().build()?;
/// let (events, source) = channel(100);
/// let sender = std::thread::spawn(move || {
///     let receipt = events.submit("[1]").expect("the stream runs");
///     receipt.wait()
/// });
/// let mut results = Vec::new();
/// let stream = Stream::new(&engine, &machine, StreamOptions::default());
/// let (report, _) = stream.run(source, || PipelineRecorder, &mut results);
/// assert_eq!(sender.join().unwrap().outcome, Outcome::Succeeded);
/// assert_eq!((report.read, report.done), (1, 1));
/// # Ok::<(), quickstep::engine::Error>(())
/// ```
#[must_use]
pub fn channel(capacity: usize) -> (EventSender, ChannelSource) {
    let shared = Arc::new(Shared {
        state: Mutex::new(State {
            messages: VecDeque::new(),
            senders: 1,
            is_closed: false,
            reader: None,
            waiting: VecDeque::new(),
        }),
        room: Condvar::new(),
        capacity: capacity.max(1),
    });
    (EventSender(Arc::clone(&shared)), ChannelSource(shared))
}

struct Shared {
    state: Mutex<State>,
    room: Condvar,
    capacity: usize,
}

struct State {
    messages: VecDeque<Message>,
    senders: usize,
    is_closed: bool,
    /// Woken when there is something to read.
    reader: Option<Waker>,
    /// Asynchronous senders that wait for room.
    waiting: VecDeque<Waker>,
}

/// Puts messages into a channel, from any thread or future. The stream ends when all clones of it are dropped.
pub struct EventSender(Arc<Shared>);

impl EventSender {
    /// Sends a message; waits while there is no room. Whoever has no other ack hears nothing of it.
    ///
    /// # Errors
    ///
    /// If there is no stream any more.
    pub fn send(&self, message: impl Into<Message>) -> Result<(), SendError> {
        let mut message = message.into();
        let mut state = lock(&self.0.state);
        loop {
            message = match self.0.push(&mut state, message) {
                Err(SendError::Full(message)) => message,
                sent => return wake(state, sent),
            };
            let waited = self.0.room.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Sends a message if there is room.
    ///
    /// # Errors
    ///
    /// If there is no room, or no stream any more.
    pub fn try_send(&self, message: impl Into<Message>) -> Result<(), SendError> {
        let mut state = lock(&self.0.state);
        let sent = self.0.push(&mut state, message.into());
        wake(state, sent)
    }

    /// Sends a message once there is room, without holding up its thread.
    ///
    /// # Errors
    ///
    /// If there is no stream any more.
    pub async fn send_async(&self, message: impl Into<Message>) -> Result<(), SendError> {
        let mut message = Some(message.into());
        poll_fn(|context| {
            let mut state = lock(&self.0.state);
            let Some(unsent) = message.take() else {
                unreachable!("a future that is ready is not polled again");
            };
            match self.0.push(&mut state, unsent) {
                Err(SendError::Full(unsent)) => {
                    message = Some(unsent);
                    let waker = context.waker();
                    if !state.waiting.iter().any(|known| known.will_wake(waker)) {
                        state.waiting.push_back(waker.clone());
                    }
                    Poll::Pending
                }
                sent => Poll::Ready(wake(state, sent)),
            }
        })
        .await
    }

    /// Sends a message as [`EventSender::send`] does; the receipt tells what became of it. An ack that the message has is
    /// replaced.
    ///
    /// # Errors
    ///
    /// If there is no stream any more.
    pub fn submit(&self, message: impl Into<Message>) -> Result<Receipt, SendError> {
        let (message, receipt) = with_receipt(message.into());
        self.send(message).map(|()| receipt)
    }

    /// Sends a message as [`EventSender::send_async`] does, with a receipt.
    ///
    /// # Errors
    ///
    /// If there is no stream any more.
    pub async fn submit_async(&self, message: impl Into<Message>) -> Result<Receipt, SendError> {
        let (message, receipt) = with_receipt(message.into());
        self.send_async(message).await.map(|()| receipt)
    }
}

impl Shared {
    fn push(&self, state: &mut State, message: Message) -> Result<(), SendError> {
        if state.is_closed {
            return Err(SendError::Closed(message));
        }
        if state.messages.len() >= self.capacity {
            return Err(SendError::Full(message));
        }
        state.messages.push_back(message);
        Ok(())
    }
}

/// Wakes the reader if something was sent.
fn wake<T>(mut state: std::sync::MutexGuard<'_, State>, sent: Result<(), T>) -> Result<(), T> {
    let reader = match sent {
        Ok(()) => state.reader.take(),
        Err(_) => None,
    };
    drop(state);
    if let Some(reader) = reader {
        reader.wake();
    }
    sent
}

impl Clone for EventSender {
    fn clone(&self) -> EventSender {
        lock(&self.0.state).senders += 1;
        EventSender(Arc::clone(&self.0))
    }
}

impl Drop for EventSender {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.senders -= 1;
        let reader = match state.senders {
            0 => state.reader.take(),
            _ => None,
        };
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

impl fmt::Debug for EventSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EventSender")
    }
}

/// What is read of a channel. When it is dropped, messages that it holds are lost, and their acks say so.
pub struct ChannelSource(Arc<Shared>);

impl Source for ChannelSource {
    fn poll(&mut self, context: &mut Context<'_>, events: &mut Events) -> Result<Reading, Error> {
        let mut state = lock(&self.0.state);
        while !events.is_full()
            && let Some(message) = state.messages.pop_front()
        {
            let Message { payload, name, ack } = message;
            if name.is_none() && ack.is_none() {
                events.push(&payload);
                continue;
            }
            let mut event = Event::new(&payload).ack(ack);
            if let Some(name) = &name {
                event = event.name(name);
            }
            events.push_event(event);
        }
        if events.is_empty() {
            if state.senders == 0 {
                return Ok(Reading::End);
            }
            state.reader = Some(context.waker().clone());
            return Ok(Reading::Idle(None));
        }
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        self.0.room.notify_all();
        waiting.into_iter().for_each(Waker::wake);
        Ok(Reading::More)
    }
}

impl Drop for ChannelSource {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.is_closed = true;
        let messages = std::mem::take(&mut state.messages);
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        self.0.room.notify_all();
        waiting.into_iter().for_each(Waker::wake);
        drop(messages);
    }
}

impl fmt::Debug for ChannelSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChannelSource")
    }
}

/// What became of a message: to wait for, or to `.await`.
pub struct Receipt(Arc<Slip>);

#[derive(Default)]
struct Slip {
    state: Mutex<(Option<Settled>, Option<Waker>)>,
    changed: Condvar,
}

fn with_receipt(message: Message) -> (Message, Receipt) {
    let slip = Arc::new(Slip::default());
    let told = Arc::clone(&slip);
    let ack = Ack::new(move |settled| {
        let mut state = lock(&told.state);
        state.0 = Some(settled.clone());
        let waker = state.1.take();
        drop(state);
        told.changed.notify_all();
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    });
    (message.ack(ack), Receipt(slip))
}

impl Receipt {
    /// What became of it, if it is settled.
    #[must_use]
    pub fn settled(&self) -> Option<Settled> {
        lock(&self.0.state).0.clone()
    }

    /// Waits until it is settled.
    #[must_use]
    pub fn wait(&self) -> Settled {
        let mut state = lock(&self.0.state);
        loop {
            if let Some(settled) = &state.0 {
                return settled.clone();
            }
            let waited = self.0.changed.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Future for Receipt {
    type Output = Settled;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Settled> {
        let mut state = lock(&self.0.state);
        match &state.0 {
            Some(settled) => Poll::Ready(settled.clone()),
            None => {
                state.1 = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Receipt").field(&self.settled()).finish()
    }
}
