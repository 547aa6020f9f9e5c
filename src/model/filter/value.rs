//! Values of an evaluation. What the message has is borrowed from it.

use std::cmp::Ordering;
use std::rc::Rc;

use serde_json::Value as Json;

/// A value. `Json` is an array or an object; other JSON values become their own variants at once.
#[derive(Debug, Clone)]
pub(super) enum Value<'a> {
    Null,
    Bool(bool),
    /// Within 64 bits, with or without sign.
    Int(i128),
    Double(f64),
    Text(&'a str),
    /// A text that the evaluation made.
    Made(Rc<str>),
    List(Rc<Vec<Value<'a>>>),
    Json(&'a Json),
}

impl<'a> Value<'a> {
    pub(super) fn of(json: &'a Json) -> Self {
        match json {
            Json::Null => Self::Null,
            Json::Bool(value) => Self::Bool(*value),
            Json::String(text) => Self::Text(text),
            Json::Number(number) => match (number.as_i64(), number.as_u64()) {
                (Some(n), _) => Self::Int(n.into()),
                (None, Some(n)) => Self::Int(n.into()),
                (None, None) => Self::Double(number.as_f64().unwrap_or(f64::NAN)),
            },
            Json::Array(_) | Json::Object(_) => Self::Json(json),
        }
    }

    /// Its kind in words.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Int(_) | Self::Double(_) => "a number",
            Self::Text(_) | Self::Made(_) => "a string",
            Self::List(_) | Self::Json(Json::Array(_)) => "a list",
            Self::Json(_) => "an object",
        }
    }

    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Made(text) => Some(text),
            Self::Null
            | Self::Bool(_)
            | Self::Int(_)
            | Self::Double(_)
            | Self::List(_)
            | Self::Json(_) => None,
        }
    }

    /// How many elements a list has.
    pub(super) fn len(&self) -> Option<usize> {
        match self {
            Self::List(list) => Some(list.len()),
            Self::Json(Json::Array(list)) => Some(list.len()),
            Self::Null
            | Self::Bool(_)
            | Self::Int(_)
            | Self::Double(_)
            | Self::Text(_)
            | Self::Made(_)
            | Self::Json(_) => None,
        }
    }

    /// A list's element.
    pub(super) fn element(&self, at: usize) -> Option<Value<'a>> {
        match self {
            Self::List(list) => list.get(at).cloned(),
            Self::Json(Json::Array(list)) => list.get(at).map(Value::of),
            Self::Null
            | Self::Bool(_)
            | Self::Int(_)
            | Self::Double(_)
            | Self::Text(_)
            | Self::Made(_)
            | Self::Json(_) => None,
        }
    }

    /// By number or by text; `None` if the two can't be compared.
    pub(super) fn order(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => Some(a.cmp(b)),
            (Self::Int(a), Self::Double(b)) => order_mixed(*a, *b),
            (Self::Double(a), Self::Int(b)) => order_mixed(*b, *a).map(Ordering::reverse),
            (Self::Double(a), Self::Double(b)) => a.partial_cmp(b),
            (Self::Bool(a), Self::Bool(b)) => Some(a.cmp(b)),
            _ => Some(self.text()?.cmp(other.text()?)),
        }
    }

    /// Whether both are numbers: only then can two values of the same kind be without order (NaN).
    pub(super) fn is_number(&self) -> bool {
        matches!(self, Self::Int(_) | Self::Double(_))
    }
}

/// A whole number against another one, without losing digits.
fn order_mixed(whole: i128, other: f64) -> Option<Ordering> {
    if other.is_nan() {
        return None;
    }
    // A cast is exact within these bounds but for the fraction, and beyond them stops at the end.
    let floor = other.floor() as i128;
    Some(whole.cmp(&floor).then(if other > other.floor() {
        Ordering::Less
    } else {
        Ordering::Equal
    }))
}
