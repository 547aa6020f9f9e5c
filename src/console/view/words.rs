//! Durations, counts and sizes in few columns.

/// `ms` as an operator says it: `0.4s`, `12s`, `5m`, `3h`, `2d`.
pub(super) fn age(ms: u64) -> String {
    match ms {
        0..10_000 => format!("{}.{}s", ms / 1_000, ms % 1_000 / 100),
        10_000..60_000 => format!("{}s", ms / 1_000),
        60_000..3_600_000 => format!("{}m", ms / 60_000),
        3_600_000..86_400_000 => format!("{}h", ms / 3_600_000),
        _ => format!("{}d", ms / 86_400_000),
    }
}

/// `ms` in whole units and at most six columns, for what changes slowly: `4s`, `5m`, `3h05m`, `2d04h`, `412d`. From a
/// minute on it changes at most once a minute: an idle screen is not drawn again.
pub(super) fn coarse_age(ms: u64) -> String {
    const MINUTE: u64 = 60_000;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    match ms {
        0..MINUTE => format!("{}s", ms / 1_000),
        MINUTE..HOUR => format!("{}m", ms / MINUTE),
        HOUR..DAY => format!("{}h{:02}m", ms / HOUR, ms % HOUR / MINUTE),
        _ if ms < 100 * DAY => format!("{}d{:02}h", ms / DAY, ms % DAY / HOUR),
        _ => format!("{}d", ms / DAY),
    }
}

/// A count: `999`, `12.3k`, `4.5M`.
pub(super) fn count(n: u64) -> String {
    match n {
        0..10_000 => n.to_string(),
        10_000..1_000_000 => format!("{}.{}k", n / 1_000, n % 1_000 / 100),
        1_000_000..1_000_000_000 => format!("{}.{}M", n / 1_000_000, n % 1_000_000 / 100_000),
        _ => format!("{}G", n / 1_000_000_000),
    }
}

/// A size in bytes: `17 B`, `3.2 KiB`.
pub(super) fn size(bytes: u64) -> String {
    const KIB: u64 = 1024;
    const MIB: u64 = KIB * KIB;
    const GIB: u64 = MIB * KIB;
    let (unit, name) = match bytes {
        0..KIB => return format!("{bytes} B"),
        KIB..MIB => (KIB, "KiB"),
        MIB..GIB => (MIB, "MiB"),
        _ => (GIB, "GiB"),
    };
    format!("{}.{} {name}", bytes / unit, bytes % unit * 10 / unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!([age(0), age(450), age(9_990)], ["0.0s", "0.4s", "9.9s"]);
        assert_eq!([age(59_999), age(60_000), age(90_000_000)], ["59s", "1m", "1d"]);
        let coarse = [4_999, 60_000, 11_100_000, 187_200_000, 35_596_800_000].map(coarse_age);
        assert_eq!(coarse, ["4s", "1m", "3h05m", "2d04h", "412d"]);
        assert_eq!([count(9_999), count(12_345), count(4_560_000)], ["9999", "12.3k", "4.5M"]);
        assert_eq!([size(17), size(3_300), size(16 << 20)], ["17 B", "3.2 KiB", "16.0 MiB"]);
    }
}
