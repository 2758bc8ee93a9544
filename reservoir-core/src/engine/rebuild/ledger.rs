//! The ledger of the streams that arrive here: without it, nothing could be loaded into what they fill any more.

use std::collections::BTreeMap;

use serde::Serialize;
use uuid::Uuid;

use super::survey::Filled;
use crate::{
    bundle::{BundleKey, CarriedRef, Header, header},
    catalog::{ArrivedRef, ArrivingStream, Repository, RestoredBundle},
    engine::Engine,
    error::{Error, ErrorKind, Result},
    name::{Actor, RefName},
};

/// A stream that goes on.
#[derive(Debug, Clone, Serialize)]
pub struct RestoredStream {
    /// The stream.
    pub stream: Uuid,
    /// The last bundle that published something here; `None` where its header is not stored, and only a full bundle is
    /// taken.
    pub sequence: Option<u64>,
    /// The key that signed it, which has to be trusted again.
    pub key: Option<BundleKey>,
}

/// Repositories that came back, by the stream that fills them.
#[derive(Debug, Default)]
pub(super) struct Arrived(BTreeMap<Uuid, Vec<(Repository, Filled)>>);

impl Arrived {
    pub(super) fn add(&mut self, repository: Repository, filled: Filled) {
        self.0.entry(filled.stream).or_default().push((repository, filled));
    }
}

impl Engine {
    /// Says again which stream fills which repository, and where each stands as far as that is in the store.
    pub(super) async fn restore_ledger(
        &self,
        arrived: Arrived,
        actor: &Actor,
    ) -> Result<Vec<RestoredStream>> {
        let mut restored = Vec::with_capacity(arrived.0.len());
        for (stream, filled) in arrived.0 {
            let ids: Vec<_> = filled.iter().map(|(repository, _)| repository.id).collect();
            let mut bundles: BTreeMap<u64, (RestoredBundle, Header, BundleKey)> = BTreeMap::new();
            for (_, filled) in &filled {
                if let Some((bundle, header, key)) = self.last_bundle(filled).await? {
                    bundles.insert(header.sequence, (bundle, header, key));
                }
            }
            let mut refs = Vec::new();
            for (repository, _) in &filled {
                // Whatever a bundle published, it told of all its repositories.
                let name = &repository.config.name;
                let told = bundles.values().rev().find(|(_, header, _)| header.main_of(name).is_some());
                let told = told.into_iter().flat_map(|(_, header, _)| header.all_refs());
                for carried in told.filter(|carried| carried.repository == *name) {
                    refs.push(self.arrived_ref(repository, carried).await?);
                }
            }
            let last = bundles.values().next_back();
            let stands = last.map(|(bundle, header, key)| ArrivingStream {
                stream,
                site: header.site.clone(),
                public: *key,
                sequence: header.sequence,
                header: bundle.header,
                refs,
            });
            restored.push(RestoredStream {
                stream,
                sequence: stands.as_ref().map(|stands| stands.sequence),
                key: stands.as_ref().map(|stands| stands.public),
            });
            let bundles: Vec<RestoredBundle> = bundles.into_values().map(|(bundle, ..)| bundle).collect();
            let stands = stands.as_ref().map(|stands| (stands, bundles.as_slice()));
            self.inner.catalog.restore_arriving(stream, &ids, stands, actor).await?;
        }
        Ok(restored)
    }

    /// The last bundle that published something in a repository, if its header is stored and says what is signed of it.
    async fn last_bundle(&self, filled: &Filled) -> Result<Option<(RestoredBundle, Header, BundleKey)>> {
        let Some(last) = &filled.last else { return Ok(None) };
        let document = match self.inner.store.read_whole(&last.header, header::LIMIT as u64).await {
            Ok(document) => document,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Integrity) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        last.key.verify("the header of a bundle", &document, &last.signature)?;
        let header = Header::decode(&document)?;
        if header.stream != last.stream {
            return Err(Error::malformed(
                "the header of a bundle",
                "record-bundle",
                "it is of another stream",
            ));
        }
        let bundle = RestoredBundle {
            sequence: header.sequence,
            header: last.header,
            document: String::from_utf8_lossy(&document).into_owned(),
            signature: last.signature.clone(),
            records: header.records.sha256,
            loaded_at: filled.at,
        };
        Ok(Some((bundle, header, last.key)))
    }

    /// A ref beside `main` is the stream's if it shows what the stream brought; otherwise it is taken for one that was made
    /// here, and left alone.
    async fn arrived_ref(&self, repository: &Repository, carried: &CarriedRef) -> Result<ArrivedRef> {
        let catalog = &self.inner.catalog;
        let mut placed = None;
        if carried.reference != RefName::main() {
            let refs = catalog.refs(repository.id).await?;
            let at = refs.into_iter().find(|(name, _)| *name == carried.reference);
            if let Some((_, number)) = at {
                let snapshot = catalog.snapshot(repository.id, number).await?;
                placed = (snapshot.content == carried.snapshot).then_some(number);
            }
        }
        Ok(ArrivedRef { carried: carried.clone(), placed })
    }
}
