//! A payload in the operator's own editor: the terminal is its while it runs; the console goes on with what the broker says.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::process::ExitStatus;

use bytes::Bytes;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::model::MessageRef;
use crate::admin::dto::MAX_PAYLOAD_BYTES;

/// An editor that runs, and the file that it has. Dropped, both are gone.
pub(super) struct Outside {
    pub(super) message: MessageRef,
    child: Child,
    /// What it was given.
    given: Bytes,
    /// In a folder of its own, so that what an editor puts beside it goes, too.
    file: PathBuf,
    folder: TempDir,
}

impl Outside {
    /// Starts `program`, as a shell reads it, on `bytes` in a file that only this user reads.
    pub(super) fn start(message: MessageRef, program: &str, bytes: &Bytes) -> io::Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("mubroker-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir()?;
        let file = folder.path().join(format!("{}-{}.json", message.queue, message.seq));
        let mut options = OpenOptions::new();
        let mut written = options.write(true).create_new(true).mode(0o600).open(&file)?;
        written.write_all(bytes)?;
        // `$EDITOR` may have arguments; the shell makes way for it.
        let child = Command::new("sh")
            .args(["-c", &format!("exec {program} \"$1\""), "sh"])
            .arg(&file)
            .kill_on_drop(true)
            .spawn()?;
        Ok(Self { message, child, given: bytes.clone(), file, folder })
    }

    /// Waits for its end. Cancelled, it goes on.
    pub(super) async fn ended(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// What it left, or why there is nothing to take. What was written and can't be taken stays where it is, and is named.
    pub(super) fn take(self, status: io::Result<ExitStatus>) -> Result<Bytes, String> {
        let ended = match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("it ended with {status}")),
            Err(error) => Err(error.to_string()),
        };
        let why = match (ended, self.read()) {
            (Ok(()), Ok(bytes)) if std::str::from_utf8(&bytes).is_ok() => return Ok(bytes),
            (Err(why), Ok(bytes)) if bytes == self.given => {
                return Err(format!("{why}; the text is as it was"));
            }
            (Ok(()), Ok(_)) => "what it left is not UTF-8".to_owned(),
            (Err(why), _) | (Ok(()), Err(why)) => why,
        };
        let left = self.file.display().to_string();
        let _kept = self.folder.keep();
        Err(format!("{why}; the text is as it was, what it left is in {left}"))
    }

    /// What is in the file now.
    pub(super) fn read(&self) -> Result<Bytes, String> {
        let failed = |error: io::Error| error.to_string();
        let mut bytes = Vec::new();
        let limit = MAX_PAYLOAD_BYTES as u64 + 1;
        let file = File::open(&self.file).map_err(failed)?;
        file.take(limit).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() > MAX_PAYLOAD_BYTES {
            return Err(format!("it left more than {MAX_PAYLOAD_BYTES} bytes"));
        }
        Ok(Bytes::from(bytes))
    }
}

#[cfg(test)]
mod tests {
    use crate::admin::dto::{QueueName, Seq};

    use super::*;

    async fn left(program: &str) -> (Result<Bytes, String>, PathBuf) {
        let queue = QueueName::new("orders").expect("a name");
        let message = MessageRef { queue, seq: Seq(3) };
        let mut outside = Outside::start(message, program, &Bytes::from_static(b"{}")).unwrap();
        let folder = outside.folder.path().to_owned();
        let status = outside.ended().await;
        (outside.take(status), folder)
    }

    #[tokio::test]
    async fn what_was_written_and_cannot_be_taken_is_kept_and_named() {
        for program in ["printf '\\377' > \"$1\"; :", "printf 1 > \"$1\"; false"] {
            let (refused, folder) =
                left(&format!("sh -c '{}' sh", program.replace('\'', "'\\''"))).await;
            let refused = refused.unwrap_err();
            assert!(refused.contains(folder.to_str().unwrap()), "{program}: {refused}");
            assert!(folder.join("orders-3.json").exists());
            std::fs::remove_dir_all(folder).unwrap();
        }
    }

    #[tokio::test]
    async fn else_nothing_is_left_behind() {
        for (program, taken) in [("true", true), ("false", false)] {
            let (result, folder) = left(program).await;
            assert_eq!(result.is_ok(), taken, "{program}");
            assert!(!folder.exists());
        }
    }
}
