use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::EditorInput::*;
use super::*;

mod random;

fn editor(text: &str) -> Editor {
    Editor::from_bytes(text.as_bytes()).expect("UTF-8")
}

fn typed(editor: &mut Editor, inputs: impl IntoIterator<Item = EditorInput>) {
    for input in inputs {
        editor.input(input).expect("accepted");
    }
}

fn screen(editor: &Editor, width: u16, height: u16) -> Vec<String> {
    let area = Rect::new(0, 0, width, height);
    let mut buffer = Buffer::empty(area);
    editor.render(area, &mut buffer, &EditorStyles::plain());
    let row = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
    (0..height).map(|y| row(y).trim_end().to_owned()).collect()
}

#[test]
fn bytes_that_nobody_touched_come_back() {
    for text in [
        "",
        "\n",
        "\r",
        "\r\n",
        "a\r\nb\nc\rd\r\r\n",
        "\u{feff}{}\n\n",
        "\0\u{1b}[2J\t\u{9b}\u{202e}",
        "e\u{301}漢🐢\u{200d}\u{f0000}\u{10fffd}\u{e000}",
    ] {
        let mut editor = editor(text);
        typed(&mut editor, [Bottom, Left, Up, Down, WordLeft, WordRight, LineEnd, Top, Undo]);
        assert_eq!(editor.bytes(), text.as_bytes(), "{text:?}");
        assert!(!editor.is_dirty());
    }
}

#[test]
fn what_is_not_utf8_says_where() {
    assert_eq!(Editor::from_bytes(b"ab\xff").unwrap_err(), NotText::NotUtf8 { at: 2 });
}

#[test]
fn a_new_line_ends_as_its_neighbours_do() {
    let mut crlf = editor("ab\r\ncd");
    typed(&mut crlf, [Right, Newline, Bottom, Newline, Char('x')]);
    assert_eq!(crlf.text(), "a\r\nb\r\ncd\r\nx");
    let mut lf = editor("ab\ncd");
    typed(&mut lf, [LineEnd, Newline, Char('x')]);
    assert_eq!(lf.text(), "ab\nx\ncd");
}

#[test]
fn a_crlf_is_one_line_end_to_the_keys() {
    let mut e = editor("ab\r\ncd");
    typed(&mut e, [LineEnd, Right]);
    assert_eq!(e.cursor(), (2, 1));
    typed(&mut e, [Left]);
    assert_eq!(e.cursor(), (1, 3));
    typed(&mut e, [Delete]);
    assert_eq!(e.text(), "abcd");
    typed(&mut e, [Undo, Top, Down, LineStart, Backspace]);
    assert_eq!((e.text(), e.cursor()), ("abcd", (1, 3)));
    typed(&mut e, [Undo, LineEnd, Char('!')]);
    assert_eq!(e.text(), "ab\r\ncd!");
}

#[test]
fn undo_goes_by_words_and_back_to_clean() {
    let mut e = editor("[]");
    typed(&mut e, [Right]);
    typed(&mut e, "12 34".chars().map(Char));
    assert_eq!((e.text(), e.is_dirty()), ("[12 34]", true));
    typed(&mut e, [Undo]);
    assert_eq!(e.text(), "[12 ]");
    typed(&mut e, [Undo, Undo]);
    assert_eq!((e.text(), e.is_dirty()), ("[]", false));
    typed(&mut e, [Undo, Redo, Redo, Redo, Redo]);
    assert_eq!(e.text(), "[12 34]");
}

#[test]
fn formatting_is_one_step_and_keeps_the_place() {
    let text = "{\"a\":1.10,\"b\":[1,2]}";
    let mut e = editor(text);
    e.jump_to(1, 16);
    typed(&mut e, [Format]);
    assert_eq!(e.text(), "{\n  \"a\": 1.10,\n  \"b\": [\n    1,\n    2\n  ]\n}");
    assert_eq!(e.cursor(), (4, 5));
    typed(&mut e, [Undo]);
    assert_eq!((e.text(), e.is_dirty(), e.cursor()), (text, false, (1, 16)));
    typed(&mut e, [Redo]);
    assert_eq!(e.line_count(), 7);
}

#[test]
fn formatting_what_is_broken_changes_nothing_and_goes_to_the_fault() {
    let mut e = editor("[1,\n2 3]");
    let refusal = e.input(Format).unwrap_err();
    let said = "not formatted, because this is no JSON: 2:3: expected `,` or `]`";
    assert_eq!(refusal.to_string(), said);
    assert_eq!((e.text(), e.cursor()), ("[1,\n2 3]", (2, 3)));
}

#[test]
fn starting_over_is_clean_and_can_be_undone() {
    let mut e = Editor::with_draft(b"[1]", b"[draft").unwrap();
    assert!(e.is_dirty());
    assert_eq!(e.replace("[2]\r\n"), Ok(true));
    assert_eq!((e.text(), e.is_dirty(), e.fault()), ("[2]\r\n", false, None));
    typed(&mut e, [Undo]);
    assert_eq!((e.text(), e.is_dirty()), ("[draft", true));
    assert_eq!(e.replace("[draft"), Ok(false));
    assert!(!e.is_dirty());
}

#[test]
fn the_fault_is_that_of_the_text_as_it_is() {
    let mut e = editor("[1]");
    assert_eq!(e.fault(), None);
    typed(&mut e, [Bottom, Backspace]);
    assert_eq!(e.fault().map(|fault| (fault.line, fault.column)), Some((1, 3)));
    typed(&mut e, [Top]);
    assert!(e.jump_to_fault());
    assert_eq!(e.cursor(), (1, 3));
    typed(&mut e, [Char(']')]);
    assert_eq!(e.fault(), None);
}

#[test]
fn a_long_text_is_checked_when_asked() {
    let mut e = editor(&format!("[\"{}\"]", "x".repeat(CHECKED_WHILE_TYPING_BYTES)));
    assert!(e.is_checked());
    typed(&mut e, [Char('[')]);
    assert!(!e.is_checked() && e.fault().is_none());
    assert!(e.recheck().is_some());
}

#[test]
fn a_paste_of_a_megabyte_from_a_terminal_is_one_step() {
    let mut e = editor("ab\n");
    let line = format!("{}\r", "x".repeat(99));
    typed(&mut e, [Right, Paste(line.repeat(10_000))]);
    assert_eq!(e.text().len(), 1_000_003);
    assert_eq!(e.cursor(), (10_001, 1));
    assert!(!e.text().contains('\r'));
    typed(&mut e, [Char('!'), Undo, Undo]);
    assert_eq!((e.text(), e.is_dirty()), ("ab\n", false));
}

#[test]
fn a_full_history_forgets_what_was_before_and_not_the_last_step() {
    let mut e = editor("");
    e.state.history_bytes = 64;
    for _ in 0..5 {
        typed(&mut e, [Paste("eight888".to_owned()), DeleteWord]);
    }
    typed(&mut e, [Undo]);
    assert_eq!(e.text(), "eight888");
    typed(&mut e, [Undo, Undo, Undo, Undo, Undo, Undo, Undo, Undo]);
    assert_eq!(e.text(), "");
}

#[test]
fn more_than_a_payload_is_refused() {
    let mut e = editor("ab");
    let refusal = e.paste(&"x".repeat(MAX_PAYLOAD_BYTES)).unwrap_err();
    assert_eq!(refusal, EditRefusal::TooLong { len: MAX_PAYLOAD_BYTES + 2 });
    assert_eq!(e.text(), "ab");
}

#[test]
fn jumps_go_beyond_what_the_text_area_can() {
    let mut e = editor(&"żó\u{301}".repeat(50_000));
    e.jump_to(1, 140_001);
    assert_eq!(e.cursor(), (1, 140_001));
    assert!(!e.is_dirty());
    let mut e = editor(&"a\r\n".repeat(70_000));
    typed(&mut e, [Char('x'), Char(' ')]);
    e.jump_to(69_999, 9);
    assert_eq!(e.cursor(), (69_999, 2));
    typed(&mut e, [Undo, Undo]);
    assert!(!e.is_dirty());
    typed(&mut e, [Redo, Redo]);
    assert!(e.text().starts_with("x a\r\n"));
}

#[test]
fn finding_goes_round_in_both_directions() {
    let mut e = editor("one two\nTwo\ntwo");
    let mut places = Vec::new();
    assert!(e.find("two"));
    places.push(e.cursor());
    for input in [FindNext, FindNext, FindNext, FindPrevious, FindPrevious] {
        typed(&mut e, [input]);
        places.push(e.cursor());
    }
    assert_eq!(places, [(1, 5), (2, 1), (3, 1), (1, 5), (3, 1), (2, 1)]);
    assert!(e.find("Two"));
    assert_eq!(e.cursor(), (2, 1));
    assert!(!e.find("three"));
}

#[test]
fn the_screen_shows_line_numbers_and_only_harmless_characters() {
    let e = editor("{\"k\":\t\"\u{1b}[2J\u{202e}\"}\r\n漢e\u{301}\n");
    assert_eq!(screen(&e, 40, 4), ["1 {\"k\":→  \"␛[2J\\u{202e}\"}␍", "2 漢 e\u{301}", "3", ""]);
}

#[test]
fn the_bracket_at_the_cursor_and_its_partner_are_marked() {
    let text = "{\"a}\": [\n  {\"ż\": [1, 2]},\n  \"]\"\n]}";
    let mut e = editor(text);
    let at = |e: &Editor| e.brackets().map(|[here, there]| (here, there));
    assert_eq!(at(&e), Some(((0, 0), (3, 1))));
    e.jump_to(4, 1);
    assert_eq!(at(&e), Some(((3, 0), (0, 7))));
    e.jump_to(2, 3);
    assert_eq!(at(&e), Some(((1, 2), (1, 15))), "in bytes: ż has two");
    e.jump_to(3, 4);
    assert_eq!(at(&e), None, "inside a string it is none");
    e.jump_to(1, 2);
    assert_eq!(at(&e), None);
    let mut open = editor("[[1]");
    assert_eq!(at(&open), None, "without a partner");
    typed(&mut open, [Right]);
    assert_eq!(at(&open), Some(((0, 1), (0, 3))));
}

#[test]
fn whatever_is_typed_is_what_is_sent_and_goes_by_its_own_keys() {
    for typed_text in ["ż", "🐢", "e\u{301}", "שלום", "👩\u{200d}👧", "\t", "ﷺ"] {
        let mut e = editor("[\"\"]\r\n");
        typed(&mut e, [Right, Right]);
        typed(&mut e, typed_text.chars().map(Char));
        assert_eq!(e.text(), format!("[\"{typed_text}\"]\r\n"));
        let before = e.text().to_owned();
        typed(&mut e, [Newline]);
        assert_eq!(e.text(), format!("[\"{typed_text}\r\n\"]\r\n"), "as its neighbours end");
        typed(&mut e, [Undo]);
        assert_eq!(e.text(), before);
        assert!(screen(&e, 40, 4).iter().all(|row| row.chars().all(|c| !c.is_control())));
        for _ in 0..typed_text.chars().count() {
            typed(&mut e, [Backspace]);
        }
        assert_eq!(e.text(), "[\"\"]\r\n", "{typed_text:?} goes as it came");
        assert!(!e.is_dirty());
    }
}

#[test]
fn a_text_from_elsewhere_is_one_step_and_the_original_stays() {
    let mut e = editor("{\"a\":1}");
    typed(&mut e, [Right]);
    assert_eq!(e.set("{\"a\":2}\n"), Ok(true));
    assert!(e.is_dirty());
    typed(&mut e, [Undo]);
    assert_eq!((e.text(), e.is_dirty()), ("{\"a\":1}", false));
    assert_eq!(e.set("{\"a\":1}"), Ok(false));
}

#[test]
fn a_long_line_scrolls_so_that_the_cursor_is_seen() {
    let text: String = (0..100).map(|n| char::from(b'a' + n % 26)).collect();
    let mut e = editor(&text);
    typed(&mut e, [LineEnd]);
    let area = Rect::new(0, 0, 20, 2);
    let mut buffer = Buffer::empty(area);
    let cursor = e.render(area, &mut buffer, &EditorStyles::plain()).unwrap();
    assert_eq!(screen(&e, 20, 1), ["1 nopqrstuv"]);
    assert_eq!((cursor.x, cursor.y), (11, 0));
    typed(&mut e, [LineStart]);
    assert_eq!(screen(&e, 20, 1), ["1 abcdefghijklmnopqr"]);
}

#[test]
fn every_size_is_drawn() {
    let mut e = editor("{\"k\": [1, \"\u{1b}漢\"]}\r\n\tx\n");
    for width in 0..30 {
        for height in 0..4 {
            for input in [LineEnd, Down, LineEnd, Top] {
                typed(&mut e, [input]);
                screen(&e, width, height);
            }
        }
    }
}

/// Measured by hand: `cargo test --release --lib console::text::editor -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement, not a check"]
fn keys_in_large_texts() {
    use tokio::time::Instant;
    let row = "{\"id\": 12345678901234567890123, \"name\": \"żółw\", \"total\": 1.10},";
    for (name, text) in [
        ("1 MB, lines", format!("{row}\n").repeat(15_000)),
        ("1 MB, one line", row.repeat(15_000)),
        ("16 MB, lines", format!("{row}\n").repeat(220_000)),
    ] {
        let start = Instant::now();
        let mut e = editor(&text);
        let opened = start.elapsed();
        let mut took = Vec::new();
        for input in [Bottom, Char('x'), Left, Backspace, Up, Undo] {
            let start = Instant::now();
            typed(&mut e, [input.clone()]);
            let key = start.elapsed();
            screen(&e, 120, 40);
            took.push(format!("{input:?} {key:.1?} + draw {:.1?}", start.elapsed() - key));
        }
        println!("{name}: opened {opened:.1?}; {}", took.join("; "));
    }
}
