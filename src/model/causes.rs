//! Errors as text.

use std::error::Error;

/// An error with its causes, on one line: what failed first, its root last.
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the store can't be opened")]
    struct Opening(#[source] std::io::Error);

    #[test]
    fn causes_follow_what_they_caused() {
        let error = Opening(std::io::Error::other("the disk is gone"));
        assert_eq!(with_causes(&error), "the store can't be opened: the disk is gone");
    }
}
