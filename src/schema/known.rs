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
/// When to try again what such a one may keep for longer.
const RUNNING_PAUSE: Duration = Duration::from_secs(5);

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
    slow: Mutex<Slow>,
    recent: Arc<Mutex<VecDeque<Weak<Schema>>>>,
}

/// What a schema has taken too long for.
#[derive(Debug, Default)]
struct Slow {
    /// Checks that were given up and still run: each has a thread.
    running: usize,
    /// Until when it isn't asked, even if none runs.
    until: Option<Instant>,
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
        self.name(&mut known, queue, text);
        self.note_any(&known);
    }

    /// Another engine begins: these are what queues have by name, and no others. Nobody sees a part of it.
    pub fn replace_named<'a>(
        &self,
        named: impl IntoIterator<Item = (&'a QueueName, &'a SchemaText)>,
    ) {
        let mut known = self.write();
        let before = std::mem::take(&mut known.named);
        for (queue, text) in named {
            self.name(&mut known, queue, text);
        }
        self.note_any(&known);
        drop(known);
        // Those that go on are the same, compiled as they are.
        drop(before);
    }

    fn name(&self, known: &mut Known, queue: &QueueName, text: &SchemaText) {
        let schema = self.shared(known, text);
        let of_template = known.of_template(queue).map(|schema| &schema.text);
        if of_template == schema.as_ref().map(|schema| &schema.text) {
            known.named.remove(queue);
        } else {
            known.named.insert(queue.clone(), schema);
        }
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
            slow: Mutex::default(),
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

    /// For how long it isn't asked, if it isn't: at least as long as a thread is in it.
    pub(super) fn avoided(&self) -> Option<Duration> {
        self.avoided_at(Instant::now())
    }

    pub(super) fn avoided_at(&self, now: Instant) -> Option<Duration> {
        let slow = lock(&self.slow);
        let left = slow.until?.saturating_duration_since(now);
        if slow.running > 0 {
            Some(left.max(RUNNING_PAUSE))
        } else {
            Some(left).filter(|left| !left.is_zero())
        }
    }

    /// A check took too long, and still runs.
    pub(super) fn overran(&self) {
        let mut slow = lock(&self.slow);
        slow.running = slow.running.saturating_add(1);
        slow.until = Some(Instant::now() + AVOIDED);
    }

    /// One of those has ended.
    pub(super) fn came_back(&self) {
        let mut slow = lock(&self.slow);
        slow.running = slow.running.saturating_sub(1);
    }
}

pub(super) fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
