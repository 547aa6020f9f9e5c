//! What serde says of a value that is wrong, without the names of Rust's types.

use std::fmt::Display;

/// The text of an error of serde, with what is expected in words: `expected u64` says nothing to who wrote a header in
/// Python, or a configuration. `table` is what the format calls values by name: `a table`, `an object`.
pub(crate) fn in_plain_words(error: &impl Display, table: &str) -> String {
    // That is how the toml crate says what serde_json says of a word out of several.
    let text = error.to_string().replace("wanted string or table", "expected string or map");
    // In serde_json's words, of a number that isn't a whole one.
    if let Some(place) = text.strip_prefix("invalid number") {
        return format!("invalid number, expected a whole number of at least 0{place}");
    }
    let Some((found, rest)) = text.split_once("expected ") else { return text };
    let (expected, place) = rest.split_at(rest.find(" at line ").unwrap_or(rest.len()));
    let expected = match expected {
        "u8" | "u16" | "u64" | "usize" => "a whole number of at least 0".to_owned(),
        "u32" => format!("a whole number from 0 to {}", u32::MAX),
        "f32" | "f64" => "a number".to_owned(),
        "a sequence" => "a list".to_owned(),
        // Of a word out of several.
        "string or map" => "a string".to_owned(),
        "a map" => table.to_owned(),
        name if name.starts_with("struct ") => table.to_owned(),
        other => other.to_owned(),
    };
    let found = found
        .replace("type: sequence", "type: a list")
        .replace("type: map", &format!("type: {table}"))
        .replace(" as i128", " (too large)");
    format!("{found}expected {expected}{place}")
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only the errors are of interest")]
    struct Wanted {
        list: Vec<u32>,
        inner: Option<Box<Wanted>>,
    }

    #[test]
    fn no_type_of_ours_is_named_and_the_place_stays() {
        for (json, words) in [
            (r#"{"list":7}"#, "invalid type: integer `7`, expected a list at line 1 column 9"),
            (
                r#"{"list":["x"]}"#,
                "invalid type: string \"x\", expected a whole number from 0 to 4294967295 at line 1 column 12",
            ),
            (
                r#"{"list":[-1]}"#,
                "invalid value: integer `-1`, expected a whole number from 0 to 4294967295 at line 1 column 11",
            ),
            ("[7]", "invalid type: integer `7`, expected a list at line 1 column 2"),
            (r#"{"inner":7}"#, "invalid type: integer `7`, expected an object at line 1 column 10"),
            ("{\"list\": []\n  oops}", "expected `,` or `}` at line 2 column 3"),
        ] {
            let error = serde_json::from_str::<Wanted>(json).unwrap_err();
            assert_eq!(in_plain_words(&error, "an object"), words, "{json}");
        }
        let number = serde_json::from_value::<u64>((-1).into()).unwrap_err();
        let word = serde_json::from_value::<super::super::OnError>(7.into()).unwrap_err();
        let list = serde_json::from_value::<bool>([1].as_slice().into()).unwrap_err();
        for (error, words) in [
            (number, "invalid number, expected a whole number of at least 0"),
            (word, "invalid type: number, expected a string"),
            (list, "invalid type: a list, expected a boolean"),
        ] {
            assert_eq!(in_plain_words(&error, "an object"), words);
        }
    }
}
