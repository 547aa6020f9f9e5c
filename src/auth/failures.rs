//! Who shows wrong tokens, and how often.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Failures of one address in a window: a person's mistakes, or a program's before somebody looks.
const ALLOWED: u32 = 10;
/// From the first failure on.
const WINDOW: Duration = Duration::from_secs(60);
/// Addresses that are known: some 200 kB. Beyond, who failed first is forgotten.
const MAX_ADDRESSES: usize = 4096;

/// Counts failures by address: beyond some in a minute the next ones are told to wait, and the log is spared. Tokens can't be
/// guessed, so what is right always passes: else one bad program behind a proxy would lock everybody out.
#[derive(Debug, Default)]
pub struct Failures {
    of: Mutex<HashMap<IpAddr, Count>>,
}

#[derive(Debug)]
struct Count {
    since: Instant,
    failures: u32,
}

/// What a failure comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// One of those that may happen: worth a line in the log.
    Counted,
    /// The first one too many: worth a warning.
    First(Duration),
    /// One more; the address is to wait for so long.
    TooMany(Duration),
}

impl Verdict {
    /// For how long the address is to wait, if it is.
    pub fn wait(self) -> Option<Duration> {
        match self {
            Self::Counted => None,
            Self::First(wait) | Self::TooMany(wait) => Some(wait),
        }
    }
}

impl Failures {
    /// The same with a line in the log, while that is spared: for how long the address is to wait, if it is. `what` says what was
    /// done.
    pub fn failed_at(&self, what: &str, address: Option<IpAddr>, now: Instant) -> Option<Duration> {
        // All peers of a unix socket are this machine's.
        let counted = address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let verdict = self.failed(counted, now);
        match verdict {
            Verdict::Counted => tracing::info!(?address, "{what} without a token that counts"),
            Verdict::First(_) => tracing::warn!(
                ?address,
                "{what} too often without a token that counts; the next ones within a minute are not written down"
            ),
            Verdict::TooMany(_) => {}
        }
        verdict.wait()
    }

    /// One failure of `address` at `now`; a peer of this machine without one is the unspecified one.
    pub fn failed(&self, address: IpAddr, now: Instant) -> Verdict {
        let address = network(address);
        let mut of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        if !of.contains_key(&address) && of.len() >= MAX_ADDRESSES {
            make_room(&mut of, now);
        }
        let count = of.entry(address).or_insert(Count { since: now, failures: 0 });
        let mut left = (count.since + WINDOW).saturating_duration_since(now);
        if left.is_zero() {
            *count = Count { since: now, failures: 0 };
            left = WINDOW;
        }
        count.failures = count.failures.saturating_add(1);
        match count.failures.checked_sub(ALLOWED) {
            None | Some(0) => Verdict::Counted,
            Some(1) => Verdict::First(left),
            Some(_) => Verdict::TooMany(left),
        }
    }
}

fn make_room(of: &mut HashMap<IpAddr, Count>, now: Instant) {
    of.retain(|_, count| count.since + WINDOW > now);
    if of.len() < MAX_ADDRESSES {
        return;
    }
    let oldest = of.iter().min_by_key(|(_, count)| count.since).map(|(address, _)| *address);
    if let Some(oldest) = oldest {
        of.remove(&oldest);
    }
}

/// What counts as one address: who has one of IPv6 has 2^64 of them.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn the_eleventh_failure_of_a_minute_is_one_too_many_and_other_addresses_are_free() {
        let (failures, start) = (Failures::default(), Instant::now());
        let one = address("192.0.2.1");
        for second in 0..10 {
            let now = start + Duration::from_secs(second);
            assert_eq!(failures.failed(one, now), Verdict::Counted);
        }
        let now = start + Duration::from_secs(20);
        assert_eq!(failures.failed(one, now), Verdict::First(Duration::from_secs(40)));
        assert_eq!(failures.failed(one, now).wait(), Some(Duration::from_secs(40)));
        assert_eq!(failures.failed(address("192.0.2.2"), now), Verdict::Counted);
        assert_eq!(failures.failed(one, start + WINDOW), Verdict::Counted, "a new minute");
    }

    #[test]
    fn the_addresses_of_an_ipv6_network_count_as_one() {
        let (failures, now) = (Failures::default(), Instant::now());
        for host in 1..=10 {
            failures.failed(address(&format!("2001:db8::{host}")), now);
        }
        assert!(failures.failed(address("2001:db8::ffff"), now).wait().is_some());
        assert!(failures.failed(address("2001:db8:0:1::1"), now).wait().is_none());
        assert_eq!(network(address("::ffff:192.0.2.1")), address("192.0.2.1"));
    }

    #[test]
    fn the_table_is_bounded_and_forgets_who_failed_first() {
        let (failures, start) = (Failures::default(), Instant::now());
        let first = address("10.0.0.0");
        for _ in 0..11 {
            failures.failed(first, start);
        }
        for n in 1..=u32::try_from(MAX_ADDRESSES).expect("small") {
            let host = IpAddr::V4((0x0a00_0000 + n).into());
            failures.failed(host, start + Duration::from_millis(1));
        }
        assert_eq!(failures.of.lock().expect("no panic").len(), MAX_ADDRESSES);
        assert_eq!(failures.failed(first, start + Duration::from_millis(2)), Verdict::Counted);
        failures.failed(address("192.0.2.1"), start + 2 * WINDOW);
        assert_eq!(failures.of.lock().expect("no panic").len(), 1, "what is over goes first");
    }
}
