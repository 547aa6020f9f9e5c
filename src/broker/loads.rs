//! The thread that reads for the engine: what is near first.

use std::collections::VecDeque;

use tokio::sync::mpsc;

use super::store::{Load, ReadAnswer, Slot, StoreReply, current};
use crate::mailbox::{Mailbox, MailboxError};
use crate::model::Generation;

/// Loads among which the next is looked for.
const LOOKED_AT: usize = 1024;
/// The oldest load is overtaken so often at most.
const MAX_OVERTAKEN: u32 = 64;

/// Loads that wait, oldest first.
///
/// Queues that were filled together have their messages in the same parts of the store, of which few are open. Read in
/// the order in which they are asked for, each load would open one, and close what another one needs: so those go
/// first that need no opening, and all that need one part go by once it is open.
#[derive(Debug)]
struct Waiting<T> {
    loads: VecDeque<T>,
    overtaken: u32,
}

impl<T> Waiting<T> {
    fn next(&mut self, is_near: impl Fn(&T) -> bool) -> Option<T> {
        let near = match self.overtaken {
            MAX_OVERTAKEN.. => None,
            _ => self.loads.iter().position(is_near),
        };
        let at = near.unwrap_or(0);
        self.overtaken = if at == 0 { 0 } else { self.overtaken.saturating_add(1) };
        self.loads.remove(at)
    }
}

/// Serves until the loop is gone.
pub(super) fn serve_loads(
    mut queue: mpsc::Receiver<(Generation, Load)>,
    slot: &Slot,
    reply: &mpsc::Sender<StoreReply>,
) {
    let mut waiting = Waiting { loads: VecDeque::new(), overtaken: 0 };
    loop {
        if waiting.loads.is_empty() {
            let Some(load) = queue.blocking_recv() else { return };
            waiting.loads.push_back(load);
        }
        while waiting.loads.len() < LOOKED_AT
            && let Ok(load) = queue.try_recv()
        {
            waiting.loads.push_back(load);
        }
        let Some(mailbox) = current(slot) else {
            // While the store is broken nobody waits for these: a new engine asks anew.
            waiting.loads.clear();
            continue;
        };
        let Some((run, load)) = waiting.next(|(_, load)| is_near(&*mailbox, load)) else {
            continue;
        };
        let answer = read(&*mailbox, load);
        drop(mailbox);
        let answer = match answer {
            Ok(answer) => StoreReply::Read(run, answer),
            Err(error) => StoreReply::ReadFailed(run, error),
        };
        if reply.blocking_send(answer).is_err() {
            return;
        }
    }
}

fn is_near(mailbox: &dyn Mailbox, load: &Load) -> bool {
    match load {
        Load::Messages { queue, from, max_messages: _, max_bytes: _ } => {
            mailbox.is_near(*queue, *from)
        }
        Load::Find { .. } => true,
    }
}

fn read(mailbox: &dyn Mailbox, load: Load) -> Result<ReadAnswer, MailboxError> {
    match load {
        Load::Messages { queue, from, max_messages, max_bytes } => {
            let messages = match mailbox.read_ahead(queue, from, max_messages, max_bytes) {
                // The queue waits, and asks again; the store is as sound as before.
                Err(MailboxError::Unreachable { .. }) => Vec::new(),
                messages => messages?,
            };
            Ok(ReadAnswer::Messages { queue, from, messages })
        }
        Load::Find { origin, id, queue } => {
            let place = mailbox.find(queue, &id)?;
            Ok(ReadAnswer::Found { origin, id, place })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_near_goes_first_but_not_for_ever() {
        let mut waiting = Waiting { loads: VecDeque::from([1, 2, 3, 4]), overtaken: 0 };
        let is_even = |n: &u32| n.is_multiple_of(2);
        assert_eq!([(); 4].map(|()| waiting.next(is_even)), [2, 4, 1, 3].map(Some));
        assert_eq!(waiting.next(is_even), None);
        waiting.loads.push_back(1);
        for _ in 0..MAX_OVERTAKEN {
            waiting.loads.push_back(2);
            assert_eq!(waiting.next(is_even), Some(2));
        }
        waiting.loads.push_back(2);
        assert_eq!([(); 2].map(|()| waiting.next(is_even)), [1, 2].map(Some));
    }
}
