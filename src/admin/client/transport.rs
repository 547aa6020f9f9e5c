//! A connection to an admin API, whatever carries it.

use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Uri;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use super::{AdminError, Endpoint};

/// Why there is no way to a broker elsewhere.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// It is no URL of an admin API.
    #[error("{url:?} is no address of an admin API; give http://HOST:PORT or https://HOST:PORT")]
    Url {
        /// As it was given.
        url: String,
    },
    /// A certificate can't be read.
    #[error("no certificate of an authority can be read from {from}")]
    Authority {
        /// The file, or the system's.
        from: String,
        /// What is wrong.
        source: io::Error,
    },
}

/// `http://HOST:PORT` or `https://HOST:PORT`
pub(super) fn endpoint(url: &str) -> Result<Endpoint, RemoteError> {
    let read = || {
        let uri: Uri = url.parse().ok()?;
        let is_tls = match uri.scheme_str()? {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        let port = uri.port_u16()?;
        let host = uri.host()?.to_owned();
        let is_plain = uri.authority()?.as_str() == format!("{host}:{port}");
        let is_root = matches!(uri.path(), "" | "/") && uri.query().is_none();
        (is_plain && is_root && !host.is_empty()).then_some(Endpoint::Tcp { is_tls, host, port })
    };
    read().ok_or_else(|| RemoteError::Url { url: url.to_owned() })
}

/// Trusts who is certified by an authority in `ca_file` (PEM), or by one that the system trusts.
pub(super) fn trust(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, RemoteError> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        Some(file) => {
            let wrong = |error: &dyn std::error::Error| RemoteError::Authority {
                from: file.display().to_string(),
                source: io::Error::other(error.to_string()),
            };
            let certificates = CertificateDer::pem_file_iter(file).map_err(|e| wrong(&e))?;
            for certificate in certificates {
                let certificate = certificate.map_err(|e| wrong(&e))?;
                roots.add(certificate).map_err(|e| wrong(&e))?;
            }
            if roots.is_empty() {
                return Err(wrong(&io::Error::other("there is none in it")));
            }
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            let (added, _) = roots.add_parsable_certificates(found.certs);
            if added == 0 {
                let source = io::Error::other("the system has none; name one by --ca-file");
                return Err(RemoteError::Authority { from: "the system's".to_owned(), source });
            }
        }
    }
    let provider = rustls::crypto::ring::default_provider();
    let config = ClientConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .expect("ring knows the versions of TLS that rustls has")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Connects. Nothing of a request has been sent when this fails.
pub(super) async fn connect(
    endpoint: &Endpoint,
    trust: Option<&Arc<ClientConfig>>,
) -> Result<SendRequest<Full<Bytes>>, AdminError> {
    let unreachable = |source| AdminError::Unreachable { endpoint: endpoint.clone(), source };
    match (endpoint, trust) {
        (Endpoint::Unix(path), _) => {
            let stream = UnixStream::connect(path).await.map_err(unreachable)?;
            greet(endpoint, stream).await
        }
        (Endpoint::Tcp { host, port, .. }, trust) => {
            let host = host.trim_start_matches('[').trim_end_matches(']');
            let stream = TcpStream::connect((host, *port)).await.map_err(unreachable)?;
            // Requests are small and waited for.
            stream.set_nodelay(true).map_err(unreachable)?;
            let Some(trust) = trust else { return greet(endpoint, stream).await };
            let name = ServerName::try_from(host.to_owned());
            let name = name.map_err(|error| unreachable(io::Error::other(error)))?;
            let connector = TlsConnector::from(Arc::clone(trust));
            let stream = connector.connect(name, stream).await.map_err(unreachable)?;
            greet(endpoint, stream).await
        }
    }
}

async fn greet<S>(endpoint: &Endpoint, stream: S) -> Result<SendRequest<Full<Bytes>>, AdminError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|source| AdminError::Lost { endpoint: endpoint.clone(), source })?;
    // Ends by itself when the sender and the answer's body are dropped, or the peer closes; what goes
    // wrong in it is told to whoever waits for the answer.
    tokio::spawn(connection);
    Ok(sender)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_other_machines_are_urls_with_a_port_and_nothing_else() {
        for url in ["http://127.0.0.1:8080", "https://broker.example:8443/", "https://[::1]:1"] {
            let read = endpoint(url).expect(url);
            assert_eq!(read.to_string(), url.trim_end_matches('/'));
        }
        for url in [
            "",
            "127.0.0.1:80",
            "tcp://127.0.0.1:80",
            "https://broker",
            "http://u:p@h:1",
            "http://h:1/v1",
            "http://h:1?q",
            "http://:1",
        ] {
            assert!(endpoint(url).is_err(), "{url}");
        }
    }
}
