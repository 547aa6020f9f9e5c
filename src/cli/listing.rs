//! What lists of the command line have in common.

use super::failure::Failure;
use crate::admin::client::AdminError;

/// All that a list has, page by page; `page` gets what the page before ended with, and gives its rows and where the next
/// page begins.
pub(super) async fn all<T, C>(
    mut page: impl AsyncFnMut(Option<C>) -> Result<(Vec<T>, Option<C>), AdminError>,
) -> Result<Vec<T>, Failure> {
    let mut all = Vec::new();
    let mut after = None;
    loop {
        let (rows, next) = page(after).await?;
        all.extend(rows);
        if next.is_none() {
            return Ok(all);
        }
        after = next;
    }
}

/// The one of `all` that has this word.
pub(super) fn one_of<T: Copy>(
    all: &[T],
    word: impl Fn(T) -> &'static str,
    text: &str,
) -> Result<T, String> {
    all.iter().copied().find(|&one| word(one) == text).ok_or_else(|| {
        let words: Vec<_> = all.iter().map(|&one| word(one)).collect();
        format!("one of {} is needed", words.join(", "))
    })
}
