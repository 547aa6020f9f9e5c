//! A mark in the environment of processes, by which they and all that they start are found again.

use std::fs;
use std::io;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::Instant;

/// The variable. A worker says it as its `spawn_id` in READY.
const VARIABLE: &str = "MUBROKER_SPAWN_ID";
/// Between two looks: a process that was about to start another one has done so by then.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// How often in a row nothing must be found: a process that is started while its parent ends may be missed once.
const CLEAN_LOOKS: u32 = 2;
/// How long processes without any environment are waited for: one that becomes another program has none for a moment, but some
/// run so for ever.
const UNCLEAR_LIMIT: Duration = Duration::from_millis(250);

/// What one look has found.
#[derive(Debug, Default)]
struct Found {
    holders: Vec<Pid>,
    /// There is one that may have the mark in a moment.
    has_unclear: bool,
}

/// Unique to what is started under it. Marks have a form like a path: what is marked `a.b` is found as `a`, too.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(String);

impl Mark {
    /// One that nobody else has.
    pub fn unique() -> Self {
        Self(uuid::Uuid::now_v7().simple().to_string())
    }

    /// As it was written into an argument or a variable.
    pub fn named(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// One below this.
    #[must_use]
    pub fn below(&self, part: &str) -> Self {
        Self(format!("{}.{part}", self.0))
    }

    /// The mark that whoever started this process gave it.
    pub fn inherited() -> Option<Self> {
        std::env::var(VARIABLE).ok().filter(|mark| !mark.is_empty()).map(Self)
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The variable that holds it, and its value.
    pub(super) fn variable(&self) -> (&'static str, &str) {
        (VARIABLE, &self.0)
    }

    /// Kills all processes of this user that have it. True once there are none. Blocks up to `limit`.
    ///
    /// What the system doesn't show (a program that gained rights, a system without `/proc`) isn't found.
    pub fn kill_all(&self, limit: Duration) -> bool {
        let began = Instant::now();
        let mut last_found = began;
        let mut clean = 0;
        while clean < CLEAN_LOOKS {
            // Without /proc there is nothing more that can be done.
            let Ok(Found { holders, has_unclear }) = self.look() else { return true };
            for &pid in &holders {
                // It may have ended meanwhile, or be somebody else's.
                let _gone = kill(pid, Signal::SIGKILL);
            }
            if !holders.is_empty() {
                last_found = Instant::now();
                clean = 0;
            } else if !has_unclear || last_found.elapsed() >= UNCLEAR_LIMIT {
                clean += 1;
            }
            if began.elapsed() >= limit {
                return clean > 0;
            }
            std::thread::sleep(LOOK_EVERY);
        }
        true
    }

    /// Looks at all processes but this one.
    fn look(&self) -> io::Result<Found> {
        let mut found = Found::default();
        for entry in fs::read_dir("/proc")? {
            let name = entry?.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
            // Ended meanwhile, or not ours.
            let Ok(environment) = fs::read(format!("/proc/{pid}/environ")) else { continue };
            let has_it = environment.split(|&byte| byte == 0).any(|line| self.is_in(line));
            if has_it && Pid::from_raw(pid) != Pid::this() {
                found.holders.push(Pid::from_raw(pid));
            }
            // In the middle of `execve` a process has none yet. Zombies and the kernel's threads, which have no program, never have.
            found.has_unclear |=
                environment.is_empty() && fs::read_link(format!("/proc/{pid}/exe")).is_ok();
        }
        Ok(found)
    }

    fn is_in(&self, line: &[u8]) -> bool {
        let value = line.strip_prefix(VARIABLE.as_bytes());
        let rest = value.and_then(|value| value.strip_prefix(b"="));
        let rest = rest.and_then(|value| value.strip_prefix(self.0.as_bytes()));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_found_by_itself_and_by_what_it_is_below() {
        let mark = Mark::named("ab");
        for (line, found) in [
            ("MUBROKER_SPAWN_ID=ab", true),
            ("MUBROKER_SPAWN_ID=ab.c.1", true),
            ("MUBROKER_SPAWN_ID=abc", false),
            ("MUBROKER_SPAWN_ID=a", false),
            ("XMUBROKER_SPAWN_ID=ab", false),
            ("MUBROKER_SPAWN_ID", false),
        ] {
            assert_eq!(mark.is_in(line.as_bytes()), found, "{line}");
        }
        assert!(Mark::named("ab").below("c").is_in(b"MUBROKER_SPAWN_ID=ab.c"));
    }
}
