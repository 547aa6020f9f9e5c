//! Some queues out of all, by name or by how their names begin.

use std::fmt;

use super::ids::QueueName;

/// Patterns of one set: each is tried for each row of a list.
const MAX_PATTERNS: usize = 64;

/// Queues by name, or by how their names begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuePatterns(Vec<Pattern>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Pattern {
    Name(QueueName),
    Prefix(String),
}

impl QueuePatterns {
    /// All of them.
    pub fn all() -> Self {
        Self(vec![Pattern::Prefix(String::new())])
    }

    /// `orders`, or `eu.*` for all whose names begin so; `*` is all. The error says what is wrong.
    pub fn parse<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> Result<Self, String> {
        let mut patterns = Vec::new();
        for text in texts {
            if patterns.len() == MAX_PATTERNS {
                return Err(format!("at most {MAX_PATTERNS} patterns of queues are allowed"));
            }
            patterns.push(pattern(text.as_ref())?);
        }
        match patterns.is_empty() {
            true => Err("there is no queue in it; give [\"*\"] for all".to_owned()),
            false => Ok(Self(patterns)),
        }
    }

    /// Whether this queue is one of them.
    pub fn have(&self, queue: &QueueName) -> bool {
        self.0.iter().any(|pattern| match pattern {
            Pattern::Name(name) => name == queue,
            Pattern::Prefix(prefix) => queue.as_str().starts_with(prefix),
        })
    }

    /// Whether these are all that there can be.
    pub fn are_all(&self) -> bool {
        self.0.iter().any(|pattern| matches!(pattern, Pattern::Prefix(prefix) if prefix.is_empty()))
    }

    /// As they are written.
    pub fn texts(&self) -> Vec<String> {
        let text = |pattern: &Pattern| match pattern {
            Pattern::Name(name) => name.to_string(),
            Pattern::Prefix(prefix) => format!("{prefix}*"),
        };
        self.0.iter().map(text).collect()
    }
}

fn pattern(text: &str) -> Result<Pattern, String> {
    match text.strip_suffix('*') {
        None => {
            QueueName::new(text).map(Pattern::Name).map_err(|error| format!("{text:?}: {error}"))
        }
        Some(prefix) => {
            // The shortest name that it matches must be one.
            let like = format!("{prefix}x");
            QueueName::new(&like).map_err(|error| format!("{text:?}: {error}"))?;
            Ok(Pattern::Prefix(prefix.to_owned()))
        }
    }
}

impl fmt::Display for QueuePatterns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.texts().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_names_and_beginnings_of_names() {
        assert!(QueuePatterns::parse(["*"]).expect("all").are_all());
        let some = QueuePatterns::parse(["eu.*", "orders"]).expect("patterns");
        assert!(!some.are_all());
        assert_eq!(some.to_string(), "eu.*, orders");
        for bad in ["", "a b", "eu/*", "e*u"] {
            assert!(QueuePatterns::parse([bad]).is_err(), "{bad:?}");
        }
        assert!(QueuePatterns::parse([""; 0]).is_err());
    }
}
