//! A query string and where things stand in it: sqlparser speaks of lines and columns, Postgres clients of characters.

use datafusion::sql::sqlparser::tokenizer::{Location, Span};

/// A text with its lines.
pub(super) struct Text<'a> {
    sql: &'a str,
    lines: Vec<Line>,
}

/// Where a line begins.
struct Line {
    byte: usize,
    character: usize,
    /// Then a column is a byte, and looking it up costs nothing however long the line.
    ascii: bool,
}

impl<'a> Text<'a> {
    pub(super) fn new(sql: &'a str) -> Self {
        let mut lines = Vec::new();
        let (mut byte, mut character) = (0, 0);
        for line in sql.split_inclusive('\n') {
            let ascii = line.is_ascii();
            lines.push(Line { byte, character, ascii });
            byte += line.len();
            character += if ascii { line.len() } else { line.chars().count() };
        }
        lines.push(Line { byte, character, ascii: true });
        Self { sql, lines }
    }

    /// The 0-based byte and character of a location; the end of the text for an empty location (that of the end of input)
    /// or one beyond the end.
    fn find(&self, location: Location) -> (usize, usize) {
        let end = self.lines.last().expect("there is always a last line");
        let Some(line) = (location.line as usize).checked_sub(1).and_then(|line| self.lines.get(line)) else {
            return (end.byte, end.character);
        };
        let column = (location.column as usize).saturating_sub(1);
        let bytes = match line.ascii {
            true => column,
            false => self.sql[line.byte..].char_indices().nth(column).map_or(self.sql.len() - line.byte, |(at, _)| at),
        };
        match line.byte + bytes {
            byte if byte < self.sql.len() => (byte, line.character + column),
            _ => (end.byte, end.character),
        }
    }

    /// The 0-based character at which `location` is.
    pub(super) fn character(&self, location: Location) -> usize {
        self.find(location).1
    }

    /// The text of a span.
    pub(super) fn slice(&self, span: Span) -> &'a str {
        let (start, _) = self.find(span.start);
        let (end, _) = self.find(span.end);
        &self.sql[start..end.max(start)]
    }
}
