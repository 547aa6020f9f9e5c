//! Peers that wait for room behind slow ones.

use tokio::io::AsyncWriteExt as _;
use tokio::time::Instant;

use super::curve::{self, Curved};
use super::raw::{Raw, message};
use super::*;
use crate::auth::CurvePublic;

const KIB: usize = 1024;
/// Room for one of these.
const LARGE: usize = 900 * KIB;
/// How long a message may take.
const LIMIT: Duration = Duration::from_secs(1);

fn limits(limits: &mut NetLimits) {
    limits.message_bytes = 1024 * KIB;
    limits.incoming_bytes = 1024 * KIB;
    limits.message = LIMIT;
}

fn frames(payload: &[u8]) -> [&[u8]; 4] {
    [b"MUB1", b"SEND", br#"{"queue":"q"}"#, payload]
}

/// A peer by either mechanism, and its large message.
enum Sender {
    Plain(Raw),
    Curved(Box<Curved>),
}

impl Sender {
    async fn connect(port: u16, server: Option<CurvePublic>) -> (Self, Vec<u8>) {
        let payload = vec![0; LARGE];
        match server {
            None => (Self::Plain(Raw::dealer(port, b"").await), message(&frames(&payload))),
            Some(server) => {
                let mut curved = Curved::dealer(port, server).await;
                let message = curved.message(&frames(&payload));
                (Self::Curved(Box::new(curved)), message)
            }
        }
    }

    fn raw(&mut self) -> &mut Raw {
        match self {
            Self::Plain(raw) => raw,
            Self::Curved(curved) => &mut curved.raw,
        }
    }

    async fn verb(&mut self) -> Vec<u8> {
        match self {
            Self::Plain(raw) => raw.receive().await[1].to_vec(),
            Self::Curved(curved) => curved.receive().await.swap_remove(1),
        }
    }
}

/// A broker and the key of its door, with and without CURVE.
async fn both(mut test: impl AsyncFnMut(Broker, Option<CurvePublic>)) {
    test(Broker::start(with_limits(limits)).await, None).await;
    let (options, server) = curve::options(limits);
    test(Broker::start(options).await, Some(server)).await;
}

/// Peers that begin a large message, one after the other, and say no more: the first has the room, the others wait.
async fn slow_ones(broker: &Broker, server: Option<CurvePublic>, many: usize) -> Vec<Sender> {
    let mut slow = Vec::new();
    for _ in 0..many {
        let (mut peer, message) = Sender::connect(broker.port(), server).await;
        // Its clock runs before it waits. (In boxes: the small frames come out before the large one is seen.)
        let first = if server.is_none() { 10 } else { 70 * KIB };
        for part in [&message[..first], &message[first..70 * KIB]] {
            let before = broker.clients().bytes_in;
            peer.raw().send(part).await;
            if !part.is_empty() {
                heard_more(broker, before).await;
            }
        }
        slow.push(peer);
    }
    slow
}

async fn heard_more(broker: &Broker, before: u64) {
    tokio::time::timeout(LONG, async {
        while broker.clients().bytes_in == before {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("it is heard");
}

#[tokio::test]
async fn who_waited_behind_slow_ones_has_all_its_time_after_it() {
    both(async |broker, server| {
        let began = Instant::now();
        let _slow = slow_ones(&broker, server, 2).await;
        let (mut peer, message) = Sender::connect(broker.port(), server).await;
        let (begun, rest) = message.split_at(100 * KIB);
        peer.raw().send(begun).await;
        // Had its time run meanwhile, it would be over before the second's is, which waited itself.
        broker.refused(Refusal::MessageTimeout, 2).await;
        assert!(began.elapsed() > LIMIT * 3 / 2, "the second had its time after the first's");
        peer.raw().send(rest).await;
        assert_eq!(peer.verb().await, b"ACCEPTED", "with CURVE: {}", server.is_some());
        broker.stop().await;
    })
    .await;
}

#[tokio::test]
async fn who_leaves_while_it_waits_gives_up_its_place() {
    both(async |mut broker, server| {
        let _slow = slow_ones(&broker, server, 4).await;
        let (mut peer, message) = Sender::connect(broker.port(), server).await;
        peer.raw().send(&message[..100 * KIB]).await;
        drop(peer);
        // Peers are numbered as they come: the slow ones, then it.
        let mut gone = Vec::new();
        while gone.len() < 3 {
            let Inbound::ClientGone { peer } = broker.next_told().await else { continue };
            gone.push(peer);
        }
        // The first whose time was over is the first of them all.
        assert!(gone.iter().any(|peer| peer.0 == gone[0].0 + 4), "{gone:?}");
        broker.stop().await;
    })
    .await;
}

#[tokio::test]
async fn what_came_whole_is_taken_though_its_peer_has_left() {
    both(async |broker, server| {
        let slow = slow_ones(&broker, server, 1).await;
        let (mut peer, message) = Sender::connect(broker.port(), server).await;
        peer.raw().send(&message).await;
        peer.raw().stream.shutdown().await.unwrap();
        drop(slow);
        assert_eq!(peer.verb().await, b"ACCEPTED");
        broker.stop().await;
    })
    .await;
}
