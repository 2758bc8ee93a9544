//! Bundles in folders and on media: volumes in any order, and what is done where some are damaged or lost.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use futures::FutureExt as _;
use uuid::Uuid;

use super::{Loaded, check::Accepted};
use crate::{
    Engine, blocking,
    bundle::{self, Input, Repair, Stage, Watch},
    catalog::ArrivingStream,
    digest::Sha256Digest,
    engine::watch::Watcher,
    error::{Error, Result},
    name::Actor,
    task::{Progress, TaskContext},
};

/// Where volumes are put that were made again, within the stage.
const MENDED: &str = "mended";

/// What a load was given.
struct Given {
    found: bundle::Found,
    /// Whether it is one bundle: then volumes of others are there by mistake.
    alone: bool,
    dry_run: bool,
}

impl Engine {
    pub(super) async fn load_files(
        &self,
        found: bundle::Found,
        dry_run: bool,
        actor: &Actor,
        task: &TaskContext,
    ) -> Result<Vec<Loaded>> {
        let order = self.bundles_in_order(&found).await?;
        let given = Given { found, alone: order.len() <= 1, dry_run };
        let mut loaded: Vec<Loaded> = Vec::with_capacity(order.len());
        // Where streams would be, when nothing is applied.
        let mut planned: BTreeMap<Uuid, ArrivingStream> = BTreeMap::new();
        // Those that wait for a volume; the others go on.
        let mut stopped: BTreeSet<Uuid> = BTreeSet::new();
        for (accepted, folder) in order {
            let stream = accepted.header.stream;
            if stopped.contains(&stream) {
                continue;
            }
            let next = self.load_next(accepted, folder.as_deref(), &given, &mut planned, actor, task);
            match next.boxed().await {
                Ok(one) => {
                    if !one.missing.is_empty() {
                        stopped.insert(stream);
                    }
                    loaded.push(one);
                }
                Err(error) => {
                    // The error is all that is told of the load; what was done before stands.
                    for one in loaded.iter().filter(|one| one.applied) {
                        let message = format!("bundle {} for {} is applied", one.sequence, one.site);
                        task.report(Progress::Warning { message });
                    }
                    return Err(error);
                }
            }
        }
        Ok(loaded)
    }

    /// The bundles at hand whose signatures hold, and the folders of their headers: those of each stream in the order of
    /// their numbers. Without a header, those that an earlier load has begun.
    async fn bundles_in_order(&self, found: &bundle::Found) -> Result<Vec<(Accepted, Option<PathBuf>)>> {
        let mut bundles: BTreeMap<Sha256Digest, (Accepted, Option<PathBuf>)> = BTreeMap::new();
        for folder in &found.headers {
            let source = folder.clone();
            let (document, signature) = blocking::run(move || bundle::signed_header(&source)).await?;
            let accepted = self.check_signature(document, signature).await?;
            bundles.insert(accepted.bundle, (accepted, Some(folder.clone())));
        }
        if bundles.is_empty() {
            for volume in &found.volumes {
                let volume = volume.clone();
                let (head, ..) = blocking::run(move || bundle::open_volume(&volume)).await?;
                let folder = self.stage_folder(head.bundle);
                let kept = blocking::run(move || Stage::kept(&folder)).await;
                let (document, signature) = kept.map_err(|_| {
                    let detail =
                        format!("begin with the medium that holds `bundle.json` of `{}`", head.label);
                    Error::invalid("PATH", detail)
                })?;
                let accepted = self.check_signature(document, signature).await?;
                bundles.insert(accepted.bundle, (accepted, None));
            }
        }
        let mut order: Vec<_> = bundles.into_values().collect();
        order.sort_by_key(|(accepted, _)| (accepted.header.stream, accepted.header.sequence));
        Ok(order)
    }

    /// The next bundle of a stream, if it has that place.
    async fn load_next(
        &self,
        accepted: Accepted,
        folder: Option<&Path>,
        given: &Given,
        planned: &mut BTreeMap<Uuid, ArrivingStream>,
        actor: &Actor,
        task: &TaskContext,
    ) -> Result<Loaded> {
        let stream = accepted.header.stream;
        if self.check_place(&accepted, planned.get(&stream)).await? {
            self.discard(accepted.bundle);
            return Ok(Loaded { already: true, ..accepted.report() });
        }
        if given.dry_run {
            let before = match planned.remove(&stream) {
                Some(before) => Some(before),
                None => self.inner.catalog.arriving_stream(stream).await?,
            };
            planned.insert(stream, accepted.after(before));
        }
        self.load_one(accepted, folder, given, actor, task).boxed().await
    }

    /// One bundle whose signature holds, and whose place in its stream, from folders.
    async fn load_one(
        &self,
        accepted: Accepted,
        folder: Option<&Path>,
        given: &Given,
        actor: &Actor,
        task: &TaskContext,
    ) -> Result<Loaded> {
        let mut loaded = accepted.report();
        let is_begun = self.stage_folder(accepted.bundle).exists();
        let mut stage = self.open_stage(&accepted).await?;
        if let Some(folder) = folder {
            let folder = folder.to_owned();
            stage = blocking::run(move || {
                for name in [bundle::OBJECTS, bundle::RECORDS] {
                    if !stage.has_part(name) {
                        let mut input = bundle::open_part(&folder.join(name))?;
                        stage.take_part(name, &mut input)?;
                    }
                }
                Ok(stage)
            })
            .await?;
        }
        stage = self.prepare_stage(stage, &mut loaded).await?;
        // The trailer may be on any medium; the stage has it from an earlier one.
        let folders = given.found.folders.iter().cloned().chain([stage.folder().to_owned()]).collect();
        if let Some(signed) = self.find_trailer(accepted.bundle, accepted.key.public, folders).await? {
            stage = blocking::run(move || {
                stage.keep_trailer(&signed.document, &signed.signature)?;
                Ok(stage)
            })
            .await?;
        }
        if given.dry_run {
            let room = self.check_room(&stage, &accepted);
            let (stage, wanting) = self.wanting(&accepted, stage, &given.found).await?;
            // What an earlier load has staged stays.
            if !is_begun {
                stage.discard();
            }
            room?;
            loaded.missing =
                wanting?.into_iter().map(|index| (index, accepted.header.label(index))).collect();
            return Ok(loaded);
        }
        self.check_room(&stage, &accepted)?;
        task.report(Progress::Phase { name: "load", total: None });
        task.report(Progress::Expected { bytes: stage.left()? });
        stage = self.take_volumes(&accepted, stage, given, &mut loaded, task).await?;
        self.finish_load(accepted, stage, loaded, actor, task).await
    }

    /// The volumes that a load would say are missing, by the heads of those at hand; or that the trailer is.
    async fn wanting(
        &self,
        accepted: &Accepted,
        mut stage: Stage,
        found: &bundle::Found,
    ) -> Result<(Stage, Result<Vec<u32>>)> {
        let (found, header, bundle) = (found.clone(), accepted.header.clone(), accepted.bundle);
        blocking::run(move || {
            let mut wanting = stage.missing()?;
            let mut here = BTreeSet::new();
            for path in &found.volumes {
                if let Ok((head, ..)) = bundle::open_volume(path)
                    && stage.check_head("a volume", &head).is_ok()
                {
                    here.insert(head.index);
                }
            }
            wanting.retain(|index| !here.contains(index));
            if !wanting.is_empty() && !found.parity.is_empty() {
                let repair = Repair::open(&header, bundle, &found.volumes, &found.parity)?;
                if repair.is_some_and(|repair| repair.may_make(&wanting)) {
                    wanting.clear();
                }
            }
            let is_cut = wanting.is_empty() && !stage.has_trailer();
            Ok((stage, if is_cut { Err(without_trailer()) } else { Ok(wanting) }))
        })
        .await
    }

    /// Takes the volumes at hand; with parity volumes, those that are damaged or lost are made again.
    async fn take_volumes(
        &self,
        accepted: &Accepted,
        mut stage: Stage,
        given: &Given,
        loaded: &mut Loaded,
        task: &TaskContext,
    ) -> Result<Stage> {
        let (found, alone) = (given.found.clone(), given.alone);
        let can_mend = accepted.header.parity.is_some() && !found.parity.is_empty();
        let watch = Watcher { task: task.clone() };
        let (header, bundle) = (accepted.header.clone(), accepted.bundle);
        let (stage, mended) = blocking::run(move || {
            let mut damage = Damage::default();
            for path in &found.volumes {
                let mut volume = None;
                match take(&mut stage, path, alone, &mut volume, &watch) {
                    // Another copy of it may be at hand.
                    Err(error) if is_damage(&error) => drop(damage.0.entry(volume).or_insert(error)),
                    taken => taken?,
                }
            }
            if can_mend {
                return mend(stage, &found, (&header, bundle), damage, &watch);
            }
            let missing = if damage.0.is_empty() { Vec::new() } else { stage.missing()? };
            damage.of(&missing).map_or(Ok((stage, Vec::new())), Err)
        })
        .await?;
        loaded.repaired = mended.into_iter().map(|index| (index, accepted.header.label(index))).collect();
        Ok(stage)
    }
}

/// What was wrong with volumes at hand: the first of each, and of those of which nobody knows which they are.
#[derive(Default)]
struct Damage(BTreeMap<Option<u32>, Error>);

impl Damage {
    /// What a person has to hear, where these volumes are missing after all.
    fn of(mut self, missing: &[u32]) -> Option<Error> {
        let unknown = self.0.remove(&None);
        let known = missing.iter().find_map(|index| self.0.remove(&Some(*index)));
        known.or(unknown).filter(|_| !missing.is_empty())
    }
}

/// Takes one volume, if it is this bundle's and something in it is wanted. Says which it is, as soon as that is known.
fn take(
    stage: &mut Stage,
    path: &Path,
    alone: bool,
    volume: &mut Option<u32>,
    watch: &dyn Watch,
) -> Result<()> {
    let (head, raw, file) = bundle::open_head(path)?;
    if stage.is_mine(&head) {
        *volume = Some(head.index);
    } else if !alone {
        return Ok(());
    }
    stage.check_head(&path.display().to_string(), &head)?;
    if stage.wants(head.index)? {
        bundle::check_length(path, &head, &file)?;
        stage.take_volume((&head, &raw), Input::File(file), watch)?;
    }
    Ok(())
}

/// Whether another copy of the medium would do.
pub(super) fn is_damage(error: &Error) -> bool {
    matches!(error, Error::Integrity { .. } | Error::Malformed { .. } | Error::Io { .. })
}

/// Makes what is still missing out of the rest, and takes it; the numbers of those volumes. What was only not brought
/// yet, and is more than could be made, stays missing.
fn mend(
    mut stage: Stage,
    found: &bundle::Found,
    (header, bundle): (&bundle::Header, Sha256Digest),
    damage: Damage,
    watch: &Watcher,
) -> Result<(Stage, Vec<u32>)> {
    // With those that share a damaged blob with others: they are read again, too.
    let wanted = stage.missing()?;
    let damage = damage.of(&wanted);
    let repair = if wanted.is_empty() {
        None
    } else {
        Repair::open(header, bundle, &found.volumes, &found.parity)?.filter(|repair| repair.may_make(&wanted))
    };
    let Some(repair) = repair else {
        // Damage to what is not wanted is nobody's loss.
        return damage.map_or(Ok((stage, Vec::new())), Err);
    };
    let folder = stage.folder().join(MENDED);
    let again = wanted.iter().map(|index| header.volumes.size(*index)).sum::<u64>();
    bundle::check_space(stage.folder(), stage.to_come().saturating_add(again))?;
    watch.task.report(Progress::Phase { name: "repair", total: Some(wanted.len() as u64) });
    // They are written, and then read like those of a medium.
    watch.task.report(Progress::Expected { bytes: again.saturating_mul(2) });
    let made = match repair.make(&wanted, Some(&folder), watch) {
        Err(Error::Integrity { .. }) if damage.is_none() => return Ok((stage, Vec::new())),
        made => made?,
    };
    for path in &made.volumes {
        let (head, raw, file) = bundle::open_volume(path)?;
        stage.take_volume((&head, &raw), Input::File(file), watch)?;
    }
    std::fs::remove_dir_all(&folder).map_err(Error::io(format!("remove `{}`", folder.display())))?;
    Ok((stage, made.damaged.into_iter().collect()))
}

/// What a bundle without its end is refused with.
pub(super) fn without_trailer() -> Error {
    Error::malformed(
        "the bundle",
        "bundle-truncated",
        "`volumes.json` is missing: the export did not end, or the medium that holds it is not here",
    )
}
