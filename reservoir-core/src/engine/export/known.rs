//! What a destination is taken to have: by the ledger, or by what it says itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use uuid::Uuid;

use super::{Base, ExportOptions};
use crate::{
    Engine,
    bundle::{BundleKey, CarriedRef, Kind, inventory::Inventory},
    catalog::{Repository, SentBundle, SentRef},
    clock::Timestamp,
    digest::Sha256Digest,
    error::{Error, Result},
    name::{Actor, RefName, RepositoryName},
};

/// A ledger of before knows the time only up to which it told: a transaction may show its changes so much later than it
/// dates them.
const SLACK: Duration = Duration::from_mins(10);

/// What the receiver has, as far as a plan goes.
pub(super) struct Known {
    pub(super) kind: Kind,
    pub(super) follows: Option<(u64, Sha256Digest)>,
    pub(super) refs: Vec<SentRef>,
    /// What else it has.
    pub(super) inventory: Option<Inventory>,
    /// By the number of the audit record up to which it was told of something: the earliest date of a record behind that.
    earliest: BTreeMap<i64, Option<Timestamp>>,
}

/// From when on a destination has to be told what changed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Since {
    /// What is dated then or later has to be told.
    pub(super) from: Timestamp,
    /// When it was told last.
    told: Timestamp,
    /// Whether what is dated before was committed after it was told.
    is_exact: bool,
}

impl Since {
    /// Whether what changed then was not told yet. What changed in the very moment was, in all likelihood, and is told
    /// once more beside what is news.
    pub(super) fn is_news(self, changed_at: Timestamp) -> bool {
        changed_at > self.told || (self.is_exact && changed_at < self.told)
    }
}

impl Known {
    fn new(kind: Kind) -> Self {
        Self { kind, follows: None, refs: Vec::new(), inventory: None, earliest: BTreeMap::new() }
    }

    pub(super) fn of(&self, repository: &RepositoryName) -> Option<&SentRef> {
        self.named(repository, &RefName::main())
    }

    pub(super) fn named(&self, repository: &RepositoryName, reference: &RefName) -> Option<&SentRef> {
        self.refs
            .iter()
            .find(|sent| sent.carried.repository == *repository && sent.carried.reference == *reference)
    }

    /// Whether these are the refs beside `main` that it has of some repositories.
    pub(super) fn has_others(&self, repositories: &[Repository], others: &[CarriedRef]) -> bool {
        let named = |sent: &&SentRef| {
            sent.carried.reference != RefName::main()
                && repositories.iter().any(|one| one.config.name == sent.carried.repository)
        };
        others.len() == self.refs.iter().filter(named).count()
            && others.iter().all(|carried| {
                let sent = self.named(&carried.repository, &carried.reference);
                sent.is_some_and(|sent| sent.carried.snapshot == carried.snapshot)
            })
    }

    /// From when on it has to be told what changed in a repository; `None` when it has to be told all.
    pub(super) fn since(&self, repository: &RepositoryName) -> Option<Since> {
        let sent = self.of(repository)?;
        let told = sent.told_at?;
        let behind = sent.told_seq.and_then(|seq| self.earliest.get(&seq));
        let early = Timestamp::from_micros(told.as_micros() - SLACK.as_micros() as i64);
        let from = behind.map_or(early, |behind| behind.unwrap_or(told).min(told));
        Some(Since { from, told, is_exact: behind.is_some() })
    }
}

impl Engine {
    /// Reads the inventory that options name, once its signature holds.
    pub(in crate::engine) async fn inventory_in(&self, options: &ExportOptions) -> Result<Option<Inventory>> {
        let Base::Inventory(document, signature) = &options.base else { return Ok(None) };
        let keys: Vec<BundleKey> =
            self.inner.catalog.trusted_keys().await?.into_iter().map(|key| key.public).collect();
        BundleKey::verify_any(&keys, "the inventory", document, signature)?;
        Inventory::decode(document).map(Some)
    }

    /// The stream to a site, made or taken up again where it has to be.
    pub(super) async fn stream_for(
        &self,
        options: &ExportOptions,
        have: Option<&Inventory>,
        actor: &Actor,
    ) -> Result<Uuid> {
        let catalog = &self.inner.catalog;
        match self.stream_told(options, have).await? {
            Some(theirs) => catalog.stream_again(&options.site, theirs, actor).await,
            None => catalog.stream_to(&options.site, actor).await,
        }
    }

    /// The same, for a plan: nothing is made, and a new stream has an id that nobody else hears of.
    pub(super) async fn stream_ahead(
        &self,
        options: &ExportOptions,
        have: Option<&Inventory>,
    ) -> Result<Uuid> {
        let theirs = self.stream_told(options, have).await?;
        let found = self.inner.catalog.stream_ahead(&options.site, theirs).await?;
        Ok(found.unwrap_or_else(Uuid::new_v4))
    }

    /// What this ledger has lost may be told by the inventory of the site: the one stream there that is bound to the key of
    /// this side and fills repositories of those that are asked for.
    async fn stream_told(&self, options: &ExportOptions, have: Option<&Inventory>) -> Result<Option<Uuid>> {
        let Some(have) = have else { return Ok(None) };
        let mut names = options.repositories.clone();
        if names.is_empty() {
            let all = self.inner.catalog.repositories().await?;
            names = all.into_iter().map(|one| one.config.name).collect();
        }
        let fills = |carried: &CarriedRef| names.contains(&carried.repository);
        let mut fitting = have.streams.iter().filter(|theirs| theirs.refs.iter().any(fills));
        Ok(match (fitting.next(), fitting.next()) {
            (Some(theirs), None) if theirs.key == Some(self.bundle_key()?.public()) => Some(theirs.stream),
            _ => None,
        })
    }

    /// What the destination is taken to have, as far as this side can still tell.
    pub(super) async fn known_there(
        &self,
        options: &ExportOptions,
        have: Option<Inventory>,
        stream: Uuid,
        last: Option<&SentBundle>,
    ) -> Result<Known> {
        let mut known = self.known(options, have, stream, last).await?;
        self.forget_collected(&mut known, last).await?;
        for seq in known.refs.iter().filter_map(|sent| sent.told_seq).collect::<BTreeSet<_>>() {
            known.earliest.insert(seq, self.inner.catalog.earliest_behind(seq).await?);
        }
        Ok(known)
    }

    async fn known(
        &self,
        options: &ExportOptions,
        have: Option<Inventory>,
        stream: Uuid,
        last: Option<&SentBundle>,
    ) -> Result<Known> {
        let nothing = Known::new(Kind::Full);
        let after = |bundle: &SentBundle| Known {
            follows: Some((bundle.sequence, bundle.header)),
            refs: bundle.refs.clone(),
            ..Known::new(Kind::Delta)
        };
        Ok(match &options.base {
            Base::Ledger => last.map_or(nothing, after),
            Base::Nothing => Known { follows: last.map(|last| (last.sequence, last.header)), ..nothing },
            Base::Since(sequence) => {
                let bundle = self.inner.catalog.sent_bundle(stream, *sequence).await?;
                let bundle = bundle.filter(|bundle| bundle.finished);
                let missing = || Error::not_found("finished bundle of that number", sequence);
                after(&bundle.ok_or_else(missing)?)
            }
            Base::Inventory(..) => {
                let none = || Error::invalid("export", "the inventory was not read");
                let inventory = have.ok_or_else(none)?;
                let theirs = inventory.streams.iter().find(|theirs| theirs.stream == stream);
                let sent = match theirs {
                    Some(theirs) => self.inner.catalog.sent_bundle(stream, theirs.sequence).await?,
                    None => None,
                };
                let sent = sent.filter(|sent| theirs.is_some_and(|theirs| theirs.header == sent.header));
                // Repositories that were removed there come whole. A pull is for one, and tells no refs.
                let is_there = |sent: &SentRef| {
                    let has = |refs: &[CarriedRef]| {
                        refs.iter().any(|have| have.repository == sent.carried.repository)
                    };
                    inventory.is_empty() || theirs.is_some_and(|theirs| has(&theirs.refs))
                };
                match sent {
                    Some(sent) => {
                        let mut known = after(&sent);
                        known.refs.retain(is_there);
                        Known { inventory: Some(inventory), ..known }
                    }
                    // It never saw this stream, or another sender's: everything, but for the bytes it has.
                    None => Known {
                        follows: theirs.map(|theirs| (theirs.sequence, theirs.header)),
                        inventory: Some(inventory),
                        ..nothing
                    },
                }
            }
        })
    }

    /// What is known only of a base that garbage collection took is not known: what it had cannot be told any more, so its
    /// repositories are sent as if they were new. The last bundle's own base is never collected.
    async fn forget_collected(&self, known: &mut Known, last: Option<&SentBundle>) -> Result<()> {
        if known.follows.is_none() || known.follows == last.map(|last| (last.sequence, last.header)) {
            return Ok(());
        }
        let mut gone = BTreeSet::new();
        for SentRef { carried, .. } in &known.refs {
            if !gone.contains(&carried.repository) && !self.is_all_stored(carried.snapshot).await? {
                gone.insert(carried.repository.clone());
            }
        }
        for repository in &gone {
            tracing::warn!(%repository, "the base was collected meanwhile: all of it is sent that is not known to be there");
        }
        known.refs.retain(|sent| !gone.contains(&sent.carried.repository));
        Ok(())
    }

    /// Whether a content is stored with all its pages.
    async fn is_all_stored(&self, content: Sha256Digest) -> Result<bool> {
        let store = &self.inner.store;
        if store.stat(&content).await?.is_none() {
            return Ok(false);
        }
        for page in self.inner.pages.open(content).await?.pages() {
            if store.stat(&page).await?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
