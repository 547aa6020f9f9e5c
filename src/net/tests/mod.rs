//! The doors from outside: sockets of the crate, and raw bytes as an attacker sends them.

mod abuse;
mod bounds;
mod curve;
mod raw;
mod room;
mod service;
mod strangers;

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::*;
use crate::model::{Accepted, CallReply, CallStatus, Seq};
use crate::wire::{ClientReply, ClientRequest, SendRequest};

/// Longer than anything takes here; a test that waits so long has failed.
const LONG: Duration = Duration::from_secs(20);

/// Both doors with a loop behind them that answers at once.
struct Broker {
    net: Net,
    /// What was neither a client's request nor a worker's heartbeat.
    told: mpsc::Receiver<Inbound>,
    answering: JoinHandle<()>,
}

fn options() -> NetOptions {
    NetOptions::new("tcp://127.0.0.1:0", "tcp://127.0.0.1:0")
}

fn with_limits(change: impl FnOnce(&mut NetLimits)) -> NetOptions {
    let mut options = options();
    change(&mut options.limits);
    options
}

impl Broker {
    async fn start(options: NetOptions) -> Self {
        let (sender, mut inbound) = mpsc::channel(16);
        let net = bind(options, sender).await.unwrap();
        let sender = net.sender();
        let (tell, told) = mpsc::channel(1024);
        let answering = tokio::spawn(async move {
            while let Some(event) = inbound.recv().await {
                match event {
                    Inbound::Client { peer, reply_form, request } => {
                        for reply in answers(request) {
                            let outbound_message =
                                Outbound::Client { peer, reply_form: reply_form.clone(), reply };
                            sender.send(outbound_message);
                        }
                    }
                    other => tell.send(other).await.unwrap(),
                }
            }
        });
        Self { net, told, answering }
    }

    fn port(&self) -> u16 {
        self.net.client_endpoint().rsplit_once(':').unwrap().1.parse().unwrap()
    }

    fn worker_port(&self) -> u16 {
        self.net.worker_endpoint().rsplit_once(':').unwrap().1.parse().unwrap()
    }

    fn clients(&self) -> GuardSnapshot {
        self.net.counters().clients
    }

    /// Waits until a connection was refused for this reason so often.
    async fn refused(&self, reason: Refusal, times: u64) {
        let counted = async {
            while self.clients().refused_for(reason) < times {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(LONG, counted).await.unwrap_or_else(|_| {
            panic!("not refused for {reason:?}: {:?}", self.clients());
        });
        assert_eq!(self.clients().refused_for(reason), times);
    }

    async fn next_told(&mut self) -> Inbound {
        tokio::time::timeout(LONG, self.told.recv()).await.expect("in time").expect("running")
    }

    async fn stop(self) {
        self.net.shutdown().await;
        self.answering.await.unwrap();
    }
}

/// SEND is accepted. CALL is answered with its own payload, `timeout_ms` times.
fn answers(request: ClientRequest) -> Vec<ClientReply> {
    let accepted = |send: &SendRequest| Accepted {
        id: send.content.id().clone(),
        queue: send.queue.clone(),
        seq: Seq(1),
        duplicate: false,
    };
    match request {
        ClientRequest::Ping
        | ClientRequest::Hello { .. }
        | ClientRequest::Publish { .. }
        | ClientRequest::Start { .. }
        | ClientRequest::Gather(_)
        | ClientRequest::Subscribe { .. }
        | ClientRequest::Unsubscribe { .. }
        | ClientRequest::Status { .. } => vec![ClientReply::Pong],
        ClientRequest::Send(send) => vec![ClientReply::Accepted(accepted(&send))],
        ClientRequest::SendMany(sends) => {
            vec![ClientReply::AcceptedMany(sends.iter().map(accepted).collect())]
        }
        ClientRequest::Call { send, timeout_ms, parts: _ } => {
            let reply = CallReply {
                id: send.content.id().clone(),
                status: CallStatus::Ok,
                error: None,
                payload: send.content.payload,
            };
            vec![ClientReply::Reply(reply); timeout_ms as usize]
        }
    }
}
