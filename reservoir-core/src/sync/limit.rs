//! How much one import may pull: more is refused, with its size, before anything is pulled.

use super::{Depth, Planning, Syncer, plan::Plan, report::SyncReport};
use crate::{
    ecosystem::{Chosen, Requirement},
    error::{Error, Result},
    lifecycle::RevisionId,
    path::ContentPath,
};

impl Syncer<'_> {
    /// Runs to the end, whatever single revisions do; what went wrong with them is in the report. Where the repository
    /// says how much one import may pull, it is found out first how much this one would.
    ///
    /// # Errors
    /// Only what concerns the whole sync: cancelled, fenced, no space, catalog or store broken, a registry
    /// that cannot be read at all, or [`Error::LimitExceeded`] when it is too much.
    pub(crate) async fn run(&self, depth: Depth, specs: &[String]) -> Result<SyncReport> {
        let Some(limit) = self.limit().filter(|_| depth == Depth::Import) else {
            return self.go(depth, specs).await;
        };
        let estimate = self.estimate();
        let first = estimate.go(depth, specs).await?;
        self.within(limit, &first.planned.unwrap_or_default(), 0)?;
        let mut report = self.go(depth, specs).await?;
        // The registries have told their news to the estimate.
        report.new_files += first.new_files;
        report.unchanged = report.unchanged.min(first.unchanged);
        let told = |line: &String, lines: &[String]| lines.contains(line);
        let alarms: Vec<String> =
            first.alarms.into_iter().filter(|line| !told(line, &report.alarms)).collect();
        report.alarms.extend(alarms);
        // Of what neither shows, one told more.
        let more = first.unshown.saturating_sub(report.unshown);
        let shown = first.skipped.len() - usize::from(first.unshown > 0);
        let skipped =
            first.skipped.into_iter().take(shown).filter(|line| !told(line, &report.skipped)).collect();
        report.skip(skipped);
        report.skip_more(more);
        Ok(report)
    }

    /// Refuses what was picked, if it is too much for one import. Asks for sizes that nobody has told.
    pub(super) async fn refuse_too_much(&self, picks: &[(Requirement, Vec<Chosen>)]) -> Result<()> {
        let Some(limit) = self.limit() else { return Ok(()) };
        let chosen = picks.iter().flat_map(|(_, chosen)| chosen);
        let wanted = chosen.map(|chosen| (chosen.id, chosen.paths.clone())).collect();
        let planning = Planning::default();
        self.plan(&planning, wanted).await?;
        self.within(limit, &planning.finish(), 0)
    }

    /// The same for what turned out to be needed only when other files were here, by the sizes that are known.
    pub(super) async fn refuse_too_much_more(
        &self,
        wanted: &[(RevisionId, Vec<ContentPath>)],
        fetched: u64,
    ) -> Result<()> {
        let Some(limit) = self.limit() else { return Ok(()) };
        let planning = Planning::of_known_sizes();
        self.plan(&planning, wanted.to_vec()).await?;
        self.within(limit, &planning.finish(), fetched)
    }

    /// What one import may pull, unless this only says what one would.
    pub(super) fn limit(&self) -> Option<u64> {
        self.repository.config.max_import.filter(|_| self.planning.is_none())
    }

    fn within(&self, limit: u64, plan: &Plan, fetched: u64) -> Result<()> {
        let bytes = plan.bytes.saturating_add(fetched);
        if bytes <= limit {
            return Ok(());
        }
        let name = &self.repository.config.name;
        let mut what = format!("an import into `{name}` of {} files with {bytes} bytes", plan.files);
        if plan.unsized_files > 0 {
            what = format!("{what} ({} of them of a size that nobody tells)", plan.unsized_files);
        }
        if fetched > 0 {
            what = format!("{what}, {fetched} of which were pulled already");
        }
        Err(Error::LimitExceeded {
            what,
            limit: format!("{limit} bytes (`max_import`); nothing more is pulled"),
        })
    }

    /// The same sync, which only says what it would pull.
    fn estimate(&self) -> Self {
        Self {
            catalog: self.catalog,
            store: self.store.clone(),
            ecosystem: self.ecosystem.clone(),
            scanners: self.scanners,
            partials: self.partials.clone(),
            sources: self.sources.clone(),
            repository: self.repository,
            task: self.task,
            fence: self.fence.clone(),
            actor: self.actor.clone(),
            follower: self.follower,
            planning: Some(Planning::default()),
        }
    }
}
