//! What is loaded: [`Spec`] is how somebody names it, [`Site`] makes it ready.

mod embedded;
pub(crate) mod ingest;
pub(crate) mod remote;
pub(crate) mod stall;

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use quickstep::Engine;
use quickstep::history::LogLevel;

use self::embedded::{Embedded, Setup};
use self::remote::Remote;
use self::stall::{Null, Stalls};
use crate::api::Api;
use crate::events::Events;
use crate::load::Target;
use crate::pacer::nanos;
use crate::process::Server;
use crate::sign::Identity;

/// How executions are asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(crate) enum Mode {
    /// The caller waits for the output.
    Sync,
    /// A start is acknowledged; embedded, the end of the execution is waited for all the same.
    Async,
    /// STANDARD: a start, then DescribeExecution until it has ended.
    Standard,
    /// Lines of one long request of `quickstep serve`.
    Ingest,
}

/// A target as it is named: what it is, and settings behind commas.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Spec {
    pub(crate) kind: Kind,
    pub(crate) mode: Mode,
    pub(crate) durable: Option<PathBuf>,
    pub(crate) log: LogLevel,
    pub(crate) workers: Option<usize>,
    pub(crate) connections: usize,
    pub(crate) definition: Option<PathBuf>,
    /// As it was written.
    pub(crate) text: String,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Null,
    Stall {
        stall_ms: u64,
        period_ms: u64,
    },
    Embedded,
    /// A server that the tester starts itself.
    Serve {
        binary: PathBuf,
    },
    Remote {
        url: String,
    },
}

/// How targets are named, for help and errors.
pub(crate) const SPEC_FORMS: &str = "null | stall | embedded | serve:BINARY | http://HOST:PORT | https://HOST, and behind commas \
mode=sync|async|standard|ingest, connections=N, durable=DIR, log=OFF|FATAL|ERROR|ALL, workers=N, definition=FILE, stall-ms=N, period-ms=N";

impl FromStr for Spec {
    type Err = String;

    fn from_str(text: &str) -> Result<Spec, String> {
        let mut parts = text.split(',');
        let name = parts.next().unwrap_or_default();
        let kind = match name {
            "null" => Kind::Null,
            "stall" => Kind::Stall {
                stall_ms: 1_000,
                period_ms: 10_000,
            },
            "embedded" => Kind::Embedded,
            _ => match name.strip_prefix("serve:") {
                Some(binary) => Kind::Serve {
                    binary: binary.into(),
                },
                None if name.starts_with("http") => Kind::Remote {
                    url: name.to_owned(),
                },
                None => return Err(format!("`{name}` is no target: {SPEC_FORMS}")),
            },
        };
        let mut spec = Spec {
            kind,
            mode: Mode::Sync,
            durable: None,
            log: LogLevel::Off,
            workers: None,
            connections: 16,
            definition: None,
            text: text.to_owned(),
        };
        for part in parts {
            let Some((key, value)) = part.split_once('=') else {
                return Err(format!("`{part}` is no setting: {SPEC_FORMS}"));
            };
            spec.set(key, value)?;
        }
        Ok(spec)
    }
}

impl Spec {
    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let number = |most: u64| match value.parse::<u64>() {
            Ok(number) if (1..=most).contains(&number) => Ok(number),
            _ => Err(format!(
                "`{key}={value}`: a number from 1 to {most} is wanted"
            )),
        };
        let count = |most: u64| number(most).map(|number| number as usize);
        match (key, &mut self.kind) {
            ("mode", _) => {
                self.mode = <Mode as clap::ValueEnum>::from_str(value, true).map_err(|_| {
                    format!("`{value}` is no mode: sync, async, standard and ingest are")
                })?;
            }
            ("connections", Kind::Serve { .. } | Kind::Remote { .. }) => {
                self.connections = count(10_000)?
            }
            ("durable", Kind::Embedded | Kind::Serve { .. }) => self.durable = Some(value.into()),
            ("log", Kind::Embedded | Kind::Serve { .. }) => {
                self.log = match value.to_ascii_uppercase().as_str() {
                    "ALL" => LogLevel::All,
                    "ERROR" => LogLevel::Error,
                    "FATAL" => LogLevel::Fatal,
                    "OFF" => LogLevel::Off,
                    _ => {
                        return Err(format!(
                            "`{value}` is no level: OFF, FATAL, ERROR and ALL are"
                        ));
                    }
                }
            }
            ("workers", Kind::Embedded) => self.workers = Some(count(1_024)?),
            ("definition", _) => self.definition = Some(value.into()),
            ("stall-ms", Kind::Stall { stall_ms, .. }) => *stall_ms = number(3_600_000)?,
            ("period-ms", Kind::Stall { period_ms, .. }) => *period_ms = number(3_600_000)?,
            _ => {
                return Err(format!(
                    "`{key}` is no setting of this target: {SPEC_FORMS}"
                ));
            }
        }
        match &self.kind {
            Kind::Stall {
                stall_ms,
                period_ms,
            } if stall_ms >= period_ms => Err(format!(
                "a stall of {stall_ms} ms does not fit into a period of {period_ms} ms"
            )),
            _ => Ok(()),
        }
    }

    /// Most requests that can be under way at once, on so many threads.
    pub(crate) fn under_way_max(&self, threads: usize) -> usize {
        match (&self.kind, self.mode) {
            // These answer on the thread that calls them.
            (Kind::Null | Kind::Stall { .. }, _) | (Kind::Embedded, Mode::Sync) => threads,
            (Kind::Embedded, _) => embedded::UNDER_WAY_MAX * threads,
            // Each thread has a connection at least, and each connection a request.
            (_, Mode::Sync | Mode::Async) => self.connections.max(threads),
            (_, Mode::Standard) => remote::POLLED_MAX * threads,
            (_, Mode::Ingest) => ingest::UNDER_WAY_MAX * threads,
        }
    }

    /// Whether executions run there, so that a definition and events are wanted.
    pub(crate) fn runs_executions(&self) -> bool {
        matches!(
            self.kind,
            Kind::Embedded | Kind::Serve { .. } | Kind::Remote { .. }
        )
    }
}

/// Where outputs come from that others are compared with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Expect {
    /// A run of the embedded engine before the load.
    Reference,
    None,
    File(PathBuf),
}

impl FromStr for Expect {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Expect, Self::Err> {
        Ok(match text {
            "reference" => Expect::Reference,
            "none" => Expect::None,
            file => Expect::File(file.into()),
        })
    }
}

/// What all targets of a test have in common.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    pub(crate) definition: Option<PathBuf>,
    pub(crate) events: Option<Events>,
    pub(crate) expect: Expect,
    pub(crate) tasks: Option<String>,
    pub(crate) threads: usize,
    pub(crate) certificates: Option<PathBuf>,
    pub(crate) identity: Option<Identity>,
    pub(crate) role: String,
    /// An existing machine, which is neither made nor deleted.
    pub(crate) machine: Option<String>,
    pub(crate) serve_args: Vec<String>,
    /// For what runs need on the disk, and for names.
    pub(crate) run: String,
    /// How long a server may take for an answer.
    pub(crate) timeout: Duration,
}

/// Requests that are made before the first is sent.
#[derive(Clone, Debug)]
pub(crate) struct Prepared {
    pub(crate) events: Events,
    before: Arc<[u8]>,
    /// What follows, for each event.
    after: Arc<[Box<[u8]>]>,
    /// The member of an answer that has the right output.
    outputs: Arc<[Box<[u8]>]>,
}

impl Prepared {
    pub(crate) fn new(events: Events, machine_arn: &str) -> Prepared {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let numbers = 0..events.len() as u64;
        let after = numbers.clone().map(|index| {
            format!("\"input\":{}}}", quoted(events.input(index)))
                .into_bytes()
                .into()
        });
        let outputs = numbers.filter_map(|index| {
            let output = events.expected(index)?;
            Some(format!("\"output\":{}", quoted(output)).into_bytes().into())
        });
        Prepared {
            before: format!("{{\"stateMachineArn\":{},", quoted(machine_arn))
                .into_bytes()
                .into(),
            after: after.collect(),
            outputs: outputs.collect(),
            events,
        }
    }

    /// A body, between whose parts further members may stand.
    pub(crate) fn request(&self, index: u64) -> (&[u8], &[u8]) {
        (
            &self.before,
            &self.after[(index % self.after.len() as u64) as usize],
        )
    }

    /// What a right answer has in it.
    pub(crate) fn output(&self, index: u64) -> Option<&[u8]> {
        match self.outputs.len() {
            0 => None,
            length => Some(&self.outputs[(index % length as u64) as usize]),
        }
    }
}

/// A target that is ready, and what has to be put away after it.
pub(crate) struct Ready {
    pub(crate) target: Arc<dyn Target + Send + Sync>,
    pub(crate) remote: Option<Arc<Remote>>,
    pub(crate) server: Option<Server>,
    deletes: bool,
}

impl Site {
    fn definition<'s>(&'s self, spec: &'s Spec) -> Result<&'s Path, String> {
        let definition = spec.definition.as_ref().or(self.definition.as_ref());
        Ok(definition.ok_or("executions want a --definition")?)
    }

    /// The events, with the outputs that they are to have.
    ///
    /// # Errors
    ///
    /// If there are none, or if they cannot be used.
    pub(crate) fn events(&self, spec: &Spec) -> Result<Events, String> {
        let events = self.events.clone().ok_or("executions want --events")?;
        match &self.expect {
            Expect::None => Ok(events),
            Expect::File(file) => events.expect(file),
            Expect::Reference => {
                let machine = embedded::compile(self.definition(spec)?)?;
                let tasks = embedded::tasks(&machine, self.tasks.as_deref())?;
                let engine = Engine::builder().tasks(tasks).workers(1).build();
                let engine = engine.map_err(|error| error.to_string())?;
                events.expect_reference(&engine, &machine)
            }
        }
    }

    /// Makes a target ready.
    ///
    /// # Errors
    ///
    /// If it cannot be: whatever the reason, in words.
    pub(crate) fn ready(&self, spec: &Spec) -> Result<Ready, String> {
        let ready = |target: Arc<dyn Target + Send + Sync>| Ready {
            target,
            remote: None,
            server: None,
            deletes: false,
        };
        match &spec.kind {
            Kind::Null => Ok(ready(Arc::new(Null))),
            Kind::Stall {
                stall_ms,
                period_ms,
            } => Ok(ready(Arc::new(Stalls {
                stall: stall_ms * 1_000_000,
                period: period_ms * 1_000_000,
            }))),
            Kind::Embedded => {
                let machine = embedded::compile(self.definition(spec)?)?;
                let tasks = embedded::tasks(&machine, self.tasks.as_deref())?;
                let log = std::env::temp_dir().join(format!("{}.qslog", self.run));
                let setup = Setup {
                    mode: spec.mode,
                    workers: spec.workers,
                    journal: spec.durable.clone(),
                    log: (spec.log != LogLevel::Off).then_some((spec.log, log)),
                };
                let embedded = Embedded::new(&setup, machine, tasks, self.events(spec)?)?;
                Ok(ready(Arc::new(embedded)))
            }
            Kind::Remote { url } => self.remote(spec, url, None),
            Kind::Serve { binary } => {
                let mut server = Server::new(binary, self.serve_arguments(spec))?;
                let url = server.start()?;
                self.remote(spec, &url, Some(server))
            }
        }
    }

    fn serve_arguments(&self, spec: &Spec) -> Vec<String> {
        let mut arguments = self.serve_args.clone();
        if let Some(tasks) = &self.tasks {
            arguments.extend(["--tasks".to_owned(), tasks.clone()]);
        }
        if let Some(directory) = &spec.durable {
            arguments.extend(["--data-dir".to_owned(), directory.display().to_string()]);
        }
        arguments
    }

    fn remote(&self, spec: &Spec, url: &str, server: Option<Server>) -> Result<Ready, String> {
        let mut api = Api::new(url, self.certificates.as_deref(), self.identity.clone())?;
        match &self.machine {
            Some(arn) => {
                api.machine_name = arn.rsplit(':').next().unwrap_or_default().to_owned();
                api.machine_arn.clone_from(arn);
            }
            None => {
                let path = self.definition(spec)?;
                let definition = std::fs::read_to_string(path)
                    .map_err(|error| format!("failed to read {}: {error}", path.display()))?;
                api.create(&self.run, &definition, spec.mode, &self.role, spec.log)?;
            }
        }
        let remote = Arc::new(Remote {
            before: Mutex::default(),
            is_exact: true.into(),
            prepared: Prepared::new(self.events(spec)?, &api.machine_arn),
            api,
            mode: spec.mode,
            connections: spec.connections,
            threads: self.threads,
            process: server.as_ref().map(Server::process),
            run: self.run.clone(),
            timeout: nanos(self.timeout),
            ledger: None,
        });
        Ok(Ready {
            target: Arc::<Remote>::clone(&remote),
            remote: Some(remote),
            server,
            deletes: self.machine.is_none(),
        })
    }
}

impl Drop for Ready {
    fn drop(&mut self) {
        if self.deletes
            && let Some(remote) = &self.remote
            && let Err(error) = remote.api.delete()
        {
            eprintln!("note: the machine of this test was not deleted: {error}");
        }
        if let Some(server) = &mut self.server {
            server.stop(Duration::from_secs(15));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_under_way_is_known() {
        for (spec, expected) in [
            ("null", 3),
            ("embedded", 3),
            ("embedded,mode=async", 300_000),
            ("serve:x", 16),
            ("http://h:1,connections=1", 3),
            ("http://h:1,mode=async,connections=64", 64),
            ("http://h:1,mode=standard", 300_000),
        ] {
            let spec: Spec = spec.parse().unwrap();
            assert_eq!(spec.under_way_max(3), expected, "{}", spec.text);
        }
    }

    #[test]
    fn targets_are_read() {
        let spec: Spec = "embedded,mode=async,log=all,workers=2,durable=/x"
            .parse()
            .unwrap();
        assert_eq!(
            (spec.kind, spec.mode, spec.log),
            (Kind::Embedded, Mode::Async, LogLevel::All)
        );
        assert_eq!((spec.workers, spec.durable), (Some(2), Some("/x".into())));
        let spec: Spec = "http://h:1,mode=standard,connections=3".parse().unwrap();
        assert_eq!((spec.mode, spec.connections), (Mode::Standard, 3));
        let spec: Spec = "stall,stall-ms=10,period-ms=100".parse().unwrap();
        let expected = Kind::Stall {
            stall_ms: 10,
            period_ms: 100,
        };
        assert_eq!(spec.kind, expected);
        for wrong in [
            "",
            "moto",
            "null,mode=x",
            "null,connections=1",
            "embedded,workers=0",
            "embedded,log=LOUD",
            "stall,stall-ms=10000",
            "embedded,mode",
        ] {
            assert!(wrong.parse::<Spec>().is_err(), "{wrong}");
        }
    }
}
