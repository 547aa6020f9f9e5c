//! A deterministic simulator: engine, commit pipeline, a clock that is told, a store that loses what was not synced,
//! and peers whose messages are lost, doubled, late or out of order. A seed makes a *script* of steps; whatever the script,
//! the guarantees of design.md 2 must hold (`oracle`). A script that breaks one is shrunk to the few steps that do, and
//! printed with its seed.
//!
//! | to add | go to |
//! |---|---|
//! | a pattern of one queue | a row in [`script::queues`] |
//! | something that can happen | a variant of [`script::Step`], how often in `Script::random`, what it does in `sim`, `peers` |
//! | a guarantee | `oracle`: told of every operation and every effect, before and after the commit |
//!
//! `MUBROKER_SEED=n` runs that script alone; `MUBROKER_SIM_SECONDS=n` runs fresh seeds for so long. tests/run does that in a
//! build of engine and model alone (`cargo test -p mubroker-simulator --lib simulator::whatever -- --nocapture`). With
//! `MUBROKER_TRACE=1` each event of a script that fails is printed, with what the engine decided.

mod commits;
mod oracle;
mod peers;
mod processes;
mod requests;
mod script;
mod setup;
mod shrink;
mod sim;

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use script::Script;
use sim::{Fault, Sim, Tally};

/// Steps of a script: long enough that queues fill up and empty, short enough to be shrunk.
const STEPS: usize = 1_500;
/// Scripts of a plain test run.
const SCRIPTS: u64 = 20;

/// Runs one script to its end.
fn run(script: &Script, fault: Option<Fault>) -> Tally {
    let mut sim = Sim::new(&script.setup, fault);
    for step in &script.steps {
        sim.step(step);
    }
    sim.settle();
    sim.tally
}

/// The same, and prints what happens.
fn run_traced(script: &Script) {
    let mut sim = Sim::new(&script.setup, None);
    sim.traces = true;
    for step in &script.steps {
        eprintln!("{step:?}");
        sim.step(step);
    }
    sim.settle();
}

/// Runs the script of a seed; if it fails, says so with what is left of it after shrinking.
#[track_caller]
fn try_seed(seed: u64, tally: &mut Tally) {
    let script = Script::random(seed, STEPS);
    match shrink::quietly(|| run(&script, None)) {
        Ok(one) => tally.add(&one),
        Err(why) => {
            let (short, why) = shrink::shrink(script, why, |script| run(script, None));
            if std::env::var_os("MUBROKER_TRACE").is_some() {
                let _ = shrink::quietly(|| run_traced(&short));
            }
            panic!("seed {seed}: {why}\n{short}");
        }
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().and_then(|text| text.parse().ok())
}

#[expect(clippy::disallowed_methods, reason = "how long a test runs, not what it does")]
fn now() -> Instant {
    Instant::now()
}

#[test]
fn whatever_happens_the_guarantees_hold() {
    let mut tally = Tally::default();
    if let Some(seed) = number("MUBROKER_SEED") {
        return try_seed(seed, &mut tally);
    }
    let Some(seconds) = number("MUBROKER_SIM_SECONDS") else {
        (1..=SCRIPTS).for_each(|seed| try_seed(seed, &mut tally));
        return tally.check_all_was_seen(false);
    };
    let begun = now();
    let first = fastrand::u64(..) >> 16;
    let next = AtomicU64::new(first);
    let try_seeds = || {
        let mut tally = Tally::default();
        while begun.elapsed() < Duration::from_secs(seconds) {
            try_seed(next.fetch_add(1, Ordering::Relaxed), &mut tally);
        }
        tally
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(try_seeds)).collect();
        for one in threads {
            tally.add(&one.join().unwrap_or_else(|failure| resume_unwind(failure)));
        }
    });
    let seed = next.into_inner();
    tally.check_all_was_seen(seed - first > 500);
    let rate = tally.steps as f64 / begun.elapsed().as_secs_f64();
    eprintln!("seeds {first} to {seed}: {} steps, {rate:.0} a second\n{tally:?}", tally.steps);
}

#[test]
fn a_seed_is_a_run() {
    for seed in [3, 4] {
        let script = Script::random(seed, STEPS);
        assert_eq!(run(&script, None), run(&script, None));
    }
}

/// The simulator itself finds what it is there for, and says it in few steps.
#[test]
fn planted_faults_are_found_and_shrunk() {
    for (fault, found) in [
        (Fault::TellsBeforeCommit, "durable first"),
        (Fault::LosesABatch, ""),
        (Fault::ForgetsPause, "is paused"),
    ] {
        let mut failed = None;
        for seed in 1..40 {
            let script = Script::random(seed, STEPS);
            if let Err(why) = shrink::quietly(|| run(&script, Some(fault))) {
                failed = Some(shrink::shrink(script, why, |script| run(script, Some(fault))));
                break;
            }
        }
        let (short, why) = failed.unwrap_or_else(|| panic!("{fault:?} was not found"));
        assert!(why.contains(found), "{fault:?}: {why}");
        assert!(short.steps.len() <= 12, "{fault:?} takes {} steps:\n{short}", short.steps.len());
    }
}
