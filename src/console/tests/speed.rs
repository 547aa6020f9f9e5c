//! How long a key takes with many queues, and that nothing is drawn without a change.

use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::{TimeVal, TimeValLike as _};
use ratatui::Terminal;
use ratatui::backend::TestBackend;

use crate::admin::dto::{QueueState, SagaState, StreamEvent};
use crate::console::action::Action;
use crate::console::fixtures::{Stage, blocked, head, overview, queue, saga};
use crate::console::view::view;

/// What the console must stand with ease.
const QUEUES: u64 = 10_000;
/// A frame of sixty a second; without optimisation the same work takes some four times as long.
const FRAME: Duration = Duration::from_millis(if cfg!(debug_assertions) { 64 } else { 16 });

fn many() -> Stage {
    let mut stage = Stage::new((200, 50), |_| {});
    stage.act(Action::Connected);
    stage.hear(StreamEvent::Overview(overview(0)));
    let rows = (0..QUEUES).map(|n| {
        let state = if n % 100 == 0 { QueueState::Blocked } else { QueueState::Running };
        let head = (n % 100 == 0).then(|| head(&blocked(n + 1)));
        queue(&format!("tenant-{n:05}.orders"), state, n % 977, head)
    });
    let rows: Vec<_> = rows.collect();
    for page in rows.chunks(256) {
        stage.hear(StreamEvent::Queues(page.to_vec()));
    }
    stage.hear(StreamEvent::Listed);
    stage.serve();
    stage
}

/// This thread's processor time.
fn used() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_THREAD).unwrap();
    let time = |it: TimeVal| Duration::from_micros(u64::try_from(it.num_microseconds()).unwrap());
    time(usage.user_time()) + time(usage.system_time())
}

/// The quickest of some, in processor time: what the machine does beside it is not the console's.
fn quickest(stage: &mut Stage, keys: &[&str]) -> Duration {
    let (width, height) = stage.model.size;
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    let took = (0..10).map(|n| {
        let key = keys[n % keys.len()];
        let before = used();
        stage.press(&[key]);
        terminal.draw(|frame| view(&stage.model, frame)).unwrap();
        used() - before
    });
    took.min().unwrap()
}

#[test]
fn a_key_is_answered_within_a_frame_with_ten_thousand_queues() {
    let mut stage = many();
    for (what, way, keys) in [
        ("moving", &[][..], &["j", "^d", "G", "k"][..]),
        ("sorting", &[], &["s"]),
        ("filtering", &["/"], &["4", "2"]),
        ("the palette", &["<Esc>", ":"], &["o", "r"]),
    ] {
        stage.press(way);
        let took = quickest(&mut stage, keys);
        println!("{what}: {took:?}");
        assert!(took < FRAME, "{what} with {QUEUES} queues took {took:?}");
    }
}

#[test]
fn a_sign_of_life_alone_draws_nothing() {
    let mut stage = many();
    stage.model.redraw = false;
    stage.hear(StreamEvent::Overview(overview(400)));
    assert!(!stage.model.redraw);
}

#[test]
fn a_key_is_answered_within_a_frame_with_as_many_sagas_as_are_kept() {
    let mut stage = Stage::failing((200, 50), |_| {});
    stage.keys(&["7", "h"]);
    let sagas = (0..1_000).map(|n| {
        let mut saga = saga(n, SagaState::Running);
        saga.steps = saga.steps.iter().cycle().take(10).cloned().collect();
        saga
    });
    stage.model.patterns.sagas.rows = sagas.collect();
    for (what, way, keys) in
        [("moving", &[][..], &["j", "^d", "G", "k"][..]), ("filtering", &["/"], &["o", "r"])]
    {
        stage.press(way);
        let took = quickest(&mut stage, keys);
        println!("{what}: {took:?}");
        assert!(took < FRAME, "{what} with 1,000 sagas took {took:?}");
    }
}
