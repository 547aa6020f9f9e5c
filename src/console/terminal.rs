//! The terminal: taken whole, and given back whole, whatever happens.

use std::cell::Cell;
use std::io::{self, IsTerminal as _, Write};
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
use ratatui::{Frame, Viewport};

use super::clipboard;
use super::frames::Frames;

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
        self.frames.size()
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
