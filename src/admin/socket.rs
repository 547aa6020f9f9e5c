//! The unix socket's file: only its owner may connect, a dead one's file is replaced, a living one's not.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// A listening socket; its file is removed when this is dropped.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) listener: Option<UnixListener>,
    path: PathBuf,
}

impl Socket {
    /// Listens at `path`; its folder is made if it is not there.
    pub(super) fn bind(path: &Path) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        remove_dead(path)?;
        // Its rights are set before the file gets its name: nobody can connect in between.
        let mut unready = path.as_os_str().to_owned();
        unready.push(format!(".{}", std::process::id()));
        let listener = UnixListener::bind(&unready)?;
        let named = fs::set_permissions(&unready, Permissions::from_mode(0o600))
            .and_then(|()| fs::rename(&unready, path))
            .and_then(|()| listener.set_nonblocking(true));
        if let Err(error) = named {
            // The first error is what counts.
            let _ = fs::remove_file(&unready);
            return Err(error);
        }
        Ok(Self { listener: Some(listener), path: path.to_owned() })
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Already gone is as good.
        let _ = fs::remove_file(&self.path);
    }
}

fn remove_dead(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(found) if !found.file_type().is_socket() => Err(io::Error::new(
            ErrorKind::AlreadyExists,
            "there is a file of another kind at this path; remove it or choose another",
        )),
        Ok(_) => match UnixStream::connect(path) {
            Ok(_) => Err(io::Error::new(ErrorKind::AddrInUse, "another broker listens there")),
            Err(_) => fs::remove_file(path),
        },
    }
}
