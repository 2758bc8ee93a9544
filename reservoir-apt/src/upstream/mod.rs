//! Reading a registry: signed suites, their indexes, the packages they list.
//!
//! A suite is read as one state: its Release is verified, then every wanted index is fetched and compared with what
//! the Release says of it, and only then is anything recorded. Where upstream changes meanwhile, the Release is read
//! again, once. What did not change is neither fetched nor recorded anew.

mod cached;
pub mod date;
mod descriptions;
mod entry;
mod filename;
mod index;
mod reading;
mod release;
mod remembered;
mod suite;
mod trust;
mod verbatim;

use std::{collections::BTreeMap, sync::Arc};

use reservoir_core::{
    Error, Result, blocking,
    clock::Timestamp,
    digest::Sha256Digest,
    ecosystem::{Discover, Discovered, DiscoveredArtifact, DiscoveredFile, DiscoverySink, Mode},
    name::RevisionName,
};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use url::Url;

pub(crate) use self::{cached::LISTS_OF, entry::is_description};
use self::{
    index::{Fetched, Found, Index},
    remembered::Remembered,
    suite::{Answer, Signed, Site},
};
use crate::{
    attribute,
    name::{Suite, last_part},
    options::{Options, RegistryOptions, View},
};

/// The file of a suite's revision that has the certificates which may sign it.
pub(crate) const UPSTREAM_KEYRING: &str = "upstream-keyring.gpg";
/// How far the clocks of archives may be ahead, in seconds.
const SKEW: i64 = 600;
/// Bad stanzas of one index that are told of one by one.
const TOLD: usize = 20;
/// Raised when indexes are read differently, so that unchanged ones are read again.
const READER: &str = "2";

/// Lists what a registry offers of the suites of a repository.
///
/// What concerns one suite alone (a signature that does not hold, a state that went back in time) is an alarm, and
/// the others go on. Dropping the future loses nothing but what was not told to the sink.
///
/// # Errors
/// [`Error::Invalid`] without an address or a keyring; what the fetcher reports of an unreachable or failing
/// archive; the sink's own errors.
pub async fn discover(request: Discover<'_>, sink: &mut dyn DiscoverySink) -> Result<()> {
    let base = request.address()?;
    let options = Options::of(request.repository)?;
    let registry = RegistryOptions::of(request.registry)?;
    let trusted = trust::trusted(request.registry, &registry).await?;
    let exported: bytes::Bytes = trusted.keyring.export(&trusted.pins)?.into();
    let signers = Sha256Digest::of(&exported).to_string();
    let reader = Reader {
        request: &request,
        base,
        settings: settings(&request, base, &(&signers, &trusted.pins))?,
        options,
        registry,
        keyring: Arc::new(trusted.keyring),
        pins: trusted.pins.into(),
        exported,
        signers,
    };
    if request.repository.mode == Mode::Cache {
        return reader.cached(sink).await;
    }
    let mut parts = Vec::new();
    let mut failure = None;
    for suite in &reader.options.suites {
        if reader.registry.suites.as_ref().is_some_and(|known| !known.contains(suite)) {
            continue;
        }
        let known = Remembered::of(sink.cursor(&suite.to_artifact()).await?);
        match reader.suite(suite, known.as_ref(), sink).await {
            Ok(read) => parts.extend(read),
            Err(error) => {
                // What was known of it stays.
                parts.extend(parts_of(suite, known.as_ref()));
                match alarm(&error) {
                    Some(rule) => {
                        let (artifact, detail) = (suite.to_artifact(), error.to_string());
                        sink.found(Discovered::Alarm { artifact, rule, detail }).await?;
                    }
                    None => failure = failure.or(Some(error)),
                }
            }
        }
    }
    match failure {
        Some(error) => Err(error),
        None => sink.keep_parts(&parts).await,
    }
}

/// The rule of an error that concerns one suite alone.
fn alarm(error: &Error) -> Option<&'static str> {
    match error {
        Error::Untrusted { .. } => Some("release-untrusted"),
        Error::Malformed { rule, .. } => Some(rule),
        Error::LimitExceeded { .. } => Some("index-limit"),
        Error::Integrity { .. } => Some("index-digest"),
        Error::ForbiddenAddress { .. } => Some("index-address"),
        Error::Upstream { status: 400..=499, .. } if !error.is_retryable() => Some("index-refused"),
        _ => None,
    }
}

/// A digest of all that is configured and matters to reading, and of who may sign: a suite is verified again when that
/// changes, although it did not.
fn settings(request: &Discover<'_>, base: &Url, signers: &(&String, &Vec<String>)) -> Result<String> {
    let all = json!([READER, base.as_str(), request.registry.options, request.repository.options, signers]);
    let text =
        serde_json::to_vec(&all).map_err(|error| Error::invalid("configuration", error.to_string()))?;
    Ok(Sha256Digest::of(&text).to_string())
}

fn parts_of(suite: &Suite, known: Option<&Remembered>) -> Vec<String> {
    let indexes = known.into_iter().flat_map(|known| known.indexes.keys().cloned());
    indexes.chain([suite.to_string()]).collect()
}

struct Reader<'a> {
    request: &'a Discover<'a>,
    base: &'a Url,
    settings: String,
    options: Options,
    pins: Arc<[String]>,
    registry: RegistryOptions,
    keyring: Arc<reservoir_core::openpgp::Keyring>,
    /// The certificates of it that may sign, for clients; and their digest.
    exported: bytes::Bytes,
    signers: String,
}

/// A suite as one state.
struct Whole {
    signed: Box<Signed>,
    /// What is remembered of it, but for the indexes.
    state: Remembered,
    indexes: Vec<(Index, State)>,
    /// The files of the verbatim view.
    listed: Vec<DiscoveredFile>,
}

impl Reader<'_> {
    /// Reads one suite; the parts that it has.
    async fn suite(
        &self,
        suite: &Suite,
        known: Option<&Remembered>,
        sink: &mut dyn DiscoverySink,
    ) -> Result<Vec<String>> {
        let artifact = suite.to_artifact();
        let place = self.site(suite);
        let current = known.filter(|known| known.settings == self.settings);
        let answer = place.read(current.map(|known| (&known.validators, known.sha256.as_str()))).await?;
        let signed = match answer {
            Answer::Unchanged => {
                if let Some(known) = known {
                    self.check_valid_until(known.valid_until)?;
                }
                sink.found(Discovered::Unchanged { artifact }).await?;
                return Ok(parts_of(suite, known));
            }
            Answer::Missing if known.is_some() => {
                let detail = "the archive does not have it any more; what is here stays".to_owned();
                sink.found(Discovered::Alarm { artifact, rule: "suite-gone", detail }).await?;
                return Ok(parts_of(suite, known));
            }
            Answer::Missing => {
                sink.found(Discovered::Missing { artifact }).await?;
                return Ok(Vec::new());
            }
            Answer::Signed(signed) => signed,
        };
        let folder = tempfile::tempdir().map_err(Error::io("make a folder for indexes"))?;
        let whole = self.whole(&place, signed, known, folder.path()).await?;
        self.record(&place, whole, sink).await
    }

    fn site<'s>(&'s self, suite: &'s Suite) -> Site<'s> {
        Site {
            fetcher: self.request.fetcher,
            base: self.base,
            suite,
            keyring: Arc::clone(&self.keyring),
            pins: Arc::clone(&self.pins),
            whole: self.options.view == View::Verbatim && self.request.repository.mode != Mode::Cache,
        }
    }

    /// A suite as one state, its indexes in `folder`.
    async fn whole(
        &self,
        site: &Site<'_>,
        signed: Box<Signed>,
        known: Option<&Remembered>,
        folder: &std::path::Path,
    ) -> Result<Whole> {
        match self.fetch(site, signed, known, folder).await {
            // Upstream changed while it was read: once more, from the beginning.
            Err(Error::Integrity { .. }) => match site.read(None).await? {
                Answer::Signed(signed) => self.fetch(site, signed, known, folder).await,
                _ => Err(Error::not_found("suite", site.suite)),
            },
            outcome => outcome,
        }
    }

    /// Judges a verified Release, fetches those of its indexes that differ from what is known, and looks for the files
    /// that a verbatim mirror has of it.
    async fn fetch(
        &self,
        site: &Site<'_>,
        signed: Box<Signed>,
        known: Option<&Remembered>,
        folder: &std::path::Path,
    ) -> Result<Whole> {
        self.judge(site.suite, &signed, known)?;
        let mut indexes = Vec::new();
        for index in index::wanted(&signed.release, site.suite, &self.options) {
            let same = known.is_some_and(|known| known.indexes.get(&index.part) == Some(&index.identity()));
            let state = if same {
                State::Unchanged
            } else {
                State::Fetched(index::fetch(site, &signed.release, &index, folder).await?)
            };
            indexes.push((index, state));
        }
        let state = self.state_of(&signed, known);
        let mut listed = Vec::new();
        if self.options.view == View::Verbatim && self.request.repository.mode != Mode::Cache {
            let (name, revision) = (&self.request.registry.name, state.revision()?);
            listed = verbatim::files(site, name, &signed.release, &revision, &self.options).await?;
        }
        Ok(Whole { signed, state, indexes, listed })
    }

    fn state_of(&self, signed: &Signed, known: Option<&Remembered>) -> Remembered {
        Remembered::new(signed, &self.settings, &self.signers, known)
    }

    fn judge(&self, suite: &Suite, signed: &Signed, known: Option<&Remembered>) -> Result<()> {
        let release = &signed.release;
        let what = format!("Release of `{suite}`");
        if release.date.as_seconds() > Timestamp::now().as_seconds() + SKEW {
            let detail = format!("its Date is {}, which is in the future", date::compact(release.date));
            return Err(Error::malformed(what, "release-future", detail));
        }
        self.check_valid_until(release.valid_until)?;
        if !release.is_of(suite) {
            let name = |name| release.field(name).unwrap_or("none");
            let detail = format!("it is of suite `{}`, codename `{}`", name("suite"), name("codename"));
            return Err(Error::malformed(what, "release-suite", detail));
        }
        if let Some((rule, detail)) =
            known.and_then(|known| known.contradiction(release, self.registry.accept_changes))
        {
            return Err(Error::malformed(what, rule, detail));
        }
        let components = release.components();
        let absent = self.options.components.iter().find(|wanted| {
            let is =
                |component: &&str| *component == wanted.as_str() || last_part(component) == wanted.as_str();
            !suite.is_flat() && !components.is_empty() && !components.iter().any(is)
        });
        match absent {
            Some(component) => {
                let detail =
                    format!("it has no component `{component}`; there are {}", components.join(", "));
                Err(Error::malformed(what, "release-component", detail))
            }
            None => Ok(()),
        }
    }

    fn check_valid_until(&self, valid_until: Option<Timestamp>) -> Result<()> {
        match valid_until {
            Some(end) if self.registry.check_valid_until && end < Timestamp::now() => {
                let detail = format!(
                    "it was to be believed until {}; the archive is stale, or an old state is being served",
                    date::compact(end)
                );
                Err(Error::malformed("Release", "release-expired", detail))
            }
            _ => Ok(()),
        }
    }

    /// Tells the sink of a suite that was fetched whole; the parts that it has.
    async fn record(
        &self,
        site: &Site<'_>,
        whole: Whole,
        sink: &mut dyn DiscoverySink,
    ) -> Result<Vec<String>> {
        let Whole { signed, mut state, indexes, listed } = whole;
        state.indexes = self.indexes(site, indexes, sink).await?;
        let parts = state.indexes.keys().cloned().chain([site.suite.to_string()]).collect();
        let mut files = self.signed_files(site, &signed, &state.revision()?)?;
        files.extend(listed);
        sink.begin_part(&site.suite.to_string()).await?;
        sink.found(Discovered::Artifact(Box::new(DiscoveredArtifact {
            artifact: site.suite.to_artifact(),
            cursor: state.to_cursor(),
            attributes: BTreeMap::new(),
            quarantined: None,
            files,
            skipped: Vec::new(),
        })))
        .await?;
        sink.end_part().await?;
        Ok(parts)
    }

    /// Tells the sink of the indexes that changed; the identities of all of them by their parts.
    async fn indexes(
        &self,
        site: &Site<'_>,
        indexes: Vec<(Index, State)>,
        sink: &mut dyn DiscoverySink,
    ) -> Result<BTreeMap<String, String>> {
        let mut remembered = BTreeMap::new();
        for (index, state) in indexes {
            remembered.insert(index.part.clone(), index.identity());
            if let State::Fetched(fetched) = state {
                sink.begin_part(&index.part).await?;
                if let Some(fetched) = fetched {
                    self.packages(site, index, fetched, sink).await?;
                }
                sink.end_part().await?;
            }
        }
        Ok(remembered)
    }

    /// Tells the sink what an index lists.
    async fn packages(
        &self,
        site: &Site<'_>,
        index: Index,
        fetched: Fetched,
        sink: &mut dyn DiscoverySink,
    ) -> Result<()> {
        let (sender, mut receiver) = mpsc::channel(4);
        let (base, part) = (self.base.clone(), index.part.clone());
        let reading = tokio::task::spawn_blocking(move || index::read(&index, &fetched, &base, &sender));
        let mut bad = 0;
        while let Some(found) = receiver.recv().await {
            match found {
                Found::Units(units) => {
                    for unit in units {
                        sink.found(Discovered::Artifact(Box::new(unit))).await?;
                    }
                }
                Found::Bad(error) => {
                    bad += 1;
                    if bad <= TOLD {
                        let rule = alarm(&error).unwrap_or("stanza");
                        let detail = format!("a package of `{part}` is left out: {error}");
                        sink.found(Discovered::Alarm { artifact: site.suite.to_artifact(), rule, detail })
                            .await?;
                    }
                }
            }
        }
        if bad > TOLD {
            let detail = format!("{bad} packages of `{part}` are left out");
            sink.found(Discovered::Alarm { artifact: site.suite.to_artifact(), rule: "stanzas", detail })
                .await?;
        }
        blocking::joined(reading).await
    }

    /// What upstream signed, byte for byte.
    fn signed_files(
        &self,
        site: &Site<'_>,
        signed: &Signed,
        revision: &RevisionName,
    ) -> Result<Vec<DiscoveredFile>> {
        let signers: Vec<Value> =
            signed.verified.signers().iter().map(|signer| json!([signer.certificate, signer.key])).collect();
        let attributes = BTreeMap::from([
            (attribute::RELEASE.to_owned(), json!(signed.release.fields)),
            (attribute::SIGNED_BY.to_owned(), Value::Array(signers)),
        ]);
        let file = |(name, bytes): &(&'static str, bytes::Bytes)| {
            Ok(DiscoveredFile {
                revision: revision.clone(),
                path: site.suite.upstream_path(&self.request.registry.name, revision, name)?,
                url: site.address(name),
                size: Some(bytes.len() as u64),
                sha256: Some(Sha256Digest::of(bytes)),
                attributes: attributes.clone(),
                bytes: Some(bytes.clone()),
            })
        };
        let mut files = signed.files.iter().map(file).collect::<Result<Vec<_>>>()?;
        if self.options.view == View::Verbatim {
            // Clients need it, and not all of them have it.
            let bytes = self.exported.clone();
            files.push(DiscoveredFile { attributes: BTreeMap::new(), ..file(&(UPSTREAM_KEYRING, bytes))? });
        }
        Ok(files)
    }
}

/// What became of an index.
enum State {
    /// It is what it was.
    Unchanged,
    /// It is here; `None` when it is empty.
    Fetched(Option<Fetched>),
}
