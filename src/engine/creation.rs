//! Queues that an operator makes.

use std::sync::Arc;

use crate::model::{
    Actor, JournalKind, Origin, QueueName, QueueSettings, RepairRefusal, SettingChange, limits,
};

use super::control::{overrides_after, refused, told};
use super::journal::Entry;
use super::repair::invalid;
use super::{Effect, Effects, Engine};

impl Engine {
    pub(super) fn handle_create_queue(
        &mut self,
        origin: Origin,
        actor: Actor,
        name: QueueName,
        changes: &[SettingChange],
        reason: &str,
        out: &mut Effects,
    ) {
        let effect = match self.settings_to_create(&name, changes) {
            Ok(settings) => {
                let mut reason = told(changes, reason);
                limits::clip(&mut reason, limits::MAX_REASON_BYTES);
                let line = Entry { reason, ..Entry::new(JournalKind::QueueCreated, actor) };
                let overrides = overrides_after(&[], changes);
                self.make_queue_with(name, Arc::new(settings), overrides, line, out);
                Effect::Done { origin }
            }
            Err(refusal) => refused(origin, refusal),
        };
        out.effects.push(effect);
    }

    /// What a queue of this name gets: what the configuration says of it, changed; or why there can't be one.
    fn settings_to_create(
        &self,
        name: &QueueName,
        changes: &[SettingChange],
    ) -> Result<QueueSettings, RepairRefusal> {
        if self.queues.by_name(name).is_some() {
            return Err(invalid(format!(
                "there is a queue {name} already; to change it: mubroker queue set {name} …"
            )));
        }
        self.admit_new([name]).map_err(|rejection| invalid(rejection.reason))?;
        let configured = match self.configured.get(name) {
            Some(configured) => configured.clone(),
            None => self.settings_of_new(name).map(|it| (**it).clone()).unwrap_or_default(),
        };
        let settings = configured.changed(changes, &configured).map_err(invalid)?;
        self.check_redis(&settings).map_err(invalid)?;
        settings.dead_letter_of(name).map_err(invalid)?;
        self.check_circle(name, &configured, &settings).map_err(invalid)?;
        Ok(settings)
    }
}
