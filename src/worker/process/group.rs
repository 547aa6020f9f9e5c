//! A child's process group and its end.

use std::fs;
use std::io;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::Child;
use tokio::time::{Instant, sleep, timeout};

/// How often a group is looked at while it ends: a grandchild's end makes no event for us.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// How long SIGKILL may take: the kernel is waiting for a disk if it takes longer.
const KILL_LIMIT: Duration = Duration::from_secs(2);

/// The group that a child leads. Dropped before its end was seen, it kills what is left of it.
#[derive(Debug)]
pub(crate) struct Group {
    id: Pid,
    ended: bool,
}

impl Group {
    /// The group of a child that was spawned with `process_group(0)` and has not been waited for.
    pub(crate) fn led_by(child: &Child) -> io::Result<Self> {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        let id = id.ok_or_else(|| io::Error::other("the child has no process id"))?;
        Ok(Self { id: Pid::from_raw(id), ended: false })
    }

    /// Ends whatever is left of the group: SIGTERM, after `grace` SIGKILL; reaps the child. True once
    /// nothing of the group runs any more.
    ///
    /// When the child has been waited for, its number stays taken while the group has a member; when it
    /// has none, there is nobody to signal.
    pub(crate) async fn end(mut self, child: &mut Child, grace: Duration) -> bool {
        if signal(self.id, Signal::SIGTERM) && !self.gone_within(child, grace).await {
            signal(self.id, Signal::SIGKILL);
            self.ended = self.gone_within(child, KILL_LIMIT).await;
        } else {
            self.ended = true;
        }
        if !self.ended {
            tracing::error!(group = %self.id, "a process group is still there after SIGKILL");
        }
        self.ended
    }

    async fn gone_within(&self, child: &mut Child, limit: Duration) -> bool {
        let until = Instant::now() + limit;
        // The child has to be reaped for its group to vanish; what it exits with is known elsewhere.
        let _elapsed = timeout(limit, child.wait()).await;
        while alive(self.id) {
            if Instant::now() >= until {
                return false;
            }
            sleep(LOOK_EVERY).await;
        }
        true
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if !self.ended {
            signal(self.id, Signal::SIGKILL);
        }
    }
}

/// False if there is nobody in the group.
fn signal(group: Pid, signal: Signal) -> bool {
    match killpg(group, signal) {
        Ok(()) => true,
        Err(Errno::ESRCH) => false,
        Err(error) => {
            tracing::warn!(%group, %signal, %error, "a process group can't be signalled");
            true
        }
    }
}

/// Whether anybody in the group still runs. Zombies don't: a container whose first process reaps nobody
/// keeps them for ever.
fn alive(group: Pid) -> bool {
    match killpg(group, None) {
        Err(Errno::ESRCH) => false,
        Ok(()) | Err(_) => runs(group).unwrap_or(true),
    }
}

/// Looks through `/proc`; an error where there is none.
fn runs(group: Pid) -> io::Result<bool> {
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let is_process = name.to_str().is_some_and(|name| name.bytes().all(|b| b.is_ascii_digit()));
        if !is_process {
            continue;
        }
        // A process that ended meanwhile has no file any more.
        let Ok(stat) = fs::read_to_string(format!("/proc/{}/stat", name.display())) else {
            continue;
        };
        if let Some((state, of)) = state_and_group(&stat)
            && of == group.as_raw()
            && !matches!(state, 'Z' | 'X')
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// From `proc_pid_stat(5)`: the state and the process group stand after the name in brackets, which may
/// hold anything.
fn state_and_group(stat: &str) -> Option<(char, i32)> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let state = fields.next()?.chars().next()?;
    let group = fields.nth(1)?.parse().ok()?;
    Some((state, group))
}
