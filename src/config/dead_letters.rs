//! Queues that dead-letter into each other in a circle.

use std::collections::BTreeMap;

use crate::model::{QueueName, QueueSettings};

/// A circle of dead-letter queues among those that the configuration names, if there is one: each with the next,
/// the first again at the end. Others are no part of one: a template's can't be written so, and `{queue}.dead` of a
/// dead-letter queue is never used.
pub(super) fn circle(queues: &[(QueueName, QueueSettings)]) -> Option<Vec<QueueName>> {
    let targets: BTreeMap<&QueueName, QueueName> = queues
        .iter()
        .filter_map(|(name, settings)| Some((name, settings.dead_letter_of(name).ok()?)))
        .collect();
    for (first, _) in queues {
        let mut way = vec![first.clone()];
        while let Some(next) = way.last().and_then(|last| targets.get(last)) {
            if way.contains(next) {
                let start = way.iter().position(|name| name == next).unwrap_or_default();
                way.push(next.clone());
                return Some(way.split_off(start));
            }
            way.push(next.clone());
        }
    }
    None
}
