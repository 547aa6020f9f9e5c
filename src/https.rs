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
    #[error("{shown:?} is not a URL; give http://HOST:PORT/PATH or https://…")]
    Url {
        /// As it was given, without what may be secret.
        shown: String,
    },
    /// The system's certificates can't be read.
    #[error("no certificates to check an https server by")]
    Certificates(#[source] std::io::Error),
}

/// The URL, if it is one of `http` or `https` with a host.
pub fn uri(url: &str) -> Result<Uri, HttpError> {
    read(url).ok_or_else(|| HttpError::Url { shown: shown(url) })
}

fn read(url: &str) -> Option<Uri> {
    let uri: Uri = url.parse().ok()?;
    let (host, authority) = (uri.host()?, uri.authority()?.as_str());
    let place = authority.rsplit_once('@').map_or(authority, |(_, place)| place);
    // A port that is no number is taken for none.
    let is_place = match uri.port_u16() {
        Some(port) => place == format!("{host}:{port}"),
        None => place == host,
    };
    let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
    (is_http && is_place && !host.is_empty()).then_some(uri)
}

/// A URL for people, without what may be secret: user and password, query and fragment.
pub fn shown(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").map_or(("", url), |(scheme, rest)| (scheme, rest));
    // What can't be read may have its password anywhere before an @.
    let is_read = read(url).is_some();
    let rest = match before_query(rest) {
        head if is_read || head.contains('@') => head,
        _ => before_query(after_last_at(rest)),
    };
    let (authority, path) = match rest.find('/') {
        Some(at) if is_read => rest.split_at(at),
        Some(_) | None => (rest, ""),
    };
    let host = after_last_at(authority);
    match scheme {
        "" => format!("{host}{path}"),
        scheme => format!("{scheme}://{host}{path}"),
    }
}

fn before_query(text: &str) -> &str {
    text.split(['?', '#']).next().unwrap_or_default()
}

fn after_last_at(text: &str) -> &str {
    text.rsplit_once('@').map_or(text, |(_, after)| after)
}

/// The URL, and a client for it: servers of `https` are checked by the system's certificates. Connects to nothing yet.
pub fn client(url: &str) -> Result<(Uri, HttpClient), HttpError> {
    let uri = uri(url)?;
    let is_tls = uri.scheme_str() == Some("https");
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
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_user_password_query_and_fragment() {
        for (url, expected) in [
            ("http://host:81/a/b", "http://host:81/a/b"),
            ("https://me:secret@host/a?token=secret", "https://host/a"),
            ("https://host/@scope/a#secret", "https://host/@scope/a"),
            ("https://me:sec/ret@host/a?b@c", "https://host/a"),
            ("me:secret@host?secret", "host"),
            ("https://me:se?cret@host/", "https://host/"),
            ("https://me:se#cret@host/", "https://host/"),
            ("https://me:se/cret@host/", "https://host/"),
            ("ht tp://me:secret@host", "ht tp://host"),
        ] {
            assert_eq!(shown(url), expected, "{url}");
        }
    }

    #[test]
    fn what_is_no_url_of_http_is_refused_without_its_secrets() {
        for url in
            ["", "host/path", "ftp://host", "http://", "http:///path", "http://:80/", "http://a b/"]
        {
            assert!(uri(url).is_err(), "{url}");
        }
        let error = uri("https//me:secret@host?secret").expect_err("no URL").to_string();
        assert!(error.contains("host") && !error.contains("secret"), "{error}");
    }
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
