//! How a worker stops: what it holds is ended and answered first.

use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};

use super::answer::ended;
use super::{Finished, Heard, Worker};
use crate::dealer::Gone;
use crate::wire::WorkerMessage;
use crate::worker::connection::Connection;
use crate::worker::{Handler, WorkerEvent};

/// How long a worker that is leaving and holds nothing waits for the broker's BYE: its last answer is
/// committed first, which takes a flush or two.
const LINGER: Duration = Duration::from_secs(1);

impl<H: Handler, O: FnMut(WorkerEvent) + Send> Worker<H, O> {
    /// Lets running work end within the grace; with a connection its answers are given. What is left is
    /// ended before the connection is: no message runs twice at once.
    pub(super) async fn stop(&mut self, connection: Option<&mut Connection>) {
        (self.observe)(WorkerEvent::Stopping { running: self.leases.running() });
        let until = Instant::now() + self.options.stop_grace;
        if let Some(connection) = connection {
            match timeout_at(until, self.leave(connection)).await {
                Ok(Ok(())) | Err(_) => {}
                Ok(Err(Gone(reason))) => {
                    tracing::warn!(reason, "the connection was lost while the worker stopped");
                }
            }
        }
        let rest = async {
            while let Some(finished) = self.tasks.join_next().await {
                let finished = finished.expect("handlers' panics are caught, none is aborted");
                let _too_late = self.answer(finished);
            }
        };
        let _elapsed = timeout_at(until, rest).await;
        self.tasks.shutdown().await;
        for delivery in self.leases.end_all() {
            let _nobody_waits = self.answer(Finished { delivery, result: Err(ended()) });
        }
        self.late.clear();
        self.handler.close().await;
    }

    /// Says BYE, so that nothing new is sent, and answers what is held or was on its way. The broker's
    /// BYE says that it has all answers.
    async fn leave(&mut self, connection: &mut Connection) -> Result<(), Gone> {
        connection.send(&WorkerMessage::Bye).await?;
        let mut beat = tokio::time::interval(self.options.pace.heartbeat);
        let mut last_answer = Instant::now();
        let mut is_over = false;
        while !(is_over && self.leases.is_empty()) {
            let is_idle = self.leases.is_empty();
            let due = self.leases.next_due();
            tokio::select! {
                Some(finished) = self.tasks.join_next() => {
                    let finished = finished.expect("handlers' panics are caught, none is aborted");
                    self.give(connection, finished).await?;
                    last_answer = Instant::now();
                }
                Some(said) = self.said.recv() => self.pass_on(connection, said).await?,
                message = connection.recv() => {
                    if let Some(message) = message? {
                        match self.hear(connection, message).await? {
                            Heard::Over(_) => is_over = true,
                            // It is at that.
                            Heard::Nothing | Heard::Drain { .. } => {}
                        }
                    }
                }
                _ = beat.tick() => connection.send(&WorkerMessage::Heartbeat).await?,
                () = sleep_until(due.unwrap_or(last_answer)), if due.is_some() => {
                    self.on_time(connection).await?;
                }
                () = sleep_until(last_answer + LINGER), if is_idle => return Ok(()),
            }
        }
        Ok(())
    }
}
