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
    /// In a folder of its own, so that what an editor puts beside it goes, too.
    file: PathBuf,
    _folder: TempDir,
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
        Ok(Self { message, child, file, _folder: folder })
    }

    /// Waits for its end. Cancelled, it goes on.
    pub(super) async fn ended(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// What it left, or why there is nothing to take.
    pub(super) fn take(&self, status: io::Result<ExitStatus>) -> Result<Bytes, String> {
        match status {
            Ok(status) if status.success() => {}
            Ok(status) => return Err(format!("it ended with {status}; the text is as it was")),
            Err(error) => return Err(error.to_string()),
        }
        let failed = |error: io::Error| error.to_string();
        let mut bytes = Vec::new();
        let limit = MAX_PAYLOAD_BYTES as u64 + 1;
        let file = File::open(&self.file).map_err(failed)?;
        file.take(limit).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() > MAX_PAYLOAD_BYTES {
            return Err(format!(
                "it left more than {MAX_PAYLOAD_BYTES} bytes; the text is as it was"
            ));
        }
        Ok(Bytes::from(bytes))
    }
}
