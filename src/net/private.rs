//! The sockets between guard and crate.

use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use zeromq::{RouterSocket, Socket};

use super::options::NetError;

/// The clients' socket between guard and crate.
pub(super) const CLIENTS: &str = "guard-clients";
/// The workers'.
pub(super) const WORKERS: &str = "guard-workers";

/// The folder of the private sockets.
#[derive(Debug)]
pub(super) enum PrivateDir {
    /// The caller's; only the sockets are removed.
    Given(PathBuf),
    /// Removed when the sockets are closed.
    Temporary(TempDir),
}

impl PrivateDir {
    /// Makes it if it isn't there.
    pub(super) fn make(run_dir: Option<PathBuf>) -> Result<Self, NetError> {
        let Some(dir) = run_dir else {
            return tempfile::Builder::new()
                .prefix("mubroker-")
                .permissions(std::fs::Permissions::from_mode(0o700))
                .tempdir()
                .map(Self::Temporary)
                .map_err(|source| NetError::RunDir { dir: std::env::temp_dir(), source });
        };
        match std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir) {
            Ok(()) => Ok(Self::Given(dir)),
            Err(source) => Err(NetError::RunDir { dir, source }),
        }
    }

    fn path(&self) -> &Path {
        match self {
            Self::Given(dir) => dir,
            Self::Temporary(dir) => dir.path(),
        }
    }
}

impl Drop for PrivateDir {
    fn drop(&mut self) {
        if let Self::Given(dir) = self {
            for name in [CLIENTS, WORKERS] {
                // One that was never bound isn't there; one that stays is replaced at the next start.
                let _ = std::fs::remove_file(dir.join(name));
            }
        }
    }
}

/// One of the crate's ROUTERs, on a socket in `dir` that only the guard connects to.
pub(super) async fn private_router(
    dir: &PrivateDir,
    name: &str,
) -> Result<(PathBuf, RouterSocket), NetError> {
    let path = dir.path().join(name);
    let run_dir_error = |source| NetError::RunDir { dir: dir.path().to_owned(), source };
    // A broker that was killed leaves its sockets behind.
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(run_dir_error(error)),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(&path).map_err(run_dir_error)?;
    let mut router = RouterSocket::new();
    match router.bind_listener(listener).await {
        Ok(_) => Ok((path, router)),
        Err(error) => Err(NetError::Private { path, source: Box::new(error) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_a_killed_broker_left_is_replaced() {
        let data_dir = tempfile::tempdir().unwrap();
        let run_dir = data_dir.path().join("run");
        let dir = PrivateDir::make(Some(run_dir.clone())).unwrap();
        drop(UnixListener::bind(run_dir.join(CLIENTS)).unwrap());
        private_router(&dir, CLIENTS).await.unwrap();
        let mode = std::fs::metadata(&run_dir).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }
}
