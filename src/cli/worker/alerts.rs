//! What Datadog is told by a worker: counts of all that ends, and an event when a message takes too long.

use crate::cli::Exit;
use crate::cli::failure::Failure;
use crate::model::with_causes;
use crate::telemetry::datadog::{Datadog, Level};
use crate::worker::{Overrun, WorkerEvent};

#[derive(Debug)]
pub(super) struct Alerts {
    datadog: Datadog,
    worker: String,
}

impl Alerts {
    pub(super) fn new(address: &str, worker: &str) -> Result<Self, Failure> {
        let datadog = Datadog::new(address)
            .map_err(|error| Failure::new(with_causes(&error)).exit(Exit::Usage))?;
        Ok(Self { datadog, worker: worker.to_owned() })
    }

    pub(super) fn tell(&self, event: &WorkerEvent) {
        match event {
            WorkerEvent::Overrun(overrun) => self.overrun(overrun),
            WorkerEvent::Finished { queue, error, .. } => {
                let name = if error.is_none() { "worker.done" } else { "worker.failed" };
                self.datadog.count(name, &[("queue", queue.as_str()), ("worker", &self.worker)]);
            }
            WorkerEvent::Ready
            | WorkerEvent::Away { .. }
            | WorkerEvent::Started { .. }
            | WorkerEvent::Progress { .. }
            | WorkerEvent::Stale { .. }
            | WorkerEvent::Paused { .. }
            | WorkerEvent::Resumed { .. }
            | WorkerEvent::Rejected(_)
            | WorkerEvent::Stopping { .. } => {}
        }
    }

    fn overrun(&self, overrun: &Overrun) {
        let Overrun { queue, seq, id, limit, .. } = overrun;
        let tags = [("queue", queue.as_str()), ("worker", &self.worker)];
        self.datadog.count("worker.overrun", &tags);
        let title = format!("{} is stuck on {queue} {seq}", self.worker);
        let limit_ms = limit.as_millis();
        let text = format!("message {id} runs longer than {limit_ms} ms and is ended");
        self.datadog.event(Level::Error, "mubroker-overrun", &title, &text, &tags);
    }
}
