//! Results as a Markdown table, readable on a terminal as well.

use std::fmt;

/// One benchmark's figures.
#[derive(Debug)]
pub(crate) struct Table {
    title: String,
    columns: Vec<&'static str>,
    rows: Vec<Vec<String>>,
    notes: Vec<String>,
}

impl Table {
    pub(crate) fn new(title: impl Into<String>, columns: &[&'static str]) -> Self {
        Self { title: title.into(), columns: columns.to_vec(), rows: Vec::new(), notes: Vec::new() }
    }

    pub(crate) fn row(&mut self, cells: impl Into<Vec<String>>) {
        let cells = cells.into();
        debug_assert_eq!(cells.len(), self.columns.len());
        self.rows.push(cells);
    }

    /// A line below the table.
    pub(crate) fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    /// The cells, for tests.
    #[cfg(test)]
    pub(crate) fn rows(&self) -> &[Vec<String>] {
        &self.rows
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| row[column].chars().count());
            cells.chain([self.columns[column].len()]).max().unwrap_or_default()
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        writeln!(f, "\n### {}\n", self.title)?;
        write!(f, "|")?;
        for (title, &width) in self.columns.iter().zip(&widths) {
            write!(f, " {title:width$} |")?;
        }
        write!(f, "\n|")?;
        for &width in &widths {
            write!(f, "{:-<1$}|", "", width + 2)?;
        }
        for row in &self.rows {
            write!(f, "\n|")?;
            for (cell, &width) in row.iter().zip(&widths) {
                write!(f, " {cell:width$} |")?;
            }
        }
        writeln!(f)?;
        for note in &self.notes {
            writeln!(f, "\n{note}")?;
        }
        Ok(())
    }
}

/// `0.83` as `83 %`.
pub(crate) fn percent(ratio: f64) -> String {
    format!("{:.0} %", ratio * 100.0)
}

/// Whether a target was met, with the target.
pub(crate) fn verdict(met: bool, target: &str) -> String {
    format!("{} ({target})", if met { "met" } else { "MISSED" })
}

/// A time in the unit that suits it.
pub(crate) fn time(seconds: f64) -> String {
    match seconds {
        s if s >= 1.0 => format!("{s:.2} s"),
        s if s >= 0.01 => format!("{:.0} ms", s * 1e3),
        s => format!("{:.2} ms", s * 1e3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_markdown() {
        let mut table = Table::new("A thing", &["what", "ratio"]);
        table.row(["page".into(), percent(0.834)]);
        table.note("Best of 3.");
        assert_eq!(
            table.to_string(),
            "\n### A thing\n\n| what | ratio |\n|------|-------|\n| page | 83 %  |\n\nBest of 3.\n"
        );
    }

    #[test]
    fn times_have_units() {
        assert_eq!([time(2.5), time(0.25), time(0.0025)], ["2.50 s", "250 ms", "2.50 ms"]);
    }
}
