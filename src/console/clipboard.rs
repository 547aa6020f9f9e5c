//! Copying through the terminal: OSC 52, so that it works over SSH.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

/// Text that is copied, in bytes: xterm's own limit for one OSC 52 is about 100 KB of base64, and a
/// terminal may drop what is longer without a word.
pub(super) const MAX_COPY_BYTES: usize = 74_000;

/// What stands between the console and the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Inside {
    /// Nothing.
    Terminal,
    /// tmux, which takes OSC 52 itself (`set-clipboard on`), or passes on what is wrapped (`allow-passthrough on`).
    Tmux,
    /// GNU screen, which passes on what is wrapped, in pieces.
    Screen,
}

impl Inside {
    /// By the variables that tmux and screen set.
    pub(super) fn of_process() -> Self {
        let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        match (is_set("TMUX"), is_set("STY")) {
            (true, _) => Self::Tmux,
            (false, true) => Self::Screen,
            (false, false) => Self::Terminal,
        }
    }
}

/// Bytes of a sequence that GNU screen passes on at once: its limit is 768 with the wrapping.
const SCREEN_BYTES: usize = 700;

/// What hands `text` to the clipboard of the terminal, through what stands between.
pub(super) fn sequence(text: &str, inside: Inside) -> String {
    let plain = osc52(text);
    match inside {
        Inside::Terminal => plain,
        Inside::Tmux => {
            let wrapped = plain.replace('\x1b', "\x1b\x1b");
            // Both ways: which one tmux takes is a setting of its own, and twice the same is no harm.
            format!("{plain}\x1bPtmux;{wrapped}\x1b\\")
        }
        Inside::Screen => plain
            .as_bytes()
            .chunks(SCREEN_BYTES)
            // It is ASCII: no piece ends inside a character.
            .map(|piece| format!("\x1bP{}\x1b\\", String::from_utf8_lossy(piece)))
            .collect(),
    }
}

/// The sequence that hands `text` to the terminal's clipboard. It is base64, so that nothing in the text
/// can act on the terminal.
pub(super) fn osc52(text: &str) -> String {
    format!("\x1b]52;c;{}\x07", BASE64.encode(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_through_tmux_and_screen() {
        let plain = osc52("hello");
        assert_eq!(sequence("hello", Inside::Terminal), plain);
        let tmux = sequence("hello", Inside::Tmux);
        assert_eq!(tmux, format!("{plain}\x1bPtmux;\x1b{plain}\x1b\\"));
        let long = "x".repeat(MAX_COPY_BYTES);
        let screen = sequence(&long, Inside::Screen);
        let pieces: Vec<&str> = screen.split_inclusive("\x1b\\").collect();
        assert!(pieces.iter().all(|piece| piece.len() < 768 && piece.starts_with("\x1bP")));
        let joined: String = pieces.iter().map(|piece| &piece[2..piece.len() - 2]).collect();
        assert_eq!(joined, osc52(&long));
    }

    #[test]
    fn control_bytes_do_not_pass_to_the_terminal() {
        assert_eq!(osc52("a\x1b]0;x\x07"), "\x1b]52;c;YRtdMDt4Bw==\x07");
    }
}
