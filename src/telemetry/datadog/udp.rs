//! An agent over UDP. Its host's name may be known only later, and be another address one day.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::panic::RefUnwindSafe;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use cadence::{MetricSink, UdpMetricSink};

/// How long the first look-up is waited for: then not even the first datagram is lost, and no start takes long.
const FIRST_LIMIT: Duration = Duration::from_secs(1);
/// Between two look-ups of a name that isn't known.
const AGAIN: Duration = Duration::from_secs(10);
/// After this a known name is looked up again: agents move.
const REFRESH: Duration = Duration::from_secs(300);

/// `HOST:PORT`, as the system looks it up.
trait Name: ToSocketAddrs + fmt::Debug + Clone + Send + Sync + RefUnwindSafe + 'static {}

impl<N: ToSocketAddrs + fmt::Debug + Clone + Send + Sync + RefUnwindSafe + 'static> Name for N {}

/// Sends to an agent, once it is known where that is; until then datagrams are lost.
pub(super) struct Udp {
    known: Arc<OnceLock<UdpMetricSink>>,
    /// Dropped, it ends the look-ups, if there are any.
    _wanted: Option<SyncSender<()>>,
}

impl Udp {
    /// An agent at `HOST:PORT`.
    pub(super) fn new(host: &str) -> io::Result<Self> {
        match host.parse::<SocketAddr>() {
            Ok(to) => {
                let sink = UdpMetricSink::from(to, socket_to(to)?).map_err(io::Error::other)?;
                Ok(Self { known: Arc::new(sink.into()), _wanted: None })
            }
            Err(_) => Self::with(host.to_owned(), AGAIN),
        }
    }

    fn with(name: impl Name, again: Duration) -> io::Result<Self> {
        let known = Arc::new(OnceLock::new());
        let (wanted, is_wanted) = sync_channel(0);
        let (tell, first) = sync_channel(1);
        let found = Arc::clone(&known);
        let look_up = move || look_up(&name, &found, again, &tell, &is_wanted);
        thread::Builder::new().name("datadog".to_owned()).spawn(look_up)?;
        // Later it is found without anybody waiting.
        let _looked_up = first.recv_timeout(FIRST_LIMIT);
        Ok(Self { known, _wanted: Some(wanted) })
    }
}

impl MetricSink for Udp {
    fn emit(&self, metric: &str) -> io::Result<usize> {
        match self.known.get() {
            Some(sink) => sink.emit(metric),
            None => Err(io::Error::new(io::ErrorKind::NotFound, "where it is isn't known yet")),
        }
    }
}

/// Looks a name up until it is known or no more wanted.
fn look_up(
    name: &impl Name,
    found: &OnceLock<UdpMetricSink>,
    again: Duration,
    tell: &SyncSender<()>,
    is_wanted: &Receiver<()>,
) {
    let mut is_told = false;
    loop {
        match sink(name) {
            Ok(sink) => {
                let _only_here = found.set(sink);
                if is_told {
                    tracing::info!(agent = ?name, "the DogStatsD host is known now");
                }
                let _waits = tell.try_send(());
                return;
            }
            Err(error) if !is_told => {
                tracing::warn!(agent = ?name, %error, "the DogStatsD host isn't known; it is looked up again and again");
                is_told = true;
            }
            Err(_) => {}
        }
        let _waits = tell.try_send(());
        if is_wanted.recv_timeout(again) != Err(RecvTimeoutError::Timeout) {
            return;
        }
    }
}

fn sink(name: &impl Name) -> io::Result<UdpMetricSink> {
    let to = name.to_socket_addrs()?.next().ok_or(io::ErrorKind::NotFound)?;
    let reachable = Reachable { name: name.clone(), is_v4: to.is_ipv4() };
    let sink = UdpMetricSink::builder().with_resolver_period(REFRESH);
    sink.build(reachable, socket_to(to)?).map_err(io::Error::other)
}

fn socket_to(to: SocketAddr) -> io::Result<UdpSocket> {
    let from: SocketAddr = match to {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(from)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Of a name's addresses those that the socket can send to.
#[derive(Debug, Clone)]
struct Reachable<N> {
    name: N,
    is_v4: bool,
}

impl<N: Name> ToSocketAddrs for Reachable<N> {
    type Iter = std::vec::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        let found = self.name.to_socket_addrs()?.filter(|to| to.is_ipv4() == self.is_v4);
        Ok(found.collect::<Vec<_>>().into_iter())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);

    /// Known from the third look-up on.
    #[derive(Debug, Clone)]
    struct Later {
        at: SocketAddr,
        looked_up: Arc<AtomicU32>,
        is_known: Arc<AtomicBool>,
    }

    impl Later {
        fn new(at: SocketAddr) -> Self {
            Self { at, looked_up: Arc::default(), is_known: Arc::default() }
        }
    }

    impl ToSocketAddrs for Later {
        type Iter = std::iter::Once<SocketAddr>;

        fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
            self.looked_up.fetch_add(1, Ordering::Relaxed);
            match self.is_known.load(Ordering::Relaxed) {
                false => Err(io::ErrorKind::NotFound.into()),
                true => Ok(std::iter::once(self.at)),
            }
        }
    }

    #[test]
    fn a_host_that_is_known_later_is_sent_to_from_then_on() {
        let agent = UdpSocket::bind("127.0.0.1:0").expect("a port");
        agent.set_read_timeout(Some(LIMIT)).expect("a limit");
        let later = Later::new(agent.local_addr().expect("bound"));
        let is_known = Arc::clone(&later.is_known);
        let udp = Udp::with(later, Duration::from_millis(20)).expect("it doesn't stop anybody");
        assert!(udp.emit("early:1|c").is_err(), "it is lost");
        is_known.store(true, Ordering::Relaxed);
        udp.known.wait();
        udp.emit("late:1|c").expect("sent");
        let mut bytes = [0; 100];
        let read = agent.recv(&mut bytes).expect("a datagram");
        assert_eq!(&bytes[..read], b"late:1|c");
    }

    #[test]
    fn nobody_looks_for_an_agent_that_is_not_wanted_any_more() {
        let later = Later::new(([127, 0, 0, 1], 1).into());
        let looked_up = Arc::clone(&later.looked_up);
        let udp = Udp::with(later.clone(), LIMIT).expect("it doesn't stop anybody");
        let held = Arc::downgrade(&udp.known);
        drop((udp, later));
        let began = tokio::time::Instant::now();
        while held.strong_count() > 0 {
            assert!(began.elapsed() < LIMIT / 2, "its thread goes on");
            thread::yield_now();
        }
        assert_eq!(looked_up.load(Ordering::Relaxed), 1);
    }
}
