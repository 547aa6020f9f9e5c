//! The loop: keys, signals and answers in, frames out.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use bytes::Bytes;
use crossterm::event::{
    Event, EventStream, KeyEvent, KeyEventKind, MouseButton, MouseEvent, MouseEventKind,
};
use futures_util::StreamExt as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior};

use super::action::{Action, Pointed};
use super::effect::Effect;
use super::keymap::Keymap;
use super::model::{MessageRef, Millis, Model, Setup};
use super::outside::Outside;
use super::runner::{Runner, wall_clock};
use super::terminal::{Terminal, inside};
use super::text::drafts::Drafts;
use super::theme::Theme;
use super::update::update;
use super::view::view;
use crate::admin::client::AdminClient;

/// Actions that may wait: what comes from the broker is slowed beyond, keys have a way of their own.
const MAX_ACTIONS: usize = 256;
/// The least time between two frames: sixty a second are enough for an eye.
const FRAME: Duration = Duration::from_millis(16);
/// How often ages are counted on.
const TICK: Duration = Duration::from_secs(1);

/// What became of a broker that was being started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Starting {
    /// It can be asked.
    Ready,
    /// It can't; whoever started it says why.
    Failed,
}

/// How the console runs.
#[derive(Debug)]
pub struct ConsoleOptions {
    /// The way to the broker.
    pub client: AdminClient,
    /// A line above the queues while one is blocked: what to press.
    pub banner: Option<String>,
    /// Nothing may be changed.
    pub read_only: bool,
    /// How things look.
    pub theme: Theme,
    /// What each key does.
    pub keys: Keymap,
    /// The wheel moves, a click selects; the terminal's own marking of text then needs Shift.
    pub mouse: bool,
    /// Tells when the broker can be asked, if it is only being started: until then nothing is.
    pub starting: Option<oneshot::Receiver<Starting>>,
    /// This binary: it runs expressions in a process of their own.
    pub own_program: PathBuf,
    /// Where drafts are kept.
    pub drafts_dir: PathBuf,
    /// The palette has a command that panics, for the test of the terminal's restoration.
    pub debug_panic: bool,
}

/// Why the console ended otherwise than by `q` or a signal.
#[derive(Debug, thiserror::Error)]
pub enum ConsoleError {
    /// There is no terminal, or it went away.
    #[error("the terminal can't be used")]
    Terminal(#[from] io::Error),
}

/// Clears old drafts away beside the start, and tells of which messages there are others. A failure leaves them for the next
/// start; it is told when a draft is asked for.
fn look_for_drafts(drafts: Drafts, store: String, actions: mpsc::Sender<Action>) {
    tokio::task::spawn_blocking(move || {
        let pruned = drafts.prune(wall_clock());
        if let Ok(kept) = pruned.and_then(|_| drafts.kept(&store)) {
            let messages = kept.into_iter().map(|(queue, seq)| MessageRef { queue, seq });
            // Nobody takes it when the console has ended.
            let _ = actions.blocking_send(Action::DraftsFound { messages: messages.collect() });
        }
    });
}

/// Runs the console until the operator quits, or SIGTERM or SIGHUP ends it. The terminal is given back
/// before this returns, panics or is dropped. Must be polled on the thread that called it (`block_on`).
pub async fn run(options: ConsoleOptions) -> Result<(), ConsoleError> {
    let mut terminal = Terminal::take(options.mouse)?;
    let setup = Setup {
        theme: options.theme,
        keys: options.keys,
        read_only: options.read_only,
        banner: options.banner,
        endpoint: options.client.endpoint().to_string(),
        editor: own_editor(),
        session: uuid::Uuid::now_v7().to_string(),
        debug_panic: options.debug_panic,
    };
    let (sender, actions) = mpsc::channel(MAX_ACTIONS);
    let drafts = Drafts::new(options.drafts_dir);
    look_for_drafts(drafts.clone(), setup.endpoint.clone(), sender.clone());
    let mut console = Console {
        model: Model::new(setup, terminal.size()?),
        runner: Runner::start(
            options.client,
            options.own_program,
            drafts,
            sender,
            options.starting.is_some(),
        ),
        started: Instant::now(),
        drawn_at: None,
        outside: None,
    };
    // The first frame stands before the broker has answered.
    console.draw(&mut terminal)?;
    let ended = console.live(&mut terminal, actions, options.starting).await;
    drop(terminal);
    console.call_back();
    console.last_words();
    console.runner.stop();
    Ok(ended?)
}

/// What the mouse asks for: wheel and left button, nothing else.
fn pointed(mouse: MouseEvent) -> Option<Action> {
    let what = match mouse.kind {
        MouseEventKind::ScrollDown => Pointed::Down,
        MouseEventKind::ScrollUp => Pointed::Up,
        MouseEventKind::Down(MouseButton::Left) => Pointed::Click,
        _ => return None,
    };
    Some(Action::Pointed { what, x: mouse.column, y: mouse.row })
}

/// What a shell runs to edit a text.
fn own_editor() -> Option<String> {
    let set = |name| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
    set("VISUAL").or_else(|| set("EDITOR"))
}

struct Console {
    model: Model,
    runner: Runner,
    started: Instant,
    drawn_at: Option<Instant>,
    /// The operator's own editor, while it runs.
    outside: Option<Outside>,
}

/// What became of the broker; for ever if none is being started.
async fn told(starting: &mut Option<oneshot::Receiver<Starting>>) -> Starting {
    match starting {
        // Nobody tells any more: its thread has panicked.
        Some(starting) => starting.await.unwrap_or(Starting::Failed),
        None => std::future::pending().await,
    }
}

/// Whether the loop goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Next {
    On,
    Quit,
    /// The operator's own editor gets the terminal.
    Outside(MessageRef, Bytes),
}

/// What is typed; nothing while the keys are another program's.
async fn typed(events: &mut Option<EventStream>) -> Option<io::Result<Event>> {
    match events {
        Some(events) => events.next().await,
        None => std::future::pending().await,
    }
}

/// The end of the operator's own editor, if it runs.
async fn ended(outside: &mut Option<Outside>) -> io::Result<ExitStatus> {
    match outside {
        Some(outside) => outside.ended().await,
        None => std::future::pending().await,
    }
}

impl Console {
    async fn live(
        &mut self,
        terminal: &mut Terminal,
        mut actions: mpsc::Receiver<Action>,
        mut starting: Option<oneshot::Receiver<Starting>>,
    ) -> io::Result<()> {
        let mut events = Some(EventStream::new());
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hangup = signal(SignalKind::hangup())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut continued = signal(SignalKind::from_raw(nix::libc::SIGCONT))?;
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let frame_at = self.frame_at();
            // Keys go before the broker's words, however many those are.
            let next = tokio::select! {
                biased;
                _ = terminate.recv() => Next::Quit,
                _ = hangup.recv() => Next::Quit,
                // ^C in the operator's own editor is for that one.
                _ = interrupt.recv() => if self.outside.is_some() { Next::On } else { Next::Quit },
                _ = continued.recv() => {
                    if self.outside.is_none() {
                        terminal.resume()?;
                        self.model.redraw = true;
                    }
                    Next::On
                }
                status = ended(&mut self.outside) => {
                    // Before the terminal, which may be gone.
                    let next = self.come_back(terminal, status).await?;
                    terminal.resume()?;
                    events = Some(EventStream::new());
                    self.model.redraw = true;
                    next
                }
                event = typed(&mut events) => match event {
                    Some(event) => self.event(terminal, event?).await?,
                    None => return Err(io::Error::other("its input has ended")),
                },
                () = tokio::time::sleep_until(frame_at), if self.model.redraw && self.outside.is_none() => {
                    self.draw(terminal)?;
                    Next::On
                }
                started = told(&mut starting), if starting.is_some() => {
                    starting = None;
                    match started {
                        Starting::Ready => {
                            self.runner.run(Effect::Reconnect);
                            Next::On
                        }
                        Starting::Failed => Next::Quit,
                    }
                }
                _ = tick.tick() => self.act(terminal, Action::Tick).await?,
                Some(action) = actions.recv() => self.act(terminal, action).await?,
            };
            match next {
                Next::On => {}
                Next::Quit => return Ok(()),
                Next::Outside(message, bytes) => {
                    // Whoever reads keys here would take them from the editor.
                    events = None;
                    self.outside = self.go_outside(terminal, message, &bytes).await?;
                    if self.outside.is_none() {
                        events = Some(EventStream::new());
                    }
                }
            }
        }
    }

    /// Gives the terminal to the operator's own editor; `None` if it could not be started.
    async fn go_outside(
        &mut self,
        terminal: &mut Terminal,
        message: MessageRef,
        bytes: &Bytes,
    ) -> io::Result<Option<Outside>> {
        terminal.give_back();
        let program = self.model.setup.editor.clone().unwrap_or_default();
        match Outside::start(message.clone(), &program, bytes) {
            Ok(outside) => Ok(Some(outside)),
            Err(error) => {
                terminal.resume()?;
                let result = Err(format!("it can't be started: {error}"));
                self.act(terminal, Action::EditedOutside { message, result }).await?;
                Ok(None)
            }
        }
    }

    /// The editor has ended; its file goes, if the text is taken.
    async fn come_back(
        &mut self,
        terminal: &mut Terminal,
        status: io::Result<ExitStatus>,
    ) -> io::Result<Next> {
        let Some(outside) = self.outside.take() else { return Ok(Next::On) };
        let message = outside.message.clone();
        let result = outside.take(status);
        self.act(terminal, Action::EditedOutside { message, result }).await
    }

    /// The console ends while the editor runs: what that has written is the draft.
    fn call_back(&mut self) {
        let Some(outside) = self.outside.take() else { return };
        let (message, result) = (outside.message.clone(), outside.read());
        self.update_draft(Action::EditedOutside { message, result });
    }

    /// What is typed is given to the disk even when a signal or the terminal's end ends the console.
    fn last_words(&mut self) {
        self.update_draft(Action::Tick);
    }

    /// Of what an action leads to, what goes to the disk.
    fn update_draft(&mut self, action: Action) {
        for effect in self.update(action) {
            if matches!(effect, Effect::SaveDraft { .. }) {
                self.runner.run(effect);
            }
        }
    }

    fn update(&mut self, action: Action) -> Vec<Effect> {
        let now = Instant::now().saturating_duration_since(self.started);
        let now = Millis(u64::try_from(now.as_millis()).unwrap_or(u64::MAX));
        let model = &mut self.model;
        inside(|| update(model, now, action))
    }

    fn frame_at(&self) -> Instant {
        self.drawn_at.map_or(self.started, |at| at + FRAME)
    }

    async fn event(&mut self, terminal: &mut Terminal, event: Event) -> io::Result<Next> {
        let action = match event {
            Event::Key(key) if key.kind != KeyEventKind::Release => self.key(key),
            Event::Paste(text) => Some(Action::Paste(text)),
            Event::Resize(width, height) => Some(Action::Resize { width, height }),
            Event::Mouse(mouse) => pointed(mouse),
            Event::Key(_) | Event::FocusGained | Event::FocusLost => None,
        };
        match action {
            Some(action) => self.act(terminal, action).await,
            None => Ok(Next::On),
        }
    }

    fn key(&self, key: KeyEvent) -> Option<Action> {
        let mode = self.model.mode();
        match self.model.setup.keys.command(mode, &key) {
            Some(command) => Some(Action::Do(command)),
            None => mode.takes_text().then_some(Action::Input(key)),
        }
    }

    async fn act(&mut self, terminal: &mut Terminal, action: Action) -> io::Result<Next> {
        let effects = self.update(action);
        let mut next = Next::On;
        for effect in effects {
            match effect {
                Effect::Quit => next = Next::Quit,
                Effect::Redraw => {
                    terminal.forget()?;
                    self.model.redraw = true;
                }
                Effect::Suspend => {
                    terminal.suspend().await?;
                    self.model.redraw = true;
                }
                Effect::EditOutside(message, bytes) => next = Next::Outside(message, bytes),
                Effect::Copy(text) => terminal.copy(&text)?,
                effect => self.runner.run(effect),
            }
        }
        Ok(next)
    }

    fn draw(&mut self, terminal: &mut Terminal) -> io::Result<()> {
        self.model.redraw = false;
        self.drawn_at = Some(Instant::now());
        let model = &self.model;
        inside(|| terminal.draw(|frame| view(model, frame)))
    }
}
