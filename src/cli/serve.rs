//! `quickstep serve`: the Step Functions API.

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use super::{EXIT_SUCCESS, EXIT_TROUBLE};
use crate::log::Rotation;
use crate::server::{LogOutput, Server, ServerOptions, StartError, limits};
use crate::task::mock::MockSource;

/// Serves the Step Functions API to boto3, the AWS CLI, Terraform and the SDKs.
///
/// There is no authentication: signatures are not looked at. So it listens where only this machine can reach it, unless
/// --allow-anonymous says that others may.
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
    /// Keep state machines, versions, aliases, tags, activities and STANDARD executions in this directory, and write the logs
    /// of state machines with a loggingConfiguration into logs/GROUP.ndjson in it. Without a directory, logs go to the
    /// standard output.
    #[arg(long, value_name = "DIR", env = "QUICKSTEP_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
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
    /// Let everybody in who can reach an address that is not this machine's own.
    #[arg(long, env = "QUICKSTEP_ALLOW_ANONYMOUS")]
    pub allow_anonymous: bool,
    /// Most connections at a time.
    #[arg(
        long,
        value_name = "N",
        default_value_t = limits::CONNECTIONS_MAX,
        env = "QUICKSTEP_MAX_CONNECTIONS"
    )]
    pub max_connections: usize,
    /// Print nothing at the start.
    #[arg(long, short)]
    pub quiet: bool,
}

const EXAMPLES: &str = "\
Examples:
  quickstep serve
  quickstep serve --tasks MockConfigFile.json --data-dir ./state
  quickstep serve --addr 0.0.0.0:8083 --allow-anonymous

Each option can be given as an environment variable, which the option wins over.

GET /healthz answers while the process lives, GET /readyz until it is told to end (SIGTERM, ctrl-c).";

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
    if !args.addr.ip().to_canonical().is_loopback() && !args.allow_anonymous {
        return Err(format!(
            "{} can be reached from other machines, and there is no authentication. Listen on 127.0.0.1, or give \
             --allow-anonymous to let everybody in",
            args.addr
        ));
    }
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
            connections_max: args.max_connections,
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
            ..ServerOptions::default()
        };
        let server = Server::bind(options).await.map_err(|error| hint(&error))?;
        if !args.quiet {
            // Nobody has to read it.
            let _ = err.write_all(greeting(args, &server).as_bytes());
        }
        let ending = ending().map_err(|error| format!("failed to await signals: {error}"))?;
        Ok::<_, String>(server.run(ending).await)
    })?;
    // Tasks of child processes and the like are not waited for.
    runtime.shutdown_background();
    if lost > 0 {
        let _ = writeln!(
            err,
            "warning: {lost} executions had not ended and are lost: they were in memory"
        );
    }
    Ok(())
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
    let url = format!("http://{}", SocketAddr::new(host, addr.port()));
    let region = &args.region;
    let kept = match &args.data_dir {
        Some(directory) if server.is_durable() => format!(
            "State machines and STANDARD executions are kept in {}; EXPRESS executions are in memory.",
            directory.display()
        ),
        _ => "Everything is in memory and ends with this process; --data-dir DIR keeps state machines and STANDARD executions.".to_owned(),
    };
    let warning = match args.addr.ip().to_canonical().is_loopback() {
        true => "",
        false => "warning: whoever can reach this address is let in (--allow-anonymous)\n",
    };
    format!(
        "\
quickstep {version} serves the Step Functions API on {url} (region {region}, account {account})
{kept}
{warning}
boto3:
  import boto3, botocore.config
  sfn = boto3.client(\"stepfunctions\", endpoint_url=\"{url}\", region_name=\"{region}\",
      aws_access_key_id=\"any\", aws_secret_access_key=\"any\",
      config=botocore.config.Config(inject_host_prefix=False))

AWS CLI:
  export AWS_ENDPOINT_URL_SFN={url} AWS_REGION={region} AWS_ACCESS_KEY_ID=any AWS_SECRET_ACCESS_KEY=any
  export AWS_DISABLE_HOST_PREFIX_INJECTION=true
  aws stepfunctions list-state-machines

The last setting keeps clients from putting `sync-` before the host's name in StartSyncExecution and TestState.
",
        version = env!("CARGO_PKG_VERSION"),
        account = args.account,
    )
}
