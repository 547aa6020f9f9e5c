use proptest::prelude::*;

use super::*;

/// Lines as `-3  text`, with what changed between `‹` and `›`.
fn shown(old: &str, new: &str) -> Vec<String> {
    let line = |line: DiffLine| {
        let (sign, number) = match line.kind {
            DiffKind::Same => (' ', line.new_no),
            DiffKind::Removed => ('-', line.old_no),
            DiffKind::Added => ('+', line.new_no),
            DiffKind::Gap => return line.text(),
            DiffKind::Note => return format!("({})", line.text()),
        };
        let spans = line.spans.iter().map(|(emphasis, text)| match emphasis {
            Emphasis::Plain => text.clone(),
            Emphasis::Changed => format!("‹{text}›"),
        });
        format!("{sign}{} {}", number.unwrap_or_default(), spans.collect::<String>())
    };
    unified(old.as_bytes(), new.as_bytes(), 1).into_iter().map(line).collect()
}

#[test]
fn changed_words_are_marked_inside_their_lines() {
    let old = "{\n  \"a\": 1,\n  \"b\": \"two words\",\n  \"c\": 3\n}\n";
    let new = "{\n  \"a\": 1,\n  \"b\": \"two birds\",\n  \"c\": 3\n}\n";
    assert_eq!(
        shown(old, new),
        [
            "⋯",
            " 2   \"a\": 1,",
            "-3   \"b\": \"two ‹words›\",",
            "+3   \"b\": \"two ‹birds›\",",
            " 4   \"c\": 3",
            "⋯",
        ]
    );
}

#[test]
fn one_long_line_is_shown_as_its_parts() {
    let body = |total: &str| {
        let items: Vec<_> =
            (0..40).map(|n| format!("{{\"id\":{n},\"name\":\"item {n}\"}}")).collect();
        format!("{{\"items\":[{}],\"total\":{total},\"currency\":\"EUR\"}}", items.join(","))
    };
    let lines = shown(&body("1.10"), &body("1.20"));
    let expected = [
        "⋯",
        " 1 ],",
        "-1 \"total\":1.‹10›,",
        "+1 \"total\":1.‹20›,",
        " 1 \"currency\":\"EUR\"",
        "⋯",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn no_difference_is_said() {
    assert_eq!(shown("a", "a"), ["(no difference)"]);
}

#[test]
fn white_space_and_line_ends_are_seen() {
    assert_eq!(shown("a\n", "a"), ["(the newline at the end is gone)", "-1 a‹␊›", "+1 a"]);
    let lines = shown("a\r\nb", "a\nb");
    assert_eq!(lines, ["(lines ended with CRLF, now with LF)", "-1 a‹␍›", "+1 a", " 2 b"]);
    assert_eq!(shown("a b", "a  b"), ["-1 a b", "+1 a ‹·›b"]);
    let formatted = shown("[1]", "[\n  1\n]");
    assert_eq!(formatted[0], "(only white space between JSON tokens differs)");
}

#[test]
fn hostile_bytes_are_shown_harmless() {
    let lines = unified(b"a\x1b[2J\xff", "a\u{202e}".as_bytes(), 3);
    let text: Vec<_> = lines.iter().map(DiffLine::text).collect();
    assert_eq!(text, ["a␛[2J\\xff", "a\\u{202e}"]);
}

#[test]
fn a_blob_is_shown_around_its_change() {
    let blob = |c: &str| format!("\"{}-{c}-{}\"", "x".repeat(5000), "y".repeat(5000));
    let lines = shown(&blob("1"), &blob("2"));
    assert_eq!(lines.len(), 2);
    assert!(lines[0].contains("xxx…xxx") && lines[0].contains("-‹1›-"), "{}", lines[0]);
    assert!(lines[0].chars().count() < 200);
}

#[test]
fn a_changed_line_is_whole_on_both_sides_where_it_fits() {
    let old = r#"{"id": 3, "total": 100000000000000000003, "note": "bad"}"#;
    let new = r#"{"id": 3, "total": "100000000000000000003", "note": "bad"}"#;
    let rows = |columns: usize| -> Vec<String> {
        let lines = unified(old.as_bytes(), new.as_bytes(), 3);
        let rows = lines.iter().flat_map(|line| line.wrapped(columns));
        rows.map(|row| row.text()).collect()
    };
    assert_eq!(rows(78), [old, new]);
    // Beside each other it takes two rows; even in few columns nothing of the old value is left out.
    assert_eq!(rows(50).concat(), format!("{old}{new}"));
    assert!(rows(20).concat().starts_with(old), "{:?}", rows(20));
}

#[test]
fn what_stays_the_same_is_left_out_where_it_takes_many_rows() {
    let line = |end: &str| format!("{}{end}", "words ".repeat(20));
    let lines = unified(line("old").as_bytes(), line("new").as_bytes(), 3);
    let texts: Vec<String> = lines[0].wrapped(50).iter().map(DiffLine::text).collect();
    assert_eq!(texts, ["words words words …words words words old"]);
}

#[test]
fn wrapped_rows_hold_the_whole_line_and_its_marks() {
    let spans = vec![
        (Emphasis::Plain, "ab漢".to_owned()),
        (Emphasis::Changed, "字cdef".to_owned()),
        (Emphasis::Plain, "g".to_owned()),
    ];
    let line = DiffLine { kind: DiffKind::Added, old_no: None, new_no: Some(7), spans };
    for columns in 1..12 {
        let rows = line.wrapped(columns);
        assert!(
            rows.iter().all(|row| width(&row.text()) <= columns.max(2) && row.new_no == Some(7))
        );
        assert_eq!(rows.iter().map(DiffLine::text).collect::<String>(), line.text());
    }
    assert_eq!(line.wrapped(5)[1].spans, [(Emphasis::Changed, "字cde".to_owned())]);
    assert_eq!(DiffLine::note("").wrapped(5).len(), 1);
}

#[test]
fn large_texts_take_bounded_time_and_lines() {
    let text = |seed: usize| -> String {
        (0..200_000).map(|n| format!("{}\n", (n * 7919 + seed * n * n) % 9973)).collect()
    };
    let start = tokio::time::Instant::now();
    let lines = unified(text(0).as_bytes(), text(1).as_bytes(), 3);
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    assert!(lines.len() <= MAX_LINES + 1);
}

#[test]
fn header_changes_name_the_field() {
    let map = |json: &str| serde_json::from_str::<Map<String, Value>>(json).unwrap();
    let old = map(r#"{"id":"m","key":"k","headers":{"a":1,"b":1.10},"type":"t"}"#);
    let new = map(r#"{"id":"m","headers":{"a":1,"b":1.1,"c":"\u001b"},"type":"u"}"#);
    assert_eq!(
        header_changes(&old, &new),
        [
            "- key: \"k\"",
            "~ headers.b: 1.10 → 1.1",
            "+ headers.c: \"\\u001b\"",
            "~ type: \"t\" → \"u\"",
        ]
    );
    assert!(header_changes(&old, &old).is_empty());
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    let bits = prop::sample::select(vec![
        &b"{\"a\":1}"[..], b"\n", b"\r\n", b"x", b"yy zz", b",", b"\"", b"\\", b"\xff", b"\x1b", b"  ",
        b"[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31,32,33,34,\
          35,36,37,38,39,40,41,42,43,44,45,46,47,48,49,50,51,52,53,54,55,56,57,58,59,60,61,62,63,64,65]",
    ]);
    prop::collection::vec(bits, 0..12).prop_map(|bits| bits.concat())
}

proptest! {
    #[test]
    fn the_difference_applied_to_the_old_gives_the_new(old in text(), new in text()) {
        let (old_pieces, new_pieces) = pieces(&old, &new);
        prop_assert_eq!(texts(&old_pieces).concat(), old.clone());
        let mut applied = Vec::new();
        let mut taken = 0;
        for op in compare(&texts(&old_pieces), &texts(&new_pieces), deadline()) {
            prop_assert_eq!(op.old_range().start, taken);
            taken = op.old_range().end;
            match op {
                DiffOp::Equal { .. } => applied.extend(texts(&old_pieces[op.old_range()])),
                _ => applied.extend(texts(&new_pieces[op.new_range()])),
            }
        }
        prop_assert_eq!(taken, old_pieces.len());
        prop_assert_eq!(applied.concat(), new.clone());

        let lines = unified(&old, &new, usize::MAX / 4);
        let count = |kinds: &[DiffKind]| lines.iter().filter(|l| kinds.contains(&l.kind)).count();
        if old != new {
            prop_assert_eq!(count(&[DiffKind::Same, DiffKind::Removed]), old_pieces.len());
            prop_assert_eq!(count(&[DiffKind::Same, DiffKind::Added]), new_pieces.len());
        }
        prop_assert!(lines.iter().all(|l| !l.text().contains(char::is_control)));
    }
}
