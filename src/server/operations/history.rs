//! `GetExecutionHistory`.

use super::super::app::App;
use super::super::error::ApiError;
use super::super::limits::PAGE_BYTES_MAX;
use super::super::page;
use super::super::request::{ARN, Fields, PAGE_TOKEN};
use super::super::write::object;
use super::executions;

/// Members of an event's details that `includeExecutionData: false` leaves out.
const DATA: [&str; 5] = [
    "input",
    "inputDetails",
    "output",
    "outputDetails",
    "parameters",
];

pub(super) fn get(app: &App, fields: &Fields<'_, '_>) -> Result<Vec<u8>, ApiError> {
    let arn = fields.required_text("executionArn", ARN)?;
    let size = fields.page_size()?;
    let reverse = fields.boolean("reverseOrder")?.unwrap_or(false);
    let token = fields.text("nextToken", PAGE_TOKEN)?;
    let data = fields.boolean("includeExecutionData")?.unwrap_or(true);
    fields.finish()?;
    let live = executions::find_any(app, arn)?;
    let list = format!("GetExecutionHistory {} {arn} {reverse}", live.serial);
    let now = app.now();
    // How many events were shown, or, from the end, how many were there.
    let position = match token {
        None => None,
        Some(token) => Some(
            page::position(&app.ids, &list, token, now)?
                .parse::<usize>()
                .map_err(|_| ApiError::invalid_token())?,
        ),
    };
    // One more than is shown, to know whether there is one.
    let wanted = |total: usize| match (reverse, position) {
        (false, at) => at.unwrap_or(0)..at.unwrap_or(0).saturating_add(size + 1),
        (true, at) => {
            let at = at.unwrap_or(total).min(total);
            at.saturating_sub(size + 1)..at
        }
    };
    let looked = live.events_in(wanted, |events| {
        let mut shown: Vec<Vec<u8>> = Vec::new();
        let mut bytes = 0;
        let mut at = position.unwrap_or(if reverse { events.total } else { 0 });
        loop {
            let event = match reverse {
                true => at.checked_sub(1).and_then(|i| events.get(i)),
                false => events.get(at),
            };
            let Some(event) = event else {
                return (shown, None);
            };
            let full = shown.len() == size || bytes + event.len() > PAGE_BYTES_MAX;
            if full && !shown.is_empty() {
                return (shown, Some(at));
            }
            bytes += event.len();
            shown.push(event.to_vec());
            at = if reverse { at - 1 } else { at + 1 };
        }
    });
    let (shown, next) = looked.map_err(executions::of_store)?;
    let shown: Vec<Vec<u8>> = match data {
        true => shown,
        false => shown.iter().map(|event| without_data(event)).collect(),
    };
    Ok(object(|o| {
        o.raws("events", &shown);
        if let Some(at) = next {
            o.string(
                "nextToken",
                &page::token(&app.ids, &list, &at.to_string(), now),
            );
        }
    }))
}

/// The event less what executions work on.
fn without_data(event: &[u8]) -> Vec<u8> {
    let Ok(mut json) = serde_json::from_slice::<serde_json::Value>(event) else {
        return event.to_vec();
    };
    let members = json.as_object_mut().into_iter().flatten();
    for (_, details) in members {
        if let Some(details) = details.as_object_mut() {
            details.retain(|name, _| !DATA.contains(&&**name));
        }
    }
    json.to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    #[test]
    fn data_is_left_out() {
        let event = br#"{"id":1,"input":2,"xEventDetails":{"input":"{}","inputDetails":{"truncated":false},"name":"A"}}"#;
        assert_eq!(
            String::from_utf8(super::without_data(event)).unwrap(),
            r#"{"id":1,"input":2,"xEventDetails":{"name":"A"}}"#
        );
    }
}
