//! Files that a repository takes from nobody, whatever else it selects.

use std::{collections::BTreeMap, time::Duration};

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use reservoir_core::{
    Error, Result,
    ecosystem::{Accepted, OptionSpec, RepositoryConfig, bytes, duration},
};
use serde_json::Value;

use crate::{attribute, filename::DistFilename};

/// `exclude_newer`
pub(crate) const EXCLUDE_NEWER: OptionSpec = OptionSpec {
    key: "exclude_newer",
    help: "take nothing that was uploaded after a time (`2026-01-31`, `2026-01-31T12:00:00Z`) or less than so long \
           ago (`7d`); what the registry gives no time for counts as too new",
};
/// `max_size`
pub(crate) const MAX_SIZE: OptionSpec =
    OptionSpec { key: "max_size", help: "take no file that is larger, such as `500MB`" };
/// `exclude_platforms`
pub(crate) const EXCLUDE_PLATFORMS: OptionSpec = OptionSpec {
    key: "exclude_platforms",
    help: "take no wheel all of whose platform tags begin with one of these: `[\"win\", \"macosx\"]`",
};

/// What a repository takes from nobody.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    newer: Option<Cutoff>,
    max_size: Option<u64>,
    platforms: Vec<String>,
}

#[derive(Debug, Clone, Copy)]
enum Cutoff {
    At(Timestamp),
    Age(Duration),
}

impl Filter {
    /// Reads and checks the keys of a repository.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the repository and the key.
    pub fn of(repository: &RepositoryConfig) -> Result<Self> {
        let wrong = |spec: OptionSpec, detail: String| {
            Error::invalid(format!("repository `{}`, key `{}`", repository.name, spec.key), detail)
        };
        let read = |spec: OptionSpec| repository.options.get(spec.key);
        let newer = read(EXCLUDE_NEWER).map(cutoff).transpose().map_err(|d| wrong(EXCLUDE_NEWER, d))?;
        let max_size = read(MAX_SIZE).map(bytes).transpose().map_err(|detail| wrong(MAX_SIZE, detail))?;
        let platforms: Vec<String> = repository.option(EXCLUDE_PLATFORMS.key)?;
        if platforms.iter().any(String::is_empty) {
            return Err(wrong(EXCLUDE_PLATFORMS, "an empty beginning would exclude every wheel".into()));
        }
        Ok(Self { newer, max_size, platforms })
    }

    /// The most bytes that a file may have.
    #[must_use]
    pub fn max_size(&self) -> Option<u64> {
        self.max_size
    }

    /// Why a file is not taken; `None` when it may be. What was uploaded here is nobody else's to filter.
    #[must_use]
    pub fn refusal(
        &self,
        name: &DistFilename,
        size: Option<u64>,
        attributes: &BTreeMap<String, Value>,
        now: Timestamp,
    ) -> Option<String> {
        if attributes.get(Accepted::INTERNAL) == Some(&Value::Bool(true)) {
            return None;
        }
        if let Some(cutoff) = self.newer {
            let latest = match cutoff {
                Cutoff::At(time) => time,
                Cutoff::Age(age) => now.checked_sub(age).unwrap_or(Timestamp::MIN),
            };
            let uploaded = attributes.get(attribute::UPLOAD_TIME).and_then(Value::as_str);
            match uploaded.and_then(|text| text.parse::<Timestamp>().ok()) {
                None => return Some("its registry does not say when it was uploaded".into()),
                Some(uploaded) if uploaded > latest => {
                    return Some(format!(
                        "it was uploaded at {uploaded}, and {latest} is the latest allowed"
                    ));
                }
                Some(_) => {}
            }
        }
        if let (Some(limit), Some(size)) = (self.max_size, size)
            && size > limit
        {
            return Some(format!("it has {size} bytes, and {limit} are allowed"));
        }
        let is_excluded = |tag: &String| self.platforms.iter().any(|beginning| tag.starts_with(beginning));
        match name {
            DistFilename::Wheel(wheel) if wheel.platform.iter().all(is_excluded) => {
                Some(format!("wheels for `{}` are excluded", wheel.platform.join(".")))
            }
            _ => None,
        }
    }

    /// What changes while time passes, for pages that are kept: the hour, where an age counts.
    #[must_use]
    pub fn state(&self, now: Timestamp) -> u64 {
        match self.newer {
            Some(Cutoff::Age(_)) => now.as_second().unsigned_abs() / 3600,
            _ => 0,
        }
    }
}

/// A time, a day (its beginning, UTC) or an age.
fn cutoff(value: &Value) -> Result<Cutoff, String> {
    if let Ok(age) = duration(value) {
        return Ok(Cutoff::Age(age));
    }
    let text = value.as_str().unwrap_or_default();
    let day = || text.parse::<Date>().ok()?.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp());
    let time = text.parse::<Timestamp>().ok().or_else(day);
    time.map(Cutoff::At).ok_or_else(|| {
        format!(
            "{value} is neither a time like \"2026-01-31\" or \"2026-01-31T12:00:00Z\" nor an age like \"7d\""
        )
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::name::ProjectName;

    fn refuses(filter: &Filter, name: &str, size: u64, uploaded: Option<&str>) -> bool {
        let project: ProjectName = "alpha".parse().unwrap();
        let name = DistFilename::parse(name, &project).unwrap();
        let attributes = uploaded.map(|time| (attribute::UPLOAD_TIME.to_owned(), json!(time)));
        let now = "2026-02-10T00:00:00Z".parse().unwrap();
        filter.refusal(&name, Some(size), &attributes.into_iter().collect(), now).is_some()
    }

    #[test]
    fn what_is_too_new_too_large_or_for_others_is_refused() {
        let (any, win) = ("alpha-1.0-py3-none-any.whl", "alpha-1.0-cp311-cp311-win_amd64.whl");
        let both = "alpha-1.0-cp311-cp311-win32.manylinux1_x86_64.whl";
        for newer in ["2026-02-01", "2026-02-01T00:00:00Z", "9d"] {
            let filter = Filter { newer: Some(cutoff(&json!(newer)).unwrap()), ..Filter::default() };
            assert!(!refuses(&filter, any, 1, Some("2026-02-01T00:00:00Z")), "{newer}");
            assert!(refuses(&filter, any, 1, Some("2026-02-01T00:00:01Z")), "{newer}");
            assert!(refuses(&filter, any, 1, None) && refuses(&filter, any, 1, Some("yesterday")), "{newer}");
        }
        let filter = Filter { max_size: Some(10), ..Filter::default() };
        assert!(refuses(&filter, any, 11, None) && !refuses(&filter, any, 10, None));
        let filter = Filter { platforms: vec!["win".into()], ..Filter::default() };
        assert!(refuses(&filter, win, 1, None));
        assert!(!refuses(&filter, any, 1, None) && !refuses(&filter, both, 1, None));
        assert!(!refuses(&filter, "alpha-1.0.tar.gz", 1, None));
        for wrong in [json!("soon"), json!(7), json!("2026-13-01"), json!("")] {
            assert!(cutoff(&wrong).is_err(), "{wrong}");
        }
    }
}
