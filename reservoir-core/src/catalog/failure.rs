//! From the database's errors to ours.

use crate::error::Error;

/// For `map_err`: what was being done, and the database's own words behind it.
pub(super) fn failed(operation: impl Into<String>) -> impl FnOnce(sqlx::Error) -> Error {
    let operation = operation.into();
    move |source| {
        if code(&source).as_deref().is_some_and(is_full) {
            return Error::NoSpace { what: format!("the catalog ({operation})") };
        }
        if is_busy(&source) {
            return Error::Conflict {
                what: "the catalog".into(),
                detail: format!("another process held its lock too long ({operation})"),
            };
        }
        Error::Catalog { operation, source: Box::new(source) }
    }
}

/// A stored value that does not mean what its column promises.
pub(super) fn corrupt(column: &str, cause: impl Into<crate::Cause>) -> Error {
    Error::Catalog { operation: format!("read column `{column}`"), source: cause.into() }
}

/// Whether somebody else holds the lock, so that trying again helps.
pub(super) fn is_busy(error: &sqlx::Error) -> bool {
    code(error).is_some_and(|code| match sqlite_code(&code) {
        // SQLITE_BUSY and SQLITE_LOCKED with all their extensions.
        Some(primary) => matches!(primary, 5 | 6),
        // serialization_failure, deadlock_detected, lock_not_available
        None => matches!(code.as_str(), "40001" | "40P01" | "55P03"),
    })
}

fn is_full(code: &str) -> bool {
    match sqlite_code(code) {
        // SQLITE_FULL
        Some(primary) => primary == 13,
        // disk_full
        None => code == "53100",
    }
}

/// SQLite's codes are numbers of up to four digits with the primary code in the low byte; PostgreSQL's
/// are always five characters.
fn sqlite_code(code: &str) -> Option<u32> {
    if code.len() >= 5 { None } else { code.parse::<u32>().ok().map(|code| code & 0xff) }
}

fn code(error: &sqlx::Error) -> Option<String> {
    error.as_database_error().and_then(sqlx::error::DatabaseError::code).map(std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_both_engines() {
        assert!(is_full("13"));
        assert!(is_full("53100"));
        assert!(!is_full("5"));
        assert_eq!(sqlite_code("517"), Some(5), "SQLITE_BUSY_SNAPSHOT");
        assert_eq!(sqlite_code("40001"), None);
    }
}
