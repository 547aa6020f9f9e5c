//! Public listeners: `tcp://host:port` and `ipc://path`.

use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::options::NetError;

/// A public listener.
#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener),
    Ipc { listener: UnixListener, file: SocketFile },
}

/// A connection that was accepted.
#[derive(Debug)]
pub(super) enum Stream {
    Tcp(TcpStream, IpAddr),
    Ipc(UnixStream),
}

/// An ipc socket's file; removed when dropped.
#[derive(Debug)]
pub(super) struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // A file that is already gone is as good as removed; there is nobody to tell otherwise.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl Listener {
    /// As [`listen`].
    async fn bind(door: &str, endpoint: &str) -> Result<Self, NetError> {
        let bad = |reason| NetError::Endpoint {
            door: door.to_owned(),
            endpoint: endpoint.to_owned(),
            reason,
        };
        let failed = |source: io::Error| {
            let (door, endpoint) = (door.to_owned(), endpoint.to_owned());
            match source.kind() {
                ErrorKind::AddrInUse => NetError::InUse { door, endpoint, source },
                _ => NetError::Bind { door, endpoint, source },
            }
        };
        if let Some(address) = endpoint.strip_prefix("tcp://") {
            let (host, port) =
                address.rsplit_once(':').ok_or_else(|| bad("the port is missing"))?;
            let port: u16 =
                port.parse().map_err(|_| bad("the port is not a number below 65536"))?;
            let host = match host.trim_start_matches('[').trim_end_matches(']') {
                "" => return Err(bad("the host is missing")),
                "*" => "0.0.0.0",
                host => host,
            };
            let listener = TcpListener::bind((host, port)).await.map_err(failed)?;
            return Ok(Self::Tcp(listener));
        }
        match endpoint.strip_prefix("ipc://") {
            None => Err(bad("it begins neither with tcp:// nor with ipc://")),
            Some("") => Err(bad("the path is missing")),
            Some(path) => bind_ipc(Path::new(path)).await.map_err(failed),
        }
    }

    fn address(&self) -> io::Result<String> {
        match self {
            Self::Tcp(listener) => Ok(format!("tcp://{}", listener.local_addr()?)),
            Self::Ipc { file, .. } => Ok(format!("ipc://{}", file.0.display())),
        }
    }

    /// Waits for a connection. Cancel safe.
    pub(super) async fn accept(&self) -> io::Result<Stream> {
        match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                // Answers are small and awaited: they must not wait for the next one.
                stream.set_nodelay(true)?;
                Ok(Stream::Tcp(stream, address.ip()))
            }
            Self::Ipc { listener, .. } => Ok(Stream::Ipc(listener.accept().await?.0)),
        }
    }
}

impl Stream {
    /// Whose connections are counted together; a unix socket's peers are all this machine's and are
    /// bounded by the total alone.
    pub(super) fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Tcp(_, address) => Some(*address),
            Self::Ipc(_) => None,
        }
    }
}

/// Listens on `endpoint`, and says where, with the port that was taken; `door` is the setting's name for errors.
pub(super) async fn listen(door: &str, endpoint: &str) -> Result<(Listener, String), NetError> {
    let listener = Listener::bind(door, endpoint).await?;
    let bound = listener.address().map_err(|source| NetError::Bind {
        door: door.to_owned(),
        endpoint: endpoint.to_owned(),
        source,
    })?;
    Ok((listener, bound))
}

/// Listens on a unix socket that only this user can open. The file of a program that has ended is
/// replaced; one that somebody listens on, or that is no socket, is left alone.
async fn bind_ipc(path: &Path) -> io::Result<Listener> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            let reason = "there is a file of another kind at this path";
            return Err(io::Error::new(ErrorKind::AlreadyExists, reason));
        }
        Ok(_) => match UnixStream::connect(path).await {
            Ok(_) => return Err(io::Error::from(ErrorKind::AddrInUse)),
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
            Err(error) => return Err(error),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    // Its rights are set before the file gets its name: nobody can connect in between.
    let mut unready = path.as_os_str().to_owned();
    unready.push(format!(".{}", std::process::id()));
    let listener = UnixListener::bind(&unready)?;
    std::fs::set_permissions(&unready, std::fs::Permissions::from_mode(0o600))
        .and_then(|()| std::fs::rename(&unready, path))
        .inspect_err(|_| drop(std::fs::remove_file(&unready)))?;
    Ok(Listener::Ipc { listener, file: SocketFile(path.to_owned()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn refusal(endpoint: &str) -> String {
        Listener::bind("listen.clients", endpoint).await.unwrap_err().to_string()
    }

    #[tokio::test]
    async fn addresses_that_are_none_are_refused_with_their_setting() {
        for (endpoint, reason) in [
            ("udp://1.2.3.4:5", "it begins neither with tcp:// nor with ipc://"),
            ("tcp://localhost", "the port is missing"),
            ("tcp://:1", "the host is missing"),
            ("tcp://localhost:65536", "the port is not a number below 65536"),
            ("ipc://", "the path is missing"),
        ] {
            assert_eq!(
                refusal(endpoint).await,
                format!(
                    "listen.clients: {endpoint:?} is not an address: {reason}; \
                     give tcp://HOST:PORT or ipc://PATH"
                )
            );
        }
    }

    #[tokio::test]
    async fn an_address_in_use_says_which_and_what_to_do() {
        let first = Listener::bind("listen.clients", "tcp://127.0.0.1:0").await.unwrap();
        let address = first.address().unwrap();
        assert_eq!(
            refusal(&address).await,
            format!(
                "listen.clients: {address} is in use by another program; stop it, or set \
                 listen.clients to another address"
            )
        );
    }

    #[tokio::test]
    async fn an_ipc_socket_is_private_and_a_dead_ones_file_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sock");
        let endpoint = format!("ipc://{}", path.display());
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "the file of a program that was killed");

        let listener = Listener::bind("listen.clients", &endpoint).await.unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(refusal(&endpoint).await.contains("is in use by another program"));
        drop(listener);
        assert!(!path.exists(), "removed with its listener");

        std::fs::write(&path, "precious").unwrap();
        assert!(refusal(&endpoint).await.starts_with("listen.clients: cannot listen on ipc://"));
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    }
}
