//! Where everything stands, by the terminal's size alone: the same for drawing and for moving.

use ratatui::layout::Rect;

use super::command::Screen;

/// The smallest size that the screens are drawn in.
pub(super) const MIN_SIZE: (u16, u16) = (60, 15);
/// From this size on the other screens stand beside the one that has the keys.
const WIDE: (u16, u16) = (180, 30);
/// Columns that this one has before anything stands beside it: all that its columns need, and both texts of a
/// difference. Wider terminals give it three fifths.
const MAIN_COLUMNS: u16 = 120;
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

/// Whether other screens stand beside the one that has the keys.
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
    let [main, side] = columns(body);
    if screen == current {
        return Some(main);
    }
    let at = beside(current).iter().position(|other| *other == screen)?;
    // A row between two of them is the line that parts them.
    let third = (side.height - 2) / 3;
    let y = side.y + (third + 1) * u16::try_from(at).unwrap_or(0);
    let height = if at == 2 { side.bottom() - y } else { third };
    Some(Rect { y, height, ..side })
}

/// What stands beside the screen that has the keys, from the top.
const fn beside(current: Screen) -> [Screen; 3] {
    match current {
        Screen::Queues => [Screen::Queue, Screen::Workers, Screen::Events],
        Screen::Queue | Screen::Message | Screen::Journal | Screen::Patterns => {
            [Screen::Queues, Screen::Workers, Screen::Events]
        }
        Screen::Workers => [Screen::Queues, Screen::Queue, Screen::Events],
        Screen::Events => [Screen::Queues, Screen::Workers, Screen::Journal],
    }
}

/// The screen that has the keys and what stands beside it, with a column between them.
fn columns(body: Rect) -> [Rect; 2] {
    let main = MAIN_COLUMNS.max(body.width / 5 * 3);
    let side = Rect { x: body.x + main + 1, width: body.width - main - 1, ..body };
    [Rect { width: main, ..body }, side]
}

/// Where the screen that has the keys is drawn, and the editor, the review and the difference over it.
pub(super) fn main_area(size: (u16, u16)) -> Rect {
    let body = rows(size).body;
    if is_wide(size) { columns(body)[0] } else { body }
}

/// Rows below the patterns' list for what is under the cursor; none where the list needs them.
pub(super) const fn details_height(height: u16) -> u16 {
    match height {
        0..14 => 0,
        14..30 => 6,
        _ => 12,
    }
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
    fn panes_stay_inside_and_apart() {
        for size in (WIDE.0..300).map(|width| (width, 50)).chain([WIDE, (200, 31), (200, 32)]) {
            let body = rows(size).body;
            for current in Screen::ALL {
                let panes: Vec<Rect> =
                    Screen::ALL.into_iter().filter_map(|s| pane(size, s, current)).collect();
                assert_eq!(panes.len(), 4);
                for (n, one) in panes.iter().enumerate() {
                    assert_eq!(one.intersection(body), *one, "{size:?}");
                    assert!(panes[n + 1..].iter().all(|other| !one.intersects(*other)));
                }
            }
        }
    }

    #[test]
    fn a_larger_terminal_gives_no_screen_less() {
        for smaller in [MIN_SIZE, (80, 24), (120, 40)] {
            for (width, height) in
                (smaller.0..260).flat_map(|w| (smaller.1..60).map(move |h| (w, h)))
            {
                for screen in Screen::ALL {
                    let least = pane(smaller, screen, screen).unwrap();
                    let got = pane((width, height), screen, screen).unwrap();
                    let is_less = got.width < least.width || got.height < least.height;
                    assert!(!is_less, "{screen:?} at {width}x{height}: {got} of {least}");
                }
            }
        }
    }
}
