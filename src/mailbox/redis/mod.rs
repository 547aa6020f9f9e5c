//! `redis`: payloads in Redis streams, one a queue, into which other programs may add too.
//!
//! The local store stays the authority: it has the queue's places, records, revisions, journal, and for each
//! message its header and where its payload is. [`RedisMailbox`] stands before it and works like this:
//!
//! * **Append.** The payload is added to the stream `<prefix><queue>` first (`XADD`; those of one commit in one
//!   transaction), then the local commit keeps a reference to the entry and, as a note beside it, the newest such entry. If Redis doesn't answer
//!   within the timeout, the payload is kept locally like that of a `file` queue: nothing is lost, the order
//!   stays, and the queue is reported as unreachable.
//! * **What others add** is found by [`RedisPoller`] and comes back as an `Append` that names the entry; how far
//!   the stream has been looked through is noted in the same commit.
//! * **Finish.** Once it is durable the entry is removed (`XDEL`) by the poller's thread. What still has to be
//!   removed is noted, so a crash leaves no entry behind.
//!
//! **After a crash** an entry of the broker's own is either referred to, or was never committed. The latter is
//! taken in like what others add, so that a store that lost its newest commits gets them back; its message id
//! tells a duplicate. Of a commit that was under way Redis has the payloads of all its queues or none, so no part of a
//! batch is taken in; what else was in that commit is not done, so a move may be repeated. An entry whose `XADD` had no answer, and whose payload was therefore kept locally, is in
//! doubt: its places are noted, and it is removed instead.
//!
//! | file | what |
//! |---|---|
//! | `link` | one connection, with timeouts |
//! | `entry` | what stands in an entry |
//! | `stub`, `mark` | what stands in the local store |
//! | `streams` | what both threads know: connections, queues, whether Redis is there |
//! | `keeper` | adding and reading payloads |
//! | `outsourced` | the mailbox |
//! | `plan` | a batch, worked out against the streams |
//! | `poll`, `sort` | the poller, and what it makes of an entry |
//! | `leftover` | what a queue that is gone has left in its stream |

mod entry;
mod keeper;
mod leftover;
mod link;
mod mark;
mod outsourced;
mod plan;
mod poll;
mod sort;
mod streams;
mod stub;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

pub use link::RedisConfigError;
pub use outsourced::RedisMailbox;
pub use poll::{RedisNews, RedisPoller};
pub use streams::Streams;

/// Where Redis is and how it is used.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisOptions {
    /// `redis://`, `rediss://` (TLS) or `unix://`, with user and password if there are any.
    pub url: String,
    /// A file with the password, which then isn't in the address.
    pub password_file: Option<PathBuf>,
    /// What a stream's key begins with; the rest is the queue's name.
    pub prefix: String,
    /// The certificate of the authority that signed the server's, in PEM; the system's if absent.
    pub ca_file: Option<PathBuf>,
    /// How long an answer is waited for: so long every queue waits when Redis stops answering, once.
    pub timeout: Duration,
}

impl Default for RedisOptions {
    fn default() -> Self {
        Self {
            url: String::new(),
            password_file: None,
            prefix: "mubroker:".to_owned(),
            ca_file: None,
            timeout: Duration::from_millis(500),
        }
    }
}

/// Without the address, which may hold a password.
impl fmt::Debug for RedisOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url: _, password_file, prefix, ca_file, timeout } = self;
        f.debug_struct("RedisOptions")
            .field("password_file", password_file)
            .field("prefix", prefix)
            .field("ca_file", ca_file)
            .field("timeout", timeout)
            .finish_non_exhaustive()
    }
}
