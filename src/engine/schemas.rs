//! Which queue has which schema. The engine never asks one: whoever feeds it does, before.
//!
//! The store has the schemas that operators have set. All others are the configuration's as it is now, so that a file that was
//! changed counts after a restart for all queues of its template.

use std::sync::Arc;

use crate::model::{
    MessageId, QueueName, QueueRecord, QueueSettings, SCHEMA, SchemaText, Timestamp,
};

use super::queues::QueueIndex;
use super::{Effect, Effects, Engine};

impl Engine {
    /// Queues whose schema is another than their template's; those that the configuration names are there, or will be.
    pub fn schemas(&self) -> impl Iterator<Item = (&QueueName, &SchemaText)> {
        let there = self.queues.iter().map(|queue| {
            let QueueRecord { name, settings, .. } = &queue.record;
            (name, &settings.schema)
        });
        let configured = self.configured.iter().map(|(name, settings)| (name, &settings.schema));
        let not_there = configured.filter(|(name, _)| self.queue_named(name).is_none());
        there.chain(not_there).filter(|(name, schema)| **schema != *self.schema_of_template(name))
    }

    /// A queue's schema; `None` if there is no such queue.
    pub fn schema_of(&self, name: &QueueName) -> Option<&SchemaText> {
        self.queue_named(name).map(|queue| &queue.record.settings.schema)
    }

    /// What the configuration says of a queue that it names.
    pub fn configured(&self, name: &QueueName) -> Option<&QueueSettings> {
        self.configured.get(name)
    }

    /// Whether a message with this id would be a duplicate there at `now`.
    pub fn knows(&self, queue: &QueueName, id: &MessageId, now: Timestamp) -> bool {
        let now = now.max(self.now);
        self.queue_named(queue).is_some_and(|queue| queue.duplicate_of(id, now).is_some())
    }

    /// A recovered queue's schema is what the configuration says now, unless an operator has set it.
    pub(super) fn take_schema(&self, record: &mut QueueRecord) {
        if record.is_overridden(SCHEMA) {
            return;
        }
        let configured = self.configured.get(&record.name);
        let of_template = self.template(&record.name);
        let schema = match (configured, of_template) {
            (Some(settings), _) => &settings.schema,
            (None, Some(settings)) => &settings.schema,
            (None, None) => &self.default_settings.schema,
        };
        if record.settings.schema == *schema {
            return;
        }
        let settings = QueueSettings { schema: schema.clone(), ..(*record.settings).clone() };
        // Queues that are as their template says share its settings.
        record.settings = match of_template.filter(|it| ***it == settings) {
            Some(shared) => Arc::clone(shared),
            None => Arc::new(settings),
        };
    }

    /// A queue was made, its settings changed, or it goes: `schema` is what it had before.
    pub(super) fn tell_schema(&self, at: QueueIndex, before: &SchemaText, out: &mut Effects) {
        let QueueRecord { name, settings, .. } = &self.queue(at).record;
        if settings.schema != *before {
            let (queue, schema) = (name.clone(), settings.schema.clone());
            out.effects.push(Effect::SchemaSet { queue, schema });
        }
    }

    /// A queue goes; one of its name would be made by its template.
    pub(super) fn forget_schema(&self, at: QueueIndex, out: &mut Effects) {
        let QueueRecord { name, settings, .. } = &self.queue(at).record;
        let schema = self.schema_of_template(name);
        if settings.schema != *schema {
            let (queue, schema) = (name.clone(), schema.clone());
            out.effects.push(Effect::SchemaSet { queue, schema });
        }
    }

    pub(super) fn schema_of_template(&self, name: &QueueName) -> &SchemaText {
        &self.template(name).unwrap_or(&self.default_settings).schema
    }
}
