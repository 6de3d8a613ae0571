//! The machines that are run, and what is known of each: how long its tasks may take, when it must have ended.

use std::sync::OnceLock;

use quickstep::StateMachine;
use quickstep::asl::MachineType;

/// What a machine is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Kind {
    /// Ends at once; draws from its seed.
    Short,
    /// JSONata, in the library.
    Query,
    /// Counts to `n`.
    Loop,
    /// Waits once.
    Wait,
    /// Waits, and waits again.
    Waits,
    /// A task of a function, which fails, panics, takes its time.
    Flaky,
    /// A task of a future.
    Later,
    /// A task that is answered by its token.
    Callback,
    /// All of these at once; one that fails ends the others.
    Parallel,
    /// Iterations, two at a time.
    Map,
    /// Waits for its token, and has no timeout.
    Silent,
    /// Has to end soon, as a whole.
    Deadline,
}

pub(crate) const KINDS: [Kind; 12] = [
    Kind::Short,
    Kind::Query,
    Kind::Loop,
    Kind::Wait,
    Kind::Waits,
    Kind::Flaky,
    Kind::Later,
    Kind::Callback,
    Kind::Parallel,
    Kind::Map,
    Kind::Silent,
    Kind::Deadline,
];

pub(crate) const FLAKY: &str = "arn:aws:lambda:us-east-1:000000000000:function:flaky";
pub(crate) const LATER: &str = "arn:aws:lambda:us-east-1:000000000000:function:later";
pub(crate) const TOKEN: &str = "arn:aws:lambda:us-east-1:000000000000:function:token";
pub(crate) const CALLBACK: &str = "arn:aws:states:::sqs:sendMessage.waitForTaskToken";

/// Longest execution of an EXPRESS machine.
const EXPRESS_MILLIS: u64 = 300_000;

/// What is known of a Task.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TaskTimes {
    pub(crate) timeout: Option<u64>,
    pub(crate) heartbeat: Option<u64>,
    /// How often it is tried again.
    pub(crate) retries: u32,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Short => "short",
            Kind::Query => "query",
            Kind::Loop => "loop",
            Kind::Wait => "wait",
            Kind::Waits => "waits",
            Kind::Flaky => "flaky",
            Kind::Later => "later",
            Kind::Callback => "callback",
            Kind::Parallel => "parallel",
            Kind::Map => "map",
            Kind::Silent => "silent",
            Kind::Deadline => "deadline",
        }
    }

    pub(crate) fn machine_type(self) -> MachineType {
        match self {
            Kind::Callback | Kind::Silent => MachineType::Standard,
            _ => MachineType::Express,
        }
    }

    /// How long an execution may take.
    pub(crate) fn deadline(self) -> Option<u64> {
        match self {
            Kind::Deadline => Some(5_000),
            Kind::Callback | Kind::Silent => None,
            _ => Some(EXPRESS_MILLIS),
        }
    }

    /// Whether it has one Task, and nothing else that takes time.
    pub(crate) fn has_one_task(self) -> bool {
        matches!(self, Kind::Flaky | Kind::Later | Kind::Callback)
    }

    pub(crate) fn machine(self) -> &'static StateMachine {
        static MACHINES: OnceLock<Vec<StateMachine>> = OnceLock::new();
        let machines = MACHINES.get_or_init(|| KINDS.iter().map(|kind| kind.compile()).collect());
        &machines[self as usize]
    }

    fn compile(self) -> StateMachine {
        StateMachine::builder()
            .name(self.name())
            .machine_type(self.machine_type())
            .compile(&self.definition())
            .unwrap_or_else(|problems| panic!("{self:?}: {problems:?}"))
    }

    fn definition(self) -> String {
        match self {
            Kind::Short => r#"{"StartAt":"A","States":{"A":{"Type":"Pass","End":true,"Parameters":{
                "id.$":"$.id","n.$":"States.MathAdd($.n, 1)","name.$":"$$.Execution.Name","drawn.$":"States.UUID()"}}}}"#
                .to_owned(),
            Kind::Query => r#"{"QueryLanguage":"JSONata","StartAt":"A","States":{"A":{"Type":"Pass","End":true,"Output":{
                "id":"{% $states.input.id %}","drawn":"{% $random() %}",
                "n":"{% $sum($map([1..$states.input.n], function($x) { $x * 2 })) %}"}}}}"#
                .to_owned(),
            Kind::Loop => r#"{"StartAt":"Z","States":{
                "Z":{"Type":"Pass","Result":0,"ResultPath":"$.i","Next":"B"},
                "A":{"Type":"Pass","Parameters":{"id.$":"$.id","n.$":"$.n","i.$":"States.MathAdd($.i, 1)"},"Next":"B"},
                "B":{"Type":"Choice","Choices":[{"Variable":"$.i","NumericLessThanPath":"$.n","Next":"A"}],"Default":"C"},
                "C":{"Type":"Succeed"}}}"#
                .to_owned(),
            Kind::Wait => r#"{"StartAt":"W","States":{"W":{"Type":"Wait","SecondsPath":"$.s","End":true}}}"#
                .to_owned(),
            Kind::Waits => r#"{"StartAt":"W","States":{"W":{"Type":"Wait","SecondsPath":"$.s","Next":"V"},
                "V":{"Type":"Wait","Seconds":2,"Next":"X"},"X":{"Type":"Succeed"}}}"#
                .to_owned(),
            Kind::Flaky => one_task("F", FLAKY, r#""TimeoutSeconds":10,"#),
            Kind::Later => one_task("L", LATER, r#""TimeoutSeconds":8,"#),
            Kind::Callback => one_task("C", CALLBACK, r#""TimeoutSeconds":60,"HeartbeatSeconds":10,"#),
            Kind::Parallel => parallel(),
            Kind::Map => map(),
            Kind::Silent => format!(r#"{{"StartAt":"S","States":{{{}}}}}"#, task("S", CALLBACK, "", true)),
            Kind::Deadline => format!(
                r#"{{"TimeoutSeconds":5,"StartAt":"D","States":{{{}}}}}"#,
                task("D", LATER, r#""TimeoutSeconds":60,"#, true)
            ),
        }
    }
}

/// How long the Task of a state may take.
pub(crate) fn task_times(state: &str) -> TaskTimes {
    let (timeout, heartbeat, retries) = match state {
        "F" => (Some(10_000), None, 2),
        "L" => (Some(8_000), None, 2),
        "C" => (Some(60_000), Some(10_000), 2),
        "M" => (Some(20_000), None, 2),
        "PF" => (Some(10_000), None, 0),
        "PL" => (Some(8_000), None, 0),
        "PC" => (Some(30_000), None, 0),
        "D" => (Some(60_000), None, 0),
        "S" => (None, None, 0),
        _ => panic!("there is no Task {state}"),
    };
    TaskTimes {
        timeout,
        heartbeat,
        retries,
    }
}

/// The delay before a retry, counted from 1.
pub(crate) fn retry_delay(retry: u32) -> u64 {
    match retry {
        1 => 2_000,
        2 => 3_000,
        _ => panic!("there is no retry {retry}"),
    }
}

const RETRY: &str = r#""Retry":[{"ErrorEquals":["Busy","Task.Panicked","Task.Dropped","States.Timeout"],
    "IntervalSeconds":2,"BackoffRate":1.5,"MaxAttempts":2}],"#;

fn task(state: &str, resource: &str, more: &str, keeps_input: bool) -> String {
    let path = if keeps_input {
        r#""ResultPath":"$.r","#
    } else {
        ""
    };
    let token = match resource {
        CALLBACK => r#","token.$":"$$.Task.Token""#,
        _ => "",
    };
    format!(
        r#""{state}":{{"Type":"Task","Resource":"{resource}",{more}{path}
            "Parameters":{{"id.$":"$.id"{token}}},"End":true}}"#
    )
}

/// A Task that is tried again, and whose failures are caught.
fn one_task(state: &str, resource: &str, more: &str) -> String {
    let catch = r#""Catch":[{"ErrorEquals":["States.ALL"],"ResultPath":"$.e","Next":"X"}],"#;
    let task = task(state, resource, &format!("{more}{RETRY}{catch}"), true);
    format!(r#"{{"StartAt":"{state}","States":{{{task},"X":{{"Type":"Succeed"}}}}}}"#)
}

fn parallel() -> String {
    let branch =
        |state: &str, task: String| format!(r#"{{"StartAt":"{state}","States":{{{task}}}}}"#);
    let branches = [
        r#"{"StartAt":"PW","States":{"PW":{"Type":"Wait","SecondsPath":"$.s","End":true}}}"#
            .to_owned(),
        branch("PF", task("PF", FLAKY, r#""TimeoutSeconds":10,"#, false)),
        branch("PL", task("PL", LATER, r#""TimeoutSeconds":8,"#, false)),
        branch("PC", task("PC", TOKEN, r#""TimeoutSeconds":30,"#, false)),
    ];
    format!(
        r#"{{"StartAt":"P","States":{{"P":{{"Type":"Parallel","ResultPath":"$.p","End":true,
            "Catch":[{{"ErrorEquals":["States.ALL"],"ResultPath":"$.e","Next":"X"}}],
            "Branches":[{}]}},"X":{{"Type":"Succeed"}}}}}}"#,
        branches.join(",")
    )
}

fn map() -> String {
    let task = task(
        "M",
        LATER,
        &format!(r#""TimeoutSeconds":20,{RETRY}"#),
        false,
    );
    format!(
        r#"{{"StartAt":"Q","States":{{"Q":{{"Type":"Map","ItemsPath":"$.items","MaxConcurrency":2,"ResultPath":"$.p",
            "ItemSelector":{{"id.$":"$.id","item.$":"$$.Map.Item.Value"}},"End":true,
            "Catch":[{{"ErrorEquals":["States.ALL"],"ResultPath":"$.e","Next":"X"}}],
            "ItemProcessor":{{"StartAt":"I","States":{{"I":{{"Type":"Wait","Seconds":1,"Next":"M"}},{task}}}}}}},
            "X":{{"Type":"Succeed"}}}}}}"#
    )
}
