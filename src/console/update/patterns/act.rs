//! What is done on screen 7: to sagas and subscriptions. The broker has no act on gathers.

use crate::admin::dto::{SagaAct, SagaActRequest, SagaState};
use crate::console::action::{Failure, Reply};
use crate::console::command::Command;
use crate::console::effect::Request;
use crate::console::model::{
    Act, Model, Overlay, PatternAct, PatternForm, PatternTab, Purpose, Stage, TopicLine,
};
use crate::console::update::Effects;

/// Asks what must be typed first, or does what needs no question; or says why it can't be done.
pub(in crate::console::update) fn begin(model: &mut Model, fx: &mut Effects, command: Command) {
    match command {
        Command::Subscribe => subscribe(model),
        Command::RetrySaga => saga(model, fx, SagaAct::Retry),
        Command::SkipSaga => saga(model, fx, SagaAct::Skip),
        Command::EndPattern => match model.patterns.tab {
            PatternTab::Topics => unsubscribe(model),
            PatternTab::Sagas => saga(model, fx, SagaAct::Abort),
            PatternTab::Gathers => model.acts.refuse(
                "end the gather",
                "it ends by itself, with its answers or at its deadline; the broker has no other end",
            ),
        },
        _ => {}
    }
}

fn saga(model: &mut Model, fx: &mut Effects, act: SagaAct) {
    let patterns = &model.patterns;
    if patterns.tab != PatternTab::Sagas {
        return model.acts.note(format!("{} is for sagas: the third tab", act.as_str()));
    }
    let Some(saga) = patterns.sagas.selected(&patterns.filter) else { return };
    let what = PatternAct::saga_text(act, &saga.id);
    let state = saga.state;
    if state.is_end() {
        return model.acts.refuse(what, format!("it is {}", state.as_str()));
    }
    if act != SagaAct::Abort && state != SagaState::Parked {
        let why = format!("it is {}: only parked ones are; repair its message", state.as_str());
        return model.acts.refuse(what, why);
    }
    match act {
        // As with a message, what is only tried again needs no question.
        SagaAct::Retry => {
            let (expect_state, reason) = (Some(state), String::new());
            let request = SagaActRequest { act, expect_state, reason };
            let id = saga.id.clone();
            // It sinks in the list once it goes on: the cursor stays with it, not with its row.
            model.patterns.sagas.stay_with(id.clone());
            if let Err(act) = send(model, fx, PatternAct::Saga { id, request }) {
                model.acts.refuse(act.text(), AWAITED);
            }
        }
        SagaAct::Skip | SagaAct::Abort => {
            model.overlay = Overlay::Pattern(PatternForm::saga(saga, act));
        }
    }
}

fn subscribe(model: &mut Model) {
    let patterns = &model.patterns;
    if patterns.tab != PatternTab::Topics {
        return model.acts.note("queues are subscribed to topics: the first tab");
    }
    let form = match patterns.topics.selected(&patterns.filter) {
        None => PatternForm::subscribe(None, None),
        Some(TopicLine::Topic(topic)) => PatternForm::subscribe(Some(&topic.view.name), None),
        // What the configuration says is changed there.
        Some(TopicLine::Subscription(topic, of)) => {
            PatternForm::subscribe(Some(&topic.view.name), Some(of).filter(|of| !of.configured))
        }
    };
    model.overlay = Overlay::Pattern(form);
}

fn unsubscribe(model: &mut Model) {
    let patterns = &model.patterns;
    match patterns.topics.selected(&patterns.filter) {
        Some(TopicLine::Subscription(topic, of)) if of.configured => {
            let what = format!("unsubscribe {} from {}", of.queue, topic.view.name);
            model.acts.refuse(what, "it is in the configuration; take it out there");
        }
        Some(TopicLine::Subscription(topic, of)) => {
            let form = PatternForm::unsubscribe(&topic.view.name, &of.queue);
            model.overlay = Overlay::Pattern(form);
        }
        Some(TopicLine::Topic(_)) => {
            model.acts.note("one of its subscriptions is taken back: choose it below");
        }
        None => {}
    }
}

/// `Enter` in the form.
pub(in crate::console::update) fn accept(
    model: &mut Model,
    fx: &mut Effects,
    mut form: PatternForm,
) {
    if let Some((id, act, state)) = form.saga_as_seen() {
        let now = model.patterns.sagas.row(id);
        match now {
            Some(saga) if saga.state == state => {}
            Some(saga) => {
                // What would be done now is another thing than what was read.
                let complaint = format!("meanwhile it is {}: read again", saga.state.as_str());
                let mut form = PatternForm::saga(saga, act);
                form.complaint = Some(complaint);
                model.overlay = Overlay::Pattern(form);
                return;
            }
            None => {
                let what = PatternAct::saga_text(act, id);
                return model.acts.refuse(what, "it is not in the list any more");
            }
        }
    }
    match form.check() {
        Ok(act) => {
            if send(model, fx, act).is_err() {
                form.complaint = Some(AWAITED.to_owned());
                model.overlay = Overlay::Pattern(form);
            }
        }
        Err((at, complaint)) => {
            (form.at, form.complaint) = (at, Some(complaint));
            model.overlay = Overlay::Pattern(form);
        }
    }
}

/// An act on the same thing is under way.
const AWAITED: &str = "the last act on it has no answer yet";

/// Sends it, or says why it can't be; the act itself while another one on the same thing is awaited.
fn send(model: &mut Model, fx: &mut Effects, act: PatternAct) -> Result<(), PatternAct> {
    if let Some(why) = model.why_unsendable() {
        model.acts.refuse(act.text(), why);
        return Ok(());
    }
    let is_awaited = model.awaits_any(|purpose| match purpose {
        Purpose::PatternAct(other) => other.is_about_the_same(&act),
        _ => false,
    });
    if is_awaited {
        return Err(act);
    }
    model.acts.begin(act.text(), None);
    // None of these is undone by a key; what was before must not be taken for it.
    model.acts.undo = None;
    model.ask(fx, Purpose::PatternAct(act.clone()), Request::PatternAct(act));
    Ok(())
}

/// The answer.
pub(in crate::console::update) fn done(
    model: &mut Model,
    act: &PatternAct,
    reply: Result<Reply, Failure>,
) {
    let stage = match reply {
        Ok(Reply::Saga(saga)) => Stage::Done { text: format!("it is {}", saga.state.as_str()) },
        Ok(Reply::Subscribed(change)) => {
            let text = match (act, change.changed) {
                (PatternAct::Unsubscribe { .. }, true) => "what waits in the queue stays",
                (PatternAct::Unsubscribe { .. }, false) => "it was not subscribed",
                (_, true) => "it gets what is published from now on",
                (_, false) => "it was so already",
            };
            Stage::Done { text: text.to_owned() }
        }
        Ok(_) => Stage::Refused { text: "UNKNOWN, the broker answered something else".to_owned() },
        Err(Failure::Unknown(why)) => Stage::Refused {
            text: format!("UNKNOWN, {why}: the list tells once the broker is back"),
        },
        Err(failure) => Stage::Refused { text: failure.text() },
    };
    // A retry that is followed meanwhile is told to its end.
    if model.acts.followed().is_none() {
        model.acts.last = Some(Act { what: act.text(), stage, message: None });
    }
    match act {
        PatternAct::Saga { .. } => model.patterns.sagas.outdate(),
        PatternAct::Subscribe { .. } | PatternAct::Unsubscribe { .. } => {
            model.patterns.topics.outdate();
        }
    }
}
