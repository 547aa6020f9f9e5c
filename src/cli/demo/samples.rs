//! What the demo sends: orders, their invoices and their e-mail, from `assets/demo`.

/// The demo's queues.
pub(super) const QUEUES: [&str; 3] = ["orders", "invoices", "e-mail"];
/// The number of the first order.
const FIRST: u64 = 41_001;
/// The first invoice that the connector refuses, counted from 0: a few are booked before it.
const FIRST_BAD: u64 = 3;
/// Between two of them: after a repair the queue flows for a while.
const BAD_EVERY: u64 = 40;

const ORDERS: &str = include_str!("../../../assets/demo/orders.jsonl");
const INVOICES: &str = include_str!("../../../assets/demo/invoices.jsonl");
const BAD_INVOICES: &str = include_str!("../../../assets/demo/invoices-to-repair.jsonl");
const E_MAIL: &str = include_str!("../../../assets/demo/e-mail.jsonl");

/// A message of the demo.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sample {
    pub(super) queue: &'static str,
    pub(super) id: String,
    pub(super) kind: &'static str,
    pub(super) payload: String,
}

/// What order number `n`, from 0, leads to: one message to each queue.
pub(super) fn order(n: u64) -> [Sample; 3] {
    let bad = n % BAD_EVERY == FIRST_BAD;
    let invoice = if bad { line(BAD_INVOICES, n / BAD_EVERY) } else { line(INVOICES, n) };
    let number = (FIRST + n).to_string();
    let sample = |queue, kind, text: &str| Sample {
        queue,
        id: format!("{kind}-{number}"),
        kind,
        payload: text.replace("{n}", &number),
    };
    [
        sample(QUEUES[0], "order", line(ORDERS, n)),
        sample(QUEUES[1], "invoice", invoice),
        sample(QUEUES[2], "e-mail", line(E_MAIL, n)),
    ]
}

fn line(text: &'static str, n: u64) -> &'static str {
    let count = text.lines().count() as u64;
    let at = usize::try_from(n % count).expect("it is below the count of lines");
    text.lines().nth(at).expect("it is below the count of lines")
}
