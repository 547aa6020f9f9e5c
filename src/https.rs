//! A client of HTTP servers elsewhere: what `worker --http` and webhooks speak through.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

/// How long connecting may take: beyond, a request fails although there may be time left.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// Keeps connections between requests. Cheap to clone.
pub type HttpClient = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// Why a URL can't be used.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// It is none, or not of HTTP.
    #[error("{url:?} is not a URL; give http://HOST:PORT/PATH or https://…")]
    Url {
        /// As it was given.
        url: String,
    },
    /// The system's certificates can't be read.
    #[error("no certificates to check an https server by")]
    Certificates(#[source] std::io::Error),
}

/// The URL, and a client for it: servers of `https` are checked by the system's certificates. Connects to nothing yet.
pub fn client(url: &str) -> Result<(Uri, HttpClient), HttpError> {
    let uri: Uri = url.parse().map_err(|_| HttpError::Url { url: url.to_owned() })?;
    let is_tls = match (uri.scheme_str(), uri.host()) {
        (Some("http"), Some(_)) => false,
        (Some("https"), Some(_)) => true,
        (Some(_) | None, Some(_) | None) => return Err(HttpError::Url { url: url.to_owned() }),
    };
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT_LIMIT));
    let tls = HttpsConnectorBuilder::new();
    let tls = if is_tls {
        tls.with_native_roots().map_err(HttpError::Certificates)?
    } else {
        let provider = rustls::crypto::ring::default_provider();
        let config = rustls::ClientConfig::builder_with_provider(provider.into())
            .with_safe_default_protocol_versions()
            .expect("ring knows the versions of TLS that rustls has")
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        tls.with_tls_config(config)
    };
    let connector = tls.https_or_http().enable_http1().wrap_connector(tcp);
    Ok((uri, Client::builder(TokioExecutor::new()).build(connector)))
}

#[cfg(test)]
pub(crate) mod testing {
    //! A real server, for tests of what speaks to one.

    use axum::Router;
    use hyper::server::conn::http1;
    use hyper_util::rt::TokioIo;
    use hyper_util::service::TowerToHyperService;
    use tokio::net::TcpListener;

    /// Serves on a port of its own for as long as the test's runtime lives; gives its URL.
    pub(crate) async fn serve(app: Router) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let service = TowerToHyperService::new(app.clone());
                let io = TokioIo::new(stream);
                tokio::spawn(http1::Builder::new().serve_connection(io, service));
            }
        });
        format!("http://{address}")
    }
}
