//! Tags of state machines and activities.

use super::super::app::App;
use super::super::arn::Arn;
use super::super::error::ApiError;
use super::super::limits::TAGS_MAX;
use super::super::request::{ARN, Fields, Text};
use super::super::write::object;
use crate::store::Tag;

const KEY: Text = Text::new(1, 128);
const VALUE: Text = Text::new(0, 256);

/// A list of tags; of two with one key the last one counts.
pub(super) fn read(fields: &Fields<'_, '_>, name: &str) -> Result<Vec<Tag>, ApiError> {
    let mut tags = Vec::new();
    for item in fields.objects(name)?.unwrap_or_default() {
        let key = item.text("key", KEY)?.unwrap_or_default();
        let value = item.text("value", VALUE)?.unwrap_or_default();
        set(&mut tags, key, value);
    }
    Ok(tags)
}

/// A resource may have so many.
pub(super) fn check_count(tags: &[Tag], arn: &str) -> Result<(), ApiError> {
    if tags.len() > TAGS_MAX {
        let message = format!("Too many tags: '{arn}' may have {TAGS_MAX}");
        return Err(ApiError::new("TooManyTags", message));
    }
    Ok(())
}

fn set(tags: &mut Vec<Tag>, key: &str, value: &str) {
    match tags.iter_mut().find(|tag| *tag.key == *key) {
        Some(tag) => tag.value = value.into(),
        None => tags.push(Tag {
            key: key.into(),
            value: value.into(),
        }),
    }
}

/// Changes the tags of what an ARN names.
fn change(
    app: &App,
    arn: &str,
    change: impl FnOnce(&mut Vec<Tag>) -> Result<(), ApiError>,
) -> Result<Vec<u8>, ApiError> {
    match Arn::parse(arn)? {
        Arn::StateMachine {
            name,
            qualifier: None,
        } if app.is_home(arn) => app
            .catalogue
            .change_machine(name, |machine| match machine {
                Some(machine) => change(&mut machine.record.tags),
                None => Err(ApiError::no_resource(arn)),
            })?,
        Arn::Activity { name } if app.is_home(arn) => {
            app.catalogue
                .change_activity(name, |activity| match activity {
                    Some(activity) => change(&mut activity.tags),
                    None => Err(ApiError::no_resource(arn)),
                })?;
        }
        _ => return Err(ApiError::no_resource(arn)),
    }
    Ok(object(|_| {}))
}

pub(super) fn tag(app: &App, fields: &Fields<'_, '_>) -> Result<Vec<u8>, ApiError> {
    let arn = fields.required_text("resourceArn", ARN)?;
    let new = read(fields, "tags")?;
    fields.finish()?;
    change(app, arn, |tags| {
        for tag in &new {
            set(tags, &tag.key, &tag.value);
        }
        check_count(tags, arn)
    })
}

pub(super) fn untag(app: &App, fields: &Fields<'_, '_>) -> Result<Vec<u8>, ApiError> {
    let arn = fields.required_text("resourceArn", ARN)?;
    let keys = fields.texts("tagKeys")?.unwrap_or_default();
    fields.finish()?;
    change(app, arn, |tags| {
        tags.retain(|tag| !keys.contains(&&*tag.key));
        Ok(())
    })
}

pub(super) fn list(app: &App, fields: &Fields<'_, '_>) -> Result<Vec<u8>, ApiError> {
    let arn = fields.required_text("resourceArn", ARN)?;
    fields.finish()?;
    let tables = app.catalogue.read();
    let tags = match Arn::parse(arn)? {
        Arn::StateMachine {
            name,
            qualifier: None,
        } => tables.machines.get(name).map(|m| &m.record.tags),
        Arn::Activity { name } => tables.activities.get(name).map(|a| &a.tags),
        _ => None,
    };
    let tags = tags
        .filter(|_| app.is_home(arn))
        .ok_or_else(|| ApiError::no_resource(arn))?;
    Ok(object(|o| {
        o.objects("tags", tags, |o, tag| {
            o.string("key", &tag.key);
            o.string("value", &tag.value);
        });
    }))
}
