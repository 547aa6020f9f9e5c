//! A terminal's screen as SVG: how assets/pictures are made from real runs (CONTRIBUTING.md).

use std::fmt::Write;

use vt100::{Cell, Color, Screen};

const CELL: (u16, u16) = (8, 17);
const MARGIN: u16 = 12;
const BACKGROUND: &str = "#16181d";
const FOREGROUND: &str = "#d5d8df";
/// The sixteen colours of the picture's terminal.
const PALETTE: [&str; 16] = [
    "#1d2027", "#e06c75", "#98c379", "#e5c07b", "#61afef", "#c678dd", "#56b6c2", "#abb2bf",
    "#6b7280", "#ff7b86", "#b5e890", "#ffd68a", "#82c7ff", "#e094f5", "#6fd3df", "#ffffff",
];

/// The screen as a picture of its own: no font is embedded, any monospaced one will do.
pub(crate) fn svg(screen: &Screen) -> String {
    let (rows, columns) = (screen.size().0.get(), screen.size().1.get());
    let (width, height) = (columns * CELL.0 + 2 * MARGIN, rows * CELL.1 + 2 * MARGIN);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\" font-family=\"ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,monospace\" \
         font-size=\"13\">\n<rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"{BACKGROUND}\"/>\n"
    );
    for row in 0..rows {
        let mut column = 0;
        while column < columns {
            let style = style(screen.cell(row, column));
            let begin = column;
            let mut text = String::new();
            while column < columns && self::style(screen.cell(row, column)) == style {
                let cell = screen.cell(row, column);
                if !cell.is_some_and(Cell::is_wide_continuation) {
                    let shown = cell.map(Cell::contents).filter(|text| !text.is_empty());
                    text.push_str(shown.unwrap_or(" "));
                }
                column += 1;
            }
            run(&mut out, (row, begin), column - begin, &text, &style);
        }
    }
    out.push_str("</svg>\n");
    out
}

/// What a picture says, without its looks.
pub(crate) fn texts(picture: &str) -> String {
    let texts = picture.split('<').filter_map(|tag| tag.strip_prefix("text ")?.split_once('>'));
    let plain = |(_, text): (&str, &str)| {
        text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    };
    texts.map(plain).collect::<Vec<_>>().join("\n")
}

#[derive(PartialEq)]
struct Style {
    ink: String,
    ground: String,
    bold: bool,
    dim: bool,
}

fn style(cell: Option<&Cell>) -> Style {
    let (mut ink, mut ground) = (
        colour(cell.map_or(Color::Default, Cell::fgcolor), FOREGROUND),
        colour(cell.map_or(Color::Default, Cell::bgcolor), BACKGROUND),
    );
    if cell.is_some_and(Cell::inverse) {
        std::mem::swap(&mut ink, &mut ground);
    }
    let is = |of: fn(&Cell) -> bool| cell.is_some_and(of);
    Style { ink, ground, bold: is(Cell::bold), dim: is(Cell::dim) }
}

fn colour(colour: Color, default: &str) -> String {
    match colour {
        Color::Default => default.to_owned(),
        Color::Rgb(r, g, b) => format!("#{r:02x}{g:02x}{b:02x}"),
        Color::Idx(n @ 0..16) => PALETTE[usize::from(n)].to_owned(),
        Color::Idx(n @ 16..232) => {
            let level = |step: u8| if step == 0 { 0 } else { 55 + 40 * step };
            let n = n - 16;
            format!("#{:02x}{:02x}{:02x}", level(n / 36), level(n / 6 % 6), level(n % 6))
        }
        Color::Idx(n) => format!("#{0:02x}{0:02x}{0:02x}", 8 + 10 * (n - 232)),
    }
}

fn run(out: &mut String, (row, column): (u16, u16), cells: u16, text: &str, style: &Style) {
    let (x, y) = (MARGIN + column * CELL.0, MARGIN + row * CELL.1);
    let width = cells * CELL.0;
    if style.ground != BACKGROUND {
        let ground = &style.ground;
        writeln!(
            out,
            "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{}\" fill=\"{ground}\"/>",
            CELL.1
        )
        .expect("a string takes all");
    }
    if text.trim().is_empty() {
        return;
    }
    let weight = if style.bold { " font-weight=\"bold\"" } else { "" };
    let dim = if style.dim { " opacity=\"0.6\"" } else { "" };
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    writeln!(
        out,
        "<text x=\"{x}\" y=\"{}\" fill=\"{}\"{weight}{dim} xml:space=\"preserve\" \
         textLength=\"{width}\" lengthAdjust=\"spacingAndGlyphs\">{text}</text>",
        y + 13,
        style.ink
    )
    .expect("a string takes all");
}
