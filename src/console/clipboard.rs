//! Copying through the terminal: OSC 52, so that it works over SSH.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

/// Text that is copied, in bytes: xterm's own limit for one OSC 52 is about 100 KB of base64, and a
/// terminal may drop what is longer without a word.
pub(super) const MAX_COPY_BYTES: usize = 74_000;

/// The sequence that hands `text` to the terminal's clipboard. It is base64, so that nothing in the text
/// can act on the terminal.
pub(super) fn osc52(text: &str) -> String {
    format!("\x1b]52;c;{}\x07", BASE64.encode(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_bytes_do_not_pass_to_the_terminal() {
        assert_eq!(osc52("a\x1b]0;x\x07"), "\x1b]52;c;YRtdMDt4Bw==\x07");
    }
}
