//! Several messages at once: what is meant is frozen, looked at, agreed to by its number, and told one by one.

use bytes::Bytes;

use crate::admin::dto::{BulkVerb, MessageState, Revision, Seq};
use crate::console::action::Action;
use crate::console::effect::Effect;
use crate::console::fixtures::Stage;
use crate::console::many::{
    Change, Ending, Found, How, Job, Order, Outcome, Progress, Told, Which,
};
use crate::console::model::Overlay;
use crate::console::text::diff;

fn failing(keys: &[&str]) -> Stage {
    let mut stage = Stage::failing((80, 24), |_| {});
    stage.keys(keys);
    stage
}

fn line(stage: &Stage, n: usize) -> String {
    stage.screen().lines().nth(n).unwrap_or_default().to_owned()
}

fn tell(stage: &mut Stage, run: u64, told: Told) {
    stage.act(Action::Many { run, told: Box::new(told) });
    stage.serve();
}

/// The run ends: `failed` of its first messages are refused, and `tried` in all.
fn end(stage: &mut Stage, failed: usize, tried: usize, how: How) {
    let (order, items) = stage.several().expect("something runs");
    stage.effects.clear();
    let outcomes = items.into_iter().take(tried).enumerate().map(|(n, item)| Outcome {
        result: match n < failed {
            true => Err("the message changed meanwhile\u{1b}[2J".to_owned()),
            false => Ok((item.row.item.revision.next(), "ready".to_owned())),
        },
        row: item.row,
    });
    let ending = Ending { outcomes: outcomes.collect(), how };
    tell(stage, order.run, Told::Ended(ending));
}

fn places(items: &[crate::console::many::Item]) -> Vec<u64> {
    items.iter().map(|item| item.row.item.seq.0).collect()
}

#[test]
fn nothing_is_done_before_the_number_is_typed() {
    let mut stage = failing(&["<Enter>", " ", " ", "R", "<Enter>"]);
    assert!(stage.several().is_none() && stage.screen().contains("type 2 to retry"));
    for wrong in ["<Enter>", "3", "<Enter>", "<Backspace>", "y", "<Enter>"] {
        stage.keys(&[wrong]);
        assert!(stage.several().is_none(), "after {wrong}");
    }
    stage.keys(&["<Backspace>", "2", "<Enter>"]);
    let (order, items) = stage.several().expect("it was agreed to");
    assert_eq!(order.change, Change::Repair { verb: BulkVerb::Retry, to: None });
    assert_eq!((places(&items), order.rate), (vec![3, 4], Some(100)));
}

#[test]
fn the_list_stays_as_it_was_marked() {
    let mut stage = failing(&["<Enter>", " "]);
    let view = stage.messages.get_mut(&("orders".into(), 3)).unwrap();
    view.summary.revision = Revision(7);
    stage.keys(&["^r", "R", "<Enter>", "1", "<Enter>"]);
    let (_, items) = stage.several().expect("sent");
    assert_eq!(items[0].row.item.revision, Revision(0), "what was seen when it was marked");
}

#[test]
fn what_the_dry_run_refuses_is_shown_and_left_out() {
    let stage = failing(&["<Enter>", "V", "j", "j", "j", "V", "R", "<Enter>"]);
    let screen = stage.screen();
    assert!(screen.contains("3 would be done, 1 can't be"), "{screen}");
    assert!(screen.contains("type 3 to retry them"), "{screen}");
    let mut stage = stage;
    stage.keys(&["3", "<Enter>"]);
    assert_eq!(places(&stage.several().unwrap().1), [3, 4, 6]);
}

#[test]
fn with_marks_the_keys_that_take_out_are_for_the_marked_ones() {
    for (key, verb) in [("x", BulkVerb::Cancel), ("D", BulkVerb::DeadLetter), ("m", BulkVerb::Move)]
    {
        let mut stage = failing(&["<Enter>", " ", " ", key]);
        if verb == BulkVerb::Cancel {
            stage.keys(&["<Enter>"]);
            assert!(stage.screen().contains("a reason is needed"), "{}", stage.screen());
            stage.keys(&["test data"]);
        }
        if verb == BulkVerb::Move {
            stage.keys(&["no such name", "<Enter>"]);
            assert!(stage.screen().contains("queue has ' ' at byte 2"), "{}", stage.screen());
            stage.keys(&["<Backspace>"; 12]);
            stage.keys(&["by-hand"]);
        }
        stage.keys(&["<Enter>", "2", "<Enter>"]);
        let (order, items) = stage.several().expect("sent");
        assert!(matches!(order.change, Change::Repair { verb: sent, .. } if sent == verb));
        assert_eq!(items.len(), 2);
    }
    // Without marks they are for the one under the cursor.
    assert!(failing(&["<Enter>", "x"]).screen().contains("short id"));
}

#[test]
fn a_group_of_errors_is_chosen_from_the_list() {
    let mut stage = failing(&["<Enter>", "R"]);
    assert!(stage.screen().contains("exit-2: no such customer"), "{}", stage.screen());
    stage.press(&["<Down>", "<Enter>"]);
    let asked = stage.effects.iter().find_map(|effect| match effect {
        Effect::Many(job) => match &**job {
            Job::Look(_, Which::Those(filter)) => Some(filter.clone()),
            _ => None,
        },
        _ => None,
    });
    assert!(asked.expect("it is looked at").group.is_some());
}

#[test]
fn the_differences_of_a_jq_expression_are_seen_before_their_number_is_typed() {
    let mut stage = failing(&["<Enter>", " ", " ", "J", "<Enter>"]);
    assert!(stage.screen().contains("a jq expression is needed"), "{}", stage.screen());
    stage.keys(&[".name |= \"Zoe\"", "<Enter>"]);
    let screen = stage.screen();
    assert!(screen.contains("difference 1 of 2: #3") && screen.contains("Zoe"), "{screen}");
    stage.keys(&["<Right>"]);
    assert!(stage.screen().contains("difference 2 of 2: #4"), "{}", stage.screen());
    stage.keys(&["2", "<Enter>"]);
    let (order, items) = stage.several().expect("sent");
    assert_eq!(order.change, Change::Edit { jq: ".name |= \"Zoe\"".into(), retry: true });
    assert!(items.iter().all(|item| matches!(item.found, Found::Edited { .. })));
}

#[test]
fn quitting_while_payloads_are_saved_one_by_one_asks_first() {
    let mut stage = failing(&["<Enter>", " ", "J", ".a = 1", "<Enter>", "1", "<Enter>", "q"]);
    assert!(!stage.effects.contains(&Effect::Quit), "it ends with the console");
    assert!(line(&stage, 22).contains("one by one"), "{}", line(&stage, 22));
    stage.keys(&["y"]);
    assert!(stage.effects.contains(&Effect::Quit));
    let mut stage = failing(&["<Enter>", " ", "R", "<Enter>", "1", "<Enter>", "q"]);
    assert!(stage.effects.contains(&Effect::Quit), "the broker goes on with it");
    stage.effects.clear();
}

#[test]
fn a_run_is_seen_on_row_1_stopped_by_a_key_and_gone_on_with() {
    let mut stage = failing(&["<Enter>", "R", "<Enter>", "34", "<Enter>"]);
    let (order, items) = stage.several().expect("sent");
    let progress = Progress { tried: 17, failed: 1, of: Some(34), note: None };
    tell(&mut stage, order.run, Told::Progress(progress.clone()));
    assert!(stage.screen().contains("17 of 34 tried (50 %), 1 refused"), "{}", stage.screen());
    stage.keys(&["<Esc>"]);
    assert!(line(&stage, 0).contains("SEVERAL 17/34"), "{}", line(&stage, 0));
    stage.keys(&["R"]);
    stage.press(&["s"]);
    assert!(stage.effects.contains(&Effect::Many(Box::new(Job::Stop(order.run)))));
    end(&mut stage, 1, 20, How::Stopped("ana stopped it".into()));
    let screen = stage.screen();
    assert!(screen.contains("STOPPED, 19 of 34 done, 1 refused, 14 not tried"), "{screen}");
    stage.keys(&["r"]);
    let (again, left) = stage.several().expect("it goes on");
    assert_ne!(again.key, order.key, "the first one is over for the broker");
    assert_eq!(places(&left), places(&items)[20..]);
    tell(&mut stage, again.run, Told::Progress(Progress { of: Some(14), ..Progress::default() }));
    assert!(stage.screen().contains("20 of 34 tried"), "{}", stage.screen());
    end(&mut stage, 0, 14, How::Done);
    assert!(stage.screen().contains("done, 33 of 34 done, 1 refused"), "{}", stage.screen());
}

#[test]
fn what_became_of_a_lost_run_is_asked_under_the_same_key() {
    let mut stage = failing(&["<Enter>", "R", "<Enter>", "34", "<Enter>"]);
    let (order, items) = stage.several().expect("sent");
    end(&mut stage, 0, 0, How::Lost("the broker was restarted".into()));
    assert!(stage.screen().contains("UNKNOWN"), "{}", stage.screen());
    stage.keys(&["r"]);
    let (again, left) = stage.several().expect("sent again");
    assert_eq!((again.key, left), (order.key, items));
}

#[test]
fn what_failed_is_listed_saved_to_a_file_and_stays_marked() {
    let mut stage = failing(&["<Enter>", " ", " ", "R", "<Enter>", "2", "<Enter>"]);
    end(&mut stage, 1, 2, How::Done);
    let screen = stage.screen();
    assert!(screen.contains("done, 1 of 2 done, 1 refused"), "{screen}");
    assert!(screen.contains("3  ■ NOT") && screen.contains("4  ✓ done"), "{screen}");
    stage.keys(&["f"]);
    assert!(!stage.screen().contains("4  ✓ done"), "{}", stage.screen());
    stage.press(&["o", "/tmp/failed.jsonl", "<Enter>"]);
    let written = stage.effects.iter().find_map(|effect| match effect {
        Effect::WriteFile(path, bytes) => Some((path.clone(), bytes.clone())),
        _ => None,
    });
    let (path, bytes) = written.expect("it is written");
    assert_eq!(path.to_str(), Some("/tmp/failed.jsonl"));
    let saved: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!((&saved["queue"], &saved["seq"]), (&"orders".into(), &3.into()));
    assert!(stage.screen().contains("what came of each"), "back where it was pressed");
    stage.effects.clear();
    stage.keys(&["<Esc>"]);
    assert!(line(&stage, 0).contains("marked 1"), "{}", line(&stage, 0));
    stage.keys(&["U"]);
    assert!(!line(&stage, 0).contains("marked"), "{}", line(&stage, 0));
}

#[test]
fn words_of_another_run_change_nothing() {
    let mut stage = failing(&["<Enter>", " "]);
    stage.press(&["R", "<Enter>"]);
    let looks = |stage: &Stage| {
        stage.effects.iter().rev().find_map(|effect| match effect {
            Effect::Many(job) => match &**job {
                Job::Look(order, which) => Some((order.clone(), which.clone())),
                _ => None,
            },
            _ => None,
        })
    };
    let (order, which): (Order, Which) = looks(&stage).expect("it is looked at");
    stage.press(&["<Esc>"]);
    let late = stage.looked(&order, &which);
    stage.effects.clear();
    tell(&mut stage, order.run, Told::Frozen(Ok(late)));
    assert!(!stage.screen().contains("type 1"), "it was given up: {}", stage.screen());
}

#[test]
fn cancelled_ones_are_restored_by_u_with_their_number() {
    let mut stage = failing(&["<Enter>", " ", " ", "x", "why", "<Enter>", "2", "<Enter>"]);
    for seq in [3, 4] {
        let view = stage.messages.get_mut(&("orders".into(), seq)).unwrap();
        view.summary.state = MessageState::Cancelled;
        view.undo = Some("restore the cancelled message to its place".to_owned());
    }
    end(&mut stage, 0, 2, How::Done);
    stage.keys(&["<Esc>", "R", "<Esc>"]);
    assert!(line(&stage, 23).contains("u undo"), "{}", line(&stage, 23));
    stage.keys(&["u"]);
    assert!(stage.screen().contains("type 2 to restore them"), "{}", stage.screen());
    stage.keys(&["2", "<Enter>"]);
    let (order, items) = stage.several().expect("sent");
    assert_eq!(order.change, Change::Repair { verb: BulkVerb::Restore, to: None });
    let seen: Vec<_> =
        items.iter().map(|item| (item.row.item.seq, item.row.item.revision)).collect();
    assert_eq!(seen, [(Seq(3), Revision(1)), (Seq(4), Revision(1))], "as they are now");
}

#[test]
fn what_can_not_be_undone_is_not_offered() {
    let mut stage = failing(&["<Enter>", " ", " ", "x", "why", "<Enter>", "2", "<Enter>"]);
    // Their successor was delivered meanwhile.
    end(&mut stage, 0, 2, How::Done);
    stage.keys(&["<Esc>"]);
    assert!(!line(&stage, 23).contains("u undo"), "{}", line(&stage, 23));
    let mut stage = failing(&["<Enter>", " ", "R", "<Enter>", "1", "<Enter>"]);
    end(&mut stage, 0, 1, How::Done);
    stage.keys(&["<Esc>", "u"]);
    assert!(line(&stage, 22).contains("nothing to undo"), "a retry is none: {}", line(&stage, 22));
}

#[test]
fn what_is_chosen_is_seen_in_the_narrowest_terminal() {
    let mut stage = Stage::failing((60, 15), |_| {});
    stage.keys(&["<Enter>", "R", "<Left>"]);
    assert!(stage.screen().contains("[jq, save]"), "{}", stage.screen());
    stage.keys(&["<Right>"]);
    assert!(stage.screen().contains("[retry]"), "{}", stage.screen());
}

#[test]
fn a_range_is_left_by_esc_and_the_marks_stay() {
    let mut stage = failing(&["<Enter>", " ", "V", "j", "j"]);
    assert!(line(&stage, 0).contains("marked 4"), "{}", line(&stage, 0));
    stage.keys(&["<Esc>"]);
    assert!(line(&stage, 0).contains("marked 1"), "{}", line(&stage, 0));
    stage.keys(&["<Esc>", "<Enter>"]);
    assert!(line(&stage, 0).contains("marked 1"), "they are the queue's: {}", line(&stage, 0));
}

#[test]
fn a_range_is_done_with_as_marks_are() {
    let mut stage = failing(&["<Enter>", "V", "j", "R", "<Enter>", "2", "<Enter>"]);
    assert_eq!(stage.several().map(|(_, items)| places(&items)), Some(vec![3, 4]));
    end(&mut stage, 0, 2, How::Done);
    stage.keys(&["<Esc>", "j"]);
    assert!(!line(&stage, 0).contains("marked"), "{}", line(&stage, 0));
}

#[test]
fn a_run_of_which_nothing_is_known_is_not_given_up_unasked() {
    let mut stage = failing(&["<Enter>", " ", " ", "R", "<Enter>", "2", "<Enter>"]);
    end(&mut stage, 0, 0, How::Lost("UNKNOWN whether it was begun".to_owned()));
    stage.keys(&["<Esc>", "R"]);
    assert!(stage.screen().contains("the last one is not through"), "{}", stage.screen());
    assert!(stage.screen().contains("UNKNOWN whether it was begun"), "{}", stage.screen());
    stage.keys(&["<Esc>", "R"]);
    assert!(!stage.screen().contains("UNKNOWN whether it was begun"), "{}", stage.screen());
}

#[test]
fn the_results_of_the_last_change_have_a_key() {
    let mut stage = Stage::failing((80, 24), |_| {});
    stage.keys(&["L"]);
    assert!(stage.screen().contains("no change of several"), "{}", stage.screen());
    stage.keys(&["<Enter>", " ", " ", "R", "<Enter>", "2", "<Enter>"]);
    stage.keys(&["<Esc>", "L"]);
    assert!(matches!(stage.model.overlay, Overlay::Many), "{}", stage.screen());
}

#[test]
fn staying_after_all_goes_back_to_what_was_there_and_its_difference_has_come_meanwhile() {
    let mut stage = Stage::failing((80, 24), |_| {});
    stage.keys(&["<Enter>"]);
    let long = Bytes::from(format!("[{}0]", "1,\n".repeat(30_000)));
    stage.keys(&["V", "G", "V", "J", ".a = 1"]);
    stage.press(&["<Enter>"]);
    let look = stage.effects.iter().find_map(|effect| match effect {
        Effect::Many(job) => match &**job {
            Job::Look(order, which) => Some((order.clone(), which.clone())),
            _ => None,
        },
        _ => None,
    });
    let (order, which) = look.expect("it is looked at");
    stage.effects.clear();
    let mut frozen = stage.looked(&order, &which);
    for item in &mut frozen.items {
        if let Found::Edited { new, .. } = &mut item.found {
            *new = long.clone();
        }
    }
    let told = Box::new(Told::Frozen(Ok(frozen)));
    stage.act(Action::Many { run: order.run, told });
    assert!(stage.screen().contains("comparing"), "{}", stage.screen());
    let made = stage.effects.iter().find_map(|effect| match effect {
        Effect::Compare { request, old, new } => {
            Some((*request, diff::unified(old, new, diff::DIFF_CONTEXT)))
        }
        _ => None,
    });
    let (request, lines) = made.expect("it is compared beside the keys");
    stage.model.overlay = Overlay::Quit(Box::new(std::mem::take(&mut stage.model.overlay)));
    stage.act(Action::Compared { request, lines: Ok(lines) });
    stage.keys(&["n"]);
    let screen = stage.screen();
    assert!(screen.contains("difference 1 of") && !screen.contains("comparing"), "{screen}");
}
