//! What operators see of gathers, and what followers are told.

use bytes::Bytes;

use super::gathers::{answer, gather, missing, name, reply, rig, take};
use super::rig::{Rig, content, delivered, notice, queue};
use crate::engine::{Effect, Event};
use crate::model::{
    Aggregate, Completion, GatherRequest, GatherState, GatherStatus, GatherView, MessageId,
    NackAction, Notice, Origin, RecipientState, RepairAction,
};

fn id(text: &str) -> MessageId {
    MessageId::new(text).unwrap()
}

fn view(rig: &Rig, of: &str) -> GatherView {
    rig.engine.gather_detail(&id(of), None).expect("it is there").0
}

fn states(view: &GatherView) -> Vec<RecipientState> {
    view.recipients.iter().map(|one| one.state).collect()
}

fn notices(effects: &[Effect]) -> Vec<Notice> {
    let of_gathers = effects.iter().filter_map(notice);
    of_gathers.filter(|notice| notice.kind().starts_with("gather-")).cloned().collect()
}

#[test]
fn it_is_seen_who_has_replied_who_is_missing_and_until_when_also_after_a_restart() {
    use RecipientState::{Blocked, Failed, NoReply, Replied};
    let mut rig = rig(Completion::Count(3), Aggregate::List);
    let began = rig.now;
    gather(&mut rig, "m");
    let seen = view(&rig, "m");
    assert_eq!((seen.state, seen.gather.as_ref()), (GatherState::Running, Some(&name())));
    assert_eq!((seen.began_at, seen.until), (Some(began), Some(began.plus_ms(1_000))));
    assert_eq!((seen.complete.to_string(), seen.callers), ("3".to_owned(), 1));
    assert_eq!(states(&seen), [NoReply; 3]);
    let got = take(&mut rig);
    reply(&mut rig, &got[1], "B");
    rig.nack_with(&got[0], NackAction::Block, None);
    for is_after_restart in [false, true] {
        let (seen, replies) = rig.engine.gather_detail(&id("m"), Some(&name())).unwrap();
        assert_eq!(states(&seen), [Blocked, Replied, NoReply], "{is_after_restart}");
        assert_eq!(seen.recipients[0].error.as_ref().unwrap().message, "it failed");
        assert_eq!((seen.recipients[1].bytes, seen.began_at), (Some(1), Some(began)));
        assert_eq!(replies, [(queue("b"), Bytes::from_static(b"B"))]);
        if !is_after_restart {
            rig.restart();
        }
    }
    let got = take(&mut rig);
    rig.nack_with(got.last().unwrap(), NackAction::DeadLetter, None);
    assert_eq!(states(&view(&rig, "m")), [Blocked, Replied, Failed]);
    rig.pass(1_000);
    let seen = view(&rig, "m");
    assert_eq!((seen.state, states(&seen)), (GatherState::Partial, vec![Blocked, Replied, Failed]));
    assert!(seen.until > Some(rig.now), "as long as its answer is kept: {seen:?}");
}

#[test]
fn gathers_are_listed_page_by_page_by_state_and_by_name() {
    let mut rig = rig(Completion::All, Aggregate::List);
    for n in 0..3 {
        gather(&mut rig, &format!("m{n}"));
    }
    let unnamed = GatherRequest::over(vec![queue("a")], content("m1", "{}"));
    rig.run(Event::Gather { origin: Origin(8), request: Box::new(unnamed) });
    rig.pass(1_000);
    gather(&mut rig, "new");
    let page = rig.engine.gather_page(0, 2, Some(GatherState::Partial));
    let ids = |views: &[GatherView]| views.iter().map(|it| it.id.to_string()).collect::<Vec<_>>();
    assert_eq!(ids(&page.gathers), ["m0", "m1"]);
    let rest = rig.engine.gather_page(page.next.unwrap(), 9, None);
    assert_eq!(
        (ids(&rest.gathers), rest.next),
        (vec!["m2".into(), "m1".into(), "new".into()], None)
    );
    assert_eq!(ids(&rig.engine.gather_page(0, 9, Some(GatherState::Running)).gathers).len(), 2);
    assert_eq!(view(&rig, "m1").gather, None, "the newest of that id");
    let (named, _) = rig.engine.gather_detail(&id("m1"), Some(&name())).unwrap();
    assert_eq!(named.gather, Some(name()));
    assert!(rig.engine.gather_detail(&id("never"), None).is_none());
}

#[test]
fn followers_are_told_that_a_gather_began_and_how_it_ended() {
    let mut rig = rig(Completion::Count(2), Aggregate::List);
    let started =
        |of: &str| Notice::GatherStarted { id: id(of), gather: Some(name()), recipients: 3 };
    let ended = |of: &str, status, replied| Notice::GatherEnded {
        id: id(of),
        gather: Some(name()),
        status,
        replied,
        missing: 3 - replied,
    };
    assert_eq!(notices(&gather(&mut rig, "m")), [started("m")]);
    assert_eq!(notices(&gather(&mut rig, "m")), [], "asked again, nothing begins");
    let got = take(&mut rig);
    assert_eq!(notices(&reply(&mut rig, &got[0], "A")), []);
    let told = reply(&mut rig, &got[1], "B");
    assert_eq!(notices(&told), [ended("m", GatherStatus::Quorum, 2)]);
    assert_eq!(notices(&reply(&mut rig, &got[2], "C")), [], "a late one changes nothing");
    gather(&mut rig, "n");
    assert_eq!(notices(&rig.pass(1_000)), [ended("n", GatherStatus::Partial, 0)]);
}

#[test]
fn what_was_blocked_and_is_repaired_is_no_longer_told_as_blocked() {
    let mut rig = rig(Completion::All, Aggregate::List);
    rig.put_queue("q", Default::default());
    let mut request = GatherRequest::over(vec![queue("q"), queue("a")], content("m", "{}"));
    request.timeout_ms = Some(1_000);
    let asked = Event::Gather { origin: Origin(7), request: Box::new(request) };
    rig.run(asked);
    let got = delivered(&rig.ready(1, &["q"], 1));
    rig.nack_with(&got, NackAction::Block, None);
    assert_eq!(states(&view(&rig, "m")), [RecipientState::Blocked, RecipientState::NoReply]);
    delivered(&rig.repair("k", 1, 0, RepairAction::Retry));
    assert_eq!(states(&view(&rig, "m")), [RecipientState::NoReply; 2]);
    let reply = answer(&rig.pass(1_000));
    assert_eq!(missing(&reply), [("q", "no-reply"), ("a", "no-reply")]);
}
