//! A hex view of payloads that aren't text, made for the rows on the screen only.

use std::fmt::Write as _;

/// Bytes of one row where there is room, and where there isn't.
const WIDE: usize = 16;
const NARROW: usize = 8;

/// Bytes of one row in `columns` columns: 16 from 76 columns on, otherwise 8 (which take 43).
pub fn bytes_per_row(columns: usize) -> usize {
    if columns >= row_columns(WIDE) { WIDE } else { NARROW }
}

/// Rows that `len` bytes take.
pub fn row_count(len: usize, per_row: usize) -> usize {
    len.div_ceil(per_row.max(1))
}

/// At most `count` rows from `first` on: the offset in hexadecimal, the bytes, and the printable ASCII among
/// them. Takes time by what is shown, not by the payload's length.
pub fn rows(bytes: &[u8], per_row: usize, first: usize, count: usize) -> Vec<String> {
    let per_row = per_row.max(1);
    let start = first.saturating_mul(per_row).min(bytes.len());
    let chunks = bytes[start..].chunks(per_row).take(count);
    chunks.enumerate().map(|(n, chunk)| row(start + n * per_row, chunk, per_row)).collect()
}

/// All rows of `bytes`, 16 bytes each: for previews, whose caller has bounded them.
pub fn dump(bytes: &[u8]) -> Vec<String> {
    rows(bytes, WIDE, 0, usize::MAX)
}

fn row_columns(per_row: usize) -> usize {
    8 + 1 + per_row * 3 + per_row / 8 + 2 + per_row
}

fn row(offset: usize, chunk: &[u8], per_row: usize) -> String {
    const INFALLIBLE: &str = "a String takes all that is written to it";
    let mut out = String::with_capacity(row_columns(per_row));
    write!(out, "{offset:08x} ").expect(INFALLIBLE);
    for n in 0..per_row {
        if n % 8 == 0 {
            out.push(' ');
        }
        match chunk.get(n) {
            Some(byte) => write!(out, "{byte:02x} ").expect(INFALLIBLE),
            None => out.push_str("   "),
        }
    }
    out.push(' ');
    out.extend(chunk.iter().map(|&byte| match byte {
        b' '..=b'~' => char::from(byte),
        _ => '.',
    }));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_offset_bytes_and_what_can_be_read() {
        let bytes: Vec<u8> = b"GET /\x1b[2J\xff\0 and more".to_vec();
        assert_eq!(
            dump(&bytes),
            [
                "00000000  47 45 54 20 2f 1b 5b 32  4a ff 00 20 61 6e 64 20  GET /.[2J.. and ",
                "00000010  6d 6f 72 65                                       more",
            ]
        );
    }

    #[test]
    fn only_the_window_is_made() {
        let bytes = vec![b'x'; 1 << 24];
        let shown = rows(&bytes, 8, 2, 3);
        assert_eq!(shown.len(), 3);
        assert_eq!(shown[0], "00000010  78 78 78 78 78 78 78 78  xxxxxxxx");
        assert!(rows(&bytes, 16, usize::MAX, 5).is_empty());
        assert_eq!(row_count(17, 16), 2);
    }

    #[test]
    fn rows_fit_the_width_that_asked_for_them() {
        for columns in [43, 60, 76, 200] {
            let row = rows(&[0; 16], bytes_per_row(columns), 0, 1).remove(0);
            assert!(row.len() <= columns, "{} in {columns}", row.len());
        }
        assert_eq!((bytes_per_row(75), bytes_per_row(77)), (8, 16));
    }
}
