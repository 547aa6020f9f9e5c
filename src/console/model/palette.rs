//! The command palette: every action, queue, draft and message id by a few letters of it.

mod fuzzy;

use super::MessageRef;
use crate::admin::dto::{MessageId, QueueName, Seq};
use crate::console::keymap::{self, Row};

/// Entries that are shown of those that match: who doesn't find it among them types another letter.
const MAX_FOUND: usize = 200;

/// Something that the palette offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PaletteEntry {
    /// A row of the key table.
    Command(&'static Row),
    /// A row of the key table that works on other screens; choosing it says where.
    Elsewhere(&'static Row),
    /// A queue to go to.
    Queue(QueueName),
    /// A message to go to, by its id.
    Message(MessageRef, MessageId),
    /// A message to go to, by its queue and place.
    Place(MessageRef),
    /// A message to go to, because there is a draft of it.
    Draft(MessageRef),
    /// A message to be asked for by its id, wherever it is.
    Locate(MessageId),
    /// The hidden one.
    Panic,
}

impl PartialEq for Row {
    fn eq(&self, other: &Self) -> bool {
        self.command == other.command && self.modes == other.modes
    }
}
impl Eq for Row {}

impl PaletteEntry {
    /// Its words.
    pub fn text(&self) -> String {
        match self {
            Self::Command(row) => row.label.to_owned(),
            Self::Elsewhere(row) => format!("{} (on {})", row.label, keymap::places(row)),
            Self::Queue(name) => format!("queue {name}"),
            Self::Message(message, id) => format!("message {id} in {message}"),
            Self::Place(message) => format!("message {message}"),
            Self::Draft(message) => format!("draft {message}"),
            Self::Locate(id) => format!("ask the broker for the whole id {id}"),
            Self::Panic => "panic".to_owned(),
        }
    }
}

/// The command palette.
#[derive(Debug, Clone, Default)]
pub struct Palette {
    /// What is typed.
    pub typed: String,
    /// The chosen one of those that match.
    pub at: usize,
    /// What there is on this screen, with its words in small letters.
    entries: Vec<(String, PaletteEntry)>,
    found: Vec<PaletteEntry>,
}

impl Palette {
    /// Over these.
    pub fn new(entries: impl IntoIterator<Item = PaletteEntry>) -> Self {
        let entries = entries.into_iter().map(|entry| (entry.text().to_lowercase(), entry));
        let mut palette = Self { entries: entries.collect(), ..Self::default() };
        palette.search();
        palette
    }

    /// Looks for what is typed now.
    pub fn search(&mut self) {
        self.at = 0;
        let words: Vec<String> =
            self.typed.to_lowercase().split_whitespace().map(str::to_owned).collect();
        let scored = self
            .entries
            .iter()
            .enumerate()
            .filter_map(|(n, (text, _))| Some((fuzzy::score(text, &words)?, n)));
        let mut scored: Vec<(u32, usize)> = scored.collect();
        // The best first; of equals those that come first on the screen. Only those that are shown are sorted.
        let rank = |(score, n): &(u32, usize)| (std::cmp::Reverse(*score), *n);
        if scored.len() > MAX_FOUND {
            scored.select_nth_unstable_by_key(MAX_FOUND, rank);
            scored.truncate(MAX_FOUND);
        }
        scored.sort_unstable_by_key(rank);
        let best = scored.into_iter().map(|(_, n)| self.entries[n].1.clone());
        let place = self.place().map(PaletteEntry::Place);
        let locate = self.id().map(PaletteEntry::Locate);
        self.found = place.into_iter().chain(best).chain(locate).collect();
    }

    /// `orders 17` or `orders #17`, if there is such a queue.
    fn place(&self) -> Option<MessageRef> {
        let (queue, seq) = self.typed.trim().rsplit_once(' ')?;
        let seq = seq.trim_start_matches('#').parse().ok()?;
        let names = |entry: &PaletteEntry| matches!(entry, PaletteEntry::Queue(name) if name.as_str() == queue.trim());
        let is_known = self.entries.iter().any(|(_, entry)| names(entry));
        let queue = is_known.then(|| QueueName::new(queue.trim()).ok())??;
        Some(MessageRef { queue, seq: Seq(seq) })
    }

    /// What is typed, if it may be a message's id: no word of an action is so long or has a digit.
    fn id(&self) -> Option<MessageId> {
        let typed = self.typed.trim();
        let is_likely = typed.len() >= 4 && typed.bytes().any(|b| b.is_ascii_digit());
        is_likely.then(|| MessageId::new(typed).ok())?
    }

    /// What matches, the best first.
    pub fn matches(&self) -> &[PaletteEntry] {
        &self.found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(text: &str) -> Palette {
        let queues = ["orders", "invoices", "eu.orders.retry"];
        let queues = queues.map(|name| PaletteEntry::Queue(QueueName::new(name).unwrap()));
        let mut palette = Palette::new(queues);
        palette.typed = text.to_owned();
        palette.search();
        palette
    }

    #[test]
    fn a_place_or_an_id_can_be_typed() {
        let found = typed("orders #17").matches().to_vec();
        assert!(matches!(&found[0], PaletteEntry::Place(at) if at.to_string() == "orders #17"));
        assert!(typed("nobody #17").matches().iter().all(|e| !matches!(e, PaletteEntry::Place(_))));
        let found = typed("0192f3a1-beef").matches().to_vec();
        assert!(matches!(&found[..], [PaletteEntry::Locate(id)] if id.as_str() == "0192f3a1-beef"));
        assert!(typed("orde").matches().iter().all(|e| !matches!(e, PaletteEntry::Locate(_))));
    }

    #[test]
    fn words_may_come_in_any_order() {
        assert_eq!(typed("retry eu").matches().len(), 1);
        assert_eq!(typed("").matches().len(), 3);
    }
}
