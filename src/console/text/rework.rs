//! A JSON payload changed by a program: a jq expression or a JSON Patch (RFC 6902).
//!
//! Both make values of the payload and write new text. What they didn't change keeps its bytes all the same: white space, a
//! number's digits, escapes, the keys' order (`graft`). A payload that no value can hold whole, with a key twice, is refused.

mod graft;
mod tree;

use jaq_core::load::{Arena, File, Loader};
use jaq_core::{Compiler, Ctx, Vars, data};
use jaq_json::Val;

use super::clean::{clean, truncate};
use super::json::{self, JsonFault};
use graft::graft;
use tree::{Fault, Tree};

/// Columns of what a program says of its failure.
const FAULT_COLUMNS: usize = 400;

type Program = jaq_core::compile::Filter<jaq_core::Native<data::JustLut<Val>>>;

/// What changes payloads.
pub enum Rework {
    /// A jq expression.
    Jq(Box<Program>),
    /// A JSON Patch.
    Patch(json_patch::Patch),
}

impl std::fmt::Debug for Rework {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Jq(_) => "Jq",
            Self::Patch(_) => "Patch",
        })
    }
}

/// Why a payload can't be changed so. All is harmless to show.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReworkError {
    /// It isn't JSON.
    #[error("the payload is not JSON: {0}")]
    NotJson(#[from] JsonFault),
    /// An object has a key twice: one of both would be lost.
    #[error("the payload has the key {key} twice in one object; a program keeps one of them only")]
    TwiceKey {
        /// The key.
        key: String,
    },
    /// It is nested deeper than programs read.
    #[error("the payload is nested deeper than {max} levels, which is as far as programs read")]
    TooDeep {
        /// Levels that are read.
        max: usize,
    },
    /// The program fails on it.
    #[error("it fails on this payload: {0}")]
    Fails(String),
    /// The expression gives no value, or several.
    #[error("the expression gives {0}; one value is needed, the new payload")]
    Results(&'static str),
}

impl Rework {
    /// A jq expression; the error says what is wrong with it.
    pub fn jq(expression: &str) -> Result<Self, String> {
        let defs = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs());
        let funs = jaq_core::funs().chain(jaq_std::funs()).chain(jaq_json::funs());
        let arena = Arena::default();
        let file = File { code: expression, path: () };
        let modules = Loader::new(defs).load(&arena, file).map_err(|errors| {
            let what = errors.first().map_or_else(String::new, |(_, error)| load_fault(error));
            shown(&format!("the jq expression can't be read: {what}"))
        })?;
        let program = Compiler::default().with_funs(funs).compile(modules).map_err(|errors| {
            let found = errors.first().and_then(|(_, undefined)| undefined.first());
            let what = found.map_or_else(String::new, |(name, kind)| {
                format!("there is no {} {name:?}", kind.as_str())
            });
            shown(&format!("the jq expression can't be used: {what}"))
        })?;
        Ok(Self::Jq(Box::new(program)))
    }

    /// A JSON Patch's text; the error says what is wrong with it.
    pub fn patch(text: &[u8]) -> Result<Self, String> {
        let patch = serde_json::from_slice(text);
        patch.map(Self::Patch).map_err(|error| {
            shown(&format!("this is no JSON Patch (RFC 6902), a list of operations: {error}"))
        })
    }

    /// The new payload. `force`: of keys that are there twice the last stays.
    pub fn apply(&self, payload: &[u8], force: bool) -> Result<Vec<u8>, ReworkError> {
        json::check(payload)?;
        let text = std::str::from_utf8(payload).expect("JSON is UTF-8");
        let before = match Tree::read(text) {
            Ok(tree) => Some(tree),
            Err(Fault::TooDeep { max }) => return Err(ReworkError::TooDeep { max }),
            Err(Fault::TwiceKey(_)) if force => None,
            Err(Fault::TwiceKey(key)) => {
                return Err(ReworkError::TwiceKey { key: shown(&key) });
            }
        };
        let (unchanged, new) = match self {
            Self::Jq(program) => run(program, payload)?,
            Self::Patch(patch) => patched(patch, payload)?,
        };
        json::check(new.as_bytes()).map_err(|_| {
            ReworkError::Fails(
                "what it gives is not JSON (a NaN, an infinity, or bytes)".to_owned(),
            )
        })?;
        // Where a key was there twice, nothing is left to be laid over.
        let Some(before) = before else { return Ok(new.into_bytes()) };
        match (Tree::read(&unchanged), Tree::read(&new)) {
            (Ok(unchanged), Ok(new)) => Ok(graft(&before, &unchanged, &new).into_bytes()),
            (Err(_), _) | (_, Err(_)) => Ok(new.into_bytes()),
        }
    }
}

/// The payload as the program would write it unchanged, and its one result.
fn run(program: &Program, payload: &[u8]) -> Result<(String, String), ReworkError> {
    let fails = |what: String| ReworkError::Fails(shown(&what));
    let value = jaq_json::read::parse_single(payload).map_err(|error| fails(error.to_string()))?;
    let unchanged = value.to_string();
    let context = Ctx::<data::JustLut<Val>>::new(&program.lut, Vars::new([]));
    let mut results = program.id.run((context, value));
    let first = results.next().ok_or(ReworkError::Results("no value"))?;
    // By itself jaq would end the process where the expression says `halt`.
    let first = first.map_err(|end| match end.get_err() {
        Ok(error) => fails(error.to_string()),
        Err(_) => ReworkError::Fails("it ends with `halt`".to_owned()),
    })?;
    if results.next().is_some() {
        return Err(ReworkError::Results("several values"));
    }
    Ok((unchanged, first.to_string()))
}

fn patched(patch: &json_patch::Patch, payload: &[u8]) -> Result<(String, String), ReworkError> {
    let fails = |what: String| ReworkError::Fails(shown(&what));
    let mut value: serde_json::Value =
        serde_json::from_slice(payload).map_err(|error| fails(error.to_string()))?;
    let unchanged = value.to_string();
    json_patch::patch(&mut value, patch).map_err(|error| fails(error.to_string()))?;
    Ok((unchanged, value.to_string()))
}

fn load_fault(error: &jaq_core::load::Error<&str>) -> String {
    use jaq_core::load::Error;
    let near = |rest: &str| match rest.trim() {
        "" => "at its end".to_owned(),
        rest => format!("at {:?}", rest.chars().take(20).collect::<String>()),
    };
    match error {
        Error::Io(files) => {
            let name = files.first().map_or("", |(path, _)| path);
            format!("there are no modules here ({name:?})")
        }
        Error::Lex(errors) => errors.first().map_or_else(String::new, |(expected, rest)| {
            format!("{} is expected {}", expected.as_str(), near(rest))
        }),
        Error::Parse(errors) => errors.first().map_or_else(String::new, |(expected, rest)| {
            format!("{} is expected {}", expected.as_str(), near(rest))
        }),
    }
}

fn shown(text: &str) -> String {
    truncate(&clean(text), FAULT_COLUMNS).into_owned()
}

#[cfg(test)]
mod tests;
