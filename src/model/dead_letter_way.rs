//! Where dead letters of dead letters would go.

use super::ids::QueueName;
use super::settings::QueueSettings;

/// Dead-letter queues of dead-letter queues that are followed: beyond, names only grow (`a.dead.dead`).
const MAX_WAY: usize = 32;

/// The circle in which the dead letters of `first` would go from queue to queue, if they did: its queues in their order, the
/// first of them again at the end. `settings_of` knows a queue, or the template that would make it.
pub fn dead_letter_circle<'a>(
    first: &QueueName,
    settings_of: impl Fn(&QueueName) -> Option<&'a QueueSettings>,
) -> Option<Vec<QueueName>> {
    let mut way = vec![first.clone()];
    while way.len() <= MAX_WAY {
        let last = way.last()?;
        // A queue that names itself dead-letters nothing.
        let next = settings_of(last)?.dead_letter_of(last).ok()?;
        let start = way.iter().position(|name| *name == next);
        way.push(next);
        if let Some(start) = start {
            return Some(way.split_off(start));
        }
    }
    None
}
