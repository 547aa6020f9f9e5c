//! Topics, each with its subscriptions below it.

use crate::admin::dto::{
    QueueName, SubscriptionView, TopicDetail, TopicName, TopicPage, TopicView,
};
use crate::console::filter::Filter;
use crate::console::model::lists::{Cursor, Motion};

/// Topics kept, each with one page of subscriptions (100 of some 200 bytes): what is beyond is for the command line.
const MAX_TOPICS: usize = 200;

/// A topic.
#[derive(Debug, Clone)]
pub struct TopicRow {
    /// As the broker told.
    pub view: TopicView,
    /// Its subscriptions, once they were read.
    pub subscriptions: Vec<SubscriptionView>,
    /// There are more than these.
    pub more: bool,
    read: bool,
}

/// A row of the screen.
#[derive(Debug, Clone, Copy)]
pub enum TopicLine<'a> {
    /// A topic.
    Topic(&'a TopicRow),
    /// One of its subscriptions.
    Subscription(&'a TopicRow, &'a SubscriptionView),
}

impl TopicLine<'_> {
    fn key(&self) -> (TopicName, Option<QueueName>) {
        match self {
            Self::Topic(topic) => (topic.view.name.clone(), None),
            Self::Subscription(topic, of) => (topic.view.name.clone(), Some(of.queue.clone())),
        }
    }
}

/// What is to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TopicRead {
    /// Topics after this one.
    Page(Option<TopicName>),
    /// A topic's subscriptions.
    Detail(TopicName),
}

/// The topics.
#[derive(Debug)]
pub struct TopicList {
    rows: Vec<TopicRow>,
    next_after: Option<TopicName>,
    /// Events that were published to topics that nobody knows.
    pub unknown: u64,
    outdated: bool,
    /// A first page has come.
    pub loaded: bool,
    /// Why they can't be read.
    pub trouble: Option<String>,
    /// Where the cursor is.
    pub cursor: Cursor,
    at: Option<(TopicName, Option<QueueName>)>,
}

impl Default for TopicList {
    fn default() -> Self {
        Self {
            rows: Vec::new(),
            next_after: None,
            unknown: 0,
            outdated: true,
            loaded: false,
            trouble: None,
            cursor: Cursor::default(),
            at: None,
        }
    }
}

impl TopicList {
    /// To be read again, subscriptions too.
    pub fn outdate(&mut self) {
        self.outdated = true;
        self.rows.iter_mut().for_each(|row| row.read = false);
    }

    /// Counters are read again: of the topics, and of the subscriptions of the one under the cursor.
    pub fn recount(&mut self, filter: &Filter) {
        self.outdated = true;
        let at = self.selected(filter).map(|line| line.key().0);
        if let Some(row) = self.rows.iter_mut().find(|row| Some(&row.view.name) == at.as_ref()) {
            row.read = false;
        }
    }

    /// There is none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// How many were read.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// There are more than were read.
    pub fn has_more(&self) -> bool {
        self.next_after.is_some()
    }

    /// What to ask for next, one at a time.
    pub fn wanted(&mut self) -> Option<TopicRead> {
        if std::mem::take(&mut self.outdated) {
            self.trouble = None;
            return Some(TopicRead::Page(None));
        }
        if self.trouble.is_some() {
            return None;
        }
        if self.next_after.is_some() && self.rows.len() < MAX_TOPICS {
            return Some(TopicRead::Page(self.next_after.clone()));
        }
        let row = self.rows.iter().find(|row| !row.read && row.view.subscriptions > 0)?;
        Some(TopicRead::Detail(row.view.name.clone()))
    }

    /// Takes the page after `after`.
    pub fn take(&mut self, after: Option<&TopicName>, page: TopicPage) {
        self.loaded = true;
        self.unknown = page.unknown;
        let last = page.topics.last().map(|topic| topic.name.clone());
        // What the page names no more is gone: all between its beginning and its end.
        let is_over = page.next_after.is_none();
        let in_page = |name: &TopicName| {
            after.is_none_or(|after| name > after)
                && (is_over || last.as_ref().is_none_or(|last| name <= last))
        };
        let (mut old, mut rows): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.rows).into_iter().partition(|row| in_page(&row.view.name));
        for view in page.topics {
            let known = old.iter().position(|row| row.view.name == view.name);
            rows.push(match known.map(|n| old.swap_remove(n)) {
                Some(row) => {
                    let same = row.view.subscriptions == view.subscriptions;
                    TopicRow { view, read: row.read && same, ..row }
                }
                None => TopicRow { view, subscriptions: Vec::new(), more: false, read: false },
            });
        }
        rows.sort_by(|a, b| a.view.name.cmp(&b.view.name));
        rows.truncate(MAX_TOPICS);
        self.rows = rows;
        // A page that ends where it began would be asked for again for ever.
        self.next_after = page.next_after.filter(|next| after.is_none_or(|after| next > after));
    }

    /// Takes a topic with its subscriptions; `None`: it is gone.
    pub fn take_detail(&mut self, name: &TopicName, detail: Option<TopicDetail>) {
        match (detail, self.rows.iter_mut().find(|row| row.view.name == *name)) {
            (Some(detail), Some(row)) => {
                row.view = detail.topic;
                row.more = detail.next.is_some();
                row.subscriptions = detail.subscriptions;
                row.read = true;
            }
            (None, Some(_)) => self.rows.retain(|row| row.view.name != *name),
            (_, None) => {}
        }
    }

    /// They can't be read.
    pub fn fail(&mut self, why: String) {
        self.trouble = Some(why);
    }

    /// The rows that the filter lets through: a topic with those of its subscriptions that pass, or with all
    /// if itself does.
    pub fn shown(&self, filter: &Filter) -> Vec<TopicLine<'_>> {
        let mut lines = Vec::new();
        for topic in &self.rows {
            let otherwise = topic.view.settings.otherwise.as_ref().map_or("", |q| q.as_str());
            let passes = filter.lets_through([topic.view.name.as_str(), otherwise]);
            let below = topic.subscriptions.iter().filter(|of| {
                let text = of.filter.as_deref().unwrap_or("");
                let error = of.last_error.as_deref().unwrap_or("");
                let texts = [topic.view.name.as_str(), of.queue.as_str(), text, error];
                filter.lets_through(texts)
            });
            let below: Vec<TopicLine<'_>> =
                below.map(|of| TopicLine::Subscription(topic, of)).collect();
            if passes || !below.is_empty() {
                lines.push(TopicLine::Topic(topic));
                lines.extend(below);
            }
        }
        lines
    }

    /// The row under the cursor.
    pub fn selected(&self, filter: &Filter) -> Option<TopicLine<'_>> {
        self.shown(filter).get(self.cursor.at).copied()
    }

    /// Moves the cursor.
    pub(super) fn go(&mut self, motion: Motion, filter: &Filter, height: usize) {
        let len = self.shown(filter).len();
        self.cursor.go(motion, len, height);
        self.at = self.selected(filter).map(|line| line.key());
    }

    /// Keeps the cursor with its row.
    pub(super) fn settle(&mut self, filter: &Filter, height: usize) {
        let (len, at) = {
            let shown = self.shown(filter);
            let at = self.at.as_ref();
            (shown.len(), at.and_then(|at| shown.iter().position(|line| line.key() == *at)))
        };
        self.cursor.keep(at, len, height);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::fixtures::{subscription, topic};

    fn page(names: &[&str], next_after: Option<&str>) -> TopicPage {
        let topics = names.iter().map(|name| topic(name, 1)).collect();
        let next_after = next_after.map(|name| TopicName::new(name).unwrap());
        TopicPage { topics, next_after, unknown: 0 }
    }

    #[test]
    fn topics_are_read_page_by_page_then_their_subscriptions() {
        let mut list = TopicList::default();
        assert_eq!(list.wanted(), Some(TopicRead::Page(None)));
        list.take(None, page(&["a", "b"], Some("b")));
        let after = TopicName::new("b").unwrap();
        assert_eq!(list.wanted(), Some(TopicRead::Page(Some(after.clone()))));
        list.take(Some(&after), page(&["c"], None));
        let mut read = Vec::new();
        while let Some(TopicRead::Detail(name)) = list.wanted() {
            let view = topic(name.as_str(), 1);
            let subscriptions = vec![subscription("q", None)];
            list.take_detail(&name, Some(TopicDetail { topic: view, subscriptions, next: None }));
            read.push(name.to_string());
        }
        assert_eq!(read, ["a", "b", "c"]);
        assert_eq!(list.shown(&Filter::default()).len(), 6);
        list.outdate();
        list.wanted();
        list.take(None, page(&["a"], Some("a")));
        assert_eq!(list.len(), 3, "the other pages are still to be read");
        list.take(Some(&TopicName::new("a").unwrap()), page(&["c"], None));
        assert_eq!(list.len(), 2, "b is gone");
    }

    #[test]
    fn a_subscription_that_passes_the_filter_brings_its_topic() {
        let mut list = TopicList::default();
        list.take(None, page(&["orders", "users"], None));
        let name = TopicName::new("orders").unwrap();
        let subscriptions =
            vec![subscription("billing", Some("body.total > 100")), subscription("stock", None)];
        let detail = TopicDetail { topic: topic("orders", 2), subscriptions, next: None };
        list.take_detail(&name, Some(detail));
        assert_eq!(list.shown(&Filter::new("total")).len(), 2);
        assert_eq!(list.shown(&Filter::new("orders")).len(), 3);
        assert_eq!(list.shown(&Filter::new("!orders")).len(), 1);
    }
}
