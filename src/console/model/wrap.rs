//! Text cut into lines.

use std::ops::Range;

use crate::console::text::clean;

/// Cuts cleaned `text` into lines of at most `width` columns, as byte ranges; nothing is left out but
/// the line ends.
pub fn wrap(text: &str, width: usize) -> Vec<Range<usize>> {
    cut(text, width, |_, end| (end, end))
}

/// The same at the ends of words, where there are any; the space at which a line is cut is left out.
pub fn wrap_words(text: &str, width: usize) -> Vec<Range<usize>> {
    cut(text, width, |line, end| {
        if line[end..].starts_with(' ') {
            return (end, end + 1);
        }
        match line[..end].rfind(' ') {
            // An indent is no word.
            Some(space) if !line[..space].trim_start().is_empty() => (space, space + 1),
            Some(_) | None => (end, end),
        }
    })
}

/// `at` is given the rest of a line and how much of it fits: it says where that ends, and where the next
/// begins.
fn cut(text: &str, width: usize, at: impl Fn(&str, usize) -> (usize, usize)) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let mut start = 0;
    for line in text.split('\n') {
        let mut from = 0;
        loop {
            let rest = &line[from..];
            let fits = fitting(rest, width);
            if fits == rest.len() {
                ranges.push(start + from..start + line.len());
                break;
            }
            let (end, next) = at(rest, fits);
            ranges.push(start + from..start + from + end);
            from += next;
        }
        start += line.len() + 1;
    }
    ranges
}

/// How many bytes of `line` fit into `width` columns; at least one grapheme.
fn fitting(line: &str, width: usize) -> usize {
    use unicode_segmentation::UnicodeSegmentation as _;
    // Most of a payload is ASCII, where a byte is a column. What follows it may belong to its last letter.
    let ascii = line.bytes().take(width + 1).take_while(u8::is_ascii).count();
    if ascii == line.len().min(width + 1) {
        return line.len().min(width.max(1));
    }
    let mut columns = 0;
    for (at, grapheme) in line.grapheme_indices(true) {
        let wide = clean::width(grapheme);
        if columns + wide > width && at > 0 {
            return at;
        }
        columns += wide;
    }
    line.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrapping_loses_nothing_and_keeps_to_the_width() {
        let text = "abcdefgh\n\nżółw 🐢🐢🐢 x\nlast";
        for width in 1..12 {
            let lines: Vec<&str> = wrap(text, width).into_iter().map(|r| &text[r]).collect();
            assert_eq!(lines.concat(), text.replace('\n', ""));
            assert!(lines.iter().all(|line| clean::width(line) <= width.max(2)), "{lines:?}");
        }
    }

    #[test]
    fn words_stay_whole_where_they_fit() {
        let words = |text, width| {
            wrap_words(text, width).into_iter().map(|r| text[r].to_owned()).collect::<Vec<String>>()
        };
        let text = "the carrier's service refuses whatever has none";
        assert_eq!(words(text, 20), ["the carrier's", "service refuses", "whatever has none"]);
        assert_eq!(words(text, 21), ["the carrier's service", "refuses whatever has", "none"]);
        assert_eq!(words("abcdefgh ij", 4), ["abcd", "efgh", "ij"]);
        assert_eq!(words("      File \"x.py\"", 10), ["      File", "\"x.py\""]);
        assert_eq!(words("        x = 1", 6), ["      ", " x = 1"]);
        assert_eq!(words("a\n\nżółw ż 🐢🐢🐢", 4), ["a", "", "żółw", "ż", "🐢🐢", "🐢"]);
    }
}
