//! Settings that many queues have.

use std::sync::Arc;

use super::QueueSettings;
use crate::model::ids::QueueName;

/// Settings for queues made on the fly: `[queues."folder.*"]`.
#[derive(Debug, Clone, PartialEq)]
pub struct QueueTemplate {
    /// What a new queue's name must start with: the pattern without its final `*`.
    pub prefix: String,
    /// What it gets.
    pub settings: Arc<QueueSettings>,
    /// Queues that it makes; 0: any number.
    pub max_queues: u64,
}

impl QueueTemplate {
    /// The one of `all` that makes a queue of this name, and its place among them: the longest prefix wins.
    pub fn find<'a>(all: &'a [Self], name: &QueueName) -> Option<(usize, &'a Self)> {
        let matching = |(_, template): &(usize, &Self)| name.as_str().starts_with(&template.prefix);
        all.iter().enumerate().filter(matching).max_by_key(|(_, template)| template.prefix.len())
    }
}

/// As many different settings as are looked through for equal ones: those of templates, and some queues of
/// their own.
const MAX_SHARED: usize = 64;

/// Settings as they are read back, queue by queue: equal ones are kept once.
#[derive(Debug, Default)]
pub struct SharedSettings(Vec<Arc<QueueSettings>>);

impl SharedSettings {
    /// The same settings, perhaps those of an earlier queue.
    pub fn share(&mut self, settings: Arc<QueueSettings>) -> Arc<QueueSettings> {
        if let Some(known) = self.0.iter().find(|known| **known == settings) {
            return Arc::clone(known);
        }
        if self.0.len() < MAX_SHARED {
            self.0.push(Arc::clone(&settings));
        }
        settings
    }
}
