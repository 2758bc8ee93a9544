//! Looking at a bundle without letting anything of it in.

use std::{
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
};

use super::{media::is_damage, trailer::Signed};
use crate::{
    Engine, blocking,
    bundle::{self, Header, Repair, Verifier, Watch},
    catalog::TrustedKey,
    digest::Sha256Digest,
    error::{Error, Result},
};

/// What a bundle says of itself, once its signature holds.
#[derive(Debug, Clone)]
pub struct Inspected {
    /// Its header.
    pub header: Header,
    /// The digest of the header, which names it.
    pub bundle: Sha256Digest,
    /// The trusted key that signed it.
    pub signer: TrustedKey,
    /// Whether it was applied here.
    pub already: bool,
    /// Why it would not be taken now.
    pub refused: Option<String>,
    /// The numbers and labels of volumes that are not among the paths.
    pub missing: Vec<(u32, String)>,
    /// Whether its end is here: volumes can be checked.
    pub finished: bool,
    /// What was found wrong when every byte was read, though parity volumes can make it good.
    pub damage: Option<String>,
    /// The numbers and labels of the volumes that they would make again.
    pub repairable: Vec<(u32, String)>,
}

impl Engine {
    /// Reads the header of the bundle in `paths` and what lies beside it. Changes nothing.
    ///
    /// # Errors
    /// [`Error::Untrusted`] when no trusted key signed it: then nothing of it is read.
    pub async fn inspect_bundle(&self, paths: Vec<PathBuf>) -> Result<Inspected> {
        let (inspected, ..) = self.inspect(paths).await?;
        Ok(inspected)
    }

    /// The same, and every byte: the compressed files, the pieces of each volume, every blob, the parity volumes that are
    /// here. Changes nothing.
    ///
    /// # Errors
    /// Those of [`load`](Self::load) for what is damaged, or lost, and cannot be made again from parity volumes.
    pub async fn verify_bundle(&self, paths: Vec<PathBuf>) -> Result<Inspected> {
        let (mut inspected, folder, found) = self.inspect(paths).await?;
        let checked = self.check_bytes(&inspected, folder, found.clone()).await;
        let Err(error) = checked else { return Ok(inspected) };
        if !is_damage(&error) {
            return Err(error);
        }
        let (header, bundle) = (inspected.header.clone(), inspected.bundle);
        let survey = blocking::run(move || {
            let repair = Repair::open(&header, bundle, &found.volumes, &found.parity)?;
            repair.map(|repair| repair.survey(&Unwatched)).transpose()
        });
        match survey.await? {
            Some(volumes) if !volumes.is_empty() => {
                let label = |index| (index, inspected.header.label(index));
                inspected.repairable = volumes.into_iter().map(label).collect();
                inspected.damage = Some(error.to_string());
                Ok(inspected)
            }
            _ => Err(error),
        }
    }

    async fn check_bytes(&self, inspected: &Inspected, folder: PathBuf, found: bundle::Found) -> Result<()> {
        let trailer = self.trailer_of(inspected, &found).await?;
        let Some(trailer) = trailer else {
            return Err(Error::malformed("the bundle", "bundle-truncated", "`volumes.json` is missing"));
        };
        let (header, name) = (inspected.header.clone(), inspected.bundle);
        blocking::run(move || {
            for (name, part) in [(bundle::RECORDS, &header.records), (bundle::OBJECTS, &header.objects)] {
                bundle::check_part_file(&folder.join(name), name, part)?;
            }
            let objects = super::media::open_regular(&folder.join(bundle::OBJECTS))?;
            let mut verifier = Verifier::new(&header, name, &trailer, objects)?;
            let mut volumes = Vec::new();
            for path in &found.volumes {
                let (head, raw, file) = bundle::open_volume(path)?;
                if head.bundle == name {
                    volumes.push((head, raw, file));
                }
            }
            volumes.sort_by_key(|(head, ..)| head.index);
            for (head, raw, mut file) in volumes {
                verifier.volume(&head, &raw, &mut file)?;
            }
            verifier.finish()?;
            for path in &found.parity {
                bundle::check_parity_file(path, &trailer)?;
            }
            Ok(())
        })
        .await
    }

    async fn inspect(&self, paths: Vec<PathBuf>) -> Result<(Inspected, PathBuf, bundle::Found)> {
        let found = blocking::run(move || bundle::find(&paths)).await?;
        let [folder] = &found.headers[..] else {
            return Err(Error::invalid("PATH", format!("holds {} bundles; name one", found.headers.len())));
        };
        let (folder, source) = (folder.clone(), folder.clone());
        let (document, signature) = blocking::run(move || bundle::signed_header(&source)).await?;
        let accepted = self.check_signature(document, signature).await?;
        let (already, refused) = match self.check_place(&accepted, None).await {
            Ok(already) => (already, None),
            Err(error) => (false, Some(error.to_string())),
        };
        let mut inspected = Inspected {
            header: accepted.header,
            bundle: accepted.bundle,
            signer: accepted.key,
            already,
            refused,
            missing: Vec::new(),
            finished: false,
            damage: None,
            repairable: Vec::new(),
        };
        let (bundle, volumes) = (inspected.bundle, found.volumes.clone());
        let here: Vec<u32> = blocking::run(move || {
            let heads = volumes.iter().filter_map(|path| read_head(path).ok());
            Ok(heads.filter(|head| head.bundle == bundle).map(|head| head.index).collect())
        })
        .await?;
        let all = 1..=inspected.header.volumes.count;
        let missing = all.filter(|index| !here.contains(index));
        inspected.missing = missing.map(|index| (index, inspected.header.label(index))).collect();
        inspected.finished = self.trailer_of(&inspected, &found).await?.is_some();
        Ok((inspected, folder, found))
    }

    async fn trailer_of(
        &self,
        inspected: &Inspected,
        found: &bundle::Found,
    ) -> Result<Option<bundle::trailer::Trailer>> {
        let (bundle, layout) = (inspected.bundle, &inspected.header.volumes);
        let signed = self.find_trailer(bundle, inspected.signer.public, found.folders.clone()).await?;
        let decode = |signed: Signed| bundle::trailer::Trailer::decode(&signed.document, bundle, layout);
        signed.map(decode).transpose()
    }
}

/// Nobody is told how far a survey is.
struct Unwatched;

impl Watch for Unwatched {
    fn bytes(&self, _: u64) -> Result<()> {
        Ok(())
    }
}

fn read_head(path: &Path) -> Result<bundle::VolumeHead> {
    let mut raw = [0; bundle::volume::HEAD as usize];
    let failed = || Error::io(format!("read `{}`", path.display()));
    File::open(path).map_err(failed())?.read_exact(&mut raw).map_err(failed())?;
    bundle::VolumeHead::decode(&path.display().to_string(), &raw)
}
