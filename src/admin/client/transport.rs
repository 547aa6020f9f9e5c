//! A connection to an admin API, whatever carries it.

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;

use super::{AdminError, Endpoint};

/// Connects. Nothing of a request has been sent when this fails.
pub(super) async fn connect(endpoint: &Endpoint) -> Result<SendRequest<Full<Bytes>>, AdminError> {
    match endpoint {
        Endpoint::Unix(path) => {
            let stream = UnixStream::connect(path)
                .await
                .map_err(|source| AdminError::Unreachable { endpoint: endpoint.clone(), source })?;
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
