//! The bracket under the cursor and the one that belongs to it.

use super::{CHECKED_WHILE_TYPING_BYTES, Editor};
use crate::console::text::json::{self, Token, TokenKind};

impl Editor {
    /// Row and byte in the row, from 0, of the bracket at the cursor and of its partner. None beside a bracket, for one without a
    /// partner, and in texts that are too long to be cut into tokens with each key.
    pub(super) fn brackets(&self) -> Option<[(usize, usize); 2]> {
        if self.text.len() > CHECKED_WHILE_TYPING_BYTES {
            return None;
        }
        let at = self.offset();
        if !matches!(self.text.as_bytes().get(at)?, b'{' | b'}' | b'[' | b']') {
            return None;
        }
        let tokens = json::tokens(&self.text);
        let index = tokens.iter().position(|token| token.range.start == at)?;
        let partner = match tokens[index].kind {
            TokenKind::Open => partner(tokens[index..].iter(), TokenKind::Open)?,
            TokenKind::Close => partner(tokens[..=index].iter().rev(), TokenKind::Close)?,
            _ => return None,
        };
        Some([at, partner].map(|offset| self.place(offset)))
    }

    fn place(&self, offset: usize) -> (usize, usize) {
        let before = &self.text[..offset];
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (before.matches('\n').count(), offset - start)
    }
}

/// Where the bracket is with which the first of `tokens`, of this kind, is closed.
fn partner<'a>(mut tokens: impl Iterator<Item = &'a Token>, kind: TokenKind) -> Option<usize> {
    let mut depth = 0_usize;
    tokens.find_map(|token| {
        match token.kind {
            found if found == kind => depth += 1,
            TokenKind::Open | TokenKind::Close => depth -= 1,
            _ => return None,
        }
        (depth == 0).then_some(token.range.start)
    })
}
