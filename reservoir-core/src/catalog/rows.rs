//! Reading columns into the engine's own types, and writing lists of parameters.

use std::{fmt::Write as _, str::FromStr};

use serde::{Serialize, de::DeserializeOwned};
use sqlx::{
    Any, AssertSqlSafe, Row as _,
    any::{AnyArguments, AnyRow},
    query::Query,
};

use super::failure::corrupt;
use crate::{clock::Timestamp, error::Result};

/// A statement with its parameters.
pub(super) type Statement = Query<'static, Any, AnyArguments>;

/// Rows of one multi-row statement. Keeps it well under SQLite's 32,766 parameters, and its parser's time
/// grows with the square of them.
pub(super) const BATCH: usize = 250;

/// The same where rows have many columns and there are many of them: the driver looks every parameter's name up from
/// the first on, which is a third of all the time for statements of thousands of parameters.
pub(super) const WIDE: usize = 40;

/// A statement of constant text.
pub(super) fn sql(text: &'static str) -> Statement {
    sqlx::query(text)
}

/// A statement whose text was put together from constant parts and numbered placeholders only.
pub(super) fn built(text: String) -> Statement {
    sqlx::query(AssertSqlSafe(text))
}

/// `($1, $2), ($3, $4)`
pub(super) fn tuples(rows: usize, columns: usize) -> String {
    let mut text = String::with_capacity(rows * columns * 6);
    for row in 0..rows {
        text.push_str(if row == 0 { "(" } else { ", (" });
        text.push_str(&list(row * columns + 1, columns));
        text.push(')');
    }
    text
}

/// `$3, $4, $5`
pub(super) fn list(first: usize, count: usize) -> String {
    let mut text = String::with_capacity(count * 6);
    for number in first..first + count {
        let comma = if number == first { "" } else { ", " };
        // Writing to a string cannot fail.
        let _ = write!(text, "{comma}${number}");
    }
    text
}

/// PostgreSQL takes no NUL in text.
pub(super) fn plain(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// A value as JSON text for a column.
pub(super) fn json<T: Serialize + ?Sized>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|error| corrupt("json", error))
}

/// Typed access to the columns of a row.
pub(super) trait Columns {
    fn int(&self, column: &'static str) -> Result<i64>;
    fn int_or_none(&self, column: &'static str) -> Result<Option<i64>>;
    fn text(&self, column: &'static str) -> Result<String>;
    fn text_or_none(&self, column: &'static str) -> Result<Option<String>>;

    fn count(&self, column: &'static str) -> Result<u64> {
        u64::try_from(self.int(column)?).map_err(|error| corrupt(column, error))
    }

    fn count_or_none(&self, column: &'static str) -> Result<Option<u64>> {
        self.int_or_none(column)?.map(u64::try_from).transpose().map_err(|error| corrupt(column, error))
    }

    fn flag(&self, column: &'static str) -> Result<bool> {
        Ok(self.int(column)? != 0)
    }

    fn time(&self, column: &'static str) -> Result<Timestamp> {
        self.int(column).map(Timestamp::from_micros)
    }

    fn parsed<T: FromStr<Err: Into<crate::Cause>>>(&self, column: &'static str) -> Result<T> {
        self.text(column)?.parse().map_err(|error| corrupt(column, error))
    }

    fn parsed_or_none<T: FromStr<Err: Into<crate::Cause>>>(&self, column: &'static str) -> Result<Option<T>> {
        let text = self.text_or_none(column)?;
        text.map(|text| text.parse()).transpose().map_err(|error| corrupt(column, error))
    }

    fn decoded<T: DeserializeOwned>(&self, column: &'static str) -> Result<T> {
        serde_json::from_str(&self.text(column)?).map_err(|error| corrupt(column, error))
    }

    fn decoded_or_none<T: DeserializeOwned>(&self, column: &'static str) -> Result<Option<T>> {
        let text = self.text_or_none(column)?;
        text.map(|text| serde_json::from_str(&text)).transpose().map_err(|error| corrupt(column, error))
    }
}

impl Columns for AnyRow {
    fn int(&self, column: &'static str) -> Result<i64> {
        self.try_get(column).map_err(|error| corrupt(column, error))
    }

    fn int_or_none(&self, column: &'static str) -> Result<Option<i64>> {
        self.try_get(column).map_err(|error| corrupt(column, error))
    }

    fn text(&self, column: &'static str) -> Result<String> {
        self.try_get(column).map_err(|error| corrupt(column, error))
    }

    fn text_or_none(&self, column: &'static str) -> Result<Option<String>> {
        self.try_get(column).map_err(|error| corrupt(column, error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders() {
        assert_eq!(tuples(2, 3), "($1, $2, $3), ($4, $5, $6)");
        assert_eq!(list(4, 2), "$4, $5");
        assert_eq!(list(1, 0), "");
    }
}
