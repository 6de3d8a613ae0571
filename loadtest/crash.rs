//! A server that is killed under load: is everything there that it has acknowledged?
//!
//! 1. STANDARD executions are started at a rate, with names of their own; acknowledged ones are noted in a ledger.
//! 2. Meanwhile the server is killed, at times drawn from the seed, and started again with the same directory.
//! 3. In the end the ledger is gone through: every acknowledged execution must be there, must have succeeded, and with the
//!    right output. One whose answer got lost may be there or not; what nobody has asked for may not.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::json;

use crate::api::{self, Said};
use crate::args::CrashArgs;
use crate::http::Lane;
use crate::load::{self, Load, Loop, STOP};
use crate::pacer::{Pace as _, Pacer, nanos};
use crate::process::Server;
use crate::recorder::Outcome;
use crate::report::{Report, RunReport};
use crate::schedule::{Random, Rate, Schedule, Spread};
use crate::session::Session;
use crate::target::remote::{Noted, Remote};
use crate::target::{Kind, Mode, Spec};

/// Most executions: a server keeps a hundred thousand of those that have ended.
const EXECUTIONS_MAX: f64 = 90_000.0;

/// How long an execution may take to end after the last start of the server.
const END_TIME_MAX: Duration = Duration::from_secs(60);

/// How long an answer may take in this test.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What the ledger shows.
#[derive(Debug, Default, serde::Serialize)]
struct Ledger {
    kills: u32,
    sent: u64,
    acknowledged: usize,
    /// Sent, and the answer got lost.
    unknown: u64,
    /// Acknowledged, and there with the right output.
    right: usize,
    /// Acknowledged, and not there.
    lost: usize,
    wrong: usize,
    failed: usize,
    /// There, and not acknowledged: of those whose answer got lost.
    unacknowledged: usize,
    /// There, and never asked for.
    strange: usize,
}

pub(crate) fn crash(args: &CrashArgs) -> Result<Report, String> {
    if args.data_dir.exists() {
        return Err(format!(
            "{} is there already: the directory of this test is a new one",
            args.data_dir.display()
        ));
    }
    let common = &args.common;
    let seconds = args.every.as_secs_f64() * f64::from(args.kills + 1);
    if args.rate * seconds > EXECUTIONS_MAX {
        return Err(format!(
            "at most {EXECUTIONS_MAX} executions can be looked at in the end: lower --rate, --kills or --every"
        ));
    }
    let mut session = Session::new("crash", common);
    let site = common.site(session.name.clone())?;
    let mut spec: Spec = format!("serve:{},mode=standard", args.binary.display()).parse()?;
    spec.kind = Kind::Serve {
        binary: args.binary.clone(),
    };
    spec.mode = Mode::Standard;
    spec.durable = Some(args.data_dir.clone());
    spec.connections = args.connections;
    let mut ready = site.ready(&spec)?;
    let mut server = ready.server.take().ok_or("there is no server")?;
    let remote = ready.remote.take().ok_or("there is no server")?;
    let remote = Remote {
        api: remote.api.clone(),
        prepared: remote.prepared.clone(),
        run: remote.run.clone(),
        ledger: Some(Mutex::default()),
        process: None,
        before: Mutex::default(),
        is_exact: false.into(),
        // A connection to a process that is gone may never hear of it.
        timeout: nanos(common.timeout.min(TIMEOUT)),
        ..*remote
    };
    let duration = Duration::from_secs_f64(seconds);
    let pace = Loop::Open(Schedule::Rate {
        segments: Rate::Constant(args.rate).segments(seconds)?.into(),
        spread: Spread::Poisson,
        seed: common.seed,
    });
    let load = Load {
        warm_up: Duration::ZERO,
        ..common.load(&spec, pace, duration)
    };
    let (run, kills) = under_fire(&remote, &load, &mut server, args, &mut session)?;
    let mut report = RunReport::new("under fire", &spec.text, &load, &run, Ok(None));
    // Answers that get lost are what it is about.
    report.problem = None;
    session.say(report.text().trim_end());
    session.report.add(report);
    let ledger = go_through(&remote, &run, kills, &session)?;
    session.say(&told(&ledger));
    if ledger.lost + ledger.wrong + ledger.failed + ledger.strange > 0 || ledger.acknowledged == 0 {
        session.report.problem = Some(told(&ledger));
    }
    session.report.crash = Some(json!(ledger));
    server.stop(Duration::from_secs(15));
    Ok(session.end())
}

fn told(ledger: &Ledger) -> String {
    format!(
        "{} kills, {} starts acknowledged: {} there and right, {} lost, {} wrong, {} failed; of {} starts whose answer got lost \
         {} are there; {} are there that nobody asked for",
        ledger.kills,
        ledger.acknowledged,
        ledger.right,
        ledger.lost,
        ledger.wrong,
        ledger.failed,
        ledger.unknown,
        ledger.unacknowledged,
        ledger.strange
    )
}

/// Loads the server, and kills it meanwhile.
fn under_fire(
    remote: &Remote,
    load: &Load,
    server: &mut Server,
    args: &CrashArgs,
    session: &mut Session<'_>,
) -> Result<(load::Run, u32), String> {
    std::thread::scope(|scope| {
        let killer = scope.spawn(|| kill_again_and_again(server, args));
        let run = session.run_silently("under fire", remote, load);
        let killed = killer
            .join()
            .map_err(|_| "the killing thread panicked; that is a defect".to_owned())?;
        Ok((run?, killed?))
    })
}

fn kill_again_and_again(server: &mut Server, args: &CrashArgs) -> Result<u32, String> {
    let mut random = Random(args.common.seed);
    let pacer = Pacer::new(Duration::ZERO);
    for kill in 0..args.kills {
        let share = 0.2 + 0.8 * random.unit();
        pacer.wait_until(pacer.now() + nanos(args.every.mul_f64(share)));
        if STOP.load(std::sync::atomic::Ordering::Relaxed) {
            return Ok(kill);
        }
        server.kill()?;
        server.start()?;
    }
    Ok(args.kills)
}

fn go_through(
    remote: &Remote,
    run: &load::Run,
    kills: u32,
    session: &Session<'_>,
) -> Result<Ledger, String> {
    let Noted { sent, acknowledged } = remote.noted();
    let counts = run.all();
    let mut ledger = Ledger {
        kills,
        sent: counts.sent,
        acknowledged: acknowledged.len(),
        unknown: counts.sent - acknowledged.len() as u64,
        ..Ledger::default()
    };
    let mut lane = Lane::new(&remote.api.endpoint);
    for (i, index) in acknowledged.iter().enumerate() {
        if i % 100 == 0 {
            session.show(format!("ledger: {i} of {}", acknowledged.len()));
        }
        match ended(remote, &mut lane, *index)? {
            None => ledger.lost += 1,
            Some(said) => match remote.outcome(*index, &said) {
                Outcome::Right => ledger.right += 1,
                Outcome::Wrong => ledger.wrong += 1,
                Outcome::Failed | Outcome::Throttled | Outcome::Broken => ledger.failed += 1,
            },
        }
    }
    let acknowledged: BTreeSet<String> = acknowledged
        .iter()
        .map(|index| remote.execution_name(*index))
        .collect();
    let sent: BTreeSet<u64> = sent.into_iter().collect();
    let all = names(remote, &mut lane)?;
    for name in all.difference(&acknowledged) {
        let index = name
            .strip_prefix(&format!("{}-", remote.run))
            .and_then(|rest| rest.parse::<u64>().ok());
        match index {
            Some(index) if sent.contains(&index) => ledger.unacknowledged += 1,
            _ => ledger.strange += 1,
        }
    }
    Ok(ledger)
}

/// What an execution has come to; none if there is none.
fn ended(remote: &Remote, lane: &mut Lane, index: u64) -> Result<Option<Said>, String> {
    let arn = remote
        .api
        .machine_arn
        .replacen(":stateMachine:", ":execution:", 1);
    let arn = format!("{arn}:{}", remote.execution_name(index));
    let body = json!({ "executionArn": arn }).to_string();
    let pacer = Pacer::new(Duration::ZERO);
    loop {
        let authority = lane.authority().to_owned();
        let (status, answer) = lane.call(Duration::from_secs(30), |out| {
            remote
                .api
                .write("DescribeExecution", &authority, &[body.as_bytes()], out);
        })?;
        match api::read(status, &answer) {
            Ok(said) if said.status == "RUNNING" && pacer.now() < nanos(END_TIME_MAX) => {
                pacer.wait_until(pacer.now() + 5_000_000);
            }
            Ok(said) => return Ok(Some(said)),
            Err(_)
                if answer
                    .windows(21)
                    .any(|part| part == b"ExecutionDoesNotExist") =>
            {
                return Ok(None);
            }
            Err(_) => {
                return Err(format!(
                    "DescribeExecution: {status} {}",
                    String::from_utf8_lossy(&answer)
                ));
            }
        }
    }
}

/// Names of all executions that the server has of the machine.
fn names(remote: &Remote, lane: &mut Lane) -> Result<BTreeSet<String>, String> {
    let mut names = BTreeSet::new();
    let mut params = json!({ "stateMachineArn": remote.api.machine_arn, "maxResults": 1000 });
    loop {
        let page = remote.api.call(lane, "ListExecutions", &params)?;
        let executions = page["executions"]
            .as_array()
            .ok_or("ListExecutions without executions")?;
        names.extend(
            executions
                .iter()
                .filter_map(|execution| execution["name"].as_str())
                .map(str::to_owned),
        );
        match page.get("nextToken") {
            Some(token) if !token.is_null() => params["nextToken"] = token.clone(),
            _ => return Ok(names),
        }
    }
}
