//! Power cuts: Redis and the local store lose what was not synced at one moment, and the mailbox is opened over what is left.
//!
//! With `appendfsync always` Redis syncs before it answers. So at any moment its append-only file has all that was answered,
//! and of what was under way some part, which may end within a command. Beside it stands the local store as of its last
//! sync, or with what the next commit has written. Traffic is run once; each of its steps leaves *moments*: a copy of the
//! local store, and from where to where the file was long while that was what the disk had. A cut takes one of
//! them and a length, starts a server over the shortened file, and opens the mailbox.
//!
//! What must be there then: all that was confirmed, in order, once; of a commit under way its messages all or
//! not at all, over all queues. Messages that it finishes may be there again once what it appends is (it can repeat, never lose).
//! `MUBROKER_CUTS` is how many (default 40), `MUBROKER_SEED` repeats traffic and cuts.

mod cut;
mod traffic;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use bytes::Bytes;
use fastrand::Rng;

use super::*;

/// A round is one run of traffic; so many cuts use it.
const CUTS_A_ROUND: usize = 40;

/// They mostly wait, each for its poller.
const AT_ONCE: usize = 4;

/// A message: its id and its payload.
type Held = (String, Bytes);

/// What each queue has, in order; one that was deleted isn't among them.
type Contents = BTreeMap<QueueId, Vec<Held>>;

/// What a disk may have had.
struct Moment {
    /// The step and what was under way, for people.
    what: String,
    /// The local store.
    store: tempfile::TempDir,
    /// How long the append-only file was.
    aof: RangeInclusive<u64>,
    /// Each of these may come out.
    outcomes: Vec<Contents>,
}

/// A length at which one of the moments is cut off.
struct Cut<'a> {
    moment: &'a Moment,
    len: u64,
    /// For people.
    what: String,
}

fn number(name: &str, default: impl FnOnce() -> u64) -> u64 {
    std::env::var(name).map_or_else(|_| default(), |text| text.parse().expect("a number"))
}

/// Mostly of moments while Redis was at work.
fn cuts<'a>(moments: &'a [Moment], count: usize, random: &mut Rng, run: &str) -> Vec<Cut<'a>> {
    let is_long = |moment: &&Moment| moment.aof.start() < moment.aof.end();
    let busy: Vec<&Moment> = moments.iter().filter(is_long).collect();
    let cut = |_| {
        let moment = match random.u8(..4) {
            0 => random.choice(moments),
            _ => random.choice(busy.iter().copied()),
        };
        let moment = moment.expect("each step leaves some");
        let (from, to) = (*moment.aof.start(), *moment.aof.end());
        let len = match random.u8(..8) {
            0 => from,
            1 => to,
            _ => random.u64(from..=to),
        };
        let what = format!("{run}, {}, cut at {len} of {from} to {to}", moment.what);
        Cut { moment, len, what }
    };
    (0..count).map(cut).collect()
}

#[test]
#[ignore = "needs redis-server: tests/run runs it"]
fn nothing_that_was_confirmed_is_lost_by_a_power_cut() {
    let seed = number("MUBROKER_SEED", || fastrand::u64(..));
    let count = number("MUBROKER_CUTS", || CUTS_A_ROUND as u64) as usize;
    println!("MUBROKER_SEED={seed}");
    for round in 0..count.div_ceil(CUTS_A_ROUND) {
        let mut random = Rng::with_seed(seed.wrapping_add(round as u64));
        let (server, moments) = traffic::run(&mut random);
        let aof = tempfile::tempdir().unwrap();
        cut::copy(&server.aof(), aof.path(), None);
        drop(server);
        let count = CUTS_A_ROUND.min(count - round * CUTS_A_ROUND);
        let run = format!("seed {seed}, round {round}");
        let cuts = Mutex::new(cuts(&moments, count, &mut random, &run).into_iter());
        let next = || cuts.lock().unwrap().next();
        std::thread::scope(|scope| {
            for _ in 0..AT_ONCE {
                scope.spawn(|| {
                    while let Some(Cut { moment, len, what }) = next() {
                        cut::check(moment, aof.path(), len, &what);
                    }
                });
            }
        });
    }
}
