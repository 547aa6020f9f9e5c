//! Where in a text a value stands.

use super::{Token, TokenKind, tokens};

/// Where, in bytes, the value of a JSON pointer begins in a text that is JSON. Of a key that is there twice the last one.
/// `None`: there is no such value.
pub fn place_of(text: &str, pointer: &str) -> Option<usize> {
    let tokens = tokens(text);
    let mut at = 0;
    for part in pointer.split('/').skip(1) {
        let part = part.replace("~1", "/").replace("~0", "~");
        at = match text.as_bytes().get(tokens.get(at)?.range.start)? {
            b'{' => field(text, &tokens, at + 1, &part)?,
            b'[' => item(text, &tokens, at + 1, part.parse().ok()?)?,
            _ => return None,
        };
    }
    Some(tokens.get(at)?.range.start)
}

/// The value of a key, from the object's first token on.
fn field(text: &str, tokens: &[Token], mut at: usize, name: &str) -> Option<usize> {
    let mut found = None;
    while let Some(token) = tokens.get(at).filter(|token| token.kind == TokenKind::Key) {
        let key = serde_json::from_str::<String>(&text[token.range.clone()]).ok()?;
        // Behind the colon.
        if key == name {
            found = Some(at + 2);
        }
        at = behind(tokens, at + 2) + 1;
    }
    found
}

/// The item of a number, from the array's first token on.
fn item(_: &str, tokens: &[Token], mut at: usize, number: usize) -> Option<usize> {
    for _ in 0..number {
        at = behind(tokens, at);
        if tokens.get(at)?.kind != TokenKind::Comma {
            return None;
        }
        at += 1;
    }
    (tokens.get(at)?.kind != TokenKind::Close).then_some(at)
}

/// What follows a value.
fn behind(tokens: &[Token], mut at: usize) -> usize {
    let mut depth = 0usize;
    while let Some(token) = tokens.get(at) {
        match token.kind {
            TokenKind::Open => depth += 1,
            TokenKind::Close => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
        if depth == 0 {
            break;
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_by_its_pointer() {
        let text = r#" {"a":[1,{"b/c":[],"d~e":"x"},[]],"ż":{"":2},"a":[7,8]}"#;
        let at = |pointer: &str| place_of(text, pointer).map(|at| &text[at..]);
        assert!(at("").unwrap().starts_with("{\"a\""));
        assert_eq!(at("/a").unwrap(), "[7,8]}", "the last of two");
        assert_eq!(at("/a/1").unwrap(), "8]}");
        assert_eq!(at("/ż/").unwrap(), "2},\"a\":[7,8]}");
        let text = r#"{"a":[1,{"b/c":[],"d~e":"x"},[]]}"#;
        let at = |pointer: &str| place_of(text, pointer).map(|at| &text[at..]);
        assert_eq!(at("/a/1/b~1c").unwrap(), "[],\"d~e\":\"x\"},[]]}");
        assert_eq!(at("/a/1/d~0e").unwrap(), "\"x\"},[]]}");
        assert_eq!(at("/a/2").unwrap(), "[]]}");
        for none in ["/b", "/a/3", "/a/x", "/a/2/0", "/a/1/b~1c/0", "/a/0/0"] {
            assert_eq!(at(none), None, "{none}");
        }
        assert_eq!(place_of("{oops", "/a"), None);
        assert_eq!(place_of("", "/a"), None);
    }
}
