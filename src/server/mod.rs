//! The Step Functions API over HTTP, for clients of AWS: boto3, the AWS CLI, Terraform, the SDKs.
//!
//! 1. `http` listens, `connection` bounds what a client may cost; `route` tells what is asked, `auth` who asks, and `body`
//!    reads.
//! 2. `protocol` is awsJson 1.0: the envelope is parsed with simd-json into a tape, an operation is chosen by
//!    `X-Amz-Target`, and what it answers becomes a response.
//! 3. `operations` reads a request's members through `request`, which knows AWS's words for what is wrong with them, and
//!    does what is asked on the catalogue (`store`) and on the executions (`executor`, the seam to what runs them).
//!
//! Beside AWS's API there is `ingest`, which takes an execution for each line of a body.
//!
//! Without credentials there is no authentication: whoever reaches the socket is served.

mod aim;
mod app;
mod arn;
mod auth;
mod body;
mod connection;
mod error;
mod executor;
#[doc(hidden)]
pub mod fuzz;
mod http;
mod ids;
mod ingest;
pub mod limits;
mod local;
mod metrics;
mod operations;
mod page;
mod patience;
mod protocol;
mod request;
mod route;
mod tls;
mod write;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crate::engine::{Clock, JournalOptions, Limits, SystemClock};
use crate::integration::{IntegrationOptions, Integrations, StateMachines};
use crate::log::Rotation;
use crate::store::{Catalogue, ExecutionStore, FileStorage, MemoryStorage, Storage, Stored};
use crate::task::TaskRegistry;
use crate::task::mock::MockSource;

use executor::{Executor, ExecutorOptions, ExpressOptions, LogTarget};

pub use crate::store::{StoreError, StoreErrorKind};
pub use auth::{Credentials, CredentialsError};
pub use http::Server;
pub use tls::{Tls, TlsError};

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
    /// What the other tasks are done with. Step Functions itself is always in reach: it is this server.
    pub integrations: IntegrationOptions,
    /// Where the catalogue is kept; nowhere, if there is none.
    pub data_dir: Option<PathBuf>,
    /// Whether EXPRESS executions that nobody waits for are kept there as well.
    pub durability: Durability,
    /// Sizes and delays of the journal that keeps them.
    pub journal: JournalOptions,
    /// Who may sign requests; everybody is served, signed or not, if there are none.
    pub credentials: Option<Credentials>,
    /// What is served is served over TLS, if this is there.
    pub tls: Option<Tls>,
    /// Whether `/metrics` is everybody's, though requests have to be signed.
    pub open_metrics: bool,
    /// How long new connections are still taken at the end, while `/readyz` tells that it is near.
    pub drain_time: Duration,
    /// How long requests under way are waited for at the end.
    pub shutdown_time_max: Duration,
    /// Most connections at a time.
    pub connections_max: usize,
    /// Most bytes of a request's body.
    pub request_bytes_max: usize,
    /// Most bytes of the bodies of all requests that are being read or done.
    pub bodies_bytes_max: usize,
    /// Most bytes of a request's line and headers together; at least 8 KiB.
    pub headers_bytes_max: usize,
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
    /// How long a client may read nothing of an answer.
    pub write_time_max: Duration,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
}

/// What becomes of EXPRESS executions that nobody waits for when the process ends before them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
#[non_exhaustive]
pub enum Durability {
    /// With a [`ServerOptions::data_dir`], each is on the disk before its start is acknowledged, and runs again, from its
    /// beginning, when the server is started next: at least once.
    #[default]
    Durable,
    /// They are in memory, and lost: at most once.
    Memory,
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
            integrations: IntegrationOptions::default(),
            data_dir: None,
            durability: Durability::default(),
            journal: JournalOptions {
                segment_bytes: limits::JOURNAL_SEGMENT_BYTES,
                buffer_bytes: limits::JOURNAL_BUFFER_BYTES,
                ..JournalOptions::default()
            },
            credentials: None,
            tls: None,
            open_metrics: false,
            drain_time: Duration::ZERO,
            shutdown_time_max: limits::SHUTDOWN_TIME_MAX,
            connections_max: limits::CONNECTIONS_MAX,
            request_bytes_max: limits::REQUEST_BYTES_MAX,
            bodies_bytes_max: limits::BODIES_BYTES_MAX,
            headers_bytes_max: limits::HEADERS_BYTES_MAX,
            headers_time_max: limits::HEADERS_TIME_MAX,
            body_time_max: limits::BODY_TIME_MAX,
            limits: Limits::default(),
            logs: LogOutput::default(),
            log_rotation: Rotation {
                bytes: Some(limits::LOG_FILE_BYTES),
                ..Rotation::default()
            },
            express_history: 0,
            write_time_max: limits::WRITE_TIME_MAX,
            clock: Arc::new(SystemClock::new()),
        }
    }
}

impl ServerOptions {
    /// Where EXPRESS executions are kept that nobody waits for, if they are.
    fn express_directory(&self) -> Option<PathBuf> {
        match self.durability {
            Durability::Durable => self.data_dir.as_ref().map(|dir| dir.join("express")),
            Durability::Memory => None,
        }
    }

    /// Where logs of state machines go.
    fn log_target(&self) -> LogTarget {
        match (self.logs, &self.data_dir) {
            (LogOutput::Stdout, _) => LogTarget::Stdout,
            (LogOutput::DataDir, Some(directory)) => LogTarget::Files(directory.join("logs")),
            (LogOutput::DataDir, None) => LogTarget::Nowhere,
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

fn catalogue(options: &ServerOptions) -> Result<Catalogue, StoreError> {
    let storage: Box<dyn Storage> = match &options.data_dir {
        None => Box::new(MemoryStorage),
        Some(directory) => Box::new(FileStorage::open(directory)?),
    };
    Catalogue::open(storage)
}

fn app(options: &ServerOptions) -> Result<app::App, StartError> {
    let catalogue = catalogue(options).map_err(StartError::Store)?;
    let mocked = match &options.mocks {
        None => None,
        Some(mocks) => mocks.machines().map_err(StartError::Tasks)?,
    };
    let (store, stored) = match &options.data_dir {
        None => (None, Stored::default()),
        Some(directory) => {
            let (store, stored) = ExecutionStore::open(directory).map_err(StartError::Store)?;
            (Some(store), stored)
        }
    };
    let express = options.express_directory();
    let ids = Arc::new(ids::Ids::new());
    let machines = Arc::new(local::LocalMachines::new(&ids));
    let tasks = executor::TaskSource {
        registry: options.tasks.clone(),
        mocks: options.mocks.clone(),
        mocked,
        services: Some(Arc::new(Integrations::new(
            &options.integrations,
            Some(Arc::clone(&machines) as Arc<dyn StateMachines>),
        ))),
    };
    let executor = Executor::new(ExecutorOptions {
        ids: Arc::clone(&ids),
        clock: Arc::clone(&options.clock),
        tasks,
        home: executor::Home {
            region: &options.region,
            account: &options.account,
        },
        limits: options.limits,
        logs: options.log_target(),
        rotation: options.log_rotation,
        cloudwatch: options.integrations.logs(),
        express_history: options.express_history,
        store,
        found: stored.running.len(),
        express: express.as_deref().map(|directory| ExpressOptions {
            directory,
            journal: options.journal,
        }),
    })
    .map_err(StartError::Engine)?;
    executor.restore(stored).map_err(StartError::Store)?;
    static SERIAL: AtomicU64 = AtomicU64::new(0);
    Ok(app::App {
        serial: SERIAL.fetch_add(1, Ordering::Relaxed),
        catalogue,
        executor: Arc::new(executor),
        machines,
        ids,
        clock: Arc::clone(&options.clock),
        verifier: options
            .credentials
            .clone()
            .map(|credentials| auth::Verifier::new(credentials, &options.region)),
        region: options.region.as_str().into(),
        account: options.account.as_str().into(),
        bodies: AtomicUsize::new(0),
        body_time_max: options.body_time_max,
        request_bytes_max: options.request_bytes_max,
        bodies_bytes_max: options.bodies_bytes_max,
        metrics: metrics::ServerMetrics::new(),
        open_metrics: options.open_metrics,
        closing: tokio::sync::watch::Sender::new(false),
    })
}
