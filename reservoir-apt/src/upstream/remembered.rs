//! What is remembered of a suite between two syncs.

use std::collections::BTreeMap;

use reservoir_core::{clock::Timestamp, ecosystem::Cursor, fetch::Validators};

use super::{date, release::Release};

mod key {
    pub(super) const ETAG: &str = "etag";
    pub(super) const LAST_MODIFIED: &str = "last-modified";
    pub(super) const SHA256: &str = "sha256";
    pub(super) const SETTINGS: &str = "settings";
    pub(super) const DATE: &str = "date";
    pub(super) const VALID_UNTIL: &str = "valid-until";
    /// Before the names of parts.
    pub(super) const INDEX: &str = "index ";
    /// Before the fields that clients hold an archive to.
    pub(super) const FIELD: &str = "field ";
}

/// Fields that apt refuses to see changed, or warns of.
const HELD: [&str; 4] = ["origin", "label", "codename", "suite"];

/// A suite as it was read the last time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Remembered {
    pub(super) validators: Validators,
    /// The digest of the signed bytes.
    pub(super) sha256: String,
    /// A digest of everything configured that matters to reading.
    pub(super) settings: String,
    pub(super) date: Option<Timestamp>,
    pub(super) valid_until: Option<Timestamp>,
    /// The digests of its indexes by their parts.
    pub(super) indexes: BTreeMap<String, String>,
    fields: BTreeMap<String, String>,
}

impl Remembered {
    pub(super) fn of(cursor: Option<Cursor>) -> Option<Self> {
        let cursor = cursor?.0;
        let text = |name: &str| cursor.get(name).cloned();
        let time = |name: &str| {
            let micros: i64 = cursor.get(name)?.parse().ok()?;
            Some(Timestamp::from_micros(micros))
        };
        let with = |prefix: &str| {
            let own = cursor
                .iter()
                .filter_map(|(name, value)| Some((name.strip_prefix(prefix)?.to_owned(), value.clone())));
            own.collect()
        };
        Some(Self {
            validators: Validators { etag: text(key::ETAG), last_modified: text(key::LAST_MODIFIED) },
            sha256: text(key::SHA256)?,
            settings: text(key::SETTINGS)?,
            date: time(key::DATE),
            valid_until: time(key::VALID_UNTIL),
            indexes: with(key::INDEX),
            fields: with(key::FIELD),
        })
    }

    pub(super) fn new(
        validators: Validators,
        sha256: String,
        settings: String,
        release: &Release,
        indexes: BTreeMap<String, String>,
    ) -> Self {
        let fields =
            HELD.iter().filter_map(|name| Some(((*name).to_owned(), release.field(name)?.to_owned())));
        let (date, valid_until) = (Some(release.date), release.valid_until);
        Self { validators, sha256, settings, date, valid_until, indexes, fields: fields.collect() }
    }

    pub(super) fn to_cursor(&self) -> Cursor {
        let mut cursor = BTreeMap::from([
            (key::SHA256.to_owned(), self.sha256.clone()),
            (key::SETTINGS.to_owned(), self.settings.clone()),
        ]);
        let time = |time: Option<Timestamp>| time.map(|time| time.as_micros().to_string());
        for (name, value) in [
            (key::ETAG, self.validators.etag.clone()),
            (key::LAST_MODIFIED, self.validators.last_modified.clone()),
            (key::DATE, time(self.date)),
            (key::VALID_UNTIL, time(self.valid_until)),
        ] {
            cursor.extend(value.map(|value| (name.to_owned(), value)));
        }
        for (prefix, entries) in [(key::INDEX, &self.indexes), (key::FIELD, &self.fields)] {
            cursor.extend(entries.iter().map(|(name, value)| (format!("{prefix}{name}"), value.clone())));
        }
        Cursor(cursor)
    }

    /// What a new Release must not do after this one: go back in time, or become another archive's.
    pub(super) fn contradiction(
        &self,
        release: &Release,
        accept_changes: bool,
    ) -> Option<(&'static str, String)> {
        if let Some(before) = self.date
            && release.date < before
        {
            let detail = format!(
                "its Date is {}, but one of {} was seen before; an old state is being served",
                date::compact(release.date),
                date::compact(before)
            );
            return Some(("release-rollback", detail));
        }
        let changed = self.fields.iter().find(|(name, before)| release.field(name) != Some(before.as_str()));
        let (name, before) = changed.filter(|_| !accept_changes)?;
        let now = release.field(name).unwrap_or("absent");
        let detail = format!(
            "its {name} was `{before}` and is `{now}` now; clients refuse that, so set `accept_changes = true` on the \
             registry if it is meant"
        );
        Some(("release-changed", detail))
    }
}
