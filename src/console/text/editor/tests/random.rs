//! Whatever is typed into whatever text: against a plain string, and against what a terminal may be given.

use proptest::prelude::*;

use super::*;

fn hostile() -> impl Strategy<Value = String> {
    let bits = prop::sample::select(vec![
        "a",
        "bc ",
        "\n",
        "\r\n",
        "\r",
        "\t",
        "\0",
        "\u{1b}",
        "é",
        "e\u{301}",
        "漢",
        "🐢",
        "\u{200d}",
        "\u{f0000}",
        "\u{feff}",
        "{\"k\":1}",
        "[",
        "\"",
        " ",
        "_x.y",
    ]);
    prop_oneof![prop::collection::vec(bits, 0..20).prop_map(|b| b.concat()), any::<String>()]
}

fn inputs() -> impl Strategy<Value = Vec<EditorInput>> {
    let still = prop::sample::select(vec![
        Newline,
        Tab,
        Backspace,
        Delete,
        DeleteWord,
        DeleteToLineEnd,
        Left,
        Right,
        Up,
        Down,
        WordLeft,
        WordRight,
        LineStart,
        LineEnd,
        PageUp,
        PageDown,
        Top,
        Bottom,
        Undo,
        Redo,
        Format,
        FindNext,
    ]);
    let input = prop_oneof![
        4 => still,
        2 => prop::char::any().prop_map(Char),
        1 => hostile().prop_map(Paste),
    ];
    prop::collection::vec(input, 0..40)
}

/// The same keys on a plain string; moves other than by one character, and the line end that a new line
/// gets, are taken from the editor.
#[derive(Clone)]
struct Model {
    text: String,
    at: usize,
}

impl Model {
    fn of(editor: &Editor) -> Self {
        Self { text: editor.text().to_owned(), at: editor.offset() }
    }

    fn unit_before(&self) -> usize {
        let before = &self.text[..self.at];
        if before.ends_with("\r\n") {
            2
        } else {
            before.chars().next_back().map_or(0, char::len_utf8)
        }
    }

    fn unit_after(&self) -> usize {
        let after = &self.text[self.at..];
        if after.starts_with("\r\n") { 2 } else { after.chars().next().map_or(0, char::len_utf8) }
    }

    fn insert(&mut self, text: &str) {
        self.text.insert_str(self.at, text);
        self.at += text.len();
    }

    /// False: not modelled.
    fn apply(&mut self, input: &EditorInput, line_end: &str) -> bool {
        match input {
            Char('\n' | '\r') | Newline => self.insert(line_end),
            Char(c) => self.insert(&c.to_string()),
            Tab => self.insert("  "),
            Paste(text) => {
                let text = text.replace("\r\n", "\n").replace('\r', "\n").replace('\n', line_end);
                self.insert(&text);
            }
            Backspace => {
                let from = self.at - self.unit_before();
                self.text.drain(from..self.at);
                self.at = from;
            }
            Delete => {
                self.text.drain(self.at..self.at + self.unit_after());
            }
            Left => self.at -= self.unit_before(),
            Right => self.at += self.unit_after(),
            Top => self.at = 0,
            Bottom => self.at = self.text.len(),
            _ => return false,
        }
        // The cursor is never inside a CRLF.
        let inside = self.text[..self.at].ends_with('\r') && self.text[self.at..].starts_with('\n');
        self.at -= usize::from(inside);
        true
    }
}

proptest! {
    #[test]
    fn arbitrary_text_comes_back_unless_edited(text in hostile()) {
        let mut editor = editor(&text);
        prop_assert_eq!(editor.bytes(), text.as_bytes());
        typed(&mut editor, [Bottom, WordLeft, Up, LineEnd, Left, PageDown, Top]);
        prop_assert_eq!(editor.state.text(), text);
        prop_assert!(!editor.is_dirty());
    }

    #[test]
    fn keys_do_what_they_do_to_a_plain_string(text in hostile(), inputs in inputs()) {
        let mut editor = editor(&text);
        for input in inputs {
            let mut model = Model::of(&editor);
            let line_end = editor.state.line_end();
            let modelled = model.apply(&input, line_end);
            let broken = matches!(input, Format) && editor.fault().is_some();
            prop_assert_eq!(editor.input(input.clone()).is_err(), broken);
            if modelled {
                prop_assert_eq!(editor.text(), &model.text, "{:?}", input);
                prop_assert_eq!(editor.offset(), model.at, "{:?} in {:?}", input, model.text);
            }
            prop_assert_eq!(editor.state.text(), editor.text());
            let (row, col) = editor.state.cursor();
            prop_assert!(row < editor.state.rows() && col <= editor.state.row_end(row));
            prop_assert_eq!(editor.fault().cloned(), json::check(&editor.bytes()).err());
        }
    }

    #[test]
    fn undoing_all_gives_the_original_and_redoing_all_the_result(
        text in hostile(),
        inputs in inputs(),
    ) {
        let mut editor = editor(&text);
        for input in inputs {
            let _refused = editor.input(input);
        }
        // Steps that the random keys have undone are redone too: all of them, then back, then again.
        while editor.state.redo() {}
        let result = editor.state.text();
        while editor.state.undo() {}
        prop_assert_eq!(editor.state.text(), text);
        while editor.state.redo() {}
        prop_assert_eq!(editor.state.text(), result);
    }

    #[test]
    fn passing_over_plain_runs_changes_no_column(text in hostile(), left in 0usize..30) {
        let line = text.replace('\n', "plain run of text");
        let mut column = 0;
        let mut at = 0;
        let mut walked = Vec::new();
        for piece in crate::console::text::clean::pieces(&line) {
            prop_assert_eq!(view::column_of(&line, at), column);
            let width = view::piece_columns(&piece, column);
            if column + width > left && column < left + 10 {
                walked.push((column, at));
            }
            column += width;
            at += piece.source.len();
        }
        let cells = view::cells(&line, left, left + 10);
        let drawn: Vec<_> = cells.iter().filter(|c| c.width > 0).map(|c| (c.column, c.bytes.start)).collect();
        prop_assert_eq!(drawn, walked);
    }

    #[test]
    fn what_is_drawn_is_harmless(text in hostile(), inputs in inputs(), width in 1u16..50) {
        let mut editor = editor(&text);
        for input in inputs {
            let _refused = editor.input(input);
            for row in screen(&editor, width, 5) {
                for symbol in row.chars() {
                    prop_assert!(!symbol.is_control());
                    let hidden = matches!(symbol, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}');
                    prop_assert!(!hidden);
                }
            }
        }
    }
}
