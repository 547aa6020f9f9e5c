//! One child that stays.

use std::io;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout};
use tokio::time::timeout;

use super::Broken;
use super::frames::{Answer, Framing};
use crate::model::{DeliveryId, WorkError};
use crate::wire::Delivery;
use crate::worker::process::{Group, LastWords, Program, STDERR_TAIL_BYTES, exit_error};

/// How long a child that has closed its output may take to exit: it mostly has done so.
const EXIT_LIMIT: Duration = Duration::from_millis(500);

/// A child; dropped, its process group is killed.
#[derive(Debug)]
pub(super) struct StdioChild {
    child: Child,
    group: Group,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    last_words: Arc<Mutex<LastWords>>,
    framing: Framing,
}

impl StdioChild {
    pub(super) fn start(program: &Program, framing: Framing) -> io::Result<Self> {
        let mut command = program.command();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.kill_on_drop(true).spawn()?;
        let group = Group::led_by(&child)?;
        let stdin = child.stdin.take().expect("stdin is piped");
        let stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let last_words = Arc::<Mutex<LastWords>>::default();
        let stderr = child.stderr.take().expect("stderr is piped");
        tokio::spawn(listen(stderr, Arc::clone(&last_words)));
        Ok(Self { child, group, stdin, stdout, last_words, framing })
    }

    /// Whether it may be given something.
    pub(super) fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Whether it has said nothing beyond its answer, as far as that has come.
    pub(super) async fn is_quiet(&mut self) -> bool {
        let more = self.stdout.fill_buf().now_or_never();
        more.is_none()
    }

    pub(super) async fn give(
        &mut self,
        delivery: &Delivery,
        limit: Duration,
    ) -> Result<(), Broken> {
        let request = self.framing.encode(delivery, limit);
        let given = async {
            self.stdin.write_all(&request).await?;
            self.stdin.flush().await
        };
        given.await.map_err(|_| Broken::Closed)
    }

    pub(super) async fn hear(&mut self) -> Result<(Option<DeliveryId>, Answer), Broken> {
        self.framing.read(&mut self.stdout).await
    }

    /// The end of what it wrote to its standard error.
    pub(super) fn stderr(&self) -> String {
        self.last_words.lock().expect("nobody panics with it").text()
    }

    pub(super) async fn failure_of(&mut self, broken: Broken) -> WorkError {
        match broken {
            Broken::Answer(why) => WorkError {
                detail: self.stderr(),
                ..WorkError::new("answer", format!("its answer can't be read: {why}"))
            },
            Broken::Closed => match timeout(EXIT_LIMIT, self.child.wait()).await {
                Ok(Ok(status)) => exit_error(status, &self.stderr()),
                Ok(Err(_)) | Err(_) => WorkError {
                    detail: self.stderr(),
                    ..WorkError::new("closed", "it closed its output without an answer".to_owned())
                },
            },
        }
    }

    /// Ends it with its group. True once nothing of the group runs any more.
    pub(super) async fn end(mut self, grace: Duration) -> bool {
        self.group.end(&mut self.child, grace).await
    }

    /// Closes its input, and ends it if it doesn't end by itself.
    pub(super) async fn close(mut self, grace: Duration) {
        drop(self.stdin);
        let _elapsed = timeout(grace, self.child.wait()).await;
        self.group.end(&mut self.child, grace).await;
    }
}

/// Reads standard error to its end, so that the child never waits for that; passes it on to our own, and keeps the end.
async fn listen(mut stderr: ChildStderr, last_words: Arc<Mutex<LastWords>>) {
    let mut piece = [0; STDERR_TAIL_BYTES];
    let mut own = tokio::io::stderr();
    while let Ok(read @ 1..) = stderr.read(&mut piece).await {
        let new = piece.get(..read).unwrap_or_default();
        last_words.lock().expect("nobody panics with it").push(new);
        // When nobody reads ours any more, the end is kept all the same.
        let _nobody = own.write_all(new).await;
    }
}
