//! Screen 7: what is read for it, and where it leads.

mod act;

pub(super) use act::{accept, begin, done};

use super::{Effects, command, enter};
use crate::console::action::Failure;
use crate::console::command::{Command, Mode};
use crate::console::effect::Request;
use crate::console::model::{
    MessageRef, Model, PatternPage, PatternRead, PatternTab, Process, ProcessList, Purpose,
    ReadFrom, TopicLine, TopicRead,
};

/// Asks for what is shown and was not read yet; of each kind one page at a time.
pub(super) fn read(model: &mut Model, fx: &mut Effects) {
    let is_awaited = |model: &Model, kind: fn(&PatternRead) -> bool| {
        model.awaits_any(|purpose| matches!(purpose, Purpose::Patterns(read) if kind(read)))
    };
    let mut wanted = Vec::new();
    if !is_awaited(model, |read| matches!(read, PatternRead::Topics(_))) {
        wanted.extend(model.patterns.topics.wanted().map(PatternRead::Topics));
    }
    if !is_awaited(model, |read| matches!(read, PatternRead::Gathers(_))) {
        wanted.extend(model.patterns.gathers.wanted().map(PatternRead::Gathers));
    }
    if !is_awaited(model, |read| matches!(read, PatternRead::Sagas(_))) {
        wanted.extend(model.patterns.sagas.wanted().map(PatternRead::Sagas));
    }
    for read in wanted {
        model.ask(fx, Purpose::Patterns(read.clone()), Request::Patterns(read));
    }
}

/// Takes what was read.
pub(super) fn take(model: &mut Model, read: PatternRead, page: Result<PatternPage, Failure>) {
    let patterns = &mut model.patterns;
    match read {
        PatternRead::Topics(read) => match (read, page) {
            (TopicRead::Page(after), Ok(PatternPage::Topics(page))) => {
                patterns.topics.take(after.as_ref(), page);
            }
            (TopicRead::Detail(name), Ok(PatternPage::Topic(detail))) => {
                patterns.topics.take_detail(&name, Some(*detail));
            }
            (TopicRead::Detail(name), Err(Failure::Refused(problem))) if problem.status == 404 => {
                patterns.topics.take_detail(&name, None);
            }
            (_, page) => patterns.topics.fail(trouble(page)),
        },
        PatternRead::Gathers(from) => match page {
            Ok(PatternPage::Gathers(page)) => {
                list(&mut patterns.gathers, from, page.gathers, page.next);
            }
            page => patterns.gathers.fail(trouble(page)),
        },
        PatternRead::Sagas(from) => match page {
            Ok(PatternPage::Sagas(page)) => list(&mut patterns.sagas, from, page.sagas, page.next),
            page => patterns.sagas.fail(trouble(page)),
        },
    }
}

fn list<T: Process>(list: &mut ProcessList<T>, from: ReadFrom, page: Vec<T>, next: Option<u64>) {
    list.trouble = None;
    list.take(from, page, next);
}

fn trouble(page: Result<PatternPage, Failure>) -> String {
    match page {
        Ok(_) => "the broker answered something else than was asked".to_owned(),
        Err(failure) => failure.text(),
    }
}

/// `Enter`: a subscription's queue, or the message that a gather or a saga waits for.
pub(super) fn enter(model: &mut Model) {
    let patterns = &model.patterns;
    let filter = &patterns.filter;
    let message: Option<Option<MessageRef>> = match patterns.tab {
        PatternTab::Topics => {
            let queue = match patterns.topics.selected(filter) {
                Some(TopicLine::Subscription(_, of)) => of.queue.clone(),
                Some(TopicLine::Topic(topic)) => match &topic.view.settings.otherwise {
                    Some(queue) => queue.clone(),
                    None => {
                        let keys = model.setup.keys;
                        let opens = keys.hint(
                            Mode::Patterns,
                            Command::Enter,
                            "; {} opens the queue of one",
                        );
                        return model.acts.note(format!("its subscriptions are below{opens}"));
                    }
                },
                None => return,
            };
            return enter::show_queue(model, queue);
        }
        PatternTab::Gathers => patterns.gathers.selected(filter).map(Process::message),
        PatternTab::Sagas => patterns.sagas.selected(filter).map(Process::message),
    };
    match message {
        Some(Some(message)) => command::open_message(model, message),
        Some(None) => model.acts.note("it waits for no message now"),
        None => {}
    }
}
