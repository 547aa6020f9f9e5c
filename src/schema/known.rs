//! Which queue has which schema.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use std::time::Duration;

use tokio::time::Instant;

use super::compiled::{Compiled, SchemaError};
use crate::model::{QueueName, QueueTemplate, SchemaText};

/// Schemas that stay compiled, the newest ones: each takes some ten times its text, and is made again in milliseconds.
const MAX_COMPILED: usize = 128;
/// How long a schema isn't asked again that took too long: nobody can stop that one, it takes a core until it ends.
const AVOIDED: Duration = Duration::from_secs(30);

/// The schemas of all queues, there or to be made by a template.
#[derive(Debug, Default)]
pub struct Schemas {
    /// Whether there is any: what has none pays for a look at this.
    any: AtomicBool,
    known: RwLock<Known>,
    compiled: Arc<Mutex<VecDeque<Weak<Schema>>>>,
}

#[derive(Debug, Default)]
struct Known {
    /// Where it is another than the template's.
    named: HashMap<QueueName, Option<Arc<Schema>>>,
    templates: Vec<(QueueTemplate, Option<Arc<Schema>>)>,
    /// Each text once.
    by_text: HashMap<SchemaText, Weak<Schema>>,
    /// How many there may be before those that are gone are looked for.
    sweep_at: usize,
}

/// One schema, of any number of queues.
#[derive(Debug)]
pub(super) struct Schema {
    text: SchemaText,
    compiled: Mutex<Option<Result<Arc<Compiled>, SchemaError>>>,
    /// Until when it isn't asked.
    avoided: Mutex<Option<Instant>>,
    recent: Arc<Mutex<VecDeque<Weak<Schema>>>>,
}

impl Schemas {
    /// What templates say of queues that don't say otherwise. Named queues are told by [`Schemas::set`].
    pub fn new(templates: &[QueueTemplate]) -> Self {
        let schemas = Self::default();
        {
            let mut known = schemas.write();
            for template in templates {
                let schema = schemas.shared(&mut known, &template.settings.schema);
                known.templates.push((template.clone(), schema));
            }
            schemas.note_any(&known);
        }
        schemas
    }

    /// A queue has this schema from now on, or none.
    pub fn set(&self, queue: &QueueName, text: &SchemaText) {
        let mut known = self.write();
        let schema = self.shared(&mut known, text);
        let of_template = known.of_template(queue).map(|schema| &schema.text);
        if of_template == schema.as_ref().map(|schema| &schema.text) {
            known.named.remove(queue);
        } else {
            known.named.insert(queue.clone(), schema);
        }
        self.note_any(&known);
    }

    /// Forgets what queues by name have: another engine begins, and tells it again.
    pub fn forget_named(&self) {
        let mut known = self.write();
        known.named.clear();
        self.note_any(&known);
    }

    /// The schema's text; empty if the queue has none.
    pub fn text_of(&self, queue: &QueueName) -> SchemaText {
        self.of(queue).map_or_else(SchemaText::default, |schema| schema.text.clone())
    }

    pub(super) fn of(&self, queue: &QueueName) -> Option<Arc<Schema>> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        match known.named.get(queue) {
            Some(schema) => schema.clone(),
            None => known.of_template(queue).cloned(),
        }
    }

    fn note_any(&self, known: &Known) {
        let any = known.templates.iter().any(|(_, schema)| schema.is_some())
            || known.named.values().any(Option::is_some);
        self.any.store(any, Ordering::Release);
    }

    fn shared(&self, known: &mut Known, text: &SchemaText) -> Option<Arc<Schema>> {
        if text.is_empty() {
            return None;
        }
        if let Some(schema) = known.by_text.get(text).and_then(Weak::upgrade) {
            return Some(schema);
        }
        if known.by_text.len() >= known.sweep_at {
            known.by_text.retain(|_, schema| schema.strong_count() > 0);
            known.sweep_at = known.by_text.len().saturating_mul(2).max(MAX_COMPILED);
        }
        let schema = Arc::new(Schema {
            text: text.clone(),
            compiled: Mutex::default(),
            avoided: Mutex::default(),
            recent: Arc::clone(&self.compiled),
        });
        known.by_text.insert(text.clone(), Arc::downgrade(&schema));
        Some(schema)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn of_template(&self, queue: &QueueName) -> Option<&Arc<Schema>> {
        let matching = |(template, _): &&(QueueTemplate, _)| {
            queue.as_str().starts_with(template.prefix.as_str())
        };
        let longest = self.templates.iter().filter(matching);
        longest.max_by_key(|(template, _)| template.prefix.len())?.1.as_ref()
    }
}

impl Schema {
    /// Ready to be asked; made so if it isn't.
    pub(super) fn compiled(self: &Arc<Self>) -> Result<Arc<Compiled>, SchemaError> {
        let mut compiled = lock(&self.compiled);
        if let Some(known) = &*compiled {
            return known.clone();
        }
        let made = Compiled::new(&self.text).map(Arc::new);
        *compiled = Some(made.clone());
        drop(compiled);
        let dropped = {
            let mut recent = lock(&self.recent);
            recent.push_back(Arc::downgrade(self));
            if recent.len() > MAX_COMPILED { recent.pop_front() } else { None }
        };
        if let Some(oldest) = dropped.and_then(|oldest| oldest.upgrade()) {
            *lock(&oldest.compiled) = None;
        }
        made
    }

    pub(super) fn is_avoided(&self) -> bool {
        lock(&self.avoided).is_some_and(|until| Instant::now() < until)
    }

    /// It took too long.
    pub(super) fn avoid(&self) {
        *lock(&self.avoided) = Some(Instant::now() + AVOIDED);
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
