//! DogStatsD: metrics and events for a Datadog agent, over UDP or a unix socket.
//!
//! Nothing here waits: what the agent doesn't take is lost, and counted by nobody, as of any StatsD.

mod udp;

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

use cadence::{MetricSink, UnixMetricSink};

use self::udp::Udp;

/// What all names begin with.
const PREFIX: &str = "mubroker.";
/// A datagram that every agent takes over UDP (its own default is 8 KiB, and a title and text have to share it).
const MAX_TEXT_BYTES: usize = 4_000;

/// Why metrics can't be sent.
#[derive(Debug, thiserror::Error)]
pub enum DatadogError {
    /// The address is none.
    #[error("{address:?} is not a DogStatsD address; give udp://HOST:8125 or unix:///PATH")]
    Address {
        /// As it was given.
        address: String,
    },
    /// A socket can't be had.
    #[error("DogStatsD at {address} can't be used")]
    Socket {
        /// As it was given.
        address: String,
        /// What the system says.
        source: io::Error,
    },
}

/// How an event looks to people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Something is wrong.
    Error,
    /// Something may be wrong.
    Warning,
    /// Something is right again.
    Success,
}

impl Level {
    /// The word in DogStatsD and in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Success => "success",
        }
    }
}

/// A name and a value; neither needs to be clean.
pub type Tag<'a> = (&'a str, &'a str);

/// Sends to one agent.
pub struct Datadog {
    sink: Box<dyn MetricSink + Send + Sync>,
}

impl std::fmt::Debug for Datadog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Datadog").finish_non_exhaustive()
    }
}

impl Datadog {
    /// An agent at `udp://HOST:PORT` or `unix:///PATH`. It needs not be there, nor its host's name be known yet.
    pub fn new(address: &str) -> Result<Self, DatadogError> {
        let wrong = || DatadogError::Address { address: address.to_owned() };
        let failed = |source| DatadogError::Socket { address: address.to_owned(), source };
        if let Some(path) = address.strip_prefix("unix:") {
            let path = PathBuf::from(path.strip_prefix("//").unwrap_or(path));
            if !path.is_absolute() {
                return Err(wrong());
            }
            let socket = UnixDatagram::unbound().map_err(failed)?;
            socket.set_nonblocking(true).map_err(failed)?;
            return Ok(Self { sink: Box::new(UnixMetricSink::from(path, socket)) });
        }
        let host = address.strip_prefix("udp://").ok_or_else(wrong)?;
        if host.rsplit_once(':').is_none_or(|(_, port)| port.parse::<u16>().is_err()) {
            return Err(wrong());
        }
        Ok(Self { sink: Box::new(Udp::new(host).map_err(failed)?) })
    }

    /// Counts one more.
    pub fn count(&self, name: &str, tags: &[Tag<'_>]) {
        self.emit(&format!("{PREFIX}{name}:1|c{}", suffix(tags)));
    }

    /// Tells a value as it is now.
    pub fn gauge(&self, name: &str, value: u64, tags: &[Tag<'_>]) {
        self.emit(&format!("{PREFIX}{name}:{value}|g{}", suffix(tags)));
    }

    /// Tells an event. `key` lets those of one kind stand together.
    pub fn event(&self, level: Level, key: &str, title: &str, text: &str, tags: &[Tag<'_>]) {
        let (title, text) = (escaped(title), escaped(text));
        self.emit(&format!(
            "_e{{{},{}}}:{title}|{text}|k:{}|t:{}{}",
            title.len(),
            text.len(),
            plain(key),
            level.as_str(),
            suffix(tags)
        ));
    }

    fn emit(&self, datagram: &str) {
        if let Err(error) = self.sink.emit(datagram) {
            tracing::debug!(%error, "DogStatsD did not take a datagram");
        }
    }
}

/// A line end in an event is written as two characters; it is cut to what fits.
fn escaped(text: &str) -> String {
    let mut text = text.replace("\r\n", "\n").replace(['\r', '\n'], "\\n");
    text.truncate(text.floor_char_boundary(MAX_TEXT_BYTES));
    text
}

fn suffix(tags: &[Tag<'_>]) -> String {
    let tags: Vec<String> =
        tags.iter().map(|(name, value)| format!("{}:{}", plain(name), plain(value))).collect();
    if tags.is_empty() { String::new() } else { format!("|#{}", tags.join(",")) }
}

/// What has a meaning between fields or tags becomes `_`.
fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() || matches!(c, '|' | ',' | '#') { '_' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::time::Duration;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);

    #[test]
    fn datagrams_over_udp_are_those_of_the_protocol() {
        let agent = UdpSocket::bind("127.0.0.1:0").expect("a port");
        agent.set_read_timeout(Some(LIMIT)).expect("a limit");
        let datadog = Datadog::new(&format!("udp://{}", agent.local_addr().expect("bound")));
        let datadog = datadog.expect("an address");
        let next = || {
            let mut bytes = [0; 16_384];
            let read = agent.recv(&mut bytes).expect("a datagram");
            String::from_utf8(bytes[..read].to_vec()).expect("UTF-8")
        };
        datadog.count("worker.overrun", &[("queue", "a|b"), ("worker", "w,1")]);
        assert_eq!(next(), "mubroker.worker.overrun:1|c|#queue:a_b,worker:w_1");
        datadog.gauge("queue.depth", 17, &[]);
        assert_eq!(next(), "mubroker.queue.depth:17|g");
        datadog.event(Level::Error, "overrun", "tü", "one\ntwo", &[("queue", "q")]);
        assert_eq!(next(), "_e{3,8}:tü|one\\ntwo|k:overrun|t:error|#queue:q");
        datadog.event(Level::Success, "k", "t", &"ü".repeat(9_000), &[]);
        assert!(next().starts_with("_e{1,4000}:t|üü"));
    }

    #[test]
    fn a_unix_socket_is_used_and_nobody_there_is_no_harm() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("dsd.sock");
        let datadog = Datadog::new(&format!("unix://{}", path.display())).expect("an address");
        datadog.count("lost", &[]);
        assert!(!path.exists(), "it isn't made");
        let agent = UnixDatagram::bind(&path).expect("a socket");
        agent.set_read_timeout(Some(LIMIT)).expect("a limit");
        datadog.count("heard", &[]);
        let mut bytes = [0; 100];
        let read = agent.recv(&mut bytes).expect("a datagram");
        assert_eq!(&bytes[..read], b"mubroker.heard:1|c");
    }

    #[test]
    fn a_host_that_nobody_knows_stops_no_start() {
        let datadog = Datadog::new("udp://no-such-host.invalid:8125").expect("an address");
        datadog.count("lost", &[]);
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for address in ["", "127.0.0.1:8125", "udp://127.0.0.1", "unix:relative", "tcp://a:1"] {
            assert!(
                matches!(Datadog::new(address), Err(DatadogError::Address { .. })),
                "{address}"
            );
        }
    }
}
