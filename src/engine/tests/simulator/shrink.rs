//! From a script that fails to a short one that does.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

use super::script::Script;

/// Runs while shrinking: each takes milliseconds.
const MAX_RUNS: usize = 6_000;

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs something; why it failed, if so. Its panics are not printed.
pub(super) fn quietly<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let hook = take_hook();
        set_hook(Box::new(move |info| {
            if !QUIET.get() {
                hook(info);
            }
        }));
    });
    QUIET.set(true);
    let result = catch_unwind(AssertUnwindSafe(run));
    QUIET.set(false);
    result.map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        text.unwrap_or_else(|| "it panicked without words".to_owned())
    })
}

/// Takes steps out, many at a time and then fewer, and makes those that stay plainer, as long as the script fails.
pub(super) fn shrink<T>(
    script: Script,
    why: String,
    run: impl Fn(&Script) -> T,
) -> (Script, String) {
    let mut shrinking = Shrinking { script, why, runs: 0 };
    loop {
        let before = shrinking.script.clone();
        shrinking.take_out(&run);
        shrinking.make_plain(&run);
        if shrinking.script == before || shrinking.runs >= MAX_RUNS {
            return (shrinking.script, shrinking.why);
        }
    }
}

struct Shrinking {
    script: Script,
    why: String,
    runs: usize,
}

impl Shrinking {
    /// Keeps another script if it fails too.
    fn keeps<T>(&mut self, other: Script, run: &impl Fn(&Script) -> T) -> bool {
        if self.runs >= MAX_RUNS {
            return false;
        }
        self.runs += 1;
        let failed = quietly(|| run(&other)).err();
        let fails = failed.is_some();
        if let Some(why) = failed {
            (self.script, self.why) = (other, why);
        }
        fails
    }

    fn take_out<T>(&mut self, run: &impl Fn(&Script) -> T) {
        let mut size = self.script.steps.len().div_ceil(2);
        while size > 0 {
            let mut at = 0;
            while at < self.script.steps.len() {
                let mut shorter = self.script.clone();
                shorter.steps.drain(at..(at + size).min(shorter.steps.len()));
                if !self.keeps(shorter, run) {
                    at += size;
                }
            }
            size /= 2;
        }
    }

    fn make_plain<T>(&mut self, run: &impl Fn(&Script) -> T) {
        for at in 0..self.script.steps.len() {
            let plainer = self.script.steps[at].plainer();
            if plainer != self.script.steps[at] {
                let mut other = self.script.clone();
                other.steps[at] = plainer;
                self.keeps(other, run);
            }
        }
    }
}
