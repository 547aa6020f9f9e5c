//! One request and its answer, each over a connection of its own.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{AdminClient, AdminError, Endpoint, EventStream, transport};
use crate::admin::dto::Problem;

/// How long a connection to a unix socket may take: it answers at once, unless its backlog is full. Over TCP it
/// is the answer's limit.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// An answer's body in bytes: a message view holds a payload of `limits::MAX_PAYLOAD_BYTES`, of which
/// JSON makes up to six times as much; a list has `limits::MAX_QUEUES` of some 800 bytes.
const MAX_ANSWER_BYTES: usize = 256 * 1024 * 1024;

impl AdminClient {
    /// Returns once the broker has answered.
    pub(super) async fn follow<T: DeserializeOwned>(
        &self,
        path: &str,
    ) -> Result<EventStream<T>, AdminError> {
        let request = self.request(Method::GET, path, Bytes::new());
        let mut sender = self.connect().await?;
        let response = self.in_time(self.send(&mut sender, request)).await?;
        let status = response.status();
        if status == StatusCode::OK {
            let endpoint = self.endpoint.clone();
            return Ok(EventStream::new(endpoint, response.into_body(), self.silence_limit));
        }
        let body = self.in_time(self.collect(response)).await?;
        Err(refusal(status, &body))
    }

    pub(super) async fn get<T: DeserializeOwned>(&self, path: String) -> Result<T, AdminError> {
        decode(&self.answer(Method::GET, path, Bytes::new()).await?)
    }

    pub(super) async fn post(
        &self,
        path: String,
        body: &impl Serialize,
    ) -> Result<Bytes, AdminError> {
        let body = serde_json::to_vec(body)
            .map_err(|e| AdminError::Request { what: format!("the body of {path}: {e}") })?;
        self.answer(Method::POST, path, Bytes::from(body)).await
    }

    pub(super) async fn answer(
        &self,
        method: Method,
        path: String,
        body: Bytes,
    ) -> Result<Bytes, AdminError> {
        let request = self.request(method, &path, body);
        let mut sender = self.connect().await?;
        let exchange = async {
            let response = self.send(&mut sender, request).await?;
            let status = response.status();
            let body = self.collect(response).await?;
            if status.is_success() { Ok(body) } else { Err(refusal(status, &body)) }
        };
        self.in_time(exchange).await
    }

    /// Nothing has been sent when this fails.
    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, AdminError> {
        let connecting = transport::connect(&self.endpoint, self.trust.as_ref());
        let limit = match self.endpoint {
            Endpoint::Unix(_) => CONNECT_LIMIT,
            Endpoint::Tcp { .. } => self.answer_limit,
        };
        tokio::time::timeout(limit, connecting)
            .await
            .map_err(|_| AdminError::Timeout { endpoint: self.endpoint.clone(), sent: false })?
    }

    /// Everything after connecting has this limit: when it is over, the request may be anywhere.
    async fn in_time<T>(
        &self,
        work: impl Future<Output = Result<T, AdminError>>,
    ) -> Result<T, AdminError> {
        tokio::time::timeout(self.answer_limit, work)
            .await
            .map_err(|_| AdminError::Timeout { endpoint: self.endpoint.clone(), sent: true })?
    }

    fn request(&self, method: Method, path: &str, body: Bytes) -> Request<Full<Bytes>> {
        let host = match &self.endpoint {
            Endpoint::Unix(_) => "localhost".to_owned(),
            Endpoint::Tcp { host, port, .. } => format!("{host}:{port}"),
        };
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, host)
            .header(ACCEPT, "application/json, text/event-stream, application/octet-stream")
            .header("x-mubroker-via", self.via);
        if let Some(token) = &self.token {
            let value = HeaderValue::try_from(format!("Bearer {}", token.reveal()));
            let mut value = value.expect("a token is ASCII");
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        request.body(Full::new(body)).expect("paths are percent-encoded, headers are literals")
    }

    async fn send(
        &self,
        sender: &mut SendRequest<Full<Bytes>>,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, AdminError> {
        sender
            .send_request(request)
            .await
            .map_err(|source| AdminError::Lost { endpoint: self.endpoint.clone(), source })
    }

    async fn collect(&self, response: Response<Incoming>) -> Result<Bytes, AdminError> {
        match Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await {
            Ok(body) => Ok(body.to_bytes()),
            Err(error) => match error.downcast::<hyper::Error>() {
                Ok(source) => {
                    Err(AdminError::Lost { endpoint: self.endpoint.clone(), source: *source })
                }
                Err(_) => Err(AdminError::Protocol {
                    what: format!("an answer of more than {MAX_ANSWER_BYTES} bytes"),
                }),
            },
        }
    }
}

pub(super) fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, AdminError> {
    serde_json::from_slice(body)
        .map_err(|e| AdminError::Protocol { what: format!("an answer that can't be read: {e}") })
}

fn refusal(status: StatusCode, body: &[u8]) -> AdminError {
    match serde_json::from_slice::<Problem>(body) {
        Ok(problem) => AdminError::Problem(Box::new(problem)),
        Err(_) => AdminError::Protocol { what: format!("status {status} without a reason") },
    }
}
