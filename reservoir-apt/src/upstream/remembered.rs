//! What is remembered of a suite between two syncs.

use std::collections::BTreeMap;

use reservoir_core::{Result, clock::Timestamp, ecosystem::Cursor, fetch::Validators, name::RevisionName};

use super::{date, release::Release, suite::Signed};

mod key {
    pub(super) const ETAG: &str = "etag";
    pub(super) const LAST_MODIFIED: &str = "last-modified";
    pub(super) const SHA256: &str = "sha256";
    pub(super) const SETTINGS: &str = "settings";
    pub(super) const KEYRING: &str = "keyring";
    pub(super) const SERIAL: &str = "serial";
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
    /// A digest of the certificates that could sign it; `None` where that was not remembered.
    keyring: Option<String>,
    /// Which of several states of one date it is.
    serial: u32,
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
            keyring: text(key::KEYRING),
            serial: text(key::SERIAL).and_then(|text| text.parse().ok()).unwrap_or_default(),
            date: time(key::DATE),
            valid_until: time(key::VALID_UNTIL),
            indexes: with(key::INDEX),
            fields: with(key::FIELD),
        })
    }

    /// A suite as it was read now, after it was read as `before`.
    pub(super) fn new(signed: &Signed, settings: &str, keyring: &str, before: Option<&Self>) -> Self {
        let release = &signed.release;
        let sha256 = signed.sha256.to_string();
        let serial = match before.filter(|before| before.date == Some(release.date)) {
            Some(before) if before.sha256 == sha256 && before.has_keyring(keyring) => before.serial,
            Some(before) => before.serial.saturating_add(1),
            None => 0,
        };
        // What is absent is held to that as well: apt compares it as an empty text.
        let held = |name: &&str| ((*name).to_owned(), release.field(name).unwrap_or_default().to_owned());
        Self {
            validators: signed.validators.clone(),
            sha256,
            settings: settings.to_owned(),
            keyring: Some(keyring.to_owned()),
            serial,
            date: Some(release.date),
            valid_until: release.valid_until,
            indexes: BTreeMap::new(),
            fields: HELD.iter().map(held).collect(),
        }
    }

    fn has_keyring(&self, keyring: &str) -> bool {
        self.keyring.as_ref().is_none_or(|known| known == keyring)
    }

    /// What the state is called: its Release's Date, and which state of that date it is where there are several, since
    /// an archive may sign the same again, and others may be trusted to sign it.
    ///
    /// # Errors
    /// None in practice: the grammar of dates is stricter than that of names.
    pub(super) fn revision(&self) -> Result<RevisionName> {
        let date = self.date.map(date::compact).unwrap_or_default();
        match self.serial {
            0 => date.parse(),
            serial => format!("{date}.{serial:02}").parse(),
        }
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
            (key::KEYRING, self.keyring.clone()),
            (key::SERIAL, Some(self.serial.to_string())),
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
        let now = |name: &str| release.field(name).unwrap_or_default();
        let changed = self.fields.iter().find(|(name, before)| now(name) != before.as_str());
        let (name, before) = changed.filter(|_| !accept_changes)?;
        let now = now(name);
        let detail = format!(
            "its {name} was `{before}` and is `{now}` now; clients refuse that, so set `accept_changes = true` on the \
             registry if it is meant"
        );
        Some(("release-changed", detail))
    }
}
