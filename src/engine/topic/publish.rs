//! Publishing: who gets an event, and the copies.

use std::collections::BTreeMap;

use serde_json::json;

use crate::model::{
    Accepted, Content, FilterBudget, FilterSubject, Match, Notice, OnError, Origin, Published,
    QueueName, RejectCode, Rejection, TopicName, Unroutable, limits,
};

use super::{Place, Topic, may_dead_letter};
use crate::engine::dead_letter::marked;
use crate::engine::request::draining;
use crate::engine::send::no_such_queue;
use crate::engine::tally::{Counted, add_one};
use crate::engine::{Effect, Effects, Engine};

/// Why an event is a dead letter, in the header's `dead_letter.reason`: a filter couldn't tell whether it passes.
const FILTER: &str = "filter";
/// No subscription took it.
const UNROUTABLE: &str = "unroutable";
/// How much of a filter's error goes into the header, and is kept with the subscription, in bytes.
const ERROR_BYTES: usize = 256;

/// What an event's way through a topic's subscriptions gave.
#[derive(Debug, Default)]
struct Route {
    /// Subscriptions that take it, in their order.
    taken: Vec<(Place, Way)>,
    /// Subscriptions whose filter failed.
    failed: Vec<(Place, String)>,
}

/// Where a subscription that takes an event puts it.
#[derive(Debug)]
enum Way {
    Queue,
    /// Its queue's dead-letter queue, since its filter failed so.
    DeadLetter(String),
}

/// The messages that an event becomes, by queue.
#[derive(Debug, Default)]
struct Copies {
    each: Vec<(QueueName, Content)>,
    /// Those of them that are dead letters.
    dead: BTreeMap<QueueName, Dead>,
}

/// What makes an event a dead letter.
#[derive(Debug)]
struct Dead {
    /// The queue that subscribed, if one did.
    of: Option<QueueName>,
    reason: &'static str,
}

impl Engine {
    pub(in crate::engine) fn handle_publish(
        &mut self,
        origin: Origin,
        topic: TopicName,
        content: Content,
        mandatory: bool,
        out: &mut Effects,
    ) {
        match self.publish(&topic, content, mandatory, out) {
            Ok(published) => out.effects.push(Effect::Published { origin, published }),
            Err(rejection) => out.effects.push(Effect::Rejected { origin, rejection }),
        }
    }

    fn publish(
        &mut self,
        name: &TopicName,
        content: Content,
        mandatory: bool,
        out: &mut Effects,
    ) -> Result<Published, Rejection> {
        let id = content.id().clone();
        if self.stopping {
            return Err(draining("the broker stops; publish again when it is back").of(id));
        }
        let live = self.live.then(|| content.clone());
        let (route, copies) = match self.topics.by_name.get(name) {
            None => (Route::default(), Ok(Copies::default())),
            Some(topic) => {
                let route = topic.route(name, &content);
                let copies = self.copies(name, topic, &route, &content, mandatory);
                (route, copies)
            }
        };
        // A filter that failed is told and counted, whatever becomes of the event.
        self.count_failures(name, &route, &content, out);
        let Copies { each, mut dead } = copies.map_err(|rejection| rejection.of(id.clone()))?;
        if each.is_empty() {
            self.refuse_unroutable(name, mandatory).map_err(|refused| refused.of(id.clone()))?;
        }
        self.admit(&each, false)?;
        let mut published = Published {
            id,
            topic: name.clone(),
            queues: each.len() as u64,
            duplicate: !each.is_empty(),
        };
        for (queue, content) in each {
            let (at, accepted) = self.accept_into(queue, content, out);
            self.shed(at, out);
            self.offer(at, out);
            published.duplicate &= accepted.duplicate;
            if let Some(dead) = dead.remove(&accepted.queue).filter(|_| !accepted.duplicate) {
                self.tell_dead(name, dead, accepted, out);
            }
        }
        if !published.duplicate {
            self.count_published(name, &route);
            if let Some(content) = live {
                out.effects.push(Effect::Live { topic: name.clone(), content: Box::new(content) });
            }
        }
        Ok(published)
    }

    /// The queues of the subscriptions that take a message which is not published: a gather asks them.
    pub(in crate::engine) fn subscribers(
        &mut self,
        name: &TopicName,
        content: &Content,
        out: &mut Effects,
    ) -> Result<Vec<QueueName>, Rejection> {
        let Some(topic) = self.topics.by_name.get(name) else { return Ok(Vec::new()) };
        let route = topic.route(name, content);
        let refused = topic.refuse_failed(name, &route);
        let queue = |(place, way): &(Place, Way)| {
            let queue = &topic.subscribed.get(place)?.queue;
            match way {
                Way::Queue => Some(Ok(queue.clone())),
                Way::DeadLetter(error) => {
                    let reason = format!(
                        "the filter of subscription {name} to {queue} can't be told: {error}"
                    );
                    Some(Err(Rejection::new(RejectCode::Unroutable, reason)))
                }
            }
        };
        let queues = route.taken.iter().filter_map(queue).collect();
        // A filter that failed is told and counted, whatever becomes of the message.
        self.count_failures(name, &route, content, out);
        refused?;
        queues
    }

    /// An event that is in a dead-letter queue now is counted and told.
    fn tell_dead(&mut self, topic: &TopicName, dead: Dead, accepted: Accepted, out: &mut Effects) {
        match dead.of.as_ref().and_then(|queue| self.queues.by_name(queue)) {
            Some(at) => self.count(at, Counted::DeadLettered),
            // Nobody has subscribed, or the queue has never had a message.
            None => add_one(&mut self.totals.dead_lettered),
        }
        out.effects.push(Effect::Notice(Box::new(Notice::DeadLettered {
            queue: dead.of.unwrap_or_else(|| accepted.queue.clone()),
            seq: None,
            topic: Some(topic.clone()),
            id: accepted.id,
            reason: dead.reason.to_owned(),
            to: accepted.queue,
            to_seq: accepted.seq,
        })));
    }

    /// The messages that the event becomes: one for each queue. The payload, and the header where it is not
    /// told why it is a dead letter, are shared by all.
    fn copies(
        &self,
        name: &TopicName,
        topic: &Topic,
        route: &Route,
        content: &Content,
        mandatory: bool,
    ) -> Result<Copies, Rejection> {
        topic.refuse_failed(name, route)?;
        let mut copies = Copies::default();
        if let Some(already) = self.routed_before(topic, content) {
            copies.each.push((already, content.clone()));
            return Ok(copies);
        }
        copies.each.reserve_exact(route.taken.len());
        for (place, way) in &route.taken {
            let Some(subscribed) = topic.subscribed.get(place) else { continue };
            let queue = &subscribed.queue;
            match way {
                Way::Queue => copies.each.push((queue.clone(), content.clone())),
                Way::DeadLetter(error) => {
                    let target = self.dead_letters_of(queue)?;
                    // Several queues may have one dead-letter queue: the event is there once.
                    if copies.dead.contains_key(&target) {
                        continue;
                    }
                    let came_from = json!({
                        "topic": name.as_str(),
                        "queue": queue.as_str(),
                        "reason": FILTER,
                        "at": self.now.to_string(),
                        "error": error,
                    });
                    let dead = Dead { of: Some(queue.clone()), reason: FILTER };
                    copies.dead.insert(target.clone(), dead);
                    copies.each.push((target, marked(content, came_from)));
                }
            }
        }
        if copies.each.is_empty() {
            self.add_unroutable(name, topic, content, mandatory, &mut copies);
        }
        Ok(copies)
    }

    /// Of a topic that gives an event to one queue only: the queue that has got it already, even if another one
    /// would get it now.
    fn routed_before(&self, topic: &Topic, content: &Content) -> Option<QueueName> {
        match topic.settings.matching {
            Match::All => return None,
            Match::First => {}
        }
        let queues = topic.subscribed.values().map(|subscribed| &subscribed.queue);
        let knows = |queue: &&QueueName| {
            let queue = self.queue_named(queue);
            queue.is_some_and(|queue| queue.duplicate_of(content.id(), self.now).is_some())
        };
        queues.chain(&topic.settings.otherwise).find(knows).cloned()
    }

    /// What becomes of an event that no subscription takes, if its topic says so.
    fn add_unroutable(
        &self,
        name: &TopicName,
        topic: &Topic,
        content: &Content,
        mandatory: bool,
        copies: &mut Copies,
    ) {
        if let Some(queue) = &topic.settings.otherwise {
            return copies.each.push((queue.clone(), content.clone()));
        }
        match topic.settings.unroutable {
            Unroutable::DeadLetter if !mandatory => {
                let came_from = json!({
                    "topic": name.as_str(),
                    "reason": UNROUTABLE,
                    "at": self.now.to_string(),
                });
                let target = unroutable_queue(name);
                copies.dead.insert(target.clone(), Dead { of: None, reason: UNROUTABLE });
                copies.each.push((target, marked(content, came_from)));
            }
            Unroutable::Accept | Unroutable::Reject | Unroutable::DeadLetter => {}
        }
    }

    fn refuse_unroutable(&mut self, name: &TopicName, mandatory: bool) -> Result<(), Rejection> {
        let Some(topic) = self.topics.by_name.get_mut(name) else {
            if mandatory {
                let reason = format!("nothing is subscribed to a topic {name}");
                return Err(Rejection::new(RejectCode::Unroutable, reason));
            }
            return Ok(());
        };
        if mandatory || topic.settings.unroutable == Unroutable::Reject {
            topic.unmatched = topic.unmatched.saturating_add(1);
            let reason = format!("no subscription of {name} takes this event");
            return Err(Rejection::new(RejectCode::Unroutable, reason));
        }
        Ok(())
    }

    /// The dead-letter queue of a queue that may not be there yet.
    fn dead_letters_of(&self, queue: &QueueName) -> Result<QueueName, Rejection> {
        let settings = match self.queues.by_name(queue) {
            Some(at) => Some(&self.queue(at).record.settings),
            None => self.template(queue),
        };
        let settings = settings.ok_or_else(|| no_such_queue(queue))?;
        settings
            .dead_letter_of(queue)
            .map_err(|reason| Rejection::new(RejectCode::NoSuchQueue, reason))
    }

    /// Queues that dead letters of any topic go to are dead-letter queues, there or not.
    pub(in crate::engine) fn note_topics_dead_letters(&mut self) {
        let mut queues = Vec::new();
        for (name, topic) in &self.topics.by_name {
            if topic.settings.unroutable == Unroutable::DeadLetter {
                self.dead_letter_queues.insert(unroutable_queue(name));
            }
            let failing = topic
                .subscribed
                .values()
                .filter(|it| may_dead_letter(it.filter.is_some(), it.on_error));
            queues.extend(failing.map(|subscribed| subscribed.queue.clone()));
        }
        queues.iter().for_each(|queue| self.note_dead_letters_of(queue));
    }

    /// A subscription of this queue may fail.
    pub(super) fn note_dead_letters_of(&mut self, queue: &QueueName) {
        if let Ok(target) = self.dead_letters_of(queue) {
            self.dead_letter_queues.insert(target);
        }
    }

    fn count_failures(
        &mut self,
        name: &TopicName,
        route: &Route,
        content: &Content,
        out: &mut Effects,
    ) {
        let Some(topic) = self.topics.by_name.get_mut(name) else { return };
        let mut first = None;
        for (place, error) in &route.failed {
            let Some(subscribed) = topic.subscribed.get_mut(place) else { continue };
            subscribed.errors = subscribed.errors.saturating_add(1);
            subscribed.last_error = Some(error.clone());
            first.get_or_insert((subscribed.queue.clone(), error, subscribed.on_error));
        }
        if let Some((queue, error, on_error)) = first {
            out.effects.push(Effect::Notice(Box::new(Notice::FilterFailed {
                topic: name.clone(),
                id: content.id().clone(),
                failed: route.failed.len() as u64,
                queue,
                error: error.clone(),
                on_error,
            })));
        }
    }

    fn count_published(&mut self, name: &TopicName, route: &Route) {
        let Some(topic) = self.topics.by_name.get_mut(name) else {
            self.topics.unknown = self.topics.unknown.saturating_add(1);
            return;
        };
        topic.published = topic.published.saturating_add(1);
        if route.taken.is_empty() {
            topic.unmatched = topic.unmatched.saturating_add(1);
        }
        for (place, way) in &route.taken {
            let Some(subscribed) = topic.subscribed.get_mut(place) else { continue };
            match way {
                Way::Queue => subscribed.matched = subscribed.matched.saturating_add(1),
                Way::DeadLetter(_) => {}
            }
        }
    }
}

impl Topic {
    /// A subscription whose filter failed may refuse the event for all.
    fn refuse_failed(&self, name: &TopicName, route: &Route) -> Result<(), Rejection> {
        for (place, error) in &route.failed {
            let Some(subscribed) = self.subscribed.get(place) else { continue };
            match subscribed.on_error {
                OnError::DeadLetter | OnError::Deliver | OnError::Skip => {}
                OnError::Reject => {
                    let queue = &subscribed.queue;
                    let reason =
                        format!("the filter of {queue} on {name} fails on this event: {error}");
                    return Err(Rejection::new(RejectCode::Unroutable, reason));
                }
            }
        }
        Ok(())
    }

    /// Which subscriptions take the event. Filters are asked in their order, within one budget for all.
    fn route(&self, name: &TopicName, content: &Content) -> Route {
        let subject = FilterSubject::new(name.as_str(), content);
        let mut budget = FilterBudget::new(limits::MAX_PUBLISH_COST);
        let mut route = Route::default();
        for (&place, subscribed) in &self.subscribed {
            let passes = match &subscribed.filter {
                None => Ok(true),
                Some(Ok(filter)) => filter.matches(&subject, &mut budget),
                Some(Err(error)) => Err(error.clone()),
            };
            let way = match passes {
                Ok(true) => Some(Way::Queue),
                Ok(false) => None,
                Err(mut error) => {
                    limits::clip(&mut error, ERROR_BYTES);
                    route.failed.push((place, error.clone()));
                    match subscribed.on_error {
                        OnError::Deliver => Some(Way::Queue),
                        OnError::DeadLetter => Some(Way::DeadLetter(error)),
                        OnError::Skip => None,
                        // The publish is refused: nobody takes it.
                        OnError::Reject => return route,
                    }
                }
            };
            if let Some(way) = way {
                route.taken.push((place, way));
                match self.settings.matching {
                    Match::All => {}
                    Match::First => return route,
                }
            }
        }
        route
    }
}

/// Where a topic's events go that no subscription takes, if it dead-letters them.
fn unroutable_queue(topic: &TopicName) -> QueueName {
    QueueName::new(&format!("{topic}.dead")).expect("a topic's name has room for that")
}
