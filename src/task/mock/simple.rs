//! The simple form: an answer for each resource.
//!
//! ```json
//! {
//!   "tasks": {
//!     "arn:aws:lambda:*:function:quote": {"result": {"carrier": "DHL"}},
//!     "arn:aws:lambda:*:function:voucher": {"error": "Voucher.Unavailable", "cause": "closed"},
//!     "arn:aws:states:::sqs:sendMessage": {"echo": true},
//!     "arn:aws:lambda:*:function:stock": {"exec": ["python3", "stock.py"], "processes": 2}
//!   }
//! }
//! ```
//!
//! `result` is the result every time, `error` and `cause` the failure; `echo` answers with the input; `exec` asks child
//! processes (see `exec`), one unless `processes` says otherwise.

use std::sync::Arc;

use super::Problem;
use super::exec::Exec;
use super::place::Place;
use crate::history::Failure;
use crate::task::{Handler, TaskRegistry, TaskRequest};
use crate::value::Prepared;

/// Most child processes of one entry.
const PROCESSES_MAX: i64 = 256;

pub(super) fn read(tasks: &Place<'_>, registry: &mut TaskRegistry) -> Result<(), Problem> {
    for (resource, place) in tasks.members()? {
        registry.insert(&resource, handler(&resource, &place)?);
    }
    Ok(())
}

fn handler(resource: &str, place: &Place<'_>) -> Result<Handler, Problem> {
    place.only(&["result", "error", "cause", "echo", "exec", "processes"])?;
    let answers = ["result", "error", "echo", "exec"].map(|name| place.member(name));
    match answers {
        [Some(result), None, None, None] => {
            let result = Prepared::new(&result.json());
            Ok(Handler::Fixed(Arc::new(Ok(result))))
        }
        [None, Some(error), None, None] => {
            let cause = place.member("cause").map(|cause| cause.string());
            Ok(Handler::Fixed(Arc::new(Err(Failure {
                error: Some(error.string()?.into()),
                cause: cause.transpose()?.map(Into::into),
            }))))
        }
        [None, None, Some(_), None] => Ok(Handler::Sync(Arc::new(echo))),
        [None, None, None, Some(argv)] => {
            let words = argv.elements()?;
            let argv_words: Result<Vec<String>, Problem> =
                words.iter().map(Place::string).collect();
            let argv_words = argv_words?;
            if argv_words.first().is_none_or(String::is_empty) {
                return Err(argv.problem("the program to run is missing".to_owned()));
            }
            let processes = match place.member("processes") {
                None => 1,
                Some(n) => match n.integer() {
                    Some(count @ 1..=PROCESSES_MAX) => usize::try_from(count).unwrap_or(1),
                    _ => {
                        let message = format!("a number from 1 to {PROCESSES_MAX} is wanted");
                        return Err(n.problem(message));
                    }
                },
            };
            Ok(Handler::Exec(Exec::new(resource, argv_words, processes)))
        }
        _ => {
            let wanted = "one of \"result\", \"error\", \"echo\" and \"exec\" is wanted";
            Err(place.problem(wanted.to_owned()))
        }
    }
}

fn echo(request: &TaskRequest<'_>, response: &mut Vec<u8>) -> Result<(), Failure> {
    request.write_input(response);
    Ok(())
}
