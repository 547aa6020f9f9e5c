//! What is due by the clock: work that is over its limit, and leases that must be extended.

use tokio::time::Instant;

use super::Worker;
use crate::dealer::Gone;
use crate::wire::WorkerMessage;
use crate::worker::connection::Connection;
use crate::worker::{Handler, Overrun, WorkerEvent};

/// The word for it in ALERT.
const OVERRUN: &str = "overrun";

impl<H: Handler, O: FnMut(WorkerEvent) + Send> Worker<H, O> {
    /// Tells here that work is over its limit, and notes what the broker is to be told.
    pub(super) fn overruns(&mut self) {
        for overrun in self.leases.overruns(Instant::now()) {
            let Overrun { delivery, queue, seq, limit, .. } = &overrun;
            let message =
                format!("{queue} {seq} runs longer than {} ms and is ended", limit.as_millis());
            let delivery = Some(*delivery);
            let kind = OVERRUN.to_owned();
            self.alerts.push_back(WorkerMessage::Alert { kind, message, delivery });
            (self.observe)(WorkerEvent::Overrun(overrun));
        }
    }

    /// Raises alerts; one that the connection doesn't take is kept for the next.
    pub(super) async fn raise(&mut self, connection: &mut Connection) -> Result<(), Gone> {
        while let Some(alert) = self.alerts.front() {
            connection.send(alert).await?;
            self.alerts.pop_front();
        }
        Ok(())
    }

    /// Raises alerts and extends leases.
    pub(super) async fn on_time(&mut self, connection: &mut Connection) -> Result<(), Gone> {
        self.overruns();
        self.raise(connection).await?;
        for (delivery, length) in self.leases.due(Instant::now()) {
            let extend_ms = u64::try_from(length.as_millis()).ok();
            let note = String::new();
            connection.send(&WorkerMessage::Progress { delivery, extend_ms, note }).await?;
        }
        Ok(())
    }
}
