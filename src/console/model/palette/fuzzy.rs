//! Fuzzy search: letters in their order, best where words begin and where they stand together. The same idea as in fzf,
//! in one pass forward and one back; a crate for it would bring a licence (nucleo: MPL-2.0) or a thread pool along
//! for a list of some thousand lines.

/// A letter that was found.
const LETTER: u32 = 16;
/// It begins a word.
const BEGINS: u32 = 10;
/// It stands right behind the one before.
const TOGETHER: u32 = 12;
/// The text has the word as it is typed.
const WHOLE: u32 = 40;

/// How well a text in small letters has these words, each of them somewhere; `None`: one is not in it.
pub(super) fn score(text: &str, words: &[String]) -> Option<u32> {
    let mut sum = 0;
    for word in words {
        sum += of_word(text, word)?;
    }
    // Of texts that have it as well the shorter one is meant.
    let short = 64_u32.saturating_sub(u32::try_from(text.len()).unwrap_or(u32::MAX)) / 8;
    Some(sum + if words.is_empty() { 0 } else { short })
}

fn of_word(text: &str, word: &str) -> Option<u32> {
    // One letter is found faster by itself, and is what is typed first, over all there is.
    let mut chars = word.chars();
    let whole = match (chars.next(), chars.next()) {
        (Some(only), None) => text.find(only),
        (_, _) => text.find(word),
    };
    if let Some(at) = whole {
        // The same for all texts, so that it need not be exact.
        let letters = u32::try_from(word.len()).unwrap_or(u32::MAX / 64);
        let begins = if begins_word(text, at) { BEGINS } else { 0 };
        return Some(letters * (LETTER + TOGETHER) + WHOLE + begins);
    }
    let end = first_end(text, word)?;
    // Back from there, so that the letters stand as close together as they can.
    let mut wanted = word.chars().rev().peekable();
    let mut score = 0;
    let mut after: Option<usize> = None;
    for (at, c) in text[..end].char_indices().rev() {
        if wanted.peek() != Some(&c) {
            continue;
        }
        wanted.next();
        score += LETTER;
        if begins_word(text, at) {
            score += BEGINS;
        }
        if after == Some(at + c.len_utf8()) {
            score += TOGETHER;
        }
        after = Some(at);
        if wanted.peek().is_none() {
            break;
        }
    }
    // Letters far apart say little.
    let spread = u32::try_from(end - after.unwrap_or(0)).unwrap_or(u32::MAX);
    Some(score.saturating_sub(spread.saturating_sub(u32::try_from(word.len()).unwrap_or(0))).max(1))
}

/// Where the first occurrence of the letters in their order ends.
fn first_end(text: &str, word: &str) -> Option<usize> {
    let mut letters = text.char_indices();
    let mut end = 0;
    for wanted in word.chars() {
        let (at, c) = letters.find(|(_, c)| *c == wanted)?;
        end = at + c.len_utf8();
    }
    Some(end)
}

fn begins_word(text: &str, at: usize) -> bool {
    match text.as_bytes()[..at].last() {
        None => true,
        Some(before) if before.is_ascii() => !before.is_ascii_alphanumeric(),
        Some(_) => text[..at].chars().next_back().is_none_or(|before| !before.is_alphanumeric()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn best<'a>(texts: &[&'a str], typed: &str) -> Option<&'a str> {
        let words: Vec<String> = typed.split_whitespace().map(str::to_owned).collect();
        let scored = texts.iter().filter_map(|text| Some((score(text, &words)?, *text)));
        scored.max_by_key(|(score, _)| *score).map(|(_, text)| text)
    }

    #[test]
    fn what_is_meant_comes_first() {
        let texts = ["queue orders", "order keys", "retry", "dead-letter", "queue dead-letters.eu"];
        assert_eq!(best(&texts, "retry"), Some("retry"));
        assert_eq!(best(&texts, "dl"), Some("dead-letter"), "letters that begin words");
        assert_eq!(best(&texts, "qo"), Some("queue orders"));
        assert_eq!(best(&texts, "ordkey"), Some("order keys"));
        assert_eq!(best(&texts, "eu dead"), Some("queue dead-letters.eu"), "words in any order");
        assert_eq!(best(&texts, "xyz"), None);
    }

    #[test]
    fn any_text_can_be_searched_for_any_letters() {
        for (text, typed) in [("żółw 🐢", "ó🐢"), ("", "a"), ("aaaa", "aa a"), ("é", "e")]
        {
            let words: Vec<String> = typed.split_whitespace().map(str::to_owned).collect();
            score(text, &words);
        }
        assert!(score("żółw 🐢", &["ó🐢".to_owned()]).is_some());
    }
}
