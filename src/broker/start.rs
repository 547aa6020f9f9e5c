//! Puts the broker's parts together and runs them on their threads.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};

use tokio::sync::{Notify, mpsc, watch};

use super::clock::Clock;
use super::closing;
use super::commands::Command;
use super::event_loop::{Ended, EventLoop, Inputs};
use super::figures::DiskLook;
use super::handle::BrokerHandle;
use super::operator_error::OperatorError;
use super::outside;
use super::store::{OpenStore, Started, Store};
use super::traces::{SpanSink, Traces};
use super::view::Facts;
use crate::engine::{Engine, EngineOptions};
use crate::mailbox::{DiskReserve, MailboxError, Streams};
use crate::model::{Actor, QueueName, QueueSettings};
use crate::net::{self, Inbound, NetError, NetOptions};
use crate::schema::{Checks, Schemas};

/// Inputs that may wait for the loop: a few turns' worth. Beyond, sockets are read no further.
const MAX_INBOUND: usize = 2_048;
/// Operators' requests that may wait for the loop.
const MAX_COMMANDS: usize = 256;

/// What a broker is told.
#[derive(Debug, Clone)]
pub struct BrokerOptions {
    /// The engine's.
    pub engine: EngineOptions,
    /// The sockets'.
    pub net: NetOptions,
    /// Where the store is, for operators to read.
    pub data_dir: String,
    /// The store's folder, on whose disk room is kept; none: the store needs no disk.
    pub store_dir: Option<PathBuf>,
    /// Queues with settings of their own; made at the start.
    pub queues: Vec<(QueueName, QueueSettings)>,
    /// The streams of the store's `redis` queues.
    pub streams: Option<Arc<Streams>>,
    /// Where spans go, if anything is traced.
    pub spans: Option<SpanSink>,
}

/// Why a broker does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store can't be opened.
    #[error("cannot open the store")]
    Store(#[source] MailboxError),
    /// The sockets can't be opened.
    #[error("cannot listen")]
    Net(#[source] NetError),
    /// A configured queue is refused.
    #[error("cannot make the configured queue {queue}")]
    Queue {
        /// Which.
        queue: QueueName,
        /// Why.
        source: OperatorError,
    },
    /// The system gives no thread or no runtime.
    #[error("cannot start a thread")]
    Thread(#[source] std::io::Error),
    /// The broker's thread ended before it was ready; the log says why.
    #[error("the broker's thread ended before it was ready; the log says why")]
    Crashed,
}

/// A broker that runs on its own threads, until it is told to stop by its handle.
#[derive(Debug)]
pub struct Running {
    handle: BrokerHandle,
    clients: String,
    workers: String,
    ended: watch::Receiver<Option<Ended>>,
}

impl Running {
    /// What operators' interfaces hold.
    pub fn handle(&self) -> &BrokerHandle {
        &self.handle
    }

    /// Where clients connect, with the port that was taken.
    pub fn clients(&self) -> &str {
        &self.clients
    }

    /// Where workers connect, with the port that was taken.
    pub fn workers(&self) -> &str {
        &self.workers
    }

    /// Waits until the broker has stopped and the store is closed. Cancel safe.
    pub async fn ended(&self) -> Ended {
        let mut ended = self.ended.clone();
        match ended.wait_for(Option::is_some).await {
            Ok(ended) => ended.clone().unwrap_or(Ended::Crashed),
            Err(_) => Ended::Crashed,
        }
    }
}

/// Opens the store, then the sockets, makes the configured queues, and returns when clients can connect.
/// Blocks meanwhile: not for an async task.
pub fn start(options: BrokerOptions, open: OpenStore) -> Result<Running, StartError> {
    let reserve = options.store_dir.as_deref().map(DiskReserve::new);
    let started = Store::start(open, reserve).map_err(StartError::Store)?;
    let (ready, is_ready) = sync_channel(1);
    let (ended, has_ended) = watch::channel(None);
    std::thread::Builder::new()
        .name("broker".to_owned())
        .spawn(move || run(options, started, &ready, &ended))
        .map_err(StartError::Thread)?;
    let ready = is_ready.recv().map_err(|_| StartError::Crashed)??;
    Ok(Running {
        handle: ready.handle,
        clients: ready.clients,
        workers: ready.workers,
        ended: has_ended,
    })
}

struct Ready {
    handle: BrokerHandle,
    clients: String,
    workers: String,
}

/// The broker's thread. Sockets and loop share one single-threaded runtime: on few cores that is as fast
/// as more threads (sockets.md), and the loop is never far from the sockets.
fn run(
    options: BrokerOptions,
    started: Started,
    ready: &SyncSender<Result<Ready, StartError>>,
    ended: &watch::Sender<Option<Ended>>,
) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = ready.send(Err(StartError::Thread(error)));
            return;
        }
    };
    let (end, store) = runtime.block_on(serve(options, started, ready));
    store.stop();
    ended.send_replace(Some(end));
}

async fn serve(
    options: BrokerOptions,
    started: Started,
    ready: &SyncSender<Result<Ready, StartError>>,
) -> (Ended, Store) {
    let Started { store, replies, reads, recovered } = started;
    let redis = match outside::start(options.streams) {
        Ok(redis) => redis,
        Err(error) => {
            let _ = ready.send(Err(StartError::Thread(error)));
            return (Ended::Clean, store);
        }
    };
    let (inbound_sender, inbound) = mpsc::channel::<Inbound>(MAX_INBOUND);
    let clock = Clock::start();
    let engine = Engine::new(options.engine.clone(), recovered, clock.now());
    let schemas = Schemas::new(&options.engine.templates);
    // Before anybody can send anything.
    schemas.replace_named(engine.schemas());
    let checks = Arc::new(Checks::new(Arc::new(schemas)));
    let net_options = NetOptions { checks: Some(Arc::clone(&checks)), ..options.net };
    let mut net = match net::bind(net_options, inbound_sender).await {
        Ok(net) => net,
        Err(error) => {
            let _ = ready.send(Err(StartError::Net(error)));
            return (Ended::Clean, store);
        }
    };
    let facts = Arc::new(Facts {
        started_at: clock.now(),
        data_dir: options.data_dir,
        store_dir: options.store_dir,
        disk_look: DiskLook::default(),
        clients: net.client_endpoint().to_owned(),
        workers: net.worker_endpoint().to_owned(),
        doors: net.doors(),
        spans: options.spans.as_ref().map(|sink| Arc::clone(&sink.counts)),
    });
    let (commands_sender, commands) = mpsc::channel::<Command>(MAX_COMMANDS);
    let stop = Arc::new(Notify::new());
    let handle = BrokerHandle::new(commands_sender, reads, Arc::clone(&stop), Arc::clone(&checks));
    let (closings, closed) = mpsc::channel(closing::MAX_CLOSING);
    tokio::spawn(closing::run(closed, handle.downgrade()));
    let sender = net.sender();
    let event_loop = EventLoop::new(
        clock,
        engine,
        options.engine,
        Arc::clone(&facts),
        store,
        Box::new(move |outbound| sender.send(outbound)),
        net.doors(),
    );
    let traces = options.spans.map(|sink| Box::new(Traces::new(sink)));
    let event_loop = EventLoop { closings: Some(closings), traces, checks, ..event_loop };
    let inputs = Inputs { inbound, commands, store: replies, redis, stop: Arc::clone(&stop) };
    let announce = announce(handle, options.queues, facts, ready);
    let run = async { tokio::join!(event_loop.run(inputs), announce).0 };
    tokio::pin!(run);
    let (end, store) = tokio::select! {
        ended = &mut run => ended,
        () = net.broken() => {
            tracing::error!("a part of the sockets broke down; the broker stops");
            stop.notify_one();
            (Ended::Crashed, run.await.1)
        }
    };
    net.shutdown().await;
    (end, store)
}

/// Makes the configured queues, then says that the broker is ready. A handle is kept by whoever started
/// the broker: when the last one is gone, the loop ends.
async fn announce(
    handle: BrokerHandle,
    queues: Vec<(QueueName, QueueSettings)>,
    facts: Arc<Facts>,
    ready: &SyncSender<Result<Ready, StartError>>,
) {
    let actor = Actor::broker();
    for (queue, settings) in queues {
        if let Err(source) = handle.put_queue(actor.clone(), queue.clone(), settings).await {
            let _ = ready.send(Err(StartError::Queue { queue, source }));
            handle.shut_down();
            return;
        }
    }
    let _ = ready.send(Ok(Ready {
        handle,
        clients: facts.clients.clone(),
        workers: facts.workers.clone(),
    }));
}
