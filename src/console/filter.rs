//! What `/` types: a text that rows have, or with a leading `!` don't have.

/// A filter over rows. Empty lets everything through.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    typed: String,
    needle: String,
    negated: bool,
}

impl Filter {
    /// From what was typed; letters' case doesn't matter.
    pub fn new(typed: &str) -> Self {
        let (negated, needle) = match typed.strip_prefix('!') {
            Some(rest) => (true, rest),
            None => (false, typed),
        };
        Self { typed: typed.to_owned(), needle: needle.to_lowercase(), negated }
    }

    /// What was typed.
    pub fn typed(&self) -> &str {
        &self.typed
    }

    /// Everything is let through.
    pub fn is_empty(&self) -> bool {
        self.needle.is_empty()
    }

    /// Whether a row with these texts is shown.
    pub fn lets_through<'a>(&self, texts: impl IntoIterator<Item = &'a str>) -> bool {
        self.needle.is_empty()
            || texts.into_iter().any(|text| text.to_lowercase().contains(&self.needle))
                != self.negated
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leading_bang_negates() {
        assert!(Filter::new("ORD").lets_through(["orders"]));
        assert!(!Filter::new("!ord").lets_through(["x", "orders"]));
        assert!(Filter::new("!").lets_through(["anything"]));
        assert!(Filter::new("").lets_through([]));
    }
}
