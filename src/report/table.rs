//! A small text table: columns as wide as their widest cell, two spaces between them.

use std::fmt;

use super::text::printable;

/// A table for people. Cells are made harmless for a terminal.
#[derive(Clone, Debug)]
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
    indent: usize,
}

/// The head of a column, and the side that its cells stand on.
#[derive(Clone, Copy, Debug)]
pub enum Column {
    /// For words.
    Left(&'static str),
    /// For numbers.
    Right(&'static str),
}

impl Table {
    /// A table without rows.
    pub fn new(columns: impl IntoIterator<Item = Column>) -> Self {
        Table { columns: columns.into_iter().collect(), rows: Vec::new(), indent: 0 }
    }

    /// The same with so many spaces before each line.
    pub fn indented(mut self, spaces: usize) -> Self {
        self.indent = spaces;
        self
    }

    /// Adds a row. Cells that are missing at its end are empty; more cells than columns are left out.
    pub fn row<C: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = C>) {
        let row = cells.into_iter().take(self.columns.len()).map(|cell| printable(cell.as_ref()).into_owned());
        self.rows.push(row.collect());
    }

    /// Whether it has no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The width of each column, in places of the terminal.
    fn widths(&self) -> Vec<usize> {
        let mut widths: Vec<usize> = self.columns.iter().map(|column| width(column.head())).collect();
        for row in &self.rows {
            for (place, cell) in widths.iter_mut().zip(row) {
                *place = width(cell).max(*place);
            }
        }
        widths
    }

    fn line(&self, widths: &[usize], cells: &[&str]) -> String {
        let mut line = " ".repeat(self.indent);
        for ((column, wide), cell) in self.columns.iter().zip(widths).zip(cells) {
            let space = " ".repeat(wide - width(cell));
            match column {
                Column::Left(_) => line.extend([*cell, &space, "  "]),
                Column::Right(_) => line.extend([&space, *cell, "  "]),
            }
        }
        line.truncate(line.trim_end().len());
        line
    }
}

impl Column {
    fn head(&self) -> &'static str {
        match self {
            Column::Left(head) | Column::Right(head) => head,
        }
    }
}

impl fmt::Display for Table {
    /// Each line ends with a newline, the last one too.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths = self.widths();
        let heads: Vec<&str> = self.columns.iter().map(Column::head).collect();
        writeln!(f, "{}", self.line(&widths, &heads))?;
        for row in &self.rows {
            let cells: Vec<&str> = row.iter().map(String::as_str).collect();
            writeln!(f, "{}", self.line(&widths, &cells))?;
        }
        Ok(())
    }
}

/// Places of the terminal that a text takes.
fn width(text: &str) -> usize {
    console::measure_text_width(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new([Column::Left("host"), Column::Right("slots"), Column::Left("note")]);
        table.row(["node07", "16", ""]);
        table.row(["日本", "4", "a\x1bb"]);
        table.row(["x"]);
        let expected = "\
host    slots  note
node07     16
日本        4  a\\u{1b}b
x
";
        assert_eq!(table.to_string(), expected);
    }

    #[test]
    fn an_indent_stands_before_each_line() {
        let mut table = Table::new([Column::Right("n")]).indented(2);
        assert!(table.is_empty());
        table.row(["12"]);
        assert_eq!(table.to_string(), "   n\n  12\n");
    }
}
