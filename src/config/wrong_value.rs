//! Which key has a value of the wrong type.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

/// Tables of which the file has one a name; the name is quoted, as it is in other errors.
const BY_NAME: [&str; 5] = ["queues", "topics", "gathers", "sagas", "workers"];

/// The key, with its tables, of the smallest value that `wrong` stands in. `None` if the text isn't TOML.
pub(super) fn key_at(text: &str, wrong: &Range<usize>) -> Option<String> {
    let root = DeTable::parse(text).ok()?;
    let mut search = Search { wrong, path: Vec::new(), found: None };
    search.table(root.get_ref());
    search.found.map(|(_, key)| key)
}

struct Search<'a> {
    wrong: &'a Range<usize>,
    path: Vec<String>,
    /// The smallest one so far: its length in bytes, its key.
    found: Option<(usize, String)>,
}

impl Search<'_> {
    fn table(&mut self, table: &DeTable<'_>) {
        for (key, value) in table {
            let by_name = matches!(&self.path[..], [of] if BY_NAME.contains(&of.as_str()));
            let name: &str = key.get_ref();
            self.path.push(if by_name { format!("{name:?}") } else { name.to_owned() });
            self.value(value);
            self.path.pop();
        }
    }

    fn value(&mut self, value: &toml::Spanned<DeValue<'_>>) {
        let span = value.span();
        let holds = span.start <= self.wrong.start && self.wrong.end <= span.end;
        if holds && self.found.as_ref().is_none_or(|(len, _)| span.len() <= *len) {
            self.found = Some((span.len(), self.path.join(".")));
        }
        match value.get_ref() {
            // What stands under a `[table]` isn't inside of its span.
            DeValue::Table(table) => self.table(table),
            DeValue::Array(rows) => rows.iter().for_each(|row| self.value(row)),
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_) => {}
        }
    }
}
