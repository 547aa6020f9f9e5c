//! Settings of queues made on the fly, and how many of them there may be.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::model::{QueueName, QueueSettings, QueueTemplate, RejectCode, Rejection};

use super::Engine;
use super::send::FULL_RETRY_MS;

/// All templates.
#[derive(Debug)]
pub(super) struct Templates {
    all: Vec<QueueTemplate>,
    /// By place in the list, how many queues count for those that have a limit.
    made: HashMap<usize, u64>,
}

impl Templates {
    pub(super) fn new(all: Vec<QueueTemplate>) -> Self {
        Self { all, made: HashMap::new() }
    }

    fn find(&self, name: &QueueName) -> Option<(usize, &QueueTemplate)> {
        QueueTemplate::find(&self.all, name)
    }

    pub(super) fn settings(&self, name: &QueueName) -> Option<&Arc<QueueSettings>> {
        self.find(name).map(|(_, template)| &template.settings)
    }

    /// A queue is there, or is not any more.
    fn count(&mut self, name: &QueueName, change: i64) {
        let limited = self.find(name).filter(|(_, template)| template.max_queues > 0);
        if let Some((at, _)) = limited {
            let made = self.made.entry(at).or_default();
            *made = made.saturating_add_signed(change);
        }
    }
}

impl Engine {
    /// Whether these queues, none of which is there, may be made all together.
    pub(super) fn admit_new<'a>(
        &self,
        new: impl IntoIterator<Item = &'a QueueName>,
    ) -> Result<(), Rejection> {
        let mut all: usize = 0;
        let mut by_template: BTreeMap<usize, u64> = BTreeMap::new();
        for name in new {
            all = all.saturating_add(1);
            let found = self.templates.find(name);
            let limited = found.filter(|(_, template)| template.max_queues > 0);
            if let Some((at, template)) = limited.filter(|_| self.counts_for_template(name)) {
                let made = by_template
                    .entry(at)
                    .or_insert_with(|| self.templates.made.get(&at).copied().unwrap_or(0));
                *made = made.saturating_add(1);
                if *made > template.max_queues {
                    return Err(template_is_full(name, template));
                }
            }
        }
        if all > 0 && self.queues.len().saturating_add(all) > self.max_queues {
            let reason = format!("there are {} queues, no more are allowed", self.queues.len());
            return Err(Rejection::new(RejectCode::Full, reason).retry_after(FULL_RETRY_MS));
        }
        Ok(())
    }

    /// What the configuration names isn't made by a template, and dead letters must go somewhere.
    fn counts_for_template(&self, name: &QueueName) -> bool {
        !self.configured.contains_key(name) && !self.is_dead_letter_queue(name)
    }

    /// A queue was added.
    pub(super) fn count_queue(&mut self, name: &QueueName) -> bool {
        let counts = self.counts_for_template(name);
        if counts {
            self.templates.count(name, 1);
        }
        counts
    }

    /// A queue that was counted has gone.
    pub(super) fn uncount_queue(&mut self, name: &QueueName) {
        self.templates.count(name, -1);
    }
}

fn template_is_full(name: &QueueName, template: &QueueTemplate) -> Rejection {
    let QueueTemplate { prefix, max_queues, .. } = template;
    let reason = format!(
        "there is no queue {name}, and [queues.\"{prefix}*\"] makes no more than {max_queues} (max_queues): delete one that \
         is not needed (mubroker queue delete NAME), or raise max_queues"
    );
    Rejection::new(RejectCode::Full, reason).retry_after(FULL_RETRY_MS)
}
