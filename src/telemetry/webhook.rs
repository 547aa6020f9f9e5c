//! Alerts as POSTs: signed, retried, and given up after a while.

use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::CONTENT_TYPE;
use hyper::{Request, Uri};
use ring::hmac;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use crate::https::{self, HttpClient, HttpError};

/// Alerts that wait for the server; beyond, new ones are not told it.
const MAX_WAITING: usize = 256;
/// How often one is tried.
const ATTEMPTS: u32 = 6;
/// The first pause between two tries; each is four times as long as the one before: 1, 4, 16, 64, 256 s.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// How long one try may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// `t=` the time of sending in seconds since 1970, `v1=` HMAC-SHA256 of that number, a dot and the body, in hexadecimal.
const SIGNATURE: &str = "mubroker-signature";
/// The same for all tries of one alert.
const ALERT_ID: &str = "mubroker-alert-id";

/// Where alerts go.
#[derive(Debug, Clone)]
pub struct Webhook {
    waiting: mpsc::Sender<(String, Bytes)>,
}

/// How it is sent.
#[derive(Debug)]
pub struct WebhookOptions {
    /// Where to.
    pub url: String,
    /// The key of signatures; none, if nothing is signed.
    pub secret: Option<Vec<u8>>,
    /// The time, in seconds since 1970.
    pub now: fn() -> u64,
    /// The first pause between two tries.
    pub first_pause: Duration,
}

impl WebhookOptions {
    /// With the usual pauses.
    pub fn new(url: String, secret: Option<Vec<u8>>, now: fn() -> u64) -> Self {
        Self { url, secret, now, first_pause: FIRST_PAUSE }
    }
}

struct Sender {
    uri: Uri,
    client: HttpClient,
    key: Option<hmac::Key>,
    now: fn() -> u64,
    first_pause: Duration,
}

impl Webhook {
    /// Sends on a task of its own, until this and all its clones are dropped.
    pub fn start(options: WebhookOptions) -> Result<Self, HttpError> {
        let (uri, client) = https::client(&options.url)?;
        let key = options.secret.map(|secret| hmac::Key::new(hmac::HMAC_SHA256, &secret));
        let sender =
            Sender { uri, client, key, now: options.now, first_pause: options.first_pause };
        let (waiting, mut next) = mpsc::channel::<(String, Bytes)>(MAX_WAITING);
        tokio::spawn(async move {
            while let Some((id, body)) = next.recv().await {
                sender.send(&id, body).await;
            }
        });
        Ok(Self { waiting })
    }

    /// Hands an alert on; false if too many wait.
    pub fn tell(&self, id: String, body: Bytes) -> bool {
        self.waiting.try_send((id, body)).is_ok()
    }
}

impl Sender {
    async fn send(&self, id: &str, body: Bytes) {
        let mut pause = self.first_pause;
        for attempt in 1..=ATTEMPTS {
            let why = match timeout(ANSWER_LIMIT, self.try_once(id, &body)).await {
                Ok(Ok(())) => return,
                Ok(Err(Refused::ForGood(why))) => {
                    tracing::warn!(id, why, "the webhook refused an alert");
                    return;
                }
                Ok(Err(Refused::ForNow(why))) => why,
                Err(_) => "no answer".to_owned(),
            };
            tracing::warn!(id, attempt, why, "the webhook didn't take an alert");
            if attempt < ATTEMPTS {
                sleep(pause).await;
                pause *= 4;
            }
        }
    }

    async fn try_once(&self, id: &str, body: &Bytes) -> Result<(), Refused> {
        let mut request =
            Request::post(&self.uri).header(CONTENT_TYPE, "application/json").header(ALERT_ID, id);
        if let Some(key) = &self.key {
            request = request.header(SIGNATURE, signature(key, (self.now)(), body));
        }
        let request = request.body(Full::new(body.clone()));
        let request = request.map_err(|error| Refused::ForGood(error.to_string()))?;
        let answer = self.client.request(request).await;
        let status = answer.map_err(|error| Refused::ForNow(error.to_string()))?.status();
        if status.is_success() {
            Ok(())
        } else if status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429) {
            Err(Refused::ForNow(status.to_string()))
        } else {
            Err(Refused::ForGood(status.to_string()))
        }
    }
}

enum Refused {
    ForNow(String),
    ForGood(String),
}

fn signature(key: &hmac::Key, now: u64, body: &[u8]) -> String {
    let mut context = hmac::Context::with_key(key);
    context.update(format!("{now}.").as_bytes());
    context.update(body);
    let mut text = format!("t={now},v1=");
    for byte in context.sign().as_ref() {
        write!(text, "{byte:02x}").expect("writing to a String does not fail");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use axum::Router;
    use axum::extract::State;
    use axum::http::{HeaderMap, StatusCode};
    use axum::routing::post;

    use super::*;
    use crate::https::testing::serve;

    type Seen = Arc<Mutex<Vec<(HeaderMap, Bytes)>>>;

    /// Says 503 twice, then 200.
    async fn server() -> (String, Seen, mpsc::Receiver<()>) {
        let (heard, hears) = mpsc::channel(16);
        let seen = Seen::default();
        let hook = |State((seen, heard)): State<(Seen, mpsc::Sender<()>)>,
                    headers: HeaderMap,
                    body: Bytes| async move {
            let count = {
                let mut seen = seen.lock().expect("free");
                seen.push((headers, body));
                seen.len()
            };
            heard.send(()).await.expect("the test listens");
            if count < 3 { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::NO_CONTENT }
        };
        let app = Router::new().route("/hook", post(hook)).with_state((Arc::clone(&seen), heard));
        (format!("{}/hook", serve(app).await), seen, hears)
    }

    #[tokio::test]
    async fn an_alert_is_signed_and_tried_again_under_the_same_id_until_it_is_taken() {
        let (url, seen, mut hears) = server().await;
        let secret = Some(b"key".to_vec());
        let first_pause = Duration::from_millis(1);
        let options = WebhookOptions { url, secret, now: || 1_700_000_000, first_pause };
        let webhook = Webhook::start(options).expect("a URL");
        assert!(webhook.tell("a-1".to_owned(), Bytes::from_static(b"{\"rule\":\"blocked\"}")));
        assert!(webhook.tell("a-2".to_owned(), Bytes::from_static(b"{}")));
        for _ in 0..4 {
            let heard = timeout(Duration::from_secs(20), hears.recv()).await;
            heard.expect("it comes").expect("the server runs");
        }
        let seen = seen.lock().expect("free");
        let ids: Vec<&str> =
            seen.iter().map(|(headers, _)| headers[ALERT_ID].to_str().expect("text")).collect();
        assert_eq!(ids, ["a-1", "a-1", "a-1", "a-2"]);
        let (headers, body) = &seen[0];
        assert_eq!(&body[..], b"{\"rule\":\"blocked\"}");
        // printf '1700000000.{"rule":"blocked"}' | openssl dgst -sha256 -hmac key
        assert_eq!(headers[SIGNATURE], SIGNED);
    }

    const SIGNED: &str =
        "t=1700000000,v1=5c7b60e1f213a406efe18df87e65fbd70ba194af6fdb47519706dfaa7cbe5466";
}
