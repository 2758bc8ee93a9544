//! Bundles in folders and on media: volumes in any order, and what is done where some are damaged or lost.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use uuid::Uuid;

use super::{Loaded, check::Accepted};
use crate::{
    Engine,
    bundle::{self, Input, Repair, Stage, Watch},
    catalog::ArrivingStream,
    digest::Sha256Digest,
    engine::{blocking::blocking, watch::Watcher},
    error::{Error, Result},
    name::Actor,
    task::{Progress, TaskContext},
};

/// Where volumes are put that were made again, within the stage.
const MENDED: &str = "mended";

impl Engine {
    pub(super) async fn load_files(
        &self,
        found: bundle::Found,
        dry_run: bool,
        actor: &Actor,
        task: &TaskContext,
    ) -> Result<Vec<Loaded>> {
        let mut bundles: BTreeMap<Sha256Digest, (Accepted, Option<PathBuf>)> = BTreeMap::new();
        for folder in &found.headers {
            let source = folder.clone();
            let (document, signature) = blocking(move || bundle::signed_header(&source)).await?;
            let accepted = self.check_signature(document, signature).await?;
            bundles.insert(accepted.bundle, (accepted, Some(folder.clone())));
        }
        if bundles.is_empty() {
            for volume in &found.volumes {
                let volume = volume.clone();
                let (head, ..) = blocking(move || bundle::open_volume(&volume)).await?;
                let folder = self.stage_folder(head.bundle);
                let kept = blocking(move || Stage::kept(&folder)).await;
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
        let mut loaded = Vec::with_capacity(order.len());
        // Where streams would be, when nothing is applied.
        let mut planned: BTreeMap<Uuid, ArrivingStream> = BTreeMap::new();
        for (accepted, folder) in order {
            let stream = accepted.header.stream;
            if self.check_place(&accepted, planned.get(&stream)).await? {
                self.discard(accepted.bundle);
                loaded.push(Loaded { already: true, ..accepted.report() });
                continue;
            }
            if dry_run {
                let before = match planned.remove(&stream) {
                    Some(before) => Some(before),
                    None => self.inner.catalog.arriving_stream(stream).await?,
                };
                planned.insert(stream, accepted.after(before));
            }
            let one = self.load_one(accepted, folder.as_deref(), &found, dry_run, actor, task).await?;
            let stop = !one.missing.is_empty();
            loaded.push(one);
            if stop {
                break;
            }
        }
        Ok(loaded)
    }

    /// One bundle whose signature holds, and whose place in its stream, from folders.
    async fn load_one(
        &self,
        accepted: Accepted,
        folder: Option<&Path>,
        found: &bundle::Found,
        dry_run: bool,
        actor: &Actor,
        task: &TaskContext,
    ) -> Result<Loaded> {
        let mut loaded = accepted.report();
        let is_begun = self.stage_folder(accepted.bundle).exists();
        let mut stage = self.open_stage(&accepted).await?;
        if let Some(folder) = folder {
            let folder = folder.to_owned();
            stage = blocking(move || {
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
        // The trailer may be on any medium; the last one, if there are several. The stage has it from an earlier one.
        for source in found.folders.iter().cloned().chain([stage.folder().to_owned()]) {
            if stage.has_trailer() && source == stage.folder() {
                continue;
            }
            if let Some((document, signature)) = blocking(move || bundle::signed_trailer(&source)).await? {
                accepted.key.public.verify("`volumes.json`", &document, &signature)?;
                stage = blocking(move || {
                    // That of another bundle on the same medium is not this one's.
                    stage.take_trailer_of_this(&document, &signature)?;
                    Ok(stage)
                })
                .await?;
            }
        }
        if dry_run {
            // What an earlier load has staged stays.
            if !is_begun {
                stage.discard();
            }
            return Ok(loaded);
        }
        self.check_room(&stage, &accepted)?;
        task.report(Progress::Phase { name: "load", total: None });
        task.report(Progress::Expected { bytes: stage.left()? });
        stage = self.take_volumes(&accepted, stage, found, &mut loaded, task).await?;
        self.finish_load(accepted, stage, loaded, actor, task).await
    }

    /// Takes the volumes at hand; with parity volumes, those that are damaged or lost are made again.
    async fn take_volumes(
        &self,
        accepted: &Accepted,
        mut stage: Stage,
        found: &bundle::Found,
        loaded: &mut Loaded,
        task: &TaskContext,
    ) -> Result<Stage> {
        let (volumes, alone) = (found.volumes.clone(), found.headers.len() <= 1);
        let can_mend = accepted.header.parity.is_some() && !found.parity.is_empty();
        let watch = Watcher { task: task.clone() };
        let (stage, damage) = blocking(move || {
            let mut damage = None;
            for path in volumes {
                match take(&mut stage, &path, alone, &watch) {
                    Err(error) if can_mend && is_damage(&error) => damage = damage.or(Some(error)),
                    taken => taken?,
                }
            }
            Ok((stage, damage))
        })
        .await?;
        if !can_mend {
            return Ok(stage);
        }
        let (found, header, bundle) = (found.clone(), accepted.header.clone(), accepted.bundle);
        let watch = Watcher { task: task.clone() };
        let (stage, mended) =
            blocking(move || mend(stage, &found, (&header, bundle), damage, &watch)).await?;
        loaded.repaired = mended.into_iter().map(|index| (index, accepted.header.label(index))).collect();
        Ok(stage)
    }
}

/// Takes one volume, if it is this bundle's and something in it is wanted.
fn take(stage: &mut Stage, path: &Path, alone: bool, watch: &dyn Watch) -> Result<()> {
    let (head, raw, file) = bundle::open_volume(path)?;
    if !alone && !stage.is_mine(&head) {
        return Ok(());
    }
    stage.check_head(&path.display().to_string(), &head)?;
    if stage.wants(head.index)? {
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
    damage: Option<Error>,
    watch: &dyn Watch,
) -> Result<(Stage, Vec<u32>)> {
    // With those that share a damaged blob with others: they are read again, too.
    let wanted = stage.missing()?;
    let repair = if wanted.is_empty() {
        None
    } else {
        Repair::open(header, bundle, &found.volumes, &found.parity)?.filter(|repair| repair.may_make(&wanted))
    };
    let Some(repair) = repair else {
        // Damage to what is not wanted is nobody's loss.
        return damage.filter(|_| !wanted.is_empty()).map_or(Ok((stage, Vec::new())), Err);
    };
    let folder = stage.folder().join(MENDED);
    let again = wanted.iter().map(|index| header.volumes.size(*index)).sum::<u64>();
    bundle::check_space(stage.folder(), stage.to_come().saturating_add(again))?;
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
