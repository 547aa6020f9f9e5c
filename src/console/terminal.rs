//! The terminal: taken whole, and given back whole, whatever happens.

use std::cell::{Cell, RefCell};
use std::io::{self, IsTerminal as _, Write};
use std::rc::Rc;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use crossterm::cursor::{Hide, Show};
use crossterm::event::{
    DisableBracketedPaste, DisableMouseCapture, EnableBracketedPaste, EnableMouseCapture,
};
use crossterm::terminal::{
    BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate, EnterAlternateScreen,
    LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use crossterm::{execute, queue};
use nix::sys::signal::{Signal, kill, raise};
use nix::unistd::{Pid, getpgrp, getpid};
use ratatui::backend::Backend;
use ratatui::backend::CrosstermBackend;
use ratatui::{Frame, TerminalOptions, Viewport};

use super::clipboard;

/// The terminal is ours now.
static TAKEN: AtomicBool = AtomicBool::new(false);
/// It tells what the mouse does.
static MOUSE: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// This thread is inside the console's own code: its panic ends the console.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// The terminal in raw mode on its alternate screen. Dropped, it is given back.
pub(super) struct Terminal {
    frames: Frames,
}

impl Terminal {
    /// Takes the terminal, or says why there is none.
    pub(super) fn take(mouse: bool) -> io::Result<Self> {
        MOUSE.store(mouse, Ordering::SeqCst);
        if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
            return Err(io::Error::other(
                "the console needs a terminal on its standard input and output",
            ));
        }
        install_panic_hook();
        let frames = Frames::new(Viewport::Fullscreen)?;
        enter()?;
        Ok(Self { frames })
    }

    /// Columns and rows.
    pub(super) fn size(&self) -> io::Result<(u16, u16)> {
        let size = self.frames.inner.size()?;
        Ok((size.width, size.height))
    }

    /// Draws what changed, in one synchronized update; where nothing has, nothing is written.
    pub(super) fn draw(&mut self, render: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        let Some(frame) = self.frames.next(render)? else { return Ok(()) };
        let mut out = io::stdout();
        queue!(out, BeginSynchronizedUpdate)?;
        out.write_all(frame)?;
        execute!(out, EndSynchronizedUpdate)
    }

    /// Forgets what is on the screen: the next frame is drawn whole.
    pub(super) fn forget(&mut self) -> io::Result<()> {
        self.frames.forget()
    }

    /// Hands text to the terminal's clipboard.
    pub(super) fn copy(&mut self, text: &str) -> io::Result<()> {
        let mut out = io::stdout();
        out.write_all(clipboard::sequence(text, clipboard::Inside::of_process()).as_bytes())?;
        out.flush()
    }

    /// `^Z`: gives the terminal back, stops this job as the shell would, and takes the terminal again
    /// when it is continued.
    pub(super) async fn suspend(&mut self) -> io::Result<()> {
        leave();
        if getpgrp() == getpid() {
            raise(Signal::SIGTSTP)?;
        } else {
            // The shell's job is the whole group, e.g. `cargo run`'s.
            kill(Pid::from_raw(0), Signal::SIGTSTP)?;
            // The signal may be taken by another thread, a moment later.
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        self.resume()
    }

    /// Gives the terminal to another program; [`Self::resume`] takes it again.
    pub(super) fn give_back(&self) {
        leave();
    }

    /// After a stop that was not ours: the shell may have changed the terminal meanwhile.
    pub(super) fn resume(&mut self) -> io::Result<()> {
        // crossterm takes no mode that it believes to be set.
        disable_raw_mode()?;
        enter()?;
        self.forget()
    }
}

/// The bytes of frames, each as it differs from the one before.
struct Frames {
    inner: ratatui::Terminal<CrosstermBackend<Written>>,
    written: Written,
    /// The last one that was not empty.
    last: Vec<u8>,
}

/// What a frame writes.
#[derive(Clone, Default)]
struct Written(Rc<RefCell<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Frames {
    fn new(viewport: Viewport) -> io::Result<Self> {
        let written = Written::default();
        let backend = CrosstermBackend::new(written.clone());
        let inner = ratatui::Terminal::with_options(backend, TerminalOptions { viewport })?;
        Ok(Self { inner, written, last: Vec::new() })
    }

    /// What is to be written for the next one; `None` if it looks as the one before.
    fn next(&mut self, render: impl FnOnce(&mut Frame<'_>)) -> io::Result<Option<&[u8]>> {
        self.inner.draw(render)?;
        let frame = self.written.0.take();
        // Each ends with where the cursor is. One that is nothing else has changed nothing: a cell that was drawn last time
        // can't change to the same again.
        if self.last.ends_with(&frame) {
            return Ok(None);
        }
        self.last = frame;
        Ok(Some(&self.last))
    }

    /// The next one is drawn whole.
    fn forget(&mut self) -> io::Result<()> {
        // `Terminal::clear` asks where the cursor is, and fails on a terminal that is slow to say so.
        Backend::clear(self.inner.backend_mut())?;
        self.inner.swap_buffers();
        self.last.clear();
        Ok(())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        leave();
    }
}

fn enter() -> io::Result<()> {
    TAKEN.store(true, Ordering::SeqCst);
    enable_raw_mode()?;
    execute!(
        io::stdout(),
        EnterAlternateScreen,
        EnableBracketedPaste,
        Clear(ClearType::All),
        Hide
    )?;
    if MOUSE.load(Ordering::SeqCst) {
        execute!(io::stdout(), EnableMouseCapture)?;
    }
    Ok(())
}

/// Gives the terminal back once; errors are of no use: it may be gone.
fn leave() {
    if !TAKEN.swap(false, Ordering::SeqCst) {
        return;
    }
    if MOUSE.load(Ordering::SeqCst) {
        let _ = execute!(io::stdout(), DisableMouseCapture);
    }
    let _ = execute!(
        io::stdout(),
        EndSynchronizedUpdate,
        DisableBracketedPaste,
        LeaveAlternateScreen,
        Show
    );
    let _ = disable_raw_mode();
}

/// Runs the console's own code: a panic in it gives the terminal back before it is told.
pub(super) fn inside<T>(work: impl FnOnce() -> T) -> T {
    struct Outside;
    impl Drop for Outside {
        fn drop(&mut self) {
            INSIDE.set(false);
        }
    }
    INSIDE.set(true);
    let _outside = Outside;
    work()
}

/// A panic in another thread, e.g. of the embedded broker, must not write over the screen: it is logged,
/// and whoever waits for that thread hears of it.
fn install_panic_hook() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if INSIDE.get() || !TAKEN.load(Ordering::SeqCst) {
                leave();
                before(panic);
            } else {
                tracing::error!(%panic, "a thread panicked");
            }
        }));
    });
}

#[cfg(test)]
mod tests {
    use ratatui::layout::{Position, Rect};
    use ratatui::widgets::Paragraph;

    use super::*;

    /// Whether something is written for this text, with the cursor at this column.
    fn drawn(frames: &mut Frames, text: &str, cursor: Option<u16>) -> bool {
        let render = |frame: &mut Frame<'_>| {
            frame.render_widget(Paragraph::new(text), frame.area());
            if let Some(x) = cursor {
                frame.set_cursor_position(Position { x, y: 0 });
            }
        };
        frames.next(render).unwrap().is_some()
    }

    #[test]
    fn a_frame_that_looks_as_the_one_before_is_not_written() {
        let mut frames = Frames::new(Viewport::Fixed(Rect::new(0, 0, 20, 2))).unwrap();
        for (text, cursor, is_written) in [
            ("live 0.1s", None, true),
            ("live 0.1s", None, false),
            ("live 0.2s", None, true),
            ("live 0.2s", None, false),
            ("live 0.2s", None, false),
            ("live 0.1s", None, true),
            ("live 0.1s", Some(3), true),
            ("live 0.1s", Some(3), false),
            ("live 0.1s", Some(4), true),
            ("live 0.9s", Some(4), true),
            ("live 0.9s", Some(4), false),
            ("live 0.9s", None, true),
            ("live 0.9s", None, false),
        ] {
            assert_eq!(drawn(&mut frames, text, cursor), is_written, "{text} {cursor:?}");
        }
        frames.forget().unwrap();
        assert!(drawn(&mut frames, "live 0.9s", None), "the screen was cleared");
        assert!(!drawn(&mut frames, "live 0.9s", None));
    }
}
