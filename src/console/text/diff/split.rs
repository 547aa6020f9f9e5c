//! Payloads cut into what is compared: lines, or parts of them, and words.

/// Bytes from which a line is too long to be shown whole, twice.
const LONG_LINE_BYTES: usize = 160;
/// Bytes after which a part of a long line is also cut at a space.
const LONG_PART_BYTES: usize = 80;

/// A line with its `\n`, or a part of a long one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece<'a> {
    pub(super) bytes: &'a [u8],
    /// From 1.
    pub(super) line: usize,
}

impl<'a> Piece<'a> {
    /// Without its `\n`.
    pub(super) fn shown(&self) -> &'a [u8] {
        self.bytes.strip_suffix(b"\n").unwrap_or(self.bytes)
    }
}

/// Both texts in order, nothing left out. If either has a long line, both are cut alike: a cut depends only
/// on what stands around it, so an edit doesn't shift those behind it.
pub(super) fn pieces<'a>(old: &'a [u8], new: &'a [u8]) -> (Vec<Piece<'a>>, Vec<Piece<'a>>) {
    let long = |text: &[u8]| text.split(|&b| b == b'\n').any(|l| l.len() > LONG_LINE_BYTES);
    let cut = long(old) || long(new);
    let pieces = |text: &'a [u8]| {
        let mut all = Vec::new();
        for (index, line) in text.split_inclusive(|&byte| byte == b'\n').enumerate() {
            let parts = if cut { parts(line) } else { vec![line] };
            all.extend(parts.into_iter().map(|bytes| Piece { bytes, line: index + 1 }));
        }
        all
    };
    (pieces(old), pieces(new))
}

/// A line cut after `,`, `{` and `[` and before `}` and `]` outside strings; what follows of white space
/// goes along.
fn parts(line: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    let (mut start, mut inside, mut escaped, mut ripe) = (0, false, false, false);
    for (at, &byte) in line.iter().enumerate() {
        let closing = !inside && matches!(byte, b'}' | b']');
        if at > start && !byte.is_ascii_whitespace() && (ripe || closing) {
            parts.push(&line[start..at]);
            start = at;
        }
        ripe = match byte {
            b',' | b'{' | b'[' => !inside,
            b' ' => ripe || at - start >= LONG_PART_BYTES,
            byte if byte.is_ascii_whitespace() => ripe,
            _ => false,
        };
        match byte {
            b'"' if !escaped => inside = !inside,
            _ => {}
        }
        escaped = inside && byte == b'\\' && !escaped;
    }
    parts.push(&line[start..]);
    parts
}

/// Runs of letters, digits, `_` and what isn't ASCII; every other byte by itself.
pub(super) fn words(text: &[u8]) -> Vec<&[u8]> {
    let in_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_' || !byte.is_ascii();
    text.chunk_by(|a, b| in_word(a) && in_word(b)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_is_cut_between_tokens_and_never_inside_a_short_string() {
        let line = br#"{"a": "x,{\"", "b": [1, 2], "c": {}}"#;
        let text: Vec<_> = parts(line).into_iter().map(|p| String::from_utf8_lossy(p)).collect();
        assert_eq!(
            text,
            ["{", r#""a": "x,{\"", "#, r#""b": ["#, "1, ", "2", "], ", r#""c": {"#, "}", "}"]
        );
    }

    #[test]
    fn words_are_whole_and_white_space_stands_alone() {
        let text: Vec<_> =
            words("żó1_a  1.10\r\n".as_bytes()).into_iter().map(String::from_utf8_lossy).collect();
        assert_eq!(text, ["żó1_a", " ", " ", "1", ".", "10", "\r", "\n"]);
    }
}
