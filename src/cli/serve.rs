//! `quickstep serve`: the Step Functions API.

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::BoolishValueParser;

use super::files;
use super::logging::{self, LogFormat, LogLevel};
use super::services::ServiceArgs;
use super::{EXIT_SUCCESS, EXIT_TROUBLE};
use crate::log::Rotation;
use crate::server::{
    Credentials, Durability, LogOutput, Server, ServerOptions, StartError, Tls, limits,
};
use crate::task::mock::MockSource;

/// Serves the Step Functions API to boto3, the AWS CLI, Terraform and the SDKs.
///
/// With --credentials, requests have to be signed as AWS has it. Without, signatures are not looked at: so it listens where
/// only this machine can reach it, unless --allow-anonymous says that others may.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct ServeArgs {
    /// Take settings from this TOML file that neither a flag nor a variable gives. Its keys are the names of the flags.
    #[arg(long, value_name = "FILE", env = "QUICKSTEP_CONFIG")]
    pub config: Option<PathBuf>,
    /// Print the settings, as a file for --config, and where each comes from; and do nothing else.
    #[arg(long)]
    pub print_config: bool,
    /// Where to listen.
    #[arg(
        long,
        value_name = "IP:PORT",
        default_value = "127.0.0.1:8083",
        env = "QUICKSTEP_ADDR"
    )]
    pub addr: SocketAddr,
    /// Region in ARNs, and in signatures.
    #[arg(long, default_value = "us-east-1", env = "QUICKSTEP_REGION", value_parser = region)]
    pub region: String,
    /// Account in ARNs: twelve digits.
    #[arg(long, default_value = "123456789012", env = "QUICKSTEP_ACCOUNT", value_parser = account)]
    pub account: String,
    /// Answers for tasks: a file of answers by resource, or a MockConfigFile.json; a test case may also be named by a
    /// client, as `stateMachineArn#TestCase`.
    #[arg(long, value_name = "FILE[#TestCase]", env = "QUICKSTEP_TASKS")]
    pub tasks: Option<String>,
    /// What other tasks are done with.
    #[command(flatten)]
    pub services: ServiceArgs,
    /// Keep state machines, versions, aliases, tags, activities and executions in this directory, and write the logs
    /// of state machines with a loggingConfiguration into logs/GROUP.ndjson in it. Without a directory, logs go to the
    /// standard output.
    #[arg(long, value_name = "DIR", env = "QUICKSTEP_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// Whether EXPRESS executions that nobody waits for (StartExecution, ingested lines) are in the --data-dir before they
    /// are acknowledged, and run again, from their beginning, after a crash. STANDARD ones always are.
    #[arg(
        long,
        value_enum,
        value_name = "WHERE",
        default_value_t,
        env = "QUICKSTEP_DURABILITY"
    )]
    pub durability: DurabilityArg,
    /// Begin a new log file before one has more bytes than that: GROUP.ndjson becomes GROUP.ndjson.1, and so on.
    #[arg(
        long,
        value_name = "N",
        default_value_t = limits::LOG_FILE_BYTES,
        env = "QUICKSTEP_LOG_ROTATE_BYTES",
        value_parser = clap::value_parser!(u64).range(1..)
    )]
    pub log_rotate_bytes: u64,
    /// Log files of a group that are kept besides the one that is written to; older ones are deleted.
    #[arg(long, value_name = "N", default_value_t = Rotation::KEEP, env = "QUICKSTEP_LOG_KEEP",
        value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub log_keep: u32,
    /// Let DescribeExecution, GetExecutionHistory and ListExecutions show the last N EXPRESS executions that have ended,
    /// and those that are running. AWS shows none; it takes memory, and about doubles what an execution costs.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        env = "QUICKSTEP_EXPRESS_HISTORY",
        value_parser = express_history
    )]
    pub express_history: usize,

    /// Who may sign requests: a TOML file with a table `[[credentials]]` for each access key, which has access_key_id,
    /// secret_access_key, and maybe session_token and expires.
    #[arg(long, value_name = "FILE", env = "QUICKSTEP_CREDENTIALS", help_heading = ACCESS)]
    pub credentials: Option<PathBuf>,
    /// Let everybody in who can reach an address that is not this machine's own.
    #[arg(long, env = "QUICKSTEP_ALLOW_ANONYMOUS", value_parser = BoolishValueParser::new(), help_heading = ACCESS)]
    pub allow_anonymous: bool,
    /// Serve over TLS, with this certificate: PEM, followed by the certificates that lead to its root.
    #[arg(long, value_name = "FILE", env = "QUICKSTEP_TLS_CERT", help_heading = ACCESS)]
    pub tls_cert: Option<PathBuf>,
    /// The certificate's private key, in PEM.
    #[arg(long, value_name = "FILE", env = "QUICKSTEP_TLS_KEY", help_heading = ACCESS)]
    pub tls_key: Option<PathBuf>,
    /// Let everybody read /metrics, though requests have to be signed.
    #[arg(long, env = "QUICKSTEP_OPEN_METRICS", value_parser = BoolishValueParser::new(), help_heading = ACCESS)]
    pub open_metrics: bool,

    /// Most connections at a time; others wait.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 16_384,
        value_parser = clap::value_parser!(u32).range(1..=1_000_000),
        env = "QUICKSTEP_MAX_CONNECTIONS",
        help_heading = LIMITS
    )]
    pub max_connections: u32,
    /// Most bytes of a request's body.
    #[arg(
        long,
        value_name = "BYTES",
        default_value_t = 3 * 1024 * 1024,
        value_parser = clap::value_parser!(u32).range(1_024..=64 * 1024 * 1024),
        env = "QUICKSTEP_MAX_REQUEST_BYTES",
        help_heading = LIMITS
    )]
    pub max_request_bytes: u32,
    /// Most bytes of the bodies of all requests that are being read or done.
    #[arg(
        long,
        value_name = "BYTES",
        default_value_t = 256 * 1024 * 1024,
        value_parser = clap::value_parser!(u64).range(1_024..=1 << 40),
        env = "QUICKSTEP_MAX_BODIES_BYTES",
        help_heading = LIMITS
    )]
    pub max_bodies_bytes: u64,
    /// Most bytes of a request's line and headers.
    #[arg(
        long,
        value_name = "BYTES",
        default_value_t = 64 * 1024,
        value_parser = clap::value_parser!(u32).range(8 * 1_024..=1024 * 1024),
        env = "QUICKSTEP_MAX_HEADER_BYTES",
        help_heading = LIMITS
    )]
    pub max_header_bytes: u32,
    /// How long a client may take for the headers of a request, or leave a connection idle.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 60,
        value_parser = clap::value_parser!(u32).range(1..=86_400),
        env = "QUICKSTEP_HEADER_SECONDS",
        help_heading = LIMITS
    )]
    pub header_seconds: u32,
    /// How long a client may take for a body.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 30,
        value_parser = clap::value_parser!(u32).range(1..=86_400),
        env = "QUICKSTEP_BODY_SECONDS",
        help_heading = LIMITS
    )]
    pub body_seconds: u32,
    /// How long a client may read nothing of an answer.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 30,
        value_parser = clap::value_parser!(u32).range(1..=86_400),
        env = "QUICKSTEP_WRITE_SECONDS",
        help_heading = LIMITS
    )]
    pub write_seconds: u32,

    /// At the end, still take connections for so many seconds, while /readyz tells that the end is near.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 0,
        env = "QUICKSTEP_DRAIN_SECONDS",
        help_heading = ENDING
    )]
    pub drain_seconds: u32,
    /// At the end, wait for requests under way for so many seconds.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 10,
        env = "QUICKSTEP_SHUTDOWN_SECONDS",
        help_heading = ENDING
    )]
    pub shutdown_seconds: u32,
    /// How the log on the standard error is written. With json, nothing else is printed there once the server listens.
    #[arg(
        long,
        value_enum,
        value_name = "FORMAT",
        default_value_t,
        env = "QUICKSTEP_LOG_FORMAT",
        help_heading = LOG
    )]
    pub log_format: LogFormat,
    /// What the log tells.
    #[arg(
        long,
        value_enum,
        value_name = "LEVEL",
        default_value_t,
        env = "QUICKSTEP_LOG_LEVEL",
        help_heading = LOG
    )]
    pub log_level: LogLevel,
    /// Do not print how to reach the server.
    #[arg(long, short, env = "QUICKSTEP_QUIET", value_parser = BoolishValueParser::new(), help_heading = LOG)]
    pub quiet: bool,
}

/// Where EXPRESS executions are that nobody waits for.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum DurabilityArg {
    /// On disk if there is a --data-dir: at least once. Else in memory.
    #[default]
    Auto,
    /// On disk: at least once. Wants a --data-dir.
    Disk,
    /// In memory, and lost with the process: at most once.
    Memory,
}

/// What headings of the help say.
const ACCESS: &str = "Who may reach it";
const LIMITS: &str = "Limits";
const ENDING: &str = "The end";
const LOG: &str = "What it tells";

const EXAMPLES: &str = "\
Examples:
  quickstep serve
  quickstep serve --tasks MockConfigFile.json --data-dir ./state
  quickstep serve --endpoint http://127.0.0.1:5000 --endpoint lambda=http://127.0.0.1:9000
  quickstep serve --credentials credentials.toml --addr 0.0.0.0:8083
  quickstep serve --addr 0.0.0.0:8083 --allow-anonymous
  quickstep serve --config quickstep.toml --log-format json

A flag wins over its variable, a variable over the file, and the file over the default. A file for --config:
  addr = \"0.0.0.0:8083\"
  credentials = \"/etc/quickstep/credentials.toml\"
  data-dir = \"/var/lib/quickstep\"
  max-connections = 1000
--print-config shows what comes of all of them.

GET /healthz answers while the process lives, GET /readyz until it is told to end (SIGTERM, ctrl-c). GET /metrics is text for
Prometheus.";

fn express_history(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if number <= limits::EXPRESS_HISTORY_MAX => Ok(number),
        _ => Err(format!(
            "a number up to {} is wanted",
            limits::EXPRESS_HISTORY_MAX
        )),
    }
}

fn region(text: &str) -> Result<String, String> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if text.is_empty() || text.len() > 32 || !text.bytes().all(allowed) {
        return Err("a region such as eu-west-1 is wanted".to_owned());
    }
    Ok(text.to_owned())
}

fn account(text: &str) -> Result<String, String> {
    if text.len() != 12 || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err("twelve digits are wanted".to_owned());
    }
    Ok(text.to_owned())
}

pub(super) fn run(args: &ServeArgs) -> u8 {
    let mut err = io::stderr();
    match attempt(args, &mut err) {
        Ok(()) => EXIT_SUCCESS,
        Err(message) => {
            // If nobody reads the standard error, the exit code has to do.
            let _ = writeln!(err, "error: {message}");
            EXIT_TROUBLE
        }
    }
}

fn attempt(args: &ServeArgs, err: &mut impl Write) -> Result<(), String> {
    check(args)?;
    let credentials = args.credentials.as_deref().map(Credentials::open);
    let credentials = credentials
        .transpose()
        .map_err(|error| format!("failed to read credentials: {error}"))?;
    let tls = match (&args.tls_cert, &args.tls_key) {
        (Some(certificate), Some(key)) => Some(
            Tls::open(certificate, key)
                .map_err(|error| format!("failed to set up TLS: {error}"))?,
        ),
        _ => None,
    };
    let integrations = args.services.options(Some(&args.region))?;
    let fitting = files::make_room(args.max_connections.into());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("quickstep")
        .build()
        .map_err(|error| format!("failed to start the runtime: {error}"))?;
    let lost = runtime.block_on(async {
        let options = ServerOptions {
            credentials,
            tls,
            integrations,
            ..options(args)
        };
        let server = Server::bind(options).await.map_err(|error| hint(&error))?;
        if !args.quiet && args.log_format == LogFormat::Text {
            // Nobody has to read it.
            let _ = err.write_all(greeting(args, &server).as_bytes());
        }
        logging::start(args.log_format, args.log_level);
        tell(args, &server);
        if let Some(fitting) = fitting {
            let wanted = args.max_connections;
            tracing::warn!(
                "the system lets this process have {fitting} connections, not {wanted}: see `ulimit -n`"
            );
        }
        let ending = ending().map_err(|error| format!("failed to await signals: {error}"))?;
        Ok::<_, String>(server.run(ending).await)
    })?;
    // Tasks of child processes and the like are not waited for.
    runtime.shutdown_background();
    if lost > 0 {
        tracing::warn!("{lost} executions had not ended and are lost: they were in memory");
    }
    Ok(())
}

/// Settings that do not go together, whatever each of them comes from.
fn check(args: &ServeArgs) -> Result<(), String> {
    if args.credentials.is_some() && args.allow_anonymous {
        let problem = "--credentials and --allow-anonymous contradict each other: either requests have to be signed or not";
        return Err(problem.to_owned());
    }
    if args.tls_cert.is_some() != args.tls_key.is_some() {
        return Err("--tls-cert and --tls-key belong together: one of them is missing".to_owned());
    }
    if args.durability == DurabilityArg::Disk && args.data_dir.is_none() {
        return Err("--durability disk wants a place: --data-dir DIR".to_owned());
    }
    let is_local = args.addr.ip().to_canonical().is_loopback();
    if !is_local && args.credentials.is_none() && !args.allow_anonymous {
        return Err(format!(
            "{} can be reached from other machines, and nobody has to sign. Listen on 127.0.0.1, name those who may sign \
             with --credentials FILE, or give --allow-anonymous to let everybody in",
            args.addr
        ));
    }
    Ok(())
}

/// What can be told without opening a file.
fn options(args: &ServeArgs) -> ServerOptions {
    let seconds = |seconds: u32| Duration::from_secs(seconds.into());
    ServerOptions {
        addr: args.addr,
        region: args.region.clone(),
        account: args.account.clone(),
        mocks: args.tasks.as_deref().map(MockSource::parse),
        data_dir: args.data_dir.clone(),
        durability: match args.durability {
            DurabilityArg::Auto | DurabilityArg::Disk => Durability::Durable,
            DurabilityArg::Memory => Durability::Memory,
        },
        logs: match args.data_dir {
            Some(_) => LogOutput::DataDir,
            None => LogOutput::Stdout,
        },
        log_rotation: Rotation {
            bytes: Some(args.log_rotate_bytes),
            age_millis: None,
            keep: args.log_keep,
        },
        express_history: args.express_history,
        open_metrics: args.open_metrics,
        connections_max: args.max_connections as usize,
        request_bytes_max: args.max_request_bytes as usize,
        bodies_bytes_max: usize::try_from(args.max_bodies_bytes).unwrap_or(usize::MAX),
        headers_bytes_max: args.max_header_bytes as usize,
        headers_time_max: seconds(args.header_seconds),
        body_time_max: seconds(args.body_seconds),
        write_time_max: seconds(args.write_seconds),
        drain_time: seconds(args.drain_seconds),
        shutdown_time_max: seconds(args.shutdown_seconds),
        ..ServerOptions::default()
    }
}

/// What the log tells of the start.
fn tell(args: &ServeArgs, server: &Server) {
    let addr = server.local_addr();
    tracing::info!(
        %addr,
        version = env!("CARGO_PKG_VERSION"),
        region = args.region,
        account = args.account,
        tls = args.tls_cert.is_some(),
        signatures = args.credentials.is_some(),
        durable = server.is_durable(),
        express_durable = server.keeps_express(),
        "listening"
    );
    if let Some(warning) = exposure(args) {
        tracing::warn!("{warning}");
    }
}

/// What somebody who made the server reachable for others should know.
fn exposure(args: &ServeArgs) -> Option<&'static str> {
    if args.addr.ip().to_canonical().is_loopback() {
        return None;
    }
    match (&args.credentials, &args.tls_cert) {
        (Some(_), Some(_)) => None,
        (Some(_), None) => {
            Some("what is sent can be read on the way; --tls-cert and --tls-key keep it private")
        }
        (None, _) => Some("whoever can reach this address is let in (--allow-anonymous)"),
    }
}

fn hint(error: &StartError) -> String {
    match error {
        StartError::Listen(_, cause) if cause.kind() == io::ErrorKind::AddrInUse => {
            format!(
                "{error}. Another process listens there; --addr 127.0.0.1:PORT chooses another port"
            )
        }
        _ => error.to_string(),
    }
}

/// Ready once the process is told to end.
fn ending() -> io::Result<impl Future<Output = ()>> {
    #[cfg(unix)]
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    Ok(async move {
        #[cfg(unix)]
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        #[cfg(not(unix))]
        let _ = tokio::signal::ctrl_c().await;
    })
}

/// What is printed at the start: how to reach the server, ready to be copied.
fn greeting(args: &ServeArgs, server: &Server) -> String {
    let addr = server.local_addr();
    // An address that stands for all of the machine's is none to connect to.
    let host = match addr.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => IpAddr::from([127, 0, 0, 1]),
        IpAddr::V6(_) => IpAddr::from(std::net::Ipv6Addr::LOCALHOST),
    };
    let scheme = if args.tls_cert.is_some() {
        "https"
    } else {
        "http"
    };
    let url = format!("{scheme}://{}", SocketAddr::new(host, addr.port()));
    let region = &args.region;
    let [id, secret] = match args.credentials {
        None => ["any", "any"],
        Some(_) => ["ACCESS_KEY_ID", "SECRET_ACCESS_KEY"],
    };
    let kept = match &args.data_dir {
        Some(directory) if server.keeps_express() => format!(
            "State machines and executions are kept in {}; StartSyncExecution alone is in memory.",
            directory.display()
        ),
        Some(directory) if server.is_durable() => format!(
            "State machines and STANDARD executions are kept in {}; EXPRESS executions are in memory (--durability memory).",
            directory.display()
        ),
        _ => "Everything is in memory and ends with this process; --data-dir DIR keeps state machines and executions.".to_owned(),
    };
    format!(
        "\
quickstep {version} serves the Step Functions API on {url} (region {region}, account {account})
{kept}

boto3:
  import boto3, botocore.config
  sfn = boto3.client(\"stepfunctions\", endpoint_url=\"{url}\", region_name=\"{region}\",
      aws_access_key_id=\"{id}\", aws_secret_access_key=\"{secret}\",
      config=botocore.config.Config(inject_host_prefix=False))

AWS CLI:
  export AWS_ENDPOINT_URL_SFN={url} AWS_REGION={region} AWS_DEFAULT_REGION={region}
  export AWS_ACCESS_KEY_ID={id} AWS_SECRET_ACCESS_KEY={secret}
  export AWS_DISABLE_HOST_PREFIX_INJECTION=true
  aws stepfunctions list-state-machines

These variables are good for boto3, too. The SDK for JavaScript takes {{ disableHostPrefix: true }} in place of the last one,
which keeps clients from putting `sync-` before the host's name in StartSyncExecution and TestState.
",
        version = env!("CARGO_PKG_VERSION"),
        account = args.account,
    )
}
