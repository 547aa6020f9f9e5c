//! A pseudo-terminal: the real binary's screen, and keys for it.

use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};

use nix::sys::signal::Signal;
use portable_pty::{
    Child, CommandBuilder, ExitStatus, MasterPty, PtySize, SlavePty, native_pty_system,
};
use vt100::{Parser, Screen};

use super::{MUBROKER, PATIENCE, now, signal};

/// A program in a pseudo-terminal of its own; killed with this value.
pub(crate) struct Terminal {
    master: Box<dyn MasterPty + Send>,
    /// Held open so that the terminal's settings outlive the program.
    _slave: Box<dyn SlavePty + Send>,
    keys: Box<dyn Write + Send>,
    child: Box<dyn Child + Send + Sync>,
    state: Arc<(Mutex<State>, Condvar)>,
}

struct State {
    parser: Parser,
    bytes: u64,
    /// Synchronized updates that have begun.
    frames: u64,
    /// The last bytes, in which one may begin.
    tail: Vec<u8>,
}

/// What a synchronized update begins with.
const BEGIN: &[u8] = b"\x1b[?2026h";

impl Terminal {
    /// Runs `mubroker` with these arguments and environment on a screen of this size.
    pub(crate) fn start(
        (columns, rows): (u16, u16),
        folder: &Path,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Self {
        let size = PtySize { rows, cols: columns, pixel_width: 0, pixel_height: 0 };
        let pair = native_pty_system().openpty(size).expect("a pseudo-terminal");
        let mut command = CommandBuilder::new(MUBROKER);
        command.args(arguments);
        command.cwd(folder);
        command.env("TERM", "xterm-256color");
        command.env("COLORTERM", "truecolor");
        // A panic's message must fit the screen.
        command.env("RUST_BACKTRACE", "0");
        for name in ["XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"] {
            command.env(name, folder);
        }
        for (name, value) in environment {
            command.env(name, value);
        }
        let child = pair.slave.spawn_command(command).expect("mubroker starts");
        let cells = |n| NonZeroU16::new(n).expect("a screen has cells");
        let parser = Parser::new(cells(rows), cells(columns), 0);
        let state = Arc::new((
            Mutex::new(State { parser, bytes: 0, frames: 0, tail: Vec::new() }),
            Condvar::new(),
        ));
        let reader = pair.master.try_clone_reader().expect("the terminal can be read");
        let shared = Arc::clone(&state);
        std::thread::spawn(move || watch(reader, &shared));
        let keys = pair.master.take_writer().expect("the terminal can be written");
        Self { master: pair.master, _slave: pair.slave, keys, child, state }
    }

    /// Types.
    pub(crate) fn keys(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).expect("the terminal takes keys");
        self.keys.flush().expect("the terminal takes keys");
    }

    /// Waits until the screen fulfils `test`.
    pub(crate) fn wait_for(&self, what: &str, test: impl Fn(&Screen) -> bool) {
        let (lock, changed) = &*self.state;
        let state = lock.lock().expect("no reader panicked");
        let (state, wait) = changed
            .wait_timeout_while(state, PATIENCE, |state| !test(state.parser.screen()))
            .expect("no reader panicked");
        assert!(
            !wait.timed_out(),
            "waited for {what}; shown is:\n{}",
            state.parser.screen().contents()
        );
    }

    /// Waits until the screen shows `text`.
    pub(crate) fn wait_for_text(&self, text: &str) {
        self.wait_for(&format!("{text:?}"), |screen| screen.contents().contains(text));
    }

    /// Gives the screen to `read`.
    pub(crate) fn screen<T>(&self, read: impl FnOnce(&Screen) -> T) -> T {
        read(self.state.0.lock().expect("no reader panicked").parser.screen())
    }

    /// How much was drawn so far, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.state.0.lock().expect("no reader panicked").bytes
    }

    /// How many frames were drawn so far.
    pub(crate) fn frames(&self) -> u64 {
        self.state.0.lock().expect("no reader panicked").frames
    }

    /// What `stty -a` would show.
    pub(crate) fn settings(&self) -> String {
        format!("{:?}", self.master.get_termios().expect("a terminal has settings"))
    }

    /// The program's process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.process_id().expect("the program was started")
    }

    /// Sends the program a signal.
    pub(crate) fn signal(&self, what: Signal) {
        signal(self.pid(), what);
    }

    /// Waits for the program's end.
    pub(crate) fn end(&mut self) -> ExitStatus {
        let began = now();
        loop {
            if let Some(status) = self.child.try_wait().expect("the program can be asked") {
                return status;
            }
            assert!(
                began.elapsed() < PATIENCE,
                "the program does not end; shown is:\n{}",
                self.screen(Screen::contents)
            );
            std::thread::park_timeout(super::LOOK_EVERY);
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Feeds the screen until the terminal is gone.
fn watch(mut reader: Box<dyn Read + Send>, shared: &(Mutex<State>, Condvar)) {
    let mut chunk = [0; 4096];
    while let Ok(count @ 1..) = reader.read(&mut chunk) {
        // A test that failed while it looked at the screen has nothing more to see.
        let Ok(mut state) = shared.0.lock() else { return };
        state.parser.process(&chunk[..count]);
        state.bytes += count as u64;
        state.tail.extend_from_slice(&chunk[..count]);
        let begun = state.tail.windows(BEGIN.len()).filter(|bytes| *bytes == BEGIN).count();
        state.frames += begun as u64;
        // One that ends here is counted; one that may go on is kept.
        let kept = state.tail.len().saturating_sub(BEGIN.len() - 1);
        state.tail.drain(..kept);
        drop(state);
        shared.1.notify_all();
    }
}
