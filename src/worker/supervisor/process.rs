//! One supervised process, from its start until nothing of it runs any more.

use std::io;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::output;
use crate::worker::process::{Group, KILL_GRACE, Launcher, exit_error};

/// How long all that has its mark may take to vanish after SIGKILL.
const SWEEP_LIMIT: Duration = Duration::from_secs(2);

/// How long its last words are waited for, once its group has ended.
const WORDS_LIMIT: Duration = Duration::from_millis(200);

/// One that runs.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) pid: u32,
    pub(super) spawn_id: String,
    /// Sent once: why it is ended, and how long it may take to end by itself.
    stop: Option<oneshot::Sender<Stop>>,
}

#[derive(Debug)]
struct Stop {
    why: String,
    grace: Duration,
}

/// It has ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) pool: String,
    pub(super) place: u32,
    pub(super) how: String,
    pub(super) ran: Duration,
}

impl Process {
    /// SIGTERM to its group, after `grace` SIGKILL. Does nothing if it was told already.
    pub(super) fn stop(&mut self, why: &str, grace: Duration) {
        if let Some(stop) = self.stop.take() {
            // It has ended meanwhile; that is what was wanted.
            let _ended = stop.send(Stop { why: why.to_owned(), grace });
        }
    }
}

/// Starts it; what is given beside is to be run until its end.
pub(super) fn start(
    pool: &str,
    place: u32,
    mut command: Command,
    launcher: Launcher,
    worker: String,
) -> io::Result<(Process, impl Future<Output = Ended> + Send + 'static)> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn()?;
    let group = Group::led_by(&child)?;
    let pid = child.id().ok_or_else(|| io::Error::other("it has no process id"))?;
    let spawn_id = launcher.mark().as_str().to_owned();
    let (stop, stopped) = oneshot::channel();
    let stdout = child.stdout.take().expect("stdout is piped");
    let stderr = child.stderr.take().expect("stderr is piped");
    tokio::spawn(output::log(stdout, worker.clone(), "stdout"));
    let last_words = tokio::spawn(output::log(stderr, worker, "stderr"));
    let pool = pool.to_owned();
    let task = async move {
        let began = Instant::now();
        let how = end_of(child, group, stopped, last_words).await;
        let mark = launcher.mark().clone();
        let swept = tokio::task::spawn_blocking(move || mark.kill_all(SWEEP_LIMIT)).await;
        if !swept.unwrap_or(false) {
            tracing::error!(pool, place, "processes that a worker started can't be ended");
        }
        Ended { pool, place, how, ran: began.elapsed() }
    };
    Ok((Process { pid, spawn_id, stop: Some(stop) }, task))
}

/// Waits for its end, or brings it about; its group has ended then, too.
async fn end_of(
    mut child: Child,
    group: Group,
    stopped: oneshot::Receiver<Stop>,
    last_words: JoinHandle<String>,
) -> String {
    let by_itself = tokio::select! {
        status = child.wait() => Some(status),
        Ok(stop) = stopped => {
            let gone = group.end(&mut child, stop.grace).await;
            return if gone { stop.why } else { format!("{}; it can't be ended", stop.why) };
        }
    };
    group.end(&mut child, KILL_GRACE).await;
    match by_itself {
        Some(Ok(status)) => {
            // Its reader ends with the last process that holds the pipe.
            let words = timeout(WORDS_LIMIT, last_words).await;
            exit_error(status, &words.map_or_else(|_| String::new(), Result::unwrap_or_default))
                .message
        }
        Some(Err(error)) => format!("its end is unknown: {error}"),
        None => "its end is unknown".to_owned(),
    }
}
