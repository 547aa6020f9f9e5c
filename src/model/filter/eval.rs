//! Evaluation, every step of which is paid for.

use std::cmp::Ordering;
use std::rc::Rc;

use serde_json::Value as Json;

use super::compile::{Arithmetic, Comparison, Fold, Function, Node};
use super::subject::Subject;
use super::value::Value;
use crate::model::limits::MAX_FILTER_COST;

/// Bytes of text that are looked at or copied for one unit.
const BYTES_A_UNIT: usize = 64;

/// What several evaluations may cost together, in units: about a step each.
#[derive(Debug)]
pub struct Budget {
    left: u64,
}

impl Budget {
    /// So many units.
    pub fn new(units: u64) -> Self {
        Self { left: units }
    }

    /// Whether an evaluation may still take what one may take at most.
    pub fn has_room(&self) -> bool {
        self.left >= MAX_FILTER_COST
    }
}

type Outcome<'a> = Result<Value<'a>, String>;

/// Evaluates within `limit` and what is left of `budget`.
pub(super) fn evaluate<'a>(
    node: &'a Node,
    subject: &'a Subject<'_>,
    budget: &mut Budget,
    limit: u64,
) -> Outcome<'a> {
    let left = budget.left.min(limit);
    let mut evaluation = Evaluation { subject, left, exhausted: false, locals: Vec::new() };
    let outcome = evaluation.value(node);
    budget.left = budget.left.saturating_sub(left.saturating_sub(evaluation.left));
    if evaluation.exhausted {
        return Err(if left < limit {
            "the filters of this event cost more than they may together".to_owned()
        } else {
            format!("it costs more than the {limit} steps that it may take; let it look at less")
        });
    }
    outcome
}

struct Evaluation<'a, 's> {
    subject: &'a Subject<'s>,
    left: u64,
    /// The units are used up: whatever comes out, the evaluation has failed.
    exhausted: bool,
    /// The macros' variables, outermost first.
    locals: Vec<Outcome<'a>>,
}

impl<'a> Evaluation<'a, '_> {
    fn pay(&mut self, units: usize) -> Result<(), String> {
        match self.left.checked_sub(units as u64) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => {
                self.left = 0;
                self.exhausted = true;
                Err("too costly".to_owned())
            }
        }
    }

    fn pay_text(&mut self, bytes: usize) -> Result<(), String> {
        self.pay(bytes / BYTES_A_UNIT)
    }

    fn value(&mut self, node: &'a Node) -> Outcome<'a> {
        self.pay(1)?;
        match node {
            Node::Null => Ok(Value::Null),
            Node::Bool(value) => Ok(Value::Bool(*value)),
            Node::Int(value) => Ok(Value::Int(*value)),
            Node::Double(value) => Ok(Value::Double(*value)),
            Node::Text(text) => Ok(Value::Text(text)),
            Node::List(nodes) => {
                let values = nodes.iter().map(|node| self.value(node));
                values.collect::<Result<Vec<_>, _>>().map(|list| Value::List(Rc::new(list)))
            }
            Node::Header => Ok(Value::of(self.subject.header())),
            Node::Body => self.subject.body().map(Value::of),
            Node::Topic => Ok(Value::Text(self.subject.topic())),
            Node::Parts => self.subject.parts().map(Value::of),
            Node::Local(at) => self.locals.get(*at).cloned().unwrap_or(Ok(Value::Null)),
            Node::Field(of, name) => {
                let of = self.value(of)?;
                self.field(&of, name)?.ok_or_else(|| format!("there is no field `{name}`"))
            }
            Node::Has(of, name) => {
                let of = self.value(of)?;
                Ok(Value::Bool(self.field(&of, name)?.is_some()))
            }
            Node::Index(pair) => self.index(pair),
            Node::And(pair) => self.absorbing(pair, false),
            Node::Or(pair) => self.absorbing(pair, true),
            Node::Not(of) => Ok(Value::Bool(!self.boolean(of)?)),
            Node::Negate(of) => match self.value(of)? {
                Value::Int(n) => whole(n.checked_neg()),
                Value::Double(n) => Ok(Value::Double(-n)),
                other => Err(format!("`-` needs a number, not {}", other.kind())),
            },
            Node::If(three) => {
                let [condition, then, otherwise] = &**three;
                if self.boolean(condition)? { self.value(then) } else { self.value(otherwise) }
            }
            Node::Compare(comparison, pair) => self.compare(*comparison, pair),
            Node::Arithmetic(arithmetic, pair) => self.compute(*arithmetic, pair),
            Node::In(pair) => self.is_in(pair),
            Node::NotFalse(of) => {
                Ok(Value::Bool(!matches!(self.value(of), Ok(Value::Bool(false)))))
            }
            Node::Call(function, arguments) => self.call(*function, arguments),
            Node::Fold(fold) => self.fold(fold),
        }
    }

    fn boolean(&mut self, node: &'a Node) -> Result<bool, String> {
        match self.value(node)? {
            Value::Bool(value) => Ok(value),
            other => Err(format!("a condition is {}; true or false is needed", other.kind())),
        }
    }

    /// `&&` and `||`: the side that decides, `decisive`, does so even if the other one is an error.
    fn absorbing(&mut self, pair: &'a [Node; 2], decisive: bool) -> Outcome<'a> {
        let [left, right] = pair;
        let first = self.boolean(left);
        if first == Ok(decisive) || self.exhausted {
            return first.map(Value::Bool);
        }
        let second = self.boolean(right)?;
        if second == decisive { Ok(Value::Bool(second)) } else { first.map(Value::Bool) }
    }

    fn field(&mut self, of: &Value<'a>, name: &str) -> Result<Option<Value<'a>>, String> {
        match of {
            Value::Json(Json::Object(fields)) => Ok(fields.get(name).map(Value::of)),
            other => Err(format!("`.{name}` needs an object, not {}", other.kind())),
        }
    }

    fn index(&mut self, [of, at]: &'a [Node; 2]) -> Outcome<'a> {
        let (of, at) = (self.value(of)?, self.value(at)?);
        match (&of, &at) {
            (Value::Json(Json::Object(_)), Value::Text(name)) => {
                self.field(&of, name)?.ok_or_else(|| format!("there is no field `{name}`"))
            }
            (Value::List(_) | Value::Json(Json::Array(_)), Value::Int(n)) => {
                let found = usize::try_from(*n).ok().and_then(|n| of.element(n));
                found.ok_or_else(|| format!("there is no element {n}"))
            }
            (of, at) => Err(format!("{} can't be indexed with {}", of.kind(), at.kind())),
        }
    }

    fn compare(&mut self, comparison: Comparison, [left, right]: &'a [Node; 2]) -> Outcome<'a> {
        let (left, right) = (self.value(left)?, self.value(right)?);
        let is: fn(Ordering) -> bool = match comparison {
            Comparison::Equal => return self.equal(&left, &right).map(Value::Bool),
            Comparison::NotEqual => {
                return self.equal(&left, &right).map(|same| Value::Bool(!same));
            }
            Comparison::Less => Ordering::is_lt,
            Comparison::LessOrEqual => Ordering::is_le,
            Comparison::Greater => Ordering::is_gt,
            Comparison::GreaterOrEqual => Ordering::is_ge,
        };
        self.pay_text(text_bytes(&left).min(text_bytes(&right)))?;
        match left.order(&right) {
            Some(order) => Ok(Value::Bool(is(order))),
            None if left.is_number() && right.is_number() => Ok(Value::Bool(false)),
            None => Err(format!("{} can't be compared with {}", left.kind(), right.kind())),
        }
    }

    /// Values of different kinds are not equal; that is no error.
    fn equal(&mut self, left: &Value<'a>, right: &Value<'a>) -> Result<bool, String> {
        self.pay(1)?;
        if let (Some(left_len), Some(right_len)) = (left.len(), right.len()) {
            let mut same = left_len == right_len;
            let mut at = 0;
            while same && at < left_len {
                same = match (left.element(at), right.element(at)) {
                    (Some(a), Some(b)) => self.equal(&a, &b)?,
                    _ => false,
                };
                at += 1;
            }
            return Ok(same);
        }
        match (left, right) {
            (Value::Null, Value::Null) => Ok(true),
            (Value::Json(Json::Object(a)), Value::Json(Json::Object(b))) => {
                if a.len() != b.len() {
                    return Ok(false);
                }
                for (name, value) in a {
                    let Some(other) = b.get(name) else { return Ok(false) };
                    if !self.equal(&Value::of(value), &Value::of(other))? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            _ => {
                self.pay_text(text_bytes(left).min(text_bytes(right)))?;
                Ok(left.order(right) == Some(Ordering::Equal))
            }
        }
    }

    fn is_in(&mut self, [element, of]: &'a [Node; 2]) -> Outcome<'a> {
        let (element, of) = (self.value(element)?, self.value(of)?);
        if let Some(len) = of.len() {
            for at in 0..len {
                if let Some(other) = of.element(at)
                    && self.equal(&element, &other)?
                {
                    return Ok(Value::Bool(true));
                }
            }
            return Ok(Value::Bool(false));
        }
        match (&of, element.text()) {
            (Value::Json(Json::Object(fields)), Some(name)) => {
                Ok(Value::Bool(fields.contains_key(name)))
            }
            _ => Err(format!("`in` can't look for {} in {}", element.kind(), of.kind())),
        }
    }

    fn compute(&mut self, arithmetic: Arithmetic, [left, right]: &'a [Node; 2]) -> Outcome<'a> {
        let (left, right) = (self.value(left)?, self.value(right)?);
        match (&left, &right) {
            (Value::Int(a), Value::Int(b)) => {
                if *b == 0 && matches!(arithmetic, Arithmetic::Divide | Arithmetic::Remainder) {
                    return Err("a division by zero".to_owned());
                }
                whole(match arithmetic {
                    Arithmetic::Add => a.checked_add(*b),
                    Arithmetic::Subtract => a.checked_sub(*b),
                    Arithmetic::Multiply => a.checked_mul(*b),
                    Arithmetic::Divide => a.checked_div(*b),
                    Arithmetic::Remainder => a.checked_rem(*b),
                })
            }
            (Value::Int(_) | Value::Double(_), Value::Int(_) | Value::Double(_))
                if arithmetic != Arithmetic::Remainder =>
            {
                let (a, b) = (number(&left), number(&right));
                Ok(Value::Double(match arithmetic {
                    Arithmetic::Add => a + b,
                    Arithmetic::Subtract => a - b,
                    Arithmetic::Multiply => a * b,
                    Arithmetic::Divide => a / b,
                    Arithmetic::Remainder => f64::NAN,
                }))
            }
            _ if arithmetic == Arithmetic::Add => self.join(&left, &right),
            _ => Err(format!("no arithmetic with {} and {}", left.kind(), right.kind())),
        }
    }

    /// `+` of texts and lists.
    fn join(&mut self, left: &Value<'a>, right: &Value<'a>) -> Outcome<'a> {
        if let (Some(a), Some(b)) = (left.text(), right.text()) {
            self.pay_text(a.len() + b.len())?;
            return Ok(Value::Made([a, b].concat().into()));
        }
        let (Some(a), Some(b)) = (left.len(), right.len()) else {
            return Err(format!("`+` can't join {} and {}", left.kind(), right.kind()));
        };
        self.pay(a + b)?;
        let elements = (0..a).filter_map(|at| left.element(at));
        let elements = elements.chain((0..b).filter_map(|at| right.element(at)));
        Ok(Value::List(Rc::new(elements.collect())))
    }

    fn call(&mut self, function: Function, arguments: &'a [Node]) -> Outcome<'a> {
        let values = arguments.iter().map(|node| self.value(node));
        let values = values.collect::<Result<Vec<_>, _>>()?;
        self.pay_text(values.iter().map(text_bytes).sum())?;
        let refused = |what: &str| {
            let kinds: Vec<_> = values.iter().map(Value::kind).collect();
            Err(format!("{what} can't take {}", kinds.join(" and ")))
        };
        match (function, values.as_slice()) {
            (Function::Size, [value]) => match (value, value.text(), value.len()) {
                (_, Some(text), _) => Ok(Value::Int(text.chars().count() as i128)),
                (_, _, Some(len)) => Ok(Value::Int(len as i128)),
                (Value::Json(Json::Object(fields)), ..) => Ok(Value::Int(fields.len() as i128)),
                _ => refused("size"),
            },
            (Function::Int, [value]) => match (value, value.text()) {
                (Value::Int(n), _) => Ok(Value::Int(*n)),
                (Value::Double(n), _) if n.is_finite() => whole(Some(n.trunc() as i128)),
                (_, Some(text)) => whole(text.parse().ok()),
                _ => refused("int"),
            },
            (Function::Double, [value]) => match (value, value.text()) {
                (Value::Int(_) | Value::Double(_), _) => Ok(Value::Double(number(value))),
                (_, Some(text)) => text
                    .parse()
                    .map(Value::Double)
                    .map_err(|_| "double() needs the text of a number".to_owned()),
                _ => refused("double"),
            },
            (Function::Text, [value]) => match value {
                Value::Text(_) | Value::Made(_) => Ok(value.clone()),
                Value::Bool(value) => Ok(Value::Made(value.to_string().into())),
                Value::Int(n) => Ok(Value::Made(n.to_string().into())),
                Value::Double(n) => Ok(Value::Made(n.to_string().into())),
                Value::Null | Value::List(_) | Value::Json(_) => refused("string"),
            },
            (Function::LowerAscii, [value]) => match value.text() {
                Some(text) => Ok(Value::Made(text.to_ascii_lowercase().into())),
                None => refused("lowerAscii"),
            },
            (_, [text, part]) => match (text.text(), part.text(), function) {
                (Some(a), Some(b), Function::Contains) => Ok(Value::Bool(a.contains(b))),
                (Some(a), Some(b), Function::StartsWith) => Ok(Value::Bool(a.starts_with(b))),
                (Some(a), Some(b), Function::EndsWith) => Ok(Value::Bool(a.ends_with(b))),
                _ => refused("a function of two strings"),
            },
            _ => refused("a function"),
        }
    }

    /// An accumulator may be an error that a later element overrides: `&&` and `||` absorb it.
    fn fold(&mut self, fold: &'a Fold) -> Outcome<'a> {
        let range = self.value(&fold.range)?;
        let init = self.value(&fold.init);
        let mut names = match &range {
            Value::Json(Json::Object(fields)) => Some(fields.keys()),
            _ => None,
        };
        let len = names.as_ref().map(ExactSizeIterator::len).or(range.len());
        let Some(len) = len else {
            return Err(format!("a macro goes over a list or an object, not {}", range.kind()));
        };
        let base = self.locals.len();
        self.locals.push(init);
        for at in 0..len {
            if !matches!(self.value(&fold.condition), Ok(Value::Bool(true))) {
                break;
            }
            let name = names.as_mut().and_then(Iterator::next);
            let element = name.map(|name| Value::Text(name)).or_else(|| range.element(at));
            self.locals.push(Ok(element.unwrap_or(Value::Null)));
            let step = self.value(&fold.step);
            self.locals.truncate(base);
            if self.exhausted {
                return step;
            }
            self.locals.push(step);
        }
        let result = self.value(&fold.result);
        self.locals.truncate(base);
        result
    }
}

fn text_bytes(value: &Value<'_>) -> usize {
    value.text().map_or(0, str::len)
}

fn number(value: &Value<'_>) -> f64 {
    match value {
        Value::Int(n) => *n as f64,
        Value::Double(n) => *n,
        _ => f64::NAN,
    }
}

fn whole<'a>(n: Option<i128>) -> Outcome<'a> {
    n.filter(|n| (i128::from(i64::MIN)..=i128::from(u64::MAX)).contains(n))
        .map(Value::Int)
        .ok_or_else(|| "a number beyond 64 bits".to_owned())
}
