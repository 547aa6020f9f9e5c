//! A JSON text as a tree of places in it.

use std::collections::HashSet;
use std::ops::Range;

use super::super::json::{Token, TokenKind, tokens};

/// Levels that are read: as serde_json, by whose recursion patches are applied. Reading and dropping recurse here, too.
const MAX_DEPTH: usize = 127;

/// A text, and the value in it.
pub(super) struct Tree<'a> {
    pub(super) text: &'a str,
    pub(super) root: Node,
}

/// A value: where it stands, and what is in it.
pub(super) struct Node {
    pub(super) range: Range<usize>,
    pub(super) inside: Inside,
}

pub(super) enum Inside {
    Scalar,
    Array(Vec<Node>),
    Object(Vec<Member>),
}

pub(super) struct Member {
    /// What the key says, its escapes resolved.
    pub(super) name: String,
    pub(super) key: Range<usize>,
    pub(super) value: Node,
}

/// Why there is no tree of it.
pub(super) enum Fault {
    TooDeep { max: usize },
    TwiceKey(String),
}

impl<'a> Tree<'a> {
    /// `text` is JSON.
    pub(super) fn read(text: &'a str) -> Result<Self, Fault> {
        let tokens = tokens(text);
        let mut reader = Reader { text, tokens: tokens.iter() };
        let first = reader.next();
        let root = reader.value(first, 0)?;
        Ok(Self { text, root })
    }

    pub(super) fn of(&self, node: &Node) -> &'a str {
        &self.text[node.range.clone()]
    }
}

struct Reader<'a> {
    text: &'a str,
    tokens: std::slice::Iter<'a, Token>,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> &'a Token {
        self.tokens.next().expect("JSON doesn't end inside a value")
    }

    fn value(&mut self, first: &Token, depth: usize) -> Result<Node, Fault> {
        if first.kind != TokenKind::Open {
            return Ok(Node { range: first.range.clone(), inside: Inside::Scalar });
        }
        if depth == MAX_DEPTH {
            return Err(Fault::TooDeep { max: MAX_DEPTH });
        }
        let is_object = self.text[first.range.clone()].starts_with('{');
        let (inside, end) =
            if is_object { self.members(depth + 1)? } else { self.items(depth + 1)? };
        Ok(Node { range: first.range.start..end, inside })
    }

    fn items(&mut self, depth: usize) -> Result<(Inside, usize), Fault> {
        let mut items = Vec::new();
        loop {
            let token = self.next();
            match token.kind {
                TokenKind::Close => return Ok((Inside::Array(items), token.range.end)),
                TokenKind::Comma => {}
                _ => items.push(self.value(token, depth)?),
            }
        }
    }

    fn members(&mut self, depth: usize) -> Result<(Inside, usize), Fault> {
        let (mut members, mut names) = (Vec::new(), HashSet::new());
        loop {
            let key = self.next();
            match key.kind {
                TokenKind::Close => return Ok((Inside::Object(members), key.range.end)),
                TokenKind::Comma => continue,
                _ => {}
            }
            let raw = &self.text[key.range.clone()];
            // One that no string can hold (half a surrogate pair) is compared as it is written.
            let name = serde_json::from_str(raw).unwrap_or_else(|_| raw.to_owned());
            if !names.insert(name.clone()) {
                return Err(Fault::TwiceKey(name));
            }
            let _colon = self.next();
            let first = self.next();
            let value = self.value(first, depth)?;
            members.push(Member { name, key: key.range.clone(), value });
        }
    }
}
