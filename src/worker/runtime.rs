//! The worker's loop: connect, READY, work, answer; again when the broker was away.

mod answer;
mod leave;
mod limits;

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use zeromq::ZmqError;

use self::answer::{answer_to, over_credit, panicked};
use super::connection::Connection;
use super::handler::{Failure, Handler, Said, Work};
use super::leases::{ENDING, Leases};
use super::options::{WorkerEvent, WorkerOptions};
use crate::dealer::{Gone, Pauses};
use crate::model::DeliveryId;
use crate::wire::{BrokerMessage, Delivery, WorkerMessage};

/// What handlers have said and the connection has not taken yet; beyond, they wait.
const MAX_SAID: usize = 64;

/// Why a worker can't run at all.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The endpoint is no ZeroMQ address.
    #[error("{endpoint:?} is not an address of a broker; it looks like tcp://127.0.0.1:5556")]
    Endpoint {
        /// As it was given.
        endpoint: String,
        /// What the parser says.
        #[source]
        source: ZmqError,
    },
}

/// Runs a worker until `stop` is there, telling `observe` what happens.
///
/// The broker may be away at any time, from the start on: the worker connects again and says READY again.
/// Work goes on meanwhile; its answer then comes late, and the broker may call it stale. After `stop` the
/// worker says BYE and takes nothing more; what it holds or was on its way has `stop_grace`, what is left
/// then is ended, and lost to the broker.
pub async fn run<H: Handler>(
    options: WorkerOptions,
    handler: H,
    stop: impl Future<Output = ()> + Send,
    observe: impl FnMut(WorkerEvent) + Send,
) -> Result<(), WorkerError> {
    let mut stop = std::pin::pin!(stop);
    let (say, said) = mpsc::channel(MAX_SAID);
    let places = usize::try_from(options.credit.max(1)).unwrap_or(usize::MAX);
    let mut worker = Worker {
        leases: Leases::new(places, options.overrun_grace),
        say,
        said,
        handler: Arc::new(handler),
        tasks: JoinSet::new(),
        late: Vec::new(),
        alerts: VecDeque::new(),
        observe,
        options,
    };
    let pace = worker.options.pace.clone();
    let rng = fastrand::Rng::with_seed(pace.seed);
    let mut pauses = Pauses::new(pace.min_pause, pace.max_pause, rng);
    loop {
        let began = Instant::now();
        let reason = match worker.connect(stop.as_mut()).await? {
            Tried::Stopped => break,
            Tried::Failed(reason) => reason,
            Tried::Connected(connection) => match worker.session(connection, stop.as_mut()).await {
                Ended::Stopped => return Ok(()),
                Ended::Anew => continue,
                Ended::Away(reason) => reason,
            },
        };
        worker.leases.lose_all();
        if began.elapsed() > pace.silence() + pace.connect_limit {
            pauses.reset();
        }
        let pause = pauses.next();
        (worker.observe)(WorkerEvent::Away { reason, pause });
        let waited = worker.work_until(sleep(pause), stop.as_mut()).await;
        if waited.is_none() {
            break;
        }
    }
    worker.stop(None).await;
    Ok(())
}

/// What came of connecting.
enum Tried {
    Connected(Connection),
    Failed(String),
    Stopped,
}

/// How a connection ended.
enum Ended {
    Stopped,
    /// Everything has ended; it begins anew.
    Anew,
    Away(String),
}

/// What the broker has said.
enum Heard {
    /// The connection goes on.
    Nothing,
    /// This connection is over; why.
    Over(String),
    /// The worker is to end, and perhaps to begin anew.
    Drain { anew: bool },
}

struct Finished {
    delivery: DeliveryId,
    result: Result<Bytes, Failure>,
}

struct Worker<H, O> {
    options: WorkerOptions,
    handler: Arc<H>,
    observe: O,
    leases: Leases,
    tasks: JoinSet<Finished>,
    /// Handlers have this end, and say there what is to be told before their answer.
    say: mpsc::Sender<Said>,
    said: mpsc::Receiver<Said>,
    /// Answers to leases of lost connections; as many as ran when the connection was lost.
    late: Vec<WorkerMessage>,
    /// What is to be raised: while the broker is away, at most one for each message that ran when it went.
    alerts: VecDeque<WorkerMessage>,
}

impl<H: Handler, O: FnMut(WorkerEvent) + Send> Worker<H, O> {
    async fn connect<S>(&mut self, stop: Pin<&mut S>) -> Result<Tried, WorkerError>
    where
        S: Future<Output = ()> + Send,
    {
        let endpoint = self.options.endpoint.clone();
        let open = Connection::open(&endpoint, self.options.pace.connect_limit);
        match self.work_until(open, stop).await {
            None => Ok(Tried::Stopped),
            Some(Ok(connection)) => Ok(Tried::Connected(connection)),
            Some(Err(source @ ZmqError::Endpoint(_))) => {
                Err(WorkerError::Endpoint { endpoint, source })
            }
            Some(Err(error)) => {
                Ok(Tried::Failed(format!("no broker answers at {endpoint}: {error}")))
            }
        }
    }

    /// Waits for `what` while running work goes on; `None` if a stop was asked for first.
    async fn work_until<S, T>(
        &mut self,
        what: impl Future<Output = T> + Send,
        mut stop: Pin<&mut S>,
    ) -> Option<T>
    where
        S: Future<Output = ()> + Send,
    {
        let mut what = std::pin::pin!(what);
        loop {
            let overrun = self.leases.next_overrun();
            tokio::select! {
                () = stop.as_mut() => return None,
                value = what.as_mut() => return Some(value),
                // There is no lease that it could be about.
                Some(_unheard) = self.said.recv() => {}
                () = sleep_until(overrun.unwrap_or_else(Instant::now)), if overrun.is_some() => {
                    self.overruns();
                }
                Some(finished) = self.tasks.join_next() => {
                    let finished = finished.expect("handlers' panics are caught, none is aborted");
                    let answer = self.answer(finished);
                    self.late.push(answer);
                }
            }
        }
    }

    async fn session<S>(&mut self, mut connection: Connection, stop: Pin<&mut S>) -> Ended
    where
        S: Future<Output = ()> + Send,
    {
        let serve = async {
            if let Some(hello) = self.hello() {
                connection.send(&hello).await?;
            }
            connection.send(&self.ready()).await?;
            (self.observe)(WorkerEvent::Ready);
            for answer in std::mem::take(&mut self.late) {
                connection.send(&answer).await?;
            }
            self.raise(&mut connection).await?;
            self.serve(&mut connection, stop).await
        };
        match serve.await {
            Ok(ended @ (Ended::Stopped | Ended::Anew)) => {
                self.stop(Some(&mut connection)).await;
                ended
            }
            Ok(Ended::Away(reason)) | Err(Gone(reason)) => Ended::Away(reason),
        }
    }

    async fn serve<S>(
        &mut self,
        connection: &mut Connection,
        mut stop: Pin<&mut S>,
    ) -> Result<Ended, Gone>
    where
        S: Future<Output = ()> + Send,
    {
        let silence = self.options.pace.silence();
        let mut beat = tokio::time::interval(self.options.pace.heartbeat);
        let mut heard = Instant::now();
        loop {
            let due = self.leases.next_due();
            tokio::select! {
                message = connection.recv() => {
                    heard = Instant::now();
                    let Some(message) = message? else { continue };
                    match self.hear(connection, message).await? {
                        Heard::Nothing => {}
                        Heard::Over(reason) => return Ok(Ended::Away(reason)),
                        Heard::Drain { anew: true } => return Ok(Ended::Anew),
                        Heard::Drain { anew: false } => return Ok(Ended::Stopped),
                    }
                }
                Some(finished) = self.tasks.join_next() => {
                    let finished = finished.expect("handlers' panics are caught, none is aborted");
                    self.give(connection, finished).await?;
                }
                Some(said) = self.said.recv() => self.pass_on(connection, said).await?,
                _ = beat.tick() => {
                    if heard.elapsed() > silence {
                        return Ok(Ended::Away(format!("no sign of the broker for {silence:?}")));
                    }
                    connection.send(&WorkerMessage::Heartbeat).await?;
                }
                () = sleep_until(due.unwrap_or(heard)), if due.is_some() => {
                    self.on_time(connection).await?;
                }
                () = stop.as_mut() => return Ok(Ended::Stopped),
            }
        }
    }

    /// Does what the broker says.
    async fn hear(
        &mut self,
        connection: &mut Connection,
        message: BrokerMessage,
    ) -> Result<Heard, Gone> {
        match message {
            BrokerMessage::Deliver(delivery) => {
                let id = delivery.delivery;
                if !self.leases.receive(delivery, Instant::now()) {
                    connection.send(&answer_to(id, Err(over_credit()))).await?;
                }
                self.start();
            }
            BrokerMessage::Stale { delivery } => {
                self.leases.stale(delivery);
                (self.observe)(WorkerEvent::Stale { delivery });
            }
            BrokerMessage::Heartbeat | BrokerMessage::Welcome(_) => {}
            BrokerMessage::Pause { reason } => (self.observe)(WorkerEvent::Paused { reason }),
            BrokerMessage::Resume { reason } => (self.observe)(WorkerEvent::Resumed { reason }),
            BrokerMessage::Drain { .. } => return Ok(Heard::Drain { anew: false }),
            BrokerMessage::Restart { .. } => return Ok(Heard::Drain { anew: true }),
            BrokerMessage::Bye { reason } => {
                return Ok(Heard::Over(format!("the broker said BYE: {reason}")));
            }
            BrokerMessage::Rejected(rejection) => {
                (self.observe)(WorkerEvent::Rejected(rejection));
            }
        }
        Ok(Heard::Nothing)
    }

    /// Starts what waits, as far as there are places.
    fn start(&mut self) {
        let own = self.options.max_execution;
        let limit = |delivery: &Delivery| match delivery.content.header.max_execution_ms() {
            Some(ms) => own.min(Duration::from_millis(ms.max(1))),
            None => own,
        };
        while let Some((delivery, limit)) = self.leases.start(Instant::now(), limit) {
            (self.observe)(WorkerEvent::Started {
                delivery: delivery.delivery,
                queue: delivery.queue.clone(),
                seq: delivery.seq,
                id: delivery.content.id().clone(),
                attempt: delivery.attempt,
                limit,
            });
            let handler = Arc::clone(&self.handler);
            let id = delivery.delivery;
            let work = Work::new(limit, self.options.overrun_grace, id, self.say.clone());
            self.tasks.spawn(async move {
                let done = AssertUnwindSafe(handler.handle(delivery, work)).catch_unwind().await;
                let result = done.unwrap_or_else(|panic| Err(panicked(panic.as_ref())));
                Finished { delivery: id, result }
            });
        }
    }

    fn answer(&mut self, finished: Finished) -> WorkerMessage {
        let Finished { delivery, result } = finished;
        let error = result.as_ref().err().map(|failure| failure.error.clone());
        if let Some((queue, seq, took)) = self.leases.finish(delivery, Instant::now()) {
            (self.observe)(WorkerEvent::Finished { delivery, queue, seq, took, error });
        }
        answer_to(delivery, result)
    }

    /// Answers for work that is over, after all that its handler has said before.
    async fn give(&mut self, connection: &mut Connection, finished: Finished) -> Result<(), Gone> {
        while let Ok(said) = self.said.try_recv() {
            self.pass_on(connection, said).await?;
        }
        let answer = self.answer(finished);
        connection.send(&answer).await?;
        self.start();
        Ok(())
    }

    /// Tells the broker what a handler says, if it still waits for that work.
    async fn pass_on(&mut self, connection: &mut Connection, said: Said) -> Result<(), Gone> {
        let message = match said {
            Said::Partial(delivery, payload) => {
                self.leases.length(delivery).map(|_| WorkerMessage::Partial { delivery, payload })
            }
            Said::Progress(delivery, note) => {
                (self.observe)(WorkerEvent::Progress { delivery, note: note.clone() });
                self.leases.length(delivery).map(|length| WorkerMessage::Progress {
                    delivery,
                    extend_ms: u64::try_from(length.as_millis()).ok(),
                    note,
                })
            }
        };
        match message {
            Some(message) => connection.send(&message).await,
            None => Ok(()),
        }
    }

    /// Its answer isn't waited for: without it READY is refused, which is told.
    fn hello(&self) -> Option<WorkerMessage> {
        let WorkerOptions { token, info, .. } = &self.options;
        let token = Some(token.clone()?);
        let version = info.version.clone().unwrap_or_default();
        Some(WorkerMessage::Hello { token, client: info.name.clone(), version })
    }

    fn ready(&self) -> WorkerMessage {
        let WorkerOptions { queues, credit, info, overrun_grace, .. } = &self.options;
        let mut info = info.clone();
        info.ending_ms = u64::try_from((*overrun_grace + ENDING).as_millis()).ok();
        WorkerMessage::Ready { queues: queues.clone(), credit: *credit, info }
    }
}

#[cfg(test)]
mod tests;
