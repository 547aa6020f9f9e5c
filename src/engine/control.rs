//! Queues by an operator's or the configuration's wish: put, paused, drained, resumed.

use std::sync::Arc;

use serde_json::Value;

use crate::model::{
    Actor, JournalKind, Op, Origin, PauseRecord, QueueName, QueueRecord, QueueSettings,
    RepairRefusal, SCHEMA, SchemaText, SettingChange, dead_letter_circle, limits,
};

use super::journal::Entry;
use super::queues::QueueIndex;
use super::{Effect, Effects, Engine};

impl Engine {
    pub(super) fn handle_put_queue(
        &mut self,
        origin: Origin,
        actor: Actor,
        name: QueueName,
        settings: QueueSettings,
        out: &mut Effects,
    ) {
        let configured = Arc::new(settings);
        match self.queues.by_name(&name) {
            Some(at) => {
                let QueueRecord { settings, overrides, .. } = &self.queue(at).record;
                let kept = configured.with_keys_of(settings, overrides);
                if **settings != kept {
                    // At the broker's start nobody is there yet.
                    let is_worked_on = !self.queue(at).workers.is_empty();
                    let running = if is_worked_on { self.check_running(at, &kept) } else { Ok(()) };
                    if let Err(reason) = running.and_then(|()| self.check_reorder(at, &kept)) {
                        return out
                            .effects
                            .push(refused(origin, RepairRefusal::Invalid { reason }));
                    }
                    self.put_settings(at, kept, out);
                }
            }
            None if self.queues.len() >= self.max_queues => {
                let reason = format!("there are {} queues, no more are allowed", self.queues.len());
                return out.effects.push(refused(origin, RepairRefusal::Invalid { reason }));
            }
            None => {
                self.make_queue(name.clone(), Arc::clone(&configured), actor, out);
            }
        }
        self.configured.insert(name, Arc::unwrap_or_clone(configured));
        out.effects.push(Effect::Done { origin });
    }

    /// Changes settings of a queue by an operator's wish, until he gives the key back to the configuration.
    pub(super) fn handle_set_queue(
        &mut self,
        origin: Origin,
        actor: Actor,
        name: QueueName,
        changes: &[SettingChange],
        reason: String,
        out: &mut Effects,
    ) {
        let Some(at) = self.queues.by_name(&name) else {
            return out.effects.push(refused(origin, RepairRefusal::NoSuchQueue { queue: name }));
        };
        let settings = match self.settings_after(at, changes) {
            Ok(settings) => settings,
            Err(reason) => {
                return out.effects.push(refused(origin, RepairRefusal::Invalid { reason }));
            }
        };
        let record = &mut self.queue_mut(at).record;
        let overrides = overrides_after(&record.overrides, changes).into_boxed_slice();
        if *record.settings != settings || record.overrides != overrides {
            record.overrides = overrides;
            self.put_settings(at, settings, out);
            let mut reason = told(changes, &reason);
            limits::clip(&mut reason, limits::MAX_REASON_BYTES);
            let entry = Entry { reason, ..Entry::new(JournalKind::SettingsChanged, actor) };
            self.write_journal(at, entry, out);
        }
        out.effects.push(Effect::Done { origin });
    }

    /// The settings, or why they can't be so.
    fn settings_after(
        &self,
        at: QueueIndex,
        changes: &[SettingChange],
    ) -> Result<QueueSettings, String> {
        let queue = self.queue(at);
        let old = &queue.record.settings;
        let configured = match self.configured.get(&queue.record.name) {
            Some(configured) => configured.clone(),
            None => self.template(&queue.record.name).map(|it| (**it).clone()).unwrap_or_default(),
        };
        let settings = old.changed(changes, &configured)?;
        self.check_redis(&settings)?;
        let moves = (settings.mailbox, settings.needs_redis()) != (old.mailbox, old.needs_redis());
        if moves && queue.has_unfinished() && queue.record.paused.is_none() {
            return Err(format!(
                "{name} can't move from {} to {} while it runs with {} messages; pause it first \
                 (mubroker queue pause {name}), and resume it after",
                old.mailbox.as_str(),
                settings.mailbox.as_str(),
                queue.depth(),
                name = queue.record.name,
            ));
        }
        self.check_running(at, &settings)?;
        self.check_reorder(at, &settings)?;
        self.check_circle(&queue.record.name, old, &settings)?;
        Ok(settings)
    }

    pub(super) fn check_redis(&self, settings: &QueueSettings) -> Result<(), String> {
        if settings.needs_redis() && !self.redis {
            let reason = "no Redis is configured: it needs [redis] url, and a restart";
            return Err(reason.to_owned());
        }
        Ok(())
    }

    /// Dead letters may not come back to the queue by the dead-letter queues of their dead-letter queues.
    pub(super) fn check_circle(
        &self,
        name: &QueueName,
        old: &QueueSettings,
        settings: &QueueSettings,
    ) -> Result<(), String> {
        if old.dead_letter == settings.dead_letter {
            return Ok(());
        }
        settings.dead_letter_of(name)?;
        let settings_of = |queue: &QueueName| {
            if queue == name {
                return Some(settings);
            }
            let known = self.queue_named(queue).map(|queue| &queue.record.settings);
            known.or_else(|| self.template(queue)).map(|it| &**it)
        };
        // One that this queue is no part of was there before.
        match dead_letter_circle(name, settings_of).filter(|circle| circle.contains(name)) {
            None => Ok(()),
            Some(circle) => {
                let circle = circle.iter().map(QueueName::as_str).collect::<Vec<_>>().join(" -> ");
                Err(format!(
                    "dead_letter: dead letters would go in a circle: {circle}; name another queue"
                ))
            }
        }
    }

    /// The order of what waits doesn't change under those who work on it.
    fn check_running(&self, at: QueueIndex, settings: &QueueSettings) -> Result<(), String> {
        let queue = self.queue(at);
        let runs = queue.has_unfinished() && queue.record.paused.is_none();
        if !runs || !is_reordered(&queue.record.settings, settings) {
            return Ok(());
        }
        Err(format!(
            "{name} can't change its ordering while it runs with {} messages; pause it first \
             (mubroker queue pause {name}), and resume it after",
            queue.depth(),
            name = queue.record.name,
        ))
    }

    /// What workers have was handed out by the order that was; so it must be done before there is another.
    fn check_reorder(&self, at: QueueIndex, settings: &QueueSettings) -> Result<(), String> {
        let queue = self.queue(at);
        if !is_reordered(&queue.record.settings, settings) || queue.in_flight.is_empty() {
            return Ok(());
        }
        Err(format!(
            "{name} can't change its ordering while workers have messages of it; pause it (mubroker queue pause \
             {name}), and try again when they are done",
            name = queue.record.name,
        ))
    }

    fn put_settings(&mut self, at: QueueIndex, settings: QueueSettings, out: &mut Effects) {
        let now = self.now;
        let (queue, budget) = self.queue_and_budget(at);
        queue.dedup.resize(settings.dedup.last());
        let reorders = is_reordered(&queue.record.settings, &settings);
        let hands_over = queue.record.settings.consumers != settings.consumers;
        let is_other_window = queue.record.settings.dedup.window_ms() != settings.dedup.window_ms();
        let before = std::mem::replace(&mut queue.record.settings, Arc::new(settings));
        if is_other_window {
            queue.begin_window(now);
        }
        if reorders {
            queue.window.drop_contents(queue.floor, None, budget);
            queue.begin_order(now);
        }
        out.ops.push(Op::PutQueue(Box::new(queue.record.clone())));
        self.tell_schema(at, &before.schema, out);
        self.note_dead_letters(at);
        if hands_over {
            self.unticket(at);
            self.wait_for_leases(at);
            self.workers_changed = true;
        }
        self.touch(at);
        self.watch_idle(at);
        self.offer(at, out);
    }

    /// Stops delivery, or lets the queue go on: it delivers then, and accepts, if it was drained. What a queue does
    /// already isn't done again: the first pause is the one shown.
    pub(super) fn handle_set_paused(
        &mut self,
        origin: Origin,
        actor: Actor,
        name: QueueName,
        paused: bool,
        reason: String,
        out: &mut Effects,
    ) {
        let flow = if paused { Flow::Paused } else { Flow::Running };
        self.set_flow(origin, (actor, reason), name, flow, out);
    }

    /// Closes a queue to what is new; what waits in it is delivered. Answers to what was accepted before still come into
    /// it, and what others put into its Redis stream waits there.
    pub(super) fn handle_drain(
        &mut self,
        origin: Origin,
        actor: Actor,
        name: QueueName,
        reason: String,
        out: &mut Effects,
    ) {
        self.set_flow(origin, (actor, reason), name, Flow::Draining, out);
    }

    fn set_flow(
        &mut self,
        origin: Origin,
        (actor, mut reason): (Actor, String),
        name: QueueName,
        flow: Flow,
        out: &mut Effects,
    ) {
        let Some(at) = self.queues.by_name(&name) else {
            return out.effects.push(refused(origin, RepairRefusal::NoSuchQueue { queue: name }));
        };
        limits::clip(&mut reason, limits::MAX_REASON_BYTES);
        let now = self.now;
        let record = &mut self.queue_mut(at).record;
        let before = (record.paused.is_some(), record.draining.is_some());
        let stop = || Box::new(PauseRecord { by: actor.clone(), at: now, reason: reason.clone() });
        let kind = match flow {
            Flow::Paused => {
                record.paused.get_or_insert_with(stop);
                JournalKind::Paused
            }
            Flow::Draining => {
                record.draining.get_or_insert_with(stop);
                JournalKind::Draining
            }
            Flow::Running => {
                (record.paused, record.draining) = (None, None);
                JournalKind::Resumed
            }
        };
        if before != (record.paused.is_some(), record.draining.is_some()) {
            out.ops.push(Op::PutQueue(Box::new(record.clone())));
            self.write_journal(at, Entry { reason, ..Entry::new(kind, actor) }, out);
            self.cool(at);
            self.touch(at);
            self.offer(at, out);
        }
        out.effects.push(Effect::Done { origin });
    }
}

/// What an operator makes of a queue.
#[derive(Debug, Clone, Copy)]
enum Flow {
    Paused,
    Draining,
    /// Neither of these any more.
    Running,
}

fn is_reordered(before: &QueueSettings, after: &QueueSettings) -> bool {
    (before.ordering, before.priority) != (after.ordering, after.priority)
}

/// The keys that are an operator's after `changes`.
pub(super) fn overrides_after(before: &[String], changes: &[SettingChange]) -> Vec<String> {
    let mut overrides = before.to_vec();
    for change in changes {
        let key = change.top();
        let is_kept = overrides.iter().any(|known| known == key);
        match &change.value {
            Some(_) if !is_kept => overrides.push(key.to_owned()),
            // One value of a table goes back, the others stay.
            None if change.key == key => overrides.retain(|known| known != key),
            Some(_) | None => {}
        }
    }
    overrides
}

/// What the journal says of it.
pub(super) fn told(changes: &[SettingChange], reason: &str) -> String {
    let value = |change: &SettingChange| match &change.value {
        Some(Value::String(text)) if change.key == SCHEMA => {
            format!("{SCHEMA}=({})", SchemaText::new(text).summary().as_str())
        }
        None => format!("{}=default", change.key),
        Some(Value::String(word)) => format!("{}={word}", change.key),
        Some(value) => format!("{}={value}", change.key),
    };
    let mut text = changes.iter().map(value).collect::<Vec<_>>().join(" ");
    if !reason.is_empty() {
        text.push_str(": ");
        text.push_str(reason);
    }
    text
}

/// An operator's request is refused.
pub(super) fn refused(origin: Origin, refusal: RepairRefusal) -> Effect {
    Effect::Refused { origin, refusal }
}
