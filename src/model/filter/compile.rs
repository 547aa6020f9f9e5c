//! From CEL's text to a checked tree: names resolved, everything unknown refused.

use cel::common::ast::{CallExpr, ComprehensionExpr, Expr, IdedExpr, LiteralValue, operators};
use cel::parser::PrattParser;

use super::FilterError;
use crate::model::limits::MAX_FILTER_BYTES;

/// Levels of a filter's tree, and of brackets in its text: parsing, evaluating and dropping it recurse.
const MAX_DEPTH: usize = 48;
/// The parser recurses for each `? :` without counting it.
const MAX_CONDITIONS: usize = 32;

/// A step of an evaluation.
#[derive(Debug)]
pub(super) enum Node {
    Null,
    Bool(bool),
    Int(i128),
    Double(f64),
    Text(Box<str>),
    List(Vec<Node>),
    Header,
    Body,
    Topic,
    Parts,
    /// A variable of a macro: how many are below it.
    Local(usize),
    Field(Box<Node>, Box<str>),
    Has(Box<Node>, Box<str>),
    Index(Box<[Node; 2]>),
    And(Box<[Node; 2]>),
    Or(Box<[Node; 2]>),
    Not(Box<Node>),
    Negate(Box<Node>),
    If(Box<[Node; 3]>),
    Compare(Comparison, Box<[Node; 2]>),
    Arithmetic(Arithmetic, Box<[Node; 2]>),
    In(Box<[Node; 2]>),
    /// True unless it is false: an error is no reason to stop a macro's loop.
    NotFalse(Box<Node>),
    Call(Function, Vec<Node>),
    Fold(Box<Fold>),
}

impl Node {
    /// What it gives, if that is plain to see and neither true nor false.
    pub(super) fn never_bool(&self) -> Option<&'static str> {
        match self {
            Self::Null => Some("null"),
            Self::Int(_) | Self::Double(_) | Self::Negate(_) => Some("a number"),
            Self::Arithmetic(Arithmetic::Add, _) => Some("a sum"),
            Self::Arithmetic(..) => Some("a number"),
            Self::Text(_) | Self::Topic => Some("a string"),
            Self::List(_) | Self::Parts => Some("a list"),
            Self::Header => Some("an object"),
            Self::Call(function, _) => match function {
                Function::Size | Function::Int | Function::Double => Some("a number"),
                Function::LowerAscii | Function::Text => Some("a string"),
                Function::Contains | Function::StartsWith | Function::EndsWith => None,
            },
            Self::If(three) => {
                let [_, then, otherwise] = &**three;
                then.never_bool().and(otherwise.never_bool())
            }
            Self::Bool(_)
            | Self::Body
            | Self::Local(_)
            | Self::Field(..)
            | Self::Has(..)
            | Self::Index(_)
            | Self::And(_)
            | Self::Or(_)
            | Self::Not(_)
            | Self::Compare(..)
            | Self::In(_)
            | Self::NotFalse(_)
            | Self::Fold(_) => None,
        }
    }
}

/// What a macro (`all`, `exists`, `map` …) stands for.
#[derive(Debug)]
pub(super) struct Fold {
    pub(super) range: Node,
    pub(super) init: Node,
    /// With the accumulator as the newest local; so is `result`.
    pub(super) condition: Node,
    /// With the element after the accumulator.
    pub(super) step: Node,
    pub(super) result: Node,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    Size,
    Contains,
    StartsWith,
    EndsWith,
    LowerAscii,
    Int,
    Double,
    Text,
}

impl Function {
    /// By name and number of arguments, the one before the dot counted.
    fn of(name: &str, arguments: usize) -> Option<Self> {
        Some(match (name, arguments) {
            ("size", 1) => Self::Size,
            ("contains", 2) => Self::Contains,
            ("startsWith", 2) => Self::StartsWith,
            ("endsWith", 2) => Self::EndsWith,
            ("lowerAscii", 1) => Self::LowerAscii,
            ("int", 1) => Self::Int,
            ("double", 1) => Self::Double,
            ("string", 1) => Self::Text,
            _ => return None,
        })
    }
}

/// The names that there are, and what they stand for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Names {
    /// An event's: `header`, `body`, `topic`.
    Event,
    /// A gather's: `header`, `parts`.
    Parts,
}

impl Names {
    fn node(self, name: &str) -> Option<Node> {
        match (self, name) {
            (_, "header") => Some(Node::Header),
            (Self::Event, "body") => Some(Node::Body),
            (Self::Event, "topic") => Some(Node::Topic),
            (Self::Parts, "parts") => Some(Node::Parts),
            (Self::Event | Self::Parts, _) => None,
        }
    }

    fn told(self) -> &'static str {
        match self {
            Self::Event => "there are header, body and topic",
            Self::Parts => "there are header and parts",
        }
    }
}

const FUNCTIONS: &str = "there are size, contains, startsWith, endsWith, lowerAscii, int, double, \
                         string, has, all, exists, exists_one, filter and map";
const VALUES: &str = "there are null, booleans, numbers, strings and lists";

/// Parses and checks.
pub(super) fn compile(text: &str, names: Names) -> Result<Node, FilterError> {
    if text.len() > MAX_FILTER_BYTES {
        return Err(FilterError::TooLong { len: text.len() });
    }
    if brackets(text) > MAX_DEPTH || text.matches('?').count() > MAX_CONDITIONS {
        return Err(FilterError::TooDeep { max: MAX_DEPTH });
    }
    let parser = PrattParser::new().max_recursion_depth(MAX_DEPTH as u16).error_recovery_limit(1);
    let parsed = parser.parse(text).map_err(|errors| {
        let error = errors.errors.into_iter().find(|error| error.pos.0 > 0);
        let at = |n: isize| usize::try_from(n).unwrap_or(1).max(1);
        let (reason, (line, column)) = match error {
            Some(error) => (error.msg, error.pos),
            None => ("it can't be read".to_owned(), (1, 1)),
        };
        let reason = reason.trim_start_matches("Syntax error: ").to_owned();
        FilterError::Syntax { reason, line: at(line), column: at(column) }
    })?;
    Compiler { names, locals: Vec::new() }.node(&parsed, 0)
}

/// How deep brackets are nested; those in strings count too.
fn brackets(text: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    for byte in text.bytes() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

struct Compiler {
    names: Names,
    /// Names of the macros' variables, outermost first.
    locals: Vec<String>,
}

impl Compiler {
    fn node(&mut self, expr: &IdedExpr, depth: usize) -> Result<Node, FilterError> {
        if depth > MAX_DEPTH {
            return Err(FilterError::TooDeep { max: MAX_DEPTH });
        }
        let depth = depth + 1;
        match &expr.expr {
            Expr::Literal(literal) => literal_node(literal),
            Expr::Ident(name) => self.name(name),
            Expr::Select(select) => {
                let of = Box::new(self.node(&select.operand, depth)?);
                let field = select.field.as_str().into();
                Ok(if select.test { Node::Has(of, field) } else { Node::Field(of, field) })
            }
            Expr::List(list) if list.optional_indices.is_empty() => {
                let nodes = list.elements.iter().map(|element| self.node(element, depth));
                nodes.collect::<Result<_, _>>().map(Node::List)
            }
            Expr::Call(call) => self.call(call, depth),
            Expr::Comprehension(fold) => self.fold(fold, depth),
            Expr::List(_) | Expr::Map(_) | Expr::Struct(_) => {
                Err(unsupported("a map or an object of its own", VALUES))
            }
            Expr::Unspecified => Err(unsupported("an empty expression", VALUES)),
        }
    }

    fn name(&self, name: &str) -> Result<Node, FilterError> {
        match self.locals.iter().rposition(|local| local == name) {
            Some(at) => Ok(Node::Local(at)),
            None => self
                .names
                .node(name)
                .ok_or_else(|| unsupported(&format!("the name `{name}`"), self.names.told())),
        }
    }

    fn call(&mut self, call: &CallExpr, depth: usize) -> Result<Node, FilterError> {
        let all = call.target.as_deref().into_iter().chain(&call.args);
        let mut nodes = all.map(|node| self.node(node, depth)).collect::<Result<Vec<_>, _>>()?;
        if call.target.is_none()
            && let Some(node) = operator(&call.func_name, &mut nodes)
        {
            return Ok(node);
        }
        match Function::of(&call.func_name, nodes.len()) {
            Some(function) => Ok(Node::Call(function, nodes)),
            None => {
                let found = format!("{}() with {} arguments", call.func_name, call.args.len());
                Err(unsupported(&found, FUNCTIONS))
            }
        }
    }

    fn fold(&mut self, fold: &ComprehensionExpr, depth: usize) -> Result<Node, FilterError> {
        if fold.iter_var2.is_some() {
            return Err(unsupported("a macro with two variables", FUNCTIONS));
        }
        let range = self.node(&fold.iter_range, depth)?;
        let init = self.node(&fold.accu_init, depth)?;
        self.locals.push(fold.accu_var.clone());
        let condition = self.node(&fold.loop_cond, depth);
        let result = self.node(&fold.result, depth);
        self.locals.push(fold.iter_var.clone());
        let step = self.node(&fold.loop_step, depth);
        self.locals.truncate(self.locals.len().saturating_sub(2));
        let (condition, step, result) = (condition?, step?, result?);
        Ok(Node::Fold(Box::new(Fold { range, init, condition, step, result })))
    }
}

/// An operator with as many operands as it has.
fn operator(name: &str, nodes: &mut Vec<Node>) -> Option<Node> {
    let one: fn(Box<Node>) -> Node = match name {
        operators::LOGICAL_NOT => Node::Not,
        operators::NEGATE => Node::Negate,
        operators::NOT_STRICTLY_FALSE => Node::NotFalse,
        operators::CONDITIONAL => {
            let three: [Node; 3] = std::mem::take(nodes).try_into().ok()?;
            return Some(Node::If(Box::new(three)));
        }
        _ => return binary(name, nodes),
    };
    let [operand]: [Node; 1] = std::mem::take(nodes).try_into().ok()?;
    Some(one(Box::new(operand)))
}

fn binary(name: &str, nodes: &mut Vec<Node>) -> Option<Node> {
    let compare = |comparison| move |pair| Node::Compare(comparison, pair);
    let compute = |arithmetic| move |pair| Node::Arithmetic(arithmetic, pair);
    let make: Box<dyn FnOnce(Box<[Node; 2]>) -> Node> = match name {
        operators::LOGICAL_AND => Box::new(Node::And),
        operators::LOGICAL_OR => Box::new(Node::Or),
        operators::INDEX => Box::new(Node::Index),
        operators::IN => Box::new(Node::In),
        operators::EQUALS => Box::new(compare(Comparison::Equal)),
        operators::NOT_EQUALS => Box::new(compare(Comparison::NotEqual)),
        operators::LESS => Box::new(compare(Comparison::Less)),
        operators::LESS_EQUALS => Box::new(compare(Comparison::LessOrEqual)),
        operators::GREATER => Box::new(compare(Comparison::Greater)),
        operators::GREATER_EQUALS => Box::new(compare(Comparison::GreaterOrEqual)),
        operators::ADD => Box::new(compute(Arithmetic::Add)),
        operators::SUBSTRACT => Box::new(compute(Arithmetic::Subtract)),
        operators::MULTIPLY => Box::new(compute(Arithmetic::Multiply)),
        operators::DIVIDE => Box::new(compute(Arithmetic::Divide)),
        operators::MODULO => Box::new(compute(Arithmetic::Remainder)),
        _ => return None,
    };
    let pair: [Node; 2] = std::mem::take(nodes).try_into().ok()?;
    Some(make(Box::new(pair)))
}

fn literal_node(literal: &LiteralValue) -> Result<Node, FilterError> {
    Ok(match literal {
        LiteralValue::Null => Node::Null,
        LiteralValue::Boolean(value) => Node::Bool((*value).into_inner()),
        LiteralValue::Int(value) => Node::Int((*value.inner()).into()),
        LiteralValue::UInt(value) => Node::Int((*value.inner()).into()),
        LiteralValue::Double(value) => Node::Double(*value.inner()),
        LiteralValue::String(text) => Node::Text(text.inner().into()),
        LiteralValue::Bytes(_) => return Err(unsupported("bytes", VALUES)),
    })
}

fn unsupported(found: &str, instead: &'static str) -> FilterError {
    FilterError::Unsupported { found: found.to_owned(), instead }
}
