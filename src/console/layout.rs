//! Where everything stands, by the terminal's size alone: the same for drawing and for moving.

use ratatui::layout::Rect;

use super::command::Screen;

/// The smallest size that the screens are drawn in.
pub(super) const MIN_SIZE: (u16, u16) = (60, 15);
/// From this size on three columns stand side by side.
const WIDE: (u16, u16) = (150, 30);
/// From this size on, below that, the newest events stand below the lists.
const TALL: (u16, u16) = (100, 36);
/// Rows of these events: their state, their heads, eight of them.
const FEED_ROWS: u16 = 10;

/// The five areas, from the top.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rows {
    /// Row 1: the connection.
    pub(super) header: Rect,
    /// The screen.
    pub(super) body: Rect,
    /// The selected row's error.
    pub(super) error: Rect,
    /// The outcome of the last act.
    pub(super) outcome: Rect,
    /// The keys that work here.
    pub(super) keys: Rect,
}

/// Whether anything but "enlarge" can be shown.
pub(super) fn fits((width, height): (u16, u16)) -> bool {
    width >= MIN_SIZE.0 && height >= MIN_SIZE.1
}

/// Whether three columns stand side by side.
pub(super) fn is_wide((width, height): (u16, u16)) -> bool {
    width >= WIDE.0 && height >= WIDE.1
}

/// Whether events stand below the list of `current`.
fn has_feed(size: (u16, u16), current: Screen) -> bool {
    let is_tall = size.0 >= TALL.0 && size.1 >= TALL.1 && !is_wide(size);
    is_tall && matches!(current, Screen::Queues | Screen::Queue | Screen::Workers)
}

/// The areas at a size that fits.
pub(super) fn rows((width, height): (u16, u16)) -> Rows {
    let row = |y| Rect { x: 0, y, width, height: 1 };
    let body = Rect { x: 0, y: 1, width, height: height.saturating_sub(4) };
    let after = body.bottom();
    Rows { header: row(0), body, error: row(after), outcome: row(after + 1), keys: row(after + 2) }
}

/// Where a screen is drawn while `current` is the one that has the keys; `None` if it isn't.
pub(super) fn pane(size: (u16, u16), screen: Screen, current: Screen) -> Option<Rect> {
    let body = rows(size).body;
    if has_feed(size, current) {
        // One row is the line between the two.
        let upper = body.height - FEED_ROWS - 1;
        let list = Rect { height: upper, ..body };
        let feed = Rect { y: body.y + upper + 1, height: FEED_ROWS, ..body };
        let is_feed = screen == Screen::Events;
        return (screen == current || is_feed).then_some(if is_feed { feed } else { list });
    }
    if !is_wide(size) {
        return (screen == current).then_some(body);
    }
    let [left, middle, right] = columns(body);
    let upper = right.height * 2 / 5;
    match screen {
        Screen::Queues => Some(left),
        Screen::Queue => (!matches!(current, Screen::Message | Screen::Patterns)).then_some(middle),
        Screen::Message | Screen::Patterns => (current == screen).then_some(middle),
        Screen::Workers => Some(Rect { height: upper, ..right }),
        // One row is the line between the two.
        Screen::Journal | Screen::Events => {
            let is_shown = (screen == Screen::Journal) == (current == Screen::Journal);
            let lower = Rect { y: right.y + upper + 1, height: right.height - upper - 1, ..right };
            is_shown.then_some(lower)
        }
    }
}

/// Three columns with a column between them.
fn columns(body: Rect) -> [Rect; 3] {
    let left = body.width * 32 / 100;
    let right = body.width * 27 / 100;
    let middle = body.width - left - right - 2;
    [
        Rect { width: left, ..body },
        Rect { x: body.x + left + 1, width: middle, ..body },
        Rect { x: body.x + left + middle + 2, width: right, ..body },
    ]
}

/// Where a message, the editor, the review and the difference are drawn.
pub(super) fn main_area(size: (u16, u16)) -> Rect {
    let body = rows(size).body;
    if is_wide(size) { columns(body)[1] } else { body }
}

/// Rows below the patterns' list for what is under the cursor; none where the list needs them.
pub(super) const fn details_height(height: u16) -> u16 {
    match height {
        0..14 => 0,
        14..30 => 6,
        _ => 12,
    }
}

/// Where a difference is drawn: beside the queues there is room for both texts.
pub(super) fn over_area(size: (u16, u16)) -> Rect {
    let body = rows(size).body;
    if !is_wide(size) {
        return body;
    }
    let middle = columns(body)[1];
    Rect { width: body.right() - middle.x, ..middle }
}

/// The rows of a list under its column heads.
pub(super) fn list_height(size: (u16, u16), screen: Screen, current: Screen) -> usize {
    // A list that isn't drawn now moves as if it were.
    let area = pane(size, screen, current).unwrap_or_else(|| main_area(size));
    let below = if screen == Screen::Patterns { details_height(area.height) } else { 0 };
    usize::from(area.height.saturating_sub(1 + below))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_80_by_24_the_rows_are_where_the_brief_has_them() {
        let rows = rows((80, 24));
        assert_eq!((rows.header.y, rows.body.y, rows.body.bottom()), (0, 1, 21));
        assert_eq!((rows.error.y, rows.outcome.y, rows.keys.y), (21, 22, 23));
    }

    #[test]
    fn wide_columns_stay_inside_and_apart() {
        for width in WIDE.0..300 {
            let [left, middle, right] = columns(rows((width, 50)).body);
            assert!(left.right() < middle.x && middle.right() < right.x);
            assert_eq!(right.right(), width);
        }
    }
}
