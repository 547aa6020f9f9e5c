//! Redis as the loop sees it: whether it is there, and what others have put into its streams.

use std::io;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::event_loop::EventLoop;
use super::failure::Health;
use crate::engine::Event;
use crate::mailbox::{RedisNews, RedisPoller, Streams};

/// News that may wait for the loop. A queue's next entries are looked for when its last ones are committed,
/// and one look brings about a megabyte.
const MAX_NEWS: usize = 4;

/// Starts the thread that polls; it ends some moments after the receiver is gone. Without streams there is
/// none; the news says so, and the channel is closed.
pub(super) fn start(streams: Option<Arc<Streams>>) -> io::Result<mpsc::Receiver<RedisNews>> {
    let (sender, receiver) = mpsc::channel(MAX_NEWS);
    let Some(streams) = streams.filter(|streams| streams.is_configured()) else {
        let down = Some("no [redis] url is configured".to_owned());
        // There is room for it.
        let _ = sender.try_send(RedisNews::Reach { down });
        return Ok(receiver);
    };
    std::thread::Builder::new().name("redis".to_owned()).spawn(move || {
        let mut poller = RedisPoller::new(streams);
        while !sender.is_closed() {
            for news in poller.turn() {
                if sender.blocking_send(news).is_err() {
                    return;
                }
            }
        }
    })?;
    Ok(receiver)
}

impl EventLoop {
    /// `None`: nothing comes any more.
    pub(super) fn on_redis(&mut self, news: Option<RedisNews>) {
        match news {
            Some(RedisNews::Reach { down }) => {
                self.redis_down = down;
                self.tell_engine_of_redis();
            }
            Some(RedisNews::Arrived { generation, queue, after, arrivals }) => {
                // What isn't taken in is told again.
                if generation == self.engine.generation()
                    && let Health::Up = self.store_state.health()
                {
                    self.feed(Event::Arrived { queue, after, arrivals });
                }
            }
            None => {
                let reason = || "its thread broke down: start the broker again".to_owned();
                self.redis_down.get_or_insert_with(reason);
                self.tell_engine_of_redis();
            }
        }
    }

    /// Also a new engine must know.
    pub(super) fn tell_engine_of_redis(&mut self) {
        if let Health::Up = self.store_state.health() {
            self.feed(Event::RedisReach { down: self.redis_down.clone() });
        }
    }
}
