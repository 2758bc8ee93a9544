//! Refs beside `main`: they follow the other side, and what was named here stays what it is.

use std::collections::BTreeMap;

use super::apply::Open;
use crate::{
    Engine,
    bundle::{CarriedRef, Header},
    catalog::{ArrivedRef, RefMove, RepositoryId},
    digest::Sha256Digest,
    error::Result,
    name::{Actor, RefName, RepositoryName},
};

/// A snapshot that a ref shall point at.
#[derive(Debug, Clone, Copy)]
enum Goal {
    /// One that is here.
    Number(u64),
    /// The one that `main` points at when the bundle is applied.
    Main,
}

impl Goal {
    fn number(self, main: Option<u64>) -> Option<u64> {
        match self {
            Self::Number(number) => Some(number),
            Self::Main => main,
        }
    }
}

/// What becomes of one ref that a bundle brings.
#[derive(Debug)]
struct Placed {
    carried: CarriedRef,
    /// Where it points now.
    from: Option<u64>,
    /// Where it shall point; `None` where that is not the stream's to say.
    goal: Option<Goal>,
}

/// What becomes of the refs of a repository.
#[derive(Debug, Default)]
pub(super) struct PlacedRefs {
    placed: Vec<Placed>,
    gone: Vec<(RefName, u64)>,
    /// Those of which the bundle says nothing.
    untold: Vec<ArrivedRef>,
}

impl PlacedRefs {
    /// The refs that move, where `main` points at the snapshot of that number.
    pub(super) fn moves(
        &self,
        repository: RepositoryId,
        main: Option<u64>,
    ) -> impl Iterator<Item = RefMove> + use<> {
        let mut moves = Vec::with_capacity(self.placed.len() + self.gone.len());
        for placed in &self.placed {
            let to = placed.goal.and_then(|goal| goal.number(main));
            if to.is_some() && to != placed.from {
                let name = placed.carried.reference.clone();
                moves.push(RefMove { repository, name, from: placed.from, to });
            }
        }
        for (name, number) in &self.gone {
            moves.push(RefMove { repository, name: name.clone(), from: Some(*number), to: None });
        }
        moves.into_iter()
    }

    /// What the ledger remembers of them.
    pub(super) fn arrived(&self, main: Option<u64>) -> impl Iterator<Item = ArrivedRef> {
        let placed = self.placed.iter().map(move |placed| ArrivedRef {
            carried: placed.carried.clone(),
            placed: placed.goal.and_then(|goal| goal.number(main)),
        });
        placed.chain(self.untold.iter().cloned())
    }

    /// Those that were made here and stay, for people.
    pub(super) fn kept(&self) -> impl Iterator<Item = String> {
        let kept = self.placed.iter().filter(|placed| placed.goal.is_none());
        kept.map(|placed| format!("{}@{}", placed.carried.repository, placed.carried.reference))
    }
}

impl Engine {
    /// Finds a snapshot for each ref beside `main` that the bundle brings, or makes one; no ref moves yet.
    ///
    /// A ref is the stream's when a bundle of it put it where it points. One that was made or moved here is not touched,
    /// unless it shows the same; nor are any, where the sender says nothing of them.
    pub(super) async fn place_refs(
        &self,
        open: &Open<'_>,
        header: &Header,
        known: &[ArrivedRef],
        main: Sha256Digest,
        actor: &Actor,
        reason: &str,
    ) -> Result<PlacedRefs> {
        let (catalog, id, name) = (&self.inner.catalog, open.repository.id, &open.repository.config.name);
        let known: Vec<&ArrivedRef> = known.iter().filter(|arrived| is_other(arrived, name)).collect();
        let Some(others) = &header.other_refs else {
            let untold = known.into_iter().cloned().collect();
            return Ok(PlacedRefs { untold, ..PlacedRefs::default() });
        };
        let here: BTreeMap<RefName, u64> = catalog.refs(id).await?.into_iter().collect();
        let placed_by_us = |reference: &RefName| {
            known.iter().find(|arrived| arrived.carried.reference == *reference)?.placed
        };
        let mut result = PlacedRefs::default();
        for carried in others.iter().filter(|carried| carried.repository == *name) {
            let from = here.get(&carried.reference).copied();
            let root = self.served_content(open, carried).await?;
            let is_ours = from.is_none() || from == placed_by_us(&carried.reference);
            let goal = if is_ours {
                Some(self.snapshot_of(open, &carried.reference, root, main, actor, reason).await?)
            } else {
                self.shows(id, from, root).await?
            };
            result.placed.push(Placed { carried: carried.clone(), from, goal });
        }
        for arrived in known {
            let reference = &arrived.carried.reference;
            let is_told = result.placed.iter().any(|placed| placed.carried.reference == *reference);
            if let Some(number) = arrived.placed
                && !is_told
                && here.get(reference) == Some(&number)
            {
                result.gone.push((reference.clone(), number));
            }
        }
        Ok(result)
    }

    /// A ref made here that shows what the bundle brings is as good as the stream's.
    async fn shows(&self, id: RepositoryId, at: Option<u64>, root: Sha256Digest) -> Result<Option<Goal>> {
        let Some(number) = at else { return Ok(None) };
        let snapshot = self.inner.catalog.snapshot(id, number).await?;
        Ok((snapshot.content == root).then_some(Goal::Number(number)))
    }

    /// The snapshot with some content: that of `main`, one that is here, or a new one that nothing points at yet.
    async fn snapshot_of(
        &self,
        open: &Open<'_>,
        reference: &RefName,
        root: Sha256Digest,
        main: Sha256Digest,
        actor: &Actor,
        reason: &str,
    ) -> Result<Goal> {
        if root == main {
            return Ok(Goal::Main);
        }
        let (catalog, publication) = (&self.inner.catalog, &open.publication);
        if let Some(number) = catalog.snapshot_of_content(open.repository.id, &root).await? {
            return Ok(Goal::Number(number));
        }
        let new =
            publication.prepare(Some(reference), root, None, None, actor.clone(), reason.to_owned()).await?;
        let number = new.snapshot.number;
        catalog.commit_snapshot(new, publication.fence()).await?;
        Ok(Goal::Number(number))
    }
}

/// Whether it is a ref beside `main` of that repository.
fn is_other(arrived: &ArrivedRef, repository: &RepositoryName) -> bool {
    arrived.carried.repository == *repository && arrived.carried.reference != RefName::main()
}
