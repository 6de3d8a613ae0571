//! `quickstep serve`: the Step Functions API.

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::logging::{self, LogFormat, LogLevel};
use super::{EXIT_SUCCESS, EXIT_TROUBLE};
use crate::server::{Credentials, Server, ServerOptions, StartError, Tls, limits};
use crate::task::mock::MockSource;

/// Serves the Step Functions API to boto3, the AWS CLI, Terraform and the SDKs.
///
/// With --credentials, requests have to be signed as AWS has it. Without, signatures are not looked at: so it listens where
/// only this machine can reach it, unless --allow-anonymous says that others may.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct ServeArgs {
    /// Where to listen.
    #[arg(
        long,
        value_name = "IP:PORT",
        default_value = "127.0.0.1:8083",
        env = "QUICKSTEP_ADDR"
    )]
    pub addr: SocketAddr,
    /// Region in ARNs.
    #[arg(long, default_value = "us-east-1", env = "QUICKSTEP_REGION", value_parser = region)]
    pub region: String,
    /// Account in ARNs: twelve digits.
    #[arg(long, default_value = "123456789012", env = "QUICKSTEP_ACCOUNT", value_parser = account)]
    pub account: String,
    /// Answers for tasks: a file of answers by resource, or a MockConfigFile.json; a test case may also be named by a
    /// client, as `stateMachineArn#TestCase`.
    #[arg(long, value_name = "FILE[#TestCase]", env = "QUICKSTEP_TASKS")]
    pub tasks: Option<String>,
    /// Keep state machines, versions, aliases, tags and activities in this directory. Executions are not kept.
    #[arg(long, value_name = "DIR", env = "QUICKSTEP_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// Who may sign requests: a TOML file with a table [[credentials]] for each access key, which has access_key_id,
    /// secret_access_key, and maybe session_token and expires.
    #[arg(
        long,
        value_name = "FILE",
        env = "QUICKSTEP_CREDENTIALS",
        conflicts_with = "allow_anonymous"
    )]
    pub credentials: Option<PathBuf>,
    /// Serve over TLS, with this certificate: PEM, followed by the certificates that lead to its root.
    #[arg(
        long,
        value_name = "FILE",
        env = "QUICKSTEP_TLS_CERT",
        requires = "tls_key"
    )]
    pub tls_cert: Option<PathBuf>,
    /// The certificate's private key, in PEM.
    #[arg(
        long,
        value_name = "FILE",
        env = "QUICKSTEP_TLS_KEY",
        requires = "tls_cert"
    )]
    pub tls_key: Option<PathBuf>,
    /// Let everybody in who can reach an address that is not this machine's own.
    #[arg(long, env = "QUICKSTEP_ALLOW_ANONYMOUS")]
    pub allow_anonymous: bool,
    /// Let everybody read /metrics, though requests have to be signed.
    #[arg(long, env = "QUICKSTEP_OPEN_METRICS")]
    pub open_metrics: bool,
    /// At the end, still take connections for so many seconds, while /readyz tells that the end is near.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 0,
        env = "QUICKSTEP_DRAIN_SECONDS"
    )]
    pub drain_seconds: u32,
    /// Most connections at a time.
    #[arg(
        long,
        value_name = "N",
        default_value_t = limits::CONNECTIONS_MAX,
        env = "QUICKSTEP_MAX_CONNECTIONS"
    )]
    pub max_connections: usize,
    /// At the end, wait for requests under way for so many seconds.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 10,
        env = "QUICKSTEP_SHUTDOWN_SECONDS"
    )]
    pub shutdown_seconds: u32,
    /// How the log on the standard error is written. With json, nothing else is printed there once the server listens.
    #[arg(
        long,
        value_enum,
        value_name = "FORMAT",
        default_value_t,
        env = "QUICKSTEP_LOG_FORMAT"
    )]
    pub log_format: LogFormat,
    /// What the log tells.
    #[arg(
        long,
        value_enum,
        value_name = "LEVEL",
        default_value_t,
        env = "QUICKSTEP_LOG_LEVEL"
    )]
    pub log_level: LogLevel,
    /// Print nothing at the start.
    #[arg(long, short)]
    pub quiet: bool,
}

const EXAMPLES: &str = "\
Examples:
  quickstep serve
  quickstep serve --tasks MockConfigFile.json --data-dir ./state
  quickstep serve --credentials credentials.toml --addr 0.0.0.0:8083
  quickstep serve --addr 0.0.0.0:8083 --allow-anonymous

Each option can be given as an environment variable, which the option wins over.

GET /healthz answers while the process lives, GET /readyz until it is told to end (SIGTERM, ctrl-c). GET /metrics is text for
Prometheus.";

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
    let is_local = args.addr.ip().to_canonical().is_loopback();
    if !is_local && args.credentials.is_none() && !args.allow_anonymous {
        return Err(format!(
            "{} can be reached from other machines, and nobody has to sign. Listen on 127.0.0.1, name those who may sign \
             with --credentials FILE, or give --allow-anonymous to let everybody in",
            args.addr
        ));
    }
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
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("quickstep")
        .build()
        .map_err(|error| format!("failed to start the runtime: {error}"))?;
    let lost = runtime.block_on(async {
        let options = ServerOptions {
            addr: args.addr,
            region: args.region.clone(),
            account: args.account.clone(),
            mocks: args.tasks.as_deref().map(MockSource::parse),
            data_dir: args.data_dir.clone(),
            credentials,
            tls,
            shutdown_time_max: Duration::from_secs(args.shutdown_seconds.into()),
            open_metrics: args.open_metrics,
            drain_time: Duration::from_secs(args.drain_seconds.into()),
            connections_max: args.max_connections,
            ..ServerOptions::default()
        };
        let server = Server::bind(options).await.map_err(|error| hint(&error))?;
        if !args.quiet && args.log_format == LogFormat::Text {
            // Nobody has to read it.
            let _ = err.write_all(greeting(args, &server).as_bytes());
        }
        logging::start(args.log_format, args.log_level);
        tell(args, &server);
        let ending = ending().map_err(|error| format!("failed to await signals: {error}"))?;
        Ok::<_, String>(server.run(ending).await)
    })?;
    // Tasks of child processes and the like are not waited for.
    runtime.shutdown_background();
    if lost > 0 {
        tracing::warn!(
            "{lost} executions had not ended and are lost: executions are kept in memory"
        );
    }
    Ok(())
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
        Some(directory) if server.is_durable() => format!(
            "State machines are kept in {}; executions are in memory.",
            directory.display()
        ),
        _ => "Everything is in memory and ends with this process; --data-dir DIR keeps state machines.".to_owned(),
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
  export AWS_ENDPOINT_URL_SFN={url} AWS_REGION={region} AWS_ACCESS_KEY_ID={id} AWS_SECRET_ACCESS_KEY={secret}
  export AWS_DISABLE_HOST_PREFIX_INJECTION=true
  aws stepfunctions list-state-machines

The last setting keeps clients from putting `sync-` before the host's name in StartSyncExecution and TestState.
",
        version = env!("CARGO_PKG_VERSION"),
        account = args.account,
    )
}
