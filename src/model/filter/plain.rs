//! Tests of one field or one place in the body, for who lists messages and doesn't want to write an expression.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::Subject;
use crate::model::limits::MAX_FILTER_BYTES;

/// A header field that has a value: `type=invoice`, or one of the producer's own (`headers`) by its name alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HeaderTest {
    field: String,
    value: String,
}

/// A place in a JSON body, by a path with one end (RFC 9535's singular query): `$.customer.name`, `lines[0]['a b']`,
/// `lines[-1]`. With `=VALUE` what is there must be that, else it must only be there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PathTest {
    text: String,
    steps: Vec<Step>,
    value: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Name(String),
    Index(i64),
}

/// Why a text is no such test: what, and what to write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PlainTestError(String);

impl HeaderTest {
    /// Whether a message's header has the field with this value.
    pub fn matches(&self, subject: &Subject<'_>) -> bool {
        let header = subject.header();
        let own = || header.get("headers").and_then(|own| own.get(&self.field));
        header.get(&self.field).or_else(own).is_some_and(|found| says(found, &self.value))
    }
}

impl FromStr for HeaderTest {
    type Err = PlainTestError;
    fn from_str(text: &str) -> Result<Self, PlainTestError> {
        bounded(text)?;
        match text.split_once('=') {
            Some((field, value)) if !field.is_empty() => {
                Ok(Self { field: field.to_owned(), value: value.to_owned() })
            }
            Some(_) | None => {
                let text = "a header's field is asked for as FIELD=VALUE, for example type=invoice";
                Err(PlainTestError(text.to_owned()))
            }
        }
    }
}

impl PathTest {
    /// Whether a message's body has the place, with this value. A body that isn't JSON has none.
    pub fn matches(&self, subject: &Subject<'_>) -> bool {
        let Ok(mut found) = subject.body() else { return false };
        for step in &self.steps {
            let next = match (step, found) {
                (Step::Name(name), Json::Object(fields)) => fields.get(name),
                (Step::Index(at), Json::Array(items)) => {
                    index(*at, items.len()).and_then(|at| items.get(at))
                }
                (Step::Name(_) | Step::Index(_), _) => None,
            };
            let Some(next) = next else { return false };
            found = next;
        }
        self.value.as_ref().is_none_or(|value| says(found, value))
    }
}

impl FromStr for PathTest {
    type Err = PlainTestError;
    fn from_str(text: &str) -> Result<Self, PlainTestError> {
        bounded(text)?;
        let mut rest = text.strip_prefix('$').unwrap_or(text);
        let mut steps = Vec::new();
        while !rest.is_empty() && !rest.starts_with('=') {
            let (step, after) = step(rest, text.starts_with('$') || !steps.is_empty())
                .ok_or_else(|| wrong_path(text, text.len() - rest.len()))?;
            steps.push(step);
            rest = after;
        }
        if steps.is_empty() && !text.starts_with('$') {
            return Err(wrong_path(text, 0));
        }
        let value = rest.strip_prefix('=').map(str::to_owned);
        Ok(Self { text: text.to_owned(), steps, value })
    }
}

/// The step that begins here, and what comes after it. Only the first of a path without `$` may lack its dot.
fn step(text: &str, needs_dot: bool) -> Option<(Step, &str)> {
    if let Some(inside) = text.strip_prefix('[') {
        let quote = inside.chars().next().filter(|c| matches!(c, '\'' | '"'));
        let Some(quote) = quote else {
            let (number, after) = inside.split_once(']')?;
            return Some((Step::Index(number.parse().ok()?), after));
        };
        let end = format!("{quote}]");
        let (name, after) = inside[1..].split_once(&end)?;
        return Some((Step::Name(name.to_owned()), after));
    }
    let name = match text.strip_prefix('.') {
        Some(name) => name,
        None if needs_dot => return None,
        None => text,
    };
    let len = name.find(['.', '[', '=']).unwrap_or(name.len());
    // As RFC 9535 has it; `['5']` names anything. Without a `$` it can't be taken for something else, either.
    let first = name[..len].chars().next()?;
    let is_name = first == '_' || first.is_ascii_alphabetic() || (needs_dot && !first.is_ascii());
    is_name.then(|| (Step::Name(name[..len].to_owned()), &name[len..]))
}

fn index(at: i64, len: usize) -> Option<usize> {
    match usize::try_from(at) {
        Ok(at) => Some(at),
        Err(_) => len.checked_sub(usize::try_from(at.unsigned_abs()).ok()?),
    }
}

/// Whether a value is what somebody wrote: a string by its text, a number by its value, anything else by its JSON.
fn says(found: &Json, wanted: &str) -> bool {
    match found {
        Json::String(text) => {
            text == wanted
                || (wanted.starts_with('"')
                    && serde_json::from_str::<String>(wanted).is_ok_and(|wanted| *text == wanted))
        }
        Json::Number(number) => number.to_string() == wanted || same_number(number, wanted),
        Json::Null => wanted == "null",
        Json::Bool(true) => wanted == "true",
        Json::Bool(false) => wanted == "false",
        Json::Array(_) | Json::Object(_) => {
            serde_json::from_str::<Json>(wanted).is_ok_and(|wanted| *found == wanted)
        }
    }
}

/// `1.10` is 1.1; whole numbers of any length are compared by their digits, above.
fn same_number(found: &serde_json::Number, wanted: &str) -> bool {
    let is_whole = |text: &str| !text.contains(['.', 'e', 'E']);
    if is_whole(&found.to_string()) && is_whole(wanted) {
        return false;
    }
    found.as_f64().is_some_and(|found| wanted.parse() == Ok(found))
}

fn bounded(text: &str) -> Result<(), PlainTestError> {
    if text.len() <= MAX_FILTER_BYTES {
        return Ok(());
    }
    Err(PlainTestError(format!(
        "it has {} bytes; at most {MAX_FILTER_BYTES} are allowed",
        text.len()
    )))
}

fn wrong_path(text: &str, at: usize) -> PlainTestError {
    let shown: String = text.chars().take(80).collect();
    PlainTestError(format!(
        "{shown:?} is no path to one place in the body (byte {at}); write $.customer.name or lines[0]['a b'], and \
         =VALUE behind it. For more there is the filter in CEL"
    ))
}

macro_rules! by_text {
    ($($name:ident),+) => { $(
        impl TryFrom<String> for $name {
            type Error = PlainTestError;
            fn try_from(text: String) -> Result<Self, PlainTestError> {
                text.parse()
            }
        }
        impl From<$name> for String {
            fn from(test: $name) -> Self {
                test.to_string()
            }
        }
    )+ };
}

by_text!(HeaderTest, PathTest);

impl fmt::Display for HeaderTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.field, self.value)
    }
}

impl fmt::Display for PathTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::model::{Content, Header};

    fn content(header: &str, body: &str) -> Content {
        let header = Header::from_json(header.as_bytes()).unwrap();
        Content { header, payload: Bytes::from(body.to_owned()) }
    }

    #[test]
    fn a_header_field_is_compared_by_its_text() {
        let content = content(
            r#"{"id":"m","type":"invoice","priority":5,"headers":{"tenant":"fr","a=b":"1"}}"#,
            "{}",
        );
        let subject = Subject::new("q", &content);
        let matches = |text: &str| text.parse::<HeaderTest>().unwrap().matches(&subject);
        assert!(matches("type=invoice") && matches("priority=5") && matches("tenant=fr"));
        assert!(!matches("type=Invoice") && !matches("tenant=") && !matches("nothing=x"));
        assert!("type".parse::<HeaderTest>().is_err() && "=x".parse::<HeaderTest>().is_err());
    }

    #[test]
    fn a_path_leads_to_one_place() {
        let body = r#"{"a":{"b c":[1,{"d":"x"}]},"n":1.10,"id":12345678901234567890123,"t":true,"z":null,"e":[]}"#;
        let content = content(r#"{"id":"m"}"#, body);
        let subject = Subject::new("q", &content);
        let matches = |text: &str| text.parse::<PathTest>().unwrap().matches(&subject);
        for found in [
            "$",
            "$.a",
            "a",
            "a['b c'][0]=1",
            "$['a'][\"b c\"][-1].d=x",
            "a['b c'][1].d=\"x\"",
            "n=1.1",
            "n=1.10",
            "id=12345678901234567890123",
            "t=true",
            "z=null",
            "z",
            "e=[]",
            "a['b c'][1]={\"d\": \"x\"}",
        ] {
            assert!(matches(found), "{found}");
        }
        for missing in [
            "b",
            "a.d",
            "a[0]",
            "e[0]",
            "e[-1]",
            "n=1.2",
            "id=12345678901234567890124",
            "t=1",
            "a='b'",
        ] {
            assert!(!matches(missing), "{missing}");
        }
        for wrong in [
            "",
            "=1",
            "a..b",
            "a[",
            "a[x]",
            "$a",
            "a['b]",
            "a[0]b",
            "$.items[*]",
            "0.5",
            "$.5",
            "é",
        ] {
            let error = wrong.parse::<PathTest>().unwrap_err().to_string();
            assert!(error.contains("write $.customer.name"), "{wrong}: {error}");
        }
    }

    #[test]
    fn a_body_that_is_not_json_has_no_place() {
        let content = content(r#"{"id":"m"}"#, "no JSON");
        assert!(!"$".parse::<PathTest>().unwrap().matches(&Subject::new("q", &content)));
    }
}
