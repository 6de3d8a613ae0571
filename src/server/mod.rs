//! The Step Functions API over HTTP, for clients of AWS: boto3, the AWS CLI, Terraform, the SDKs.
//!
//! 1. `http` listens, bounds what a client may cost, and reads a request's body.
//! 2. `protocol` is awsJson 1.0: the envelope is parsed with simd-json into a tape, an operation is chosen by
//!    `X-Amz-Target`, and what it answers becomes a response.
//! 3. `operations` reads a request's members through `request`, which knows AWS's words for what is wrong with them, and
//!    does what is asked on the catalogue (`store`) and on the executions (`executor`, the seam to what runs them).
//!
//! There is no authentication yet: whoever reaches the socket is served.

mod app;
mod arn;
mod error;
mod executor;
mod http;
mod ids;
pub mod limits;
mod operations;
mod page;
mod protocol;
mod request;
mod write;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use crate::engine::{Clock, Limits, SystemClock};
use crate::log::Rotation;
use crate::store::{Catalogue, ExecutionStore, FileStorage, MemoryStorage, Storage, Stored};
use crate::task::TaskRegistry;
use crate::task::mock::MockSource;

use executor::{Executor, ExecutorOptions, LogTarget};

pub use crate::store::{StoreError, StoreErrorKind};
pub use http::Server;

/// What a server is started with.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Where it listens; port 0 is any that is free.
    pub addr: SocketAddr,
    /// Region in ARNs.
    pub region: String,
    /// Account in ARNs.
    pub account: String,
    /// Handlers of tasks.
    pub tasks: TaskRegistry,
    /// A file of answers for tasks, which win over handlers.
    pub mocks: Option<MockSource>,
    /// Where the catalogue is kept; nowhere, if there is none.
    pub data_dir: Option<PathBuf>,
    /// Most connections at a time.
    pub connections_max: usize,
    /// How long a client may take for the headers of a request, or leave a connection idle.
    pub headers_time_max: Duration,
    /// How long a client may take for a body.
    pub body_time_max: Duration,
    /// How many executions may be in flight, and how fast they may be started.
    pub limits: Limits,
    /// Where the events go that a `loggingConfiguration` asks for.
    pub logs: LogOutput,
    /// When a log group's file is put aside.
    pub log_rotation: Rotation,
    /// Of so many EXPRESS executions that have ended, the latest, `DescribeExecution` and `GetExecutionHistory` tell what
    /// they tell of STANDARD ones; AWS does so of none.
    pub express_history: usize,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
}

/// Where the events of log groups go.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
#[non_exhaustive]
pub enum LogOutput {
    /// Into `logs/GROUP.ndjson` in [`ServerOptions::data_dir`]; nowhere, if there is none.
    #[default]
    DataDir,
    /// To the standard output, those of all groups together.
    Stdout,
}

impl Default for ServerOptions {
    fn default() -> ServerOptions {
        ServerOptions {
            addr: SocketAddr::from(([127, 0, 0, 1], 8083)),
            region: "us-east-1".to_owned(),
            account: "123456789012".to_owned(),
            tasks: TaskRegistry::new(),
            mocks: None,
            data_dir: None,
            connections_max: limits::CONNECTIONS_MAX,
            headers_time_max: limits::HEADERS_TIME_MAX,
            body_time_max: limits::BODY_TIME_MAX,
            limits: Limits::default(),
            logs: LogOutput::default(),
            log_rotation: Rotation {
                bytes: Some(limits::LOG_FILE_BYTES),
                ..Rotation::default()
            },
            express_history: 0,
            clock: Arc::new(SystemClock::new()),
        }
    }
}

/// Why a server could not be started.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// The catalogue cannot be used.
    Store(StoreError),
    /// The file of answers cannot be used.
    Tasks(crate::task::mock::MockError),
    /// The address cannot be listened on.
    Listen(SocketAddr, std::io::Error),
    /// The engine could not be started.
    Engine(crate::engine::Error),
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            StartError::Store(error) => error.fmt(f),
            StartError::Tasks(error) => error.fmt(f),
            StartError::Listen(addr, error) => write!(f, "failed to listen on {addr}: {error}"),
            StartError::Engine(error) => write!(f, "failed to start the engine: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

fn app(options: &ServerOptions) -> Result<app::App, StartError> {
    let storage: Box<dyn Storage> = match &options.data_dir {
        None => Box::new(MemoryStorage),
        Some(directory) => Box::new(FileStorage::open(directory).map_err(StartError::Store)?),
    };
    let catalogue = Catalogue::open(storage).map_err(StartError::Store)?;
    let mocked = match &options.mocks {
        None => None,
        Some(mocks) => mocks.machines().map_err(StartError::Tasks)?,
    };
    let tasks = executor::TaskSource {
        registry: options.tasks.clone(),
        mocks: options.mocks.clone(),
        mocked,
    };
    let logs = match (options.logs, &options.data_dir) {
        (LogOutput::Stdout, _) => LogTarget::Stdout,
        (LogOutput::DataDir, Some(directory)) => LogTarget::Files(directory.join("logs")),
        (LogOutput::DataDir, None) => LogTarget::Nowhere,
    };
    let (store, stored) = match &options.data_dir {
        None => (None, Stored::default()),
        Some(directory) => {
            let (store, stored) = ExecutionStore::open(directory).map_err(StartError::Store)?;
            (Some(store), stored)
        }
    };
    let ids = Arc::new(ids::Ids::new());
    let executor = Executor::new(ExecutorOptions {
        ids: Arc::clone(&ids),
        clock: Arc::clone(&options.clock),
        tasks,
        home: executor::Home {
            region: &options.region,
            account: &options.account,
        },
        limits: options.limits,
        logs,
        rotation: options.log_rotation,
        express_history: options.express_history,
        store,
    })
    .map_err(StartError::Engine)?;
    executor.restore(stored).map_err(StartError::Store)?;
    Ok(app::App {
        catalogue,
        executor,
        ids,
        clock: Arc::clone(&options.clock),
        region: options.region.as_str().into(),
        account: options.account.as_str().into(),
        bodies: AtomicUsize::new(0),
        body_time_max: options.body_time_max,
        closing: tokio::sync::watch::Sender::new(false),
    })
}
