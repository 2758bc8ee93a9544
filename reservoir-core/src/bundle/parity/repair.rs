//! Making volumes again that are damaged, cut or lost.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use reed_solomon_simd::ReedSolomonDecoder;

use super::{Geometry, OWN, SHORT, encode::unfit, file_name, short};
use crate::{
    bundle::{
        files::open_if_regular,
        header::Header,
        stage::Watch,
        volume::{self, HEAD, VolumeHead},
    },
    digest::Sha256Digest,
    error::{Error, Result},
};

/// What is at hand of a bundle with parity, in whatever state.
pub(crate) struct Repair<'a> {
    geometry: Geometry,
    header: &'a Header,
    bundle: Sha256Digest,
    /// By index.
    volumes: BTreeMap<u32, File>,
    /// With their places, from 0.
    parity: Vec<(usize, File)>,
}

/// One stripe being looked at.
struct Stripe {
    number: u64,
    /// Bytes of a piece.
    length: usize,
    /// The digests of its pieces.
    list: Vec<u8>,
    /// The pieces, one behind the other.
    pieces: Vec<u8>,
    /// What is known of each: whether it is as it was written.
    good: Vec<Option<bool>>,
    /// Volumes that have other bytes than they had, or none that can be read.
    damaged: BTreeSet<u32>,
}

impl Stripe {
    fn piece(&self, column: u32) -> &[u8] {
        &self.pieces[column as usize * self.length..][..self.length]
    }

    /// Holds a piece against the list.
    fn holds(&self, column: u32, piece: &[u8]) -> bool {
        let at = column as usize * SHORT as usize;
        self.list[at..at + SHORT as usize] == short(piece)
    }
}

impl<'a> Repair<'a> {
    /// Looks at what there is; `None` when no parity volume of this bundle is among it.
    pub(crate) fn open(
        header: &'a Header,
        bundle: Sha256Digest,
        volumes: &[PathBuf],
        parity: &[PathBuf],
    ) -> Result<Option<Self>> {
        let Some(geometry) = Geometry::of(header) else { return Ok(None) };
        let mut found = Vec::new();
        for index in 1..=geometry.added {
            let head = geometry.head(header, bundle, index)?;
            let named =
                parity.iter().filter(|path| path.file_name().is_some_and(|name| name == &*file_name(index)));
            // Those of other bundles have other heads; one with a damaged head is one less.
            let file = named.filter_map(|path| regular(path)).find(|file| starts_with(file, &head));
            found.extend(file.map(|file| (index as usize - 1, file)));
        }
        let volumes = volumes
            .iter()
            .filter_map(|path| {
                let file = regular(path)?;
                Some((index_of(path, &file, bundle)?, file))
            })
            .collect();
        let repair = Self { geometry, header, bundle, volumes, parity: found };
        Ok((!repair.parity.is_empty()).then_some(repair))
    }

    /// Whether so much may be made again at all: what is said to be in volumes, and is not at hand, has no end.
    pub(crate) fn may_make(&self, wanted: &[u32]) -> bool {
        let lost = wanted.iter().map(|index| {
            let size = self.geometry.layout.size(*index);
            let file = self.volumes.get(index).and_then(|file| file.metadata().ok());
            size.saturating_sub(file.map_or(0, |file| file.len().saturating_sub(HEAD)))
        });
        let lost = lost.fold(0, u64::saturating_add);
        // A volume that is not at hand may begin and end within columns.
        lost / self.geometry.column <= self.parity.len() as u64
    }

    /// Makes the `wanted` volumes again, as files in `folder`; without a folder only finds out whether it could. Blocks.
    ///
    /// # Errors
    /// [`Error::Integrity`] when more is lost than there is parity for.
    pub(crate) fn make(&self, wanted: &[u32], folder: Option<&Path>, watch: &dyn Watch) -> Result<Made> {
        let mut outs = BTreeMap::new();
        for index in wanted {
            outs.insert(*index, self.begin(*index, folder)?);
        }
        // A head is no part of the payload.
        let is_whole = |index: &u32| {
            self.volumes.get(index).is_some_and(|file| starts_with_head(file, self.bundle, *index))
        };
        let mut damaged: BTreeSet<u32> = wanted.iter().copied().filter(|index| !is_whole(index)).collect();
        for number in 0..self.geometry.stripes() {
            self.stripe(number, &outs, &mut damaged, watch)?;
        }
        Ok(Made { volumes: outs.into_values().flatten().map(|(path, _)| path).collect(), damaged })
    }

    /// Which volumes are damaged or lost, when all of them can be made again.
    ///
    /// # Errors
    /// [`Error::Integrity`] when more is lost than there is parity for.
    pub(crate) fn survey(&self, watch: &dyn Watch) -> Result<BTreeSet<u32>> {
        let all: Vec<u32> = (1..=self.geometry.layout.count).collect();
        if !self.may_make(&all) {
            return Err(self.lost(0, 0, self.parity.len()));
        }
        Ok(self.make(&all, None, watch)?.damaged)
    }

    fn begin(&self, index: u32, folder: Option<&Path>) -> Result<Option<(PathBuf, File)>> {
        let Some(folder) = folder else { return Ok(None) };
        let path = folder.join(volume::file_name(index));
        let failed = || Error::io(format!("write `{}`", path.display()));
        let layout = &self.geometry.layout;
        let head = VolumeHead {
            format: self.header.format.clone(),
            bundle: self.bundle,
            index,
            count: layout.count,
            size: layout.size(index),
            label: self.header.label(index),
        };
        fs::create_dir_all(folder).map_err(failed())?;
        let file = File::create(&path).map_err(failed())?;
        file.write_all_at(&head.encode()?, 0).map_err(failed())?;
        Ok(Some((path, file)))
    }

    /// Puts the pieces of one stripe into the volumes that want them, those that are damaged made again.
    fn stripe(&self, number: u64, outs: &Outs, damaged: &mut BTreeSet<u32>, watch: &dyn Watch) -> Result<()> {
        let geometry = &self.geometry;
        let wanted: Vec<u32> =
            (0..geometry.columns).filter(|column| self.is_wanted(number, *column, outs)).collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let length = geometry.length(number) as usize;
        let mut added = self.added(number);
        let Some((_, list, _)) = added.first() else { return Err(self.lost(number, 0, 0)) };
        let mut stripe = Stripe {
            number,
            length,
            list: list.clone(),
            pieces: vec![0; length * geometry.columns as usize],
            good: vec![None; geometry.columns as usize],
            damaged: BTreeSet::new(),
        };
        // An attacker could make two lists; what comes of it is held against signed digests.
        added.retain(|(_, list, _)| *list == stripe.list);
        for column in &wanted {
            watch.bytes(0)?;
            self.read(&mut stripe, *column);
        }
        if stripe.good.contains(&Some(false)) {
            self.restore(&mut stripe, &added, watch)?;
            damaged.append(&mut stripe.damaged);
        }
        wanted.iter().try_for_each(|column| watch.bytes(self.write(&stripe, *column, outs)?))
    }

    fn is_wanted(&self, stripe: u64, column: u32, outs: &Outs) -> bool {
        let extent = self.geometry.extent(stripe, column);
        outs.keys().any(|index| {
            let volume = self.geometry.layout.extent(*index);
            extent.start < volume.end && volume.start < extent.end
        })
    }

    /// The pieces that parity volumes add to a stripe, with the list that each has: those that are as they were written.
    fn added(&self, stripe: u64) -> Vec<(usize, Vec<u8>, Vec<u8>)> {
        let list = self.geometry.list() as usize;
        let mut record = vec![0; OWN as usize + list + self.geometry.length(stripe) as usize];
        let mut added = Vec::new();
        for (place, file) in &self.parity {
            if file.read_exact_at(&mut record, self.geometry.place(stripe)).is_err() {
                continue;
            }
            let (own, rest) = record.split_at(OWN as usize);
            if blake3::hash(rest).as_bytes()[..] == *own {
                added.push((*place, rest[..list].to_vec(), rest[list..].to_vec()));
            }
        }
        added
    }

    /// Reads a piece as far as it can be read, and notes whether it is as it was written.
    fn read(&self, stripe: &mut Stripe, column: u32) {
        let mut whole = true;
        for (index, offset, part) in self.geometry.parts(self.geometry.extent(stripe.number, column)) {
            let bytes = &mut stripe.pieces[column as usize * stripe.length..][part];
            let file = self.volumes.get(&index);
            // Sectors that cannot be read are lost as much as those that read wrong.
            if file.is_none_or(|file| file.read_exact_at(bytes, HEAD + offset).is_err()) {
                stripe.damaged.insert(index);
                whole = false;
            }
        }
        let good = whole && stripe.holds(column, stripe.piece(column));
        stripe.good[column as usize] = Some(good);
    }

    /// Makes the damaged pieces again, from all others.
    fn restore(
        &self,
        stripe: &mut Stripe,
        added: &[(usize, Vec<u8>, Vec<u8>)],
        watch: &dyn Watch,
    ) -> Result<()> {
        let (columns, count) = (self.geometry.columns, self.geometry.added);
        for column in 0..columns {
            if stripe.good[column as usize].is_none() {
                watch.bytes(0)?;
                self.read(stripe, column);
            }
        }
        let bad = stripe.good.iter().filter(|good| **good != Some(true)).count();
        if bad > added.len() {
            return Err(self.lost(stripe.number, bad, added.len()));
        }
        let mut decoder =
            ReedSolomonDecoder::new(columns as usize, count as usize, stripe.length).map_err(unfit)?;
        for column in (0..columns).filter(|column| stripe.good[*column as usize] == Some(true)) {
            decoder.add_original_shard(column as usize, stripe.piece(column)).map_err(unfit)?;
        }
        for (place, _, piece) in added.iter().take(bad) {
            decoder.add_recovery_shard(*place, piece).map_err(unfit)?;
        }
        let made = decoder.decode().map_err(unfit)?;
        for (column, piece) in made.restored_original_iter() {
            if !stripe.holds(column as u32, piece) {
                return Err(self.lost(stripe.number, bad, added.len()));
            }
            let was = &mut stripe.pieces[column * stripe.length..][..stripe.length];
            for (index, _, part) in self.geometry.parts(self.geometry.extent(stripe.number, column as u32)) {
                if was[part.clone()] != piece[part] {
                    stripe.damaged.insert(index);
                }
            }
            was.copy_from_slice(piece);
        }
        Ok(())
    }

    /// The bytes that were written.
    fn write(&self, stripe: &Stripe, column: u32, outs: &Outs) -> Result<u64> {
        let mut written = 0;
        let extent = self.geometry.extent(stripe.number, column);
        for (index, out) in outs {
            let Some((path, file)) = out else { continue };
            let volume = self.geometry.layout.extent(*index);
            let (low, high) = (extent.start.max(volume.start), extent.end.min(volume.end));
            if low < high {
                let bytes =
                    &stripe.piece(column)[(low - extent.start) as usize..(high - extent.start) as usize];
                file.write_all_at(bytes, HEAD + low - volume.start)
                    .map_err(Error::io(format!("write `{}`", path.display())))?;
                written += high - low;
            }
        }
        Ok(written)
    }

    fn lost(&self, stripe: u64, bad: usize, parity: usize) -> Error {
        let (volume, offset) = self.geometry.layout.place(self.geometry.extent(stripe, 0).start);
        Error::Integrity {
            what: format!(
                "what lies in line with byte {} of volume {volume} (`{}`)",
                HEAD + offset,
                self.header.label(volume)
            ),
            expected: format!(
                "at most {parity} of {} pieces lost, for which parity is here",
                self.geometry.columns
            ),
            actual: format!("{bad} lost"),
        }
    }
}

/// What [`Repair::make`] made.
pub(crate) struct Made {
    /// The files of the volumes.
    pub(crate) volumes: Vec<PathBuf>,
    /// Those that were not as they were written, and volumes in line with them that are not either.
    pub(crate) damaged: BTreeSet<u32>,
}

/// Volumes that are made again: where they are written, if they are.
type Outs = BTreeMap<u32, Option<(PathBuf, File)>>;

/// A regular file, open; links and devices are none.
fn regular(path: &Path) -> Option<File> {
    open_if_regular(path).ok().flatten()
}

fn starts_with(file: &File, head: &[u8; HEAD as usize]) -> bool {
    let mut found = [0; HEAD as usize];
    file.read_exact_at(&mut found, 0).is_ok() && found == *head
}

fn starts_with_head(file: &File, bundle: Sha256Digest, index: u32) -> bool {
    let mut found = [0; HEAD as usize];
    file.read_exact_at(&mut found, 0).is_ok()
        && VolumeHead::decode("a volume", &found)
            .is_ok_and(|head| head.bundle == bundle && head.index == index)
}

/// Which volume a file is: by its head, or by its name where the head is damaged.
fn index_of(path: &Path, file: &File, bundle: Sha256Digest) -> Option<u32> {
    let mut head = [0; HEAD as usize];
    if file.read_exact_at(&mut head, 0).is_ok()
        && let Ok(head) = VolumeHead::decode("a volume", &head)
    {
        return (head.bundle == bundle).then_some(head.index);
    }
    let name = path.file_name()?.to_str()?;
    name.strip_prefix("volume-")?.strip_suffix(".rsv")?.parse().ok()
}
