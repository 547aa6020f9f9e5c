//! `[queues."name"]`

use std::sync::Arc;

use super::bad;
use super::error::{ConfigError, Place};
use super::file::{File, Source};
use super::schemas::Schemas;
use crate::model::{MailboxKind, QueueName, QueueSettings, QueueTemplate, dead_letter_circle};

/// Queues by name, and templates of others.
pub(super) type Queues = (Vec<(QueueName, QueueSettings)>, Vec<QueueTemplate>);

/// A queue that is there, or that a template makes.
pub(super) fn known_queue((queues, templates): &Queues, text: &str) -> Result<QueueName, String> {
    let name = QueueName::new(text).map_err(|error| error.to_string())?;
    if settings_of((queues, templates), &name).is_some() {
        return Ok(name);
    }
    Err(format!("there is no queue {name}; write [queues.\"{name}\"], or a template that makes it"))
}

/// The settings of a queue that is there, or that a template makes.
fn settings_of<'a>(
    (queues, templates): (&'a [(QueueName, QueueSettings)], &'a [QueueTemplate]),
    name: &QueueName,
) -> Option<&'a QueueSettings> {
    let named = queues.iter().find(|(known, _)| known == name).map(|(_, settings)| settings);
    named.or_else(|| QueueTemplate::find(templates, name).map(|(_, template)| &*template.settings))
}

/// A file without any queue gets the example's.
pub(super) fn check(
    source: &Source<'_>,
    file: File,
    has_redis: bool,
) -> Result<Queues, ConfigError> {
    let Some(found) = file.queues else {
        let settings = Arc::new(QueueSettings::default());
        let template = QueueTemplate { prefix: String::new(), settings, max_queues: 0 };
        return Ok((Vec::new(), vec![template]));
    };
    let mut schemas = Schemas::of(source, file.schemas);
    let mut max_queues = file.max_queues;
    let (mut queues, mut templates) = (Vec::new(), Vec::new());
    // One name of each table, and where that stands.
    let mut places = Vec::with_capacity(found.len());
    for (name, settings) in found {
        let place = source.place(name.span());
        let settings_place = source.place(settings.span());
        let (text, mut settings) = (name.into_inner(), settings.into_inner());
        settings.schema = schemas.take(&text)?;
        let wrong = |reason: String| bad(&settings_place, format!("queues.{text:?}: {reason}"));
        check_settings(&settings, has_redis).map_err(wrong)?;
        let prefix = text.strip_suffix('*');
        if prefix.is_none() {
            check_named(&text, &settings, max_queues.get(&text), &settings_place)?;
        }
        let like = prefix.map_or_else(|| text.clone(), |prefix| made_like(prefix, &settings));
        let name = QueueName::new(&like).map_err(|error| bad(&place, error.to_string()))?;
        settings.dead_letter_of(&name).map_err(wrong)?;
        places.push((name.clone(), settings_place));
        match prefix {
            Some(prefix) => templates.push(QueueTemplate {
                prefix: prefix.to_owned(),
                settings: Arc::new(settings),
                max_queues: max_queues.remove(&text).map_or(0, |(max, _)| max),
            }),
            None => queues.push((name, settings)),
        }
    }
    refuse_circles((&queues, &templates), &places)?;
    Ok((queues, templates))
}

/// A name that a template may give, and that isn't its queues' common dead-letter queue.
fn made_like(prefix: &str, settings: &QueueSettings) -> String {
    let like = format!("{prefix}x");
    if settings.dead_letter == like { format!("{prefix}y") } else { like }
}

/// Dead letters may not come back to a queue by the dead-letter queues of their dead-letter queues.
fn refuse_circles(
    known: (&[(QueueName, QueueSettings)], &[QueueTemplate]),
    places: &[(QueueName, Place)],
) -> Result<(), ConfigError> {
    for (name, place) in places {
        let Some(circle) = dead_letter_circle(name, |queue| settings_of(known, queue)) else {
            continue;
        };
        let of_circle = places.iter().find(|(name, _)| circle.contains(name));
        let place = of_circle.map_or(place, |(_, place)| place);
        let names: Vec<&str> = circle.iter().map(QueueName::as_str).collect();
        let reason = format!(
            "dead_letter goes in a circle: {}; the last of them needs another one, or none of its own",
            names.join(" → ")
        );
        return Err(bad(place, reason));
    }
    Ok(())
}

/// What only a template can say.
fn check_named(
    name: &str,
    settings: &QueueSettings,
    max_queues: Option<&(u64, Place)>,
    place: &Place,
) -> Result<(), ConfigError> {
    if let Some((_, place)) = max_queues {
        let reason = format!(
            "queues.{name:?}.max_queues: this is one queue; a template, like [queues.\"{name}.*\"], says how many it makes"
        );
        return Err(bad(place, reason));
    }
    if settings.delete_on_idle_ms > 0 {
        let reason = format!(
            "queues.{name:?}.delete_on_idle_ms: this queue is made at each start, so it stays; only a template's queues, \
             like those of [queues.\"{name}.*\"], go when they are idle"
        );
        return Err(bad(place, reason));
    }
    Ok(())
}

/// A Redis must be known to queues that keep payloads in one.
fn check_settings(settings: &QueueSettings, has_redis: bool) -> Result<(), String> {
    settings.check()?;
    if settings.needs_redis() && !has_redis {
        return Err(format!(
            "{} keeps payloads in a Redis, and none is configured: [redis] url is missing",
            if settings.mailbox == MailboxKind::Redis {
                "mailbox = \"redis\""
            } else {
                "spill = \"redis\""
            }
        ));
    }
    Ok(())
}
