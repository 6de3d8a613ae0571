//! quickstep runs Amazon States Language state machines with Express semantics: short executions, hundreds of thousands
//! a second on a core.
//!
//! A definition is compiled once, an engine is given handlers for the machine's tasks, and then it runs executions:
//!
//! ```
//! use quickstep::task::TaskRequest;
//! use quickstep::{Engine, StateMachine};
//!
//! let machine = StateMachine::compile(
//!     r#"{"StartAt": "Greet", "States": {"Greet": {
//!         "Type": "Task", "Resource": "arn:aws:lambda:us-east-1:000000000000:function:greet", "End": true}}}"#,
//! )
//! .expect("the definition is valid");
//! let engine = Engine::builder()
//!     .task("arn:aws:lambda:*:function:greet", |request: &TaskRequest<'_>, response: &mut Vec<u8>| {
//!         response.extend_from_slice(format!(r#"{{"hello":{}}}"#, request.input_json()).as_bytes());
//!         Ok(())
//!     })
//!     .build()?;
//! let result = engine.run(&machine, br#""world""#)?;
//! assert_eq!(result.output.as_deref(), Some(r#"{"hello":"world"}"#));
//! # Ok::<(), quickstep::engine::Error>(())
//! ```
//!
//! - [`engine`] is all that most programs need: [`Engine`], [`StateMachine`], streams of events, time.
//! - [`task`] has handlers, in process and asynchronous, and answers from files for tests.
//! - [`metrics`](mod@metrics) has what engines count, as text for Prometheus and for recorders of the crate `metrics`.
//! - [`history`] has the events of executions, as AWS's logs and histories show them; [`log`] streams them to files,
//!   pipes and subscribers.
//! - [`asl`], [`mod@compile`], [`program`] and [`interp`] are the way from a definition's text to an execution;
//!   [`value`], [`path`] and [`intrinsic`] are what they are made of.
//!
//! The feature `server`, on by default, has the command line and what it needs. A program that embeds the engine turns
//! it off.

pub mod asl;
#[cfg(feature = "server")]
pub(crate) mod aws;
#[cfg(feature = "server")]
pub mod cli;
pub mod compile;
#[cfg(feature = "server")]
pub mod cost;
pub mod engine;
pub mod history;
#[cfg(feature = "server")]
pub mod integration;
#[doc(hidden)]
pub mod internal;
pub mod interp;
pub mod intrinsic;
mod journal;
pub(crate) mod jsonata;
pub mod log;
pub mod metrics;
#[cfg(feature = "server")]
pub(crate) mod net;
pub mod path;
pub mod program;
pub(crate) mod runtime;
#[cfg(feature = "server")]
pub mod server;
pub mod stdx;
#[cfg(feature = "server")]
pub(crate) mod store;
pub mod task;
pub mod value;

pub use engine::{Engine, EngineBuilder, ExecutionResult, StateMachine, TimeMode};
pub use history::Failure;
pub use interp::Status;

/// The README's example is a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

const fn assert_shared<T: Send + Sync>() {}
const _: () = assert_shared::<StateMachine>();
const _: () = assert_shared::<Engine>();
const _: () = assert_shared::<ExecutionResult>();
