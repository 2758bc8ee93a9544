//! The keys that a cache adds to a repository, and the limits that any registry may have.

use std::{ops::RangeInclusive, time::Duration};

use serde_json::Value;

use super::{OptionSpec, Registry, RepositoryConfig};
use crate::error::{Error, Result};

/// How a repository with `mode = "cache"` keeps what it was asked for. A format that has the mode lists
/// [`FRESH_FOR`](Self::FRESH_FOR), [`FOLD_EVERY`](Self::FOLD_EVERY) and [`CACHE_SIZE`](Self::CACHE_SIZE) among
/// its options; they are read when a repository is applied, and refused where it is no cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheOptions {
    /// How long an index page is served without asking its registry again.
    pub fresh_for: Duration,
    /// How long what arrived may wait for a snapshot.
    pub fold_every: Duration,
    /// Bytes of files that the cache holds; the least recently used go first. `None` is no limit.
    pub cache_size: Option<u64>,
}

impl CacheOptions {
    /// `fresh_for = "10m"`
    pub const FRESH_FOR: OptionSpec = OptionSpec {
        key: "fresh_for",
        help: "of a cache: how long a page is served before the registry is asked again (`10m`, the default)",
    };
    /// `fold_every = "5m"`
    pub const FOLD_EVERY: OptionSpec = OptionSpec {
        key: "fold_every",
        help: "of a cache: how long what arrived may wait for a snapshot (`5m`, the default)",
    };
    /// `cache_size = "50GiB"`
    pub const CACHE_SIZE: OptionSpec = OptionSpec {
        key: "cache_size",
        help: "of a cache: most bytes of files held, such as `50GiB`; the least recently used go first",
    };

    /// All of them.
    pub const KEYS: [&str; 3] = [Self::FRESH_FOR.key, Self::FOLD_EVERY.key, Self::CACHE_SIZE.key];

    /// Reads and checks the keys; those that are absent have their defaults.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the repository and the key.
    pub fn of(repository: &RepositoryConfig) -> Result<Self> {
        let at = |key: &str| format!("repository `{}`, key `{key}`", repository.name);
        let time = |spec: OptionSpec, default: Duration| match repository.options.get(spec.key) {
            None => Ok(default),
            Some(value) => duration(value).map_err(|detail| Error::invalid(at(spec.key), detail)),
        };
        let fresh_for = time(Self::FRESH_FOR, Duration::from_mins(10))?;
        let fold_every = time(Self::FOLD_EVERY, Duration::from_mins(5))?;
        let cache_size = match repository.options.get(Self::CACHE_SIZE.key) {
            None => None,
            Some(value) => {
                let size = bytes(value).map_err(|detail| Error::invalid(at(Self::CACHE_SIZE.key), detail))?;
                Some(size)
            }
        };
        Ok(Self { fresh_for, fold_every, cache_size })
    }
}

/// How much may be asked of one registry; `None` leaves it to the host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RegistryLimits {
    /// Requests at a time.
    pub concurrency: Option<usize>,
    /// Bytes a second, all transfers together.
    pub bandwidth: Option<u64>,
}

impl Registry {
    /// The keys of every registry that stand among its options: `concurrency = 4`, `bandwidth = "10MiB"`.
    pub const LIMITS: [&'static str; 2] = ["concurrency", "bandwidth"];

    /// Names that no registry may have: they stand where a file came from none, but by an upload or in a snapshot.
    pub const RESERVED: [&'static str; 2] = ["upload", "snapshot"];

    /// Its limits.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the registry and the key.
    pub fn limits(&self) -> Result<RegistryLimits> {
        let [concurrency, bandwidth] = Self::LIMITS;
        let wrong = |key: &str, detail: String| {
            Error::invalid(format!("registry `{}`, key `{key}`", self.name), detail)
        };
        let concurrency = match self.options.get(concurrency) {
            None => None,
            Some(value) => {
                let count = value.as_u64().filter(|count| (1..=256).contains(count));
                let count = count.ok_or_else(|| wrong(concurrency, "is a number from 1 to 256".into()))?;
                Some(usize::try_from(count).unwrap_or(1))
            }
        };
        let bandwidth = match self.options.get(bandwidth) {
            None => None,
            Some(value) => Some(bytes(value).map_err(|detail| wrong(bandwidth, detail))?),
        };
        Ok(RegistryLimits { concurrency, bandwidth })
    }
}

const DAY: u64 = 86_400;

/// Reads `"30s"`, `"10m"`, `"6h"` or `"1d"`: a second to a year. The error says what is wrong.
#[expect(clippy::missing_errors_doc, reason = "said")]
pub fn duration(value: &Value) -> Result<Duration, String> {
    duration_within(value, Duration::from_secs(1)..=Duration::from_secs(366 * DAY))
}

/// The same within other bounds, of whole seconds.
#[expect(clippy::missing_errors_doc, reason = "said")]
pub fn duration_within(value: &Value, bounds: RangeInclusive<Duration>) -> Result<Duration, String> {
    let wrong = || format!("{value} is not like \"30s\", \"10m\", \"6h\" or \"1d\"");
    let text = value.as_str().ok_or_else(wrong)?.trim();
    let unit = match text.as_bytes().last() {
        Some(b's') => 1,
        Some(b'm') => 60,
        Some(b'h') => 3600,
        Some(b'd') => DAY,
        _ => return Err(wrong()),
    };
    let count: u64 = text[..text.len() - 1].trim().parse().map_err(|_| wrong())?;
    let given = count.checked_mul(unit).map(Duration::from_secs).filter(|given| bounds.contains(given));
    given.ok_or_else(|| {
        format!("{value} is not between {} and {}", in_words(*bounds.start()), in_words(*bounds.end()))
    })
}

/// In the largest unit that it is a multiple of.
fn in_words(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let units = [(DAY, "day"), (3600, "hour"), (60, "minute"), (1, "second")];
    let (unit, name) =
        units.into_iter().find(|(unit, _)| seconds.is_multiple_of(*unit)).unwrap_or((1, "second"));
    match seconds / unit {
        1 => format!("1 {name}"),
        count => format!("{count} {name}s"),
    }
}

/// Reads `"50GiB"`, `"500MB"` or a number of bytes. The error says what is wrong.
#[expect(clippy::missing_errors_doc, reason = "said")]
pub fn bytes(value: &Value) -> Result<u64, String> {
    let wrong = || format!("{value} is not like \"50GiB\", \"500MB\" or a number of bytes");
    if let Some(count) = value.as_u64() {
        return if count > 0 { Ok(count) } else { Err(wrong()) };
    }
    let text = value.as_str().ok_or_else(wrong)?.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let unit: u64 = match text[digits..].trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        "kB" => 1000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        _ => return Err(wrong()),
    };
    let count: u64 = text[..digits].parse().map_err(|_| wrong())?;
    count.checked_mul(unit).filter(|bytes| *bytes > 0).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn durations_and_sizes_are_read_or_refused() {
        for (text, seconds) in [("1s", 1), ("10m", 600), (" 6h ", 21_600), ("1d", 86_400)] {
            assert_eq!(duration(&json!(text)), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for wrong in
            [json!("0s"), json!("10"), json!("m"), json!("-1m"), json!("400d"), json!(5), json!("1é")]
        {
            assert!(duration(&wrong).is_err(), "{wrong}");
        }
        let bounds = Duration::from_secs(10)..=Duration::from_mins(90);
        assert_eq!(duration_within(&json!("10s"), bounds.clone()), Ok(Duration::from_secs(10)));
        let refused = duration_within(&json!("2h"), bounds).unwrap_err();
        assert_eq!(refused, "\"2h\" is not between 10 seconds and 90 minutes");
        assert_eq!(duration(&json!("400d")).unwrap_err(), "\"400d\" is not between 1 second and 366 days");
        for (value, size) in [
            (json!(7), 7),
            (json!("7"), 7),
            (json!("50GiB"), 50 << 30),
            (json!("500 MB"), 500_000_000),
            (json!("1TiB"), 1 << 40),
        ] {
            assert_eq!(bytes(&value), Ok(size), "{value}");
        }
        for wrong in
            [json!(0), json!("GiB"), json!("5 gigs"), json!(-1), json!("99999999999TiB"), json!("1.5GiB")]
        {
            assert!(bytes(&wrong).is_err(), "{wrong}");
        }
    }
}
