//! What grows with many queues and long backlogs: memory, opening, disk. Each on a broker and store of its
//! own. Small unless more is asked for: the project's bars are about the sizes of `--full`.

use std::path::Path;
use std::time::Duration;

use clap::Args;
use tokio::time::{Instant, sleep};

use super::host::Host;
use super::load::Load;
use super::report::{Bar, Figure, Row};
use super::{BenchError, Plan, What, steady, watched};

/// Unanswered messages while a store is filled.
const WINDOW: usize = 1024;
/// Queues of the backlog that is drained: one FIFO queue alone takes a flush for each message.
const DRAIN_QUEUES: usize = 1024;
/// The disk must have been given back after this time.
const GIVE_BACK: Duration = Duration::from_secs(60);
/// Between two looks at the disk.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A megabyte as the project's bars count it.
const MB: f64 = 1e6;
/// What may be on the disk when a backlog of 2 GB has been drained, in MB.
const DRAINED_MB: f64 = 512.0;

/// How large the measurements of scale are.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Sizes")]
pub(super) struct SizeArgs {
    /// Queues that `queues` makes.
    #[arg(long, value_name = "N", default_value_t = 5_000, value_parser = clap::value_parser!(u64).range(1..=200_000))]
    make_queues: u64,
    /// Messages of `depth`'s one queue.
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=20_000_000))]
    depth: u64,
    /// Messages that go through `steady`'s queue.
    #[arg(long, value_name = "N", default_value_t = 200_000, value_parser = clap::value_parser!(u64).range(1..=50_000_000))]
    steady: u64,
    /// How many wait in it at most.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    steady_depth: u64,
    /// Payload of `drain`'s backlog, in MB.
    #[arg(long, value_name = "MB", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    drain_mb: u64,
    /// Order keys of `keys`' queue, a message each; a hundredth of them is blocked.
    #[arg(long, value_name = "N", default_value_t = 50_000, value_parser = clap::value_parser!(u64).range(100..=1_000_000))]
    keys: u64,
    /// Messages in each of the 100 queues of `pages`.
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    page_depth: u64,
    /// The sizes that the project's bars are about: 100,000 queues, 10 million messages deep, 20 million
    /// through a queue, a million order keys, 2 GB drained, pages of 100 queues of 100,000. Takes 12 GB of disk and
    /// some minutes
    #[arg(long, conflicts_with_all = ["make_queues", "depth", "steady", "steady_depth", "drain_mb", "keys", "page_depth"])]
    full: bool,
}

impl SizeArgs {
    fn make_queues(&self) -> u64 {
        if self.full { 100_000 } else { self.make_queues }
    }

    fn depth(&self) -> u64 {
        if self.full { 10_000_000 } else { self.depth }
    }

    fn steady(&self) -> u64 {
        if self.full { 20_000_000 } else { self.steady }
    }

    fn keys(&self) -> u64 {
        if self.full { 1_000_000 } else { self.keys }
    }

    fn page_depth(&self) -> u64 {
        if self.full { 100_000 } else { self.page_depth }
    }

    fn drain_mb(&self) -> u64 {
        if self.full { 2_000 } else { self.drain_mb }
    }
}

/// Those of the measurements that the plan has.
pub(super) async fn measure(
    plan: &Plan,
    at: &Path,
    rows: &mut Vec<Row>,
    figures: &mut Vec<Figure>,
) -> Result<(), BenchError> {
    if plan.has(What::Dispatch) {
        super::dispatch::measure(plan, at, rows, figures).await?;
    }
    if plan.has(What::Queues) {
        queues(plan, at, rows, figures).await?;
    }
    if plan.has(What::Depth) {
        depth(plan, at, rows, figures).await?;
    }
    if plan.has(What::Steady) {
        let sizes = &plan.sizes;
        let steady = steady::measure(at, sizes.steady(), sizes.steady_depth, plan.payload_bytes)?;
        rows.push(steady.row);
        let over = steady.most_over as f64 / MB;
        figures.push(Figure::new(
            "steady: disk - 1.3 x waiting, worst",
            over,
            "MB",
            Bar::Below(256.0),
        ));
    }
    if plan.has(What::Keys) {
        super::keys::measure(plan, at, plan.sizes.keys(), rows, figures).await?;
    }
    if plan.has(What::Pages) {
        super::pages::pages(plan, at, plan.sizes.page_depth(), rows, figures).await?;
    }
    if plan.has(What::Watchers) {
        super::pages::watchers(plan, at, rows, figures).await?;
    }
    if plan.has(What::Drain) {
        drain(plan, at, rows, figures).await?;
    }
    Ok(())
}

/// Makes queues by sending one message to each.
async fn queues(
    plan: &Plan,
    at: &Path,
    rows: &mut Vec<Row>,
    figures: &mut Vec<Figure>,
) -> Result<(), BenchError> {
    let count = plan.sizes.make_queues();
    let mut host = Host::start(at).await?;
    let empty = host.usage_at_rest().await?.rss;
    let names = usize::try_from(count).expect("the argument's bound is far below");
    let mut load = Load::new(plan, &host.clients, "bench.many", names).await?;
    let row = watched(&host, load.fill("queues: made", WINDOW, count)).await?;
    figures.push(Figure::new("queues made a second", row.per_second, "", Bar::AtLeast(5_000.0)));
    rows.push(row);
    let each = per_queue(empty, host.usage_at_rest().await?.rss, count);
    figures.push(Figure::new(
        "memory of a queue, its message waiting",
        each,
        "bytes",
        Bar::Below(1_000.0),
    ));
    let listed = Instant::now();
    let found = host.admin().queues().await;
    let found = found.map_err(|source| BenchError::Admin { what: "all queues", source })?;
    let seconds = listed.elapsed().as_secs_f64();
    if found.len() as u64 != count {
        return Err(BenchError::Unexpected { what: format!("{} queues of {count}", found.len()) });
    }
    figures.push(Figure::new("queues: listing all", seconds, "s", Bar::Below(5.0)));
    let each = per_queue(empty, host.usage_at_rest().await?.rss, count);
    figures.push(Figure::new("memory of a queue after a list", each, "bytes", Bar::Below(1_000.0)));
    let opening = host.restart().await?.as_secs_f64();
    figures.push(Figure::new("queues: opening the store", opening, "s", Bar::Below(3.0)));
    let each = per_queue(empty, host.usage_at_rest().await?.rss, count);
    figures.push(Figure::new(
        "memory of a queue after a restart",
        each,
        "bytes",
        Bar::Below(1_000.0),
    ));
    Ok(())
}

/// One long queue.
async fn depth(
    plan: &Plan,
    at: &Path,
    rows: &mut Vec<Row>,
    figures: &mut Vec<Figure>,
) -> Result<(), BenchError> {
    let mut host = Host::start(at).await?;
    let empty = host.usage()?.rss;
    let mut load = Load::new(plan, &host.clients, "bench.deep", 1).await?;
    rows.push(watched(&host, load.fill("depth: filled", WINDOW, plan.sizes.depth())).await?);
    let grown = growth_mb(empty, host.usage()?.rss);
    figures.push(Figure::new("depth: memory over an empty broker", grown, "MB", Bar::Below(100.0)));
    let opening = host.restart().await?.as_secs_f64();
    figures.push(Figure::new("depth: opening the store", opening, "s", Bar::Below(3.0)));
    let first = load.first_delivery(&host.workers).await?.as_secs_f64() * 1e3;
    figures.push(Figure::new(
        "depth: first delivery after opening",
        first,
        "ms",
        Bar::Below(100.0),
    ));
    let grown = growth_mb(empty, host.usage()?.rss);
    figures.push(Figure::new("depth: memory after a restart", grown, "MB", Bar::Below(100.0)));
    Ok(())
}

/// Fills, works off, and waits until the disk is given back.
async fn drain(
    plan: &Plan,
    at: &Path,
    rows: &mut Vec<Row>,
    figures: &mut Vec<Figure>,
) -> Result<(), BenchError> {
    let host = Host::start(at).await?;
    let count = (plan.sizes.drain_mb() * 1_000_000).div_ceil(plan.payload_bytes.max(1) as u64);
    let mut load = Load::new(plan, &host.clients, "bench.drain", DRAIN_QUEUES).await?;
    rows.push(watched(&host, load.fill("drain: filled", WINDOW, count)).await?);
    rows.push(watched(&host, load.drain(&host.workers, count)).await?);
    let drained = Instant::now();
    let mut on_disk = host.disk_bytes()? as f64 / MB;
    while on_disk >= DRAINED_MB && drained.elapsed() < GIVE_BACK {
        sleep(LOOK_EVERY).await;
        on_disk = host.disk_bytes()? as f64 / MB;
    }
    let bar = Bar::Below(DRAINED_MB);
    figures.push(Figure::new("drain: disk, at the latest a minute after", on_disk, "MB", bar));
    Ok(())
}

/// What each of `queues` takes of the growth from `empty` to `rss`, in bytes.
fn per_queue(empty: u64, rss: u64, queues: u64) -> f64 {
    rss.saturating_sub(empty) as f64 / queues as f64
}

/// From `empty` to `rss`, both in bytes.
fn growth_mb(empty: u64, rss: u64) -> f64 {
    rss.saturating_sub(empty) as f64 / MB
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        sizes: SizeArgs,
    }

    fn sizes(args: &[&str]) -> Result<SizeArgs, clap::Error> {
        Line::try_parse_from([&["bench"], args].concat()).map(|line| line.sizes)
    }

    #[test]
    fn full_sizes_are_those_of_the_bars_and_stand_alone() {
        let full = sizes(&["--full"]).unwrap();
        assert_eq!((full.make_queues(), full.depth()), (100_000, 10_000_000));
        assert_eq!(
            (full.steady(), full.steady_depth, full.drain_mb()),
            (20_000_000, 10_000, 2_000)
        );
        assert_eq!(full.keys(), 1_000_000);
        assert!(sizes(&["--full", "--depth", "5"]).is_err());
        assert_eq!(sizes(&["--depth", "5"]).unwrap().depth(), 5);
        assert!(sizes(&["--make-queues", "200001"]).is_err(), "bounded");
    }

    #[test]
    fn growth_is_shared_by_the_queues_and_never_negative() {
        assert_eq!(per_queue(1_000, 11_000, 10), 1_000.0);
        assert_eq!(per_queue(2_000, 1_000, 10), 0.0);
        assert_eq!(growth_mb(5_000_000, 7_500_000), 2.5);
    }
}
