//! A broker's words and an operator's hands, for tests.

mod patterns;
mod views;

use std::collections::BTreeMap;

use bytes::Bytes;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::style::Modifier;

use super::action::{Action, Reply};
use super::effect::{Effect, Request, RequestId};
use super::keymap::Keymap;
use super::many::{Change, Found, Frozen, Item, Job, Order, Row, Told, Which};
use super::model::{MessageRef, Millis, Model, Setup};
use super::theme::Theme;
use super::update::update;
use super::view::view;
use crate::admin::dto::{
    BulkItem, HeadView, JournalKind, JournalPage, KeyPage, Located, MessagePage, MessageView,
    PoolState, QueueState, QueueView, SchemaText, StreamEvent, WorkerState,
};
use crate::schema::{Compiled, Miss, with_room};

pub(crate) use patterns::{pool, saga, standing, subscription, topic};
use views::{EPOCH, groups, worker};
pub(crate) use views::{
    PAYLOAD, actor, blocked, by_key, entry, error, head, id, message, name, overview, queue,
    summary,
};

/// A console over a broker that answers as it is told to.
pub(crate) struct Stage {
    pub(crate) model: Model,
    pub(crate) now: u64,
    /// By which keys the operator's hands know what they want.
    pub(crate) hands: Keymap,
    /// Effects that nobody has taken yet.
    pub(crate) effects: Vec<Effect>,
    /// What the broker has.
    pub(crate) messages: BTreeMap<(String, u64), MessageView>,
    /// The schema of `orders`.
    pub(crate) schema: SchemaText,
}

/// How a payload misses a schema.
pub(crate) fn missed(schema: &SchemaText, payload: &[u8]) -> Option<Miss> {
    if schema.is_empty() {
        return None;
    }
    with_room(|| Compiled::new(schema).unwrap().check(payload).err()).unwrap()
}

impl Stage {
    /// Nothing heard yet.
    pub(crate) fn new(size: (u16, u16), change: impl FnOnce(&mut Setup)) -> Self {
        let mut setup = Setup {
            theme: Theme::new(true, false),
            keys: Keymap::default(),
            read_only: false,
            banner: None,
            endpoint: "unix:/run/mubroker/admin.sock".to_owned(),
            editor: Some("vi".to_owned()),
            session: "session".to_owned(),
            debug_panic: false,
        };
        change(&mut setup);
        let hands = setup.keys;
        let model = Model::new(setup, size);
        let schema = SchemaText::default();
        let (effects, messages) = (Vec::new(), BTreeMap::new());
        Self { model, now: 0, hands, effects, messages, schema }
    }

    /// Connected to a broker with a blocked queue, a busy one and an idle one.
    pub(crate) fn failing(size: (u16, u16), change: impl FnOnce(&mut Setup)) -> Self {
        let mut stage = Self::new(size, change);
        for seq in 3..45 {
            let summary = if seq == 3 { blocked(seq) } else { summary(seq) };
            let view = message("orders", summary, PAYLOAD.as_bytes());
            stage.messages.insert(("orders".to_owned(), seq), view);
        }
        stage.act(Action::Connected);
        stage.hear(StreamEvent::Overview(overview(0)));
        let head = head(&blocked(3));
        stage.hear(StreamEvent::Queues(vec![
            queue("email", QueueState::Running, 0, None),
            queue("invoices", QueueState::Running, 12_345, Some(self::head(&summary(9)))),
            by_key(queue("orders", QueueState::Blocked, 42, Some(head))),
        ]));
        stage.hear(StreamEvent::Workers(vec![
            worker(1, WorkerState::Busy, Some(("invoices", 9))),
            worker(2, WorkerState::Idle, None),
        ]));
        stage.serve();
        stage
    }

    /// The queue `orders` as it is now, with its schema.
    pub(crate) fn orders(
        &self,
        state: QueueState,
        depth: u64,
        head: Option<HeadView>,
    ) -> QueueView {
        let mut view = by_key(queue("orders", state, depth, head));
        view.settings.schema = self.schema.summary();
        view
    }

    /// `orders` has another schema from now on.
    pub(crate) fn set_schema(&mut self, text: &str) {
        self.schema = SchemaText::new(text);
        let head = head(&blocked(3));
        let view = self.orders(QueueState::Blocked, 42, Some(head));
        self.hear(StreamEvent::Queues(vec![view]));
    }

    pub(crate) fn act(&mut self, action: Action) {
        let effects = update(&mut self.model, Millis(self.now), action);
        self.effects.extend(effects);
    }

    pub(crate) fn hear(&mut self, event: StreamEvent) {
        self.act(Action::Stream(Box::new(event)));
    }

    /// Time passes; the console ticks.
    pub(crate) fn wait(&mut self, ms: u64) {
        self.now += ms;
        self.act(Action::Tick);
    }

    /// Presses a key.
    pub(crate) fn key(&mut self, event: KeyEvent) {
        let mode = self.model.mode();
        match self.hands.command(mode, &event) {
            Some(command) => self.act(Action::Do(command)),
            None if mode.takes_text() => self.act(Action::Input(event)),
            None => {}
        }
    }

    /// Presses keys, and answers all that is asked meanwhile. `^x` is Ctrl-x, `<Esc>` a key by its name.
    pub(crate) fn keys(&mut self, keys: &[&str]) {
        for text in keys {
            self.press(&[*text]);
            self.serve();
        }
    }

    /// Presses keys; nobody answers.
    pub(crate) fn press(&mut self, keys: &[&str]) {
        for text in keys {
            let event = |code| KeyEvent::new(code, KeyModifiers::NONE);
            match *text {
                "<Enter>" => self.key(event(KeyCode::Enter)),
                "<Esc>" => self.key(event(KeyCode::Esc)),
                "<Tab>" => self.key(event(KeyCode::Tab)),
                "<End>" => self.key(event(KeyCode::End)),
                "<Left>" => self.key(event(KeyCode::Left)),
                "<Right>" => self.key(event(KeyCode::Right)),
                "<Down>" => self.key(event(KeyCode::Down)),
                "<Backspace>" => self.key(event(KeyCode::Backspace)),
                "<F5>" => self.key(event(KeyCode::F(5))),
                "<F8>" => self.key(event(KeyCode::F(8))),
                ctrl if ctrl.len() == 2 && ctrl.starts_with('^') => {
                    let letter = ctrl.chars().nth(1).unwrap();
                    self.key(KeyEvent::new(KeyCode::Char(letter), KeyModifiers::CONTROL));
                }
                plain => plain.chars().for_each(|c| self.key(event(KeyCode::Char(c)))),
            }
        }
    }

    /// Answers every question but repairs, as a healthy broker and disk do.
    pub(crate) fn serve(&mut self) {
        loop {
            let effects = std::mem::take(&mut self.effects);
            let mut kept = Vec::new();
            let mut answers = Vec::new();
            for effect in effects {
                match self.answer(&effect) {
                    Some(answer) => answers.push(answer),
                    None => kept.push(effect),
                }
            }
            self.effects = kept;
            if answers.is_empty() {
                return;
            }
            for answer in answers {
                self.act(answer);
            }
        }
    }

    fn answer(&self, effect: &Effect) -> Option<Action> {
        match effect {
            Effect::Ask(id, request) => {
                let reply = Ok(self.reply(request)?);
                Some(Action::Reply { request: *id, reply })
            }
            Effect::Many(job) => self.many(job),
            Effect::CheckSchema { request, schema, payload, .. } => {
                let result = Ok(missed(schema, payload));
                Some(Action::SchemaChecked { request: *request, result })
            }
            Effect::LoadDraft(message) => {
                Some(Action::DraftLoaded { message: message.clone(), draft: Ok(None) })
            }
            Effect::SaveDraft { message, version, .. } => Some(Action::DraftSaved {
                message: message.clone(),
                version: *version,
                result: Ok(()),
            }),
            _ => None,
        }
    }

    pub(crate) fn reply(&self, request: &Request) -> Option<Reply> {
        Some(match request {
            Request::Page { queue, from } => {
                let all = self.messages.iter().filter(|((name, seq), _)| {
                    name == queue.as_str() && from.is_none_or(|from| *seq >= from.0)
                });
                let messages = all.map(|(_, view)| view.summary.clone()).collect();
                Reply::Page(MessagePage { messages, next: None })
            }
            Request::Keys { .. } => {
                Reply::Keys(KeyPage { keys: (3..9).map(standing).collect(), unseen: 7, next: None })
            }
            Request::Locate(id) => {
                let of = |view: &&MessageView| view.summary.id == *id;
                let view = self.messages.values().find(of)?;
                let (queue, seq) = (view.queue.clone(), view.summary.seq);
                Reply::Located(Located { queue, seq, state: view.summary.state })
            }
            Request::Pools => Reply::Pools(vec![pool(PoolState::Running)]),
            Request::Message(MessageRef { queue, seq }) => {
                let view = self.messages.get(&(queue.to_string(), seq.0))?;
                Reply::Message(Box::new(view.clone()))
            }
            Request::Payload(_, revision) => {
                Reply::Payload(Bytes::from(format!("{{\"total\":\"1.1{revision}\"}}")))
            }
            Request::Journal { .. } => Reply::Journal(JournalPage {
                entries: vec![
                    entry(7, JournalKind::Blocked, "orders", Some(3), "exit-1: total"),
                    entry(6, JournalKind::Paused, "email", None, "maintenance"),
                    entry(5, JournalKind::QueueCreated, "orders", None, ""),
                ],
                next_before: None,
                older_removed: false,
            }),
            Request::Patterns(read) => Reply::Patterns(patterns::page(read)),
            Request::Schema(_) => Reply::Schema(self.schema.as_str().to_owned()),
            Request::Hold(..) => Reply::Held(None),
            Request::Repair(..) | Request::Outcome(_) | Request::PatternAct(_) => return None,
            Request::SetPaused { .. } => Reply::Done,
        })
    }

    /// What is told at once of a change of several: of a run that changes something, nothing.
    fn many(&self, job: &Job) -> Option<Action> {
        let (run, told) = match job {
            Job::Groups { run, .. } => (*run, Told::Groups(Ok(groups()))),
            Job::Look(order, which) => (order.run, Told::Frozen(Ok(self.looked(order, which)))),
            Job::Do(..) | Job::Stop(_) => return None,
        };
        Some(Action::Many { run, told: Box::new(told) })
    }

    /// A dry run: one in five can't be done.
    pub(crate) fn looked(&self, order: &Order, which: &Which) -> Frozen {
        let row = |view: &MessageView| Row {
            item: BulkItem { seq: view.summary.seq, revision: view.summary.revision },
            id: view.summary.id.clone(),
        };
        let rows = match which {
            Which::These(rows) => rows.clone(),
            Which::Those(_) => self.messages.values().map(row).collect(),
        };
        let item = |row: Row| {
            let found = match &order.change {
                _ if row.item.seq.0.is_multiple_of(5) => {
                    Found::Refused("the message is ready: no\u{1b}[2J".into())
                }
                Change::Repair { .. } => Found::Possible,
                Change::Edit { .. } => Found::Edited {
                    old: Bytes::from_static(PAYLOAD.as_bytes()),
                    new: Bytes::from(PAYLOAD.replace("Zoë", "Zoe")),
                },
            };
            Item { row, found }
        };
        Frozen { items: rows.into_iter().map(item).collect(), is_cut: false }
    }

    /// The change of several that waits for its end.
    pub(crate) fn several(&self) -> Option<(Order, Vec<Item>)> {
        self.effects.iter().find_map(|effect| match effect {
            Effect::Many(job) => match &**job {
                Job::Do(order, items) => Some((order.clone(), items.clone())),
                _ => None,
            },
            _ => None,
        })
    }

    /// The repair that waits for its answer.
    pub(crate) fn repair(&self) -> Option<(RequestId, crate::admin::dto::RepairRequest)> {
        self.effects.iter().find_map(|effect| match effect {
            Effect::Ask(id, Request::Repair(_, request)) => Some((*id, (**request).clone())),
            _ => None,
        })
    }

    fn drawn(&self) -> Buffer {
        let (width, height) = self.model.size;
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| view(&self.model, frame)).unwrap();
        terminal.backend().buffer().clone()
    }

    /// How a cell stands out.
    pub(crate) fn style_at(&self, x: u16, y: u16) -> Modifier {
        self.drawn()[(x, y)].modifier
    }

    /// What is on the screen, without styles.
    pub(crate) fn screen(&self) -> String {
        let (width, height) = self.model.size;
        let buffer = self.drawn();
        let mut text = String::new();
        for y in 0..height {
            let mut line = String::new();
            let mut x = 0;
            while x < width {
                let symbol = buffer[(x, y)].symbol();
                line.push_str(symbol);
                x += u16::try_from(super::text::clean::width(symbol).max(1)).unwrap();
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}
