//! Both sides of a bundle of volumes with many pieces, broken off anywhere and gone on with.

use std::{
    cell::Cell,
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use uuid::Uuid;

use super::{
    AuditCheckpoint, FORMAT, Header, Input, Kind, Layout, ObjectsWriter, RecordsWriter, Repair, Stage,
    StreamKey, Target, Watch, Writer, find, open_volume, volume::PIECE,
};
use crate::{
    clock::Timestamp,
    digest::Sha256Digest,
    error::{Error, Result},
    store::{Blob, hash::BlobHasher},
};

/// A bundle of some blobs, the largest of which spans volumes and pieces.
struct Sample {
    folder: tempfile::TempDir,
    key: StreamKey,
    header: Header,
    blobs: Vec<(Blob, Bytes)>,
}

fn noise(count: usize, seed: u64) -> Bytes {
    let mut state = seed | 1;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..count).map(next).collect()
}

impl Sample {
    fn new(volume: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let sizes = [1000, 11 << 20, 0, 3 << 20, 70_000, 9 << 20];
        let mut blobs: Vec<(Blob, Bytes)> = (1..)
            .zip(sizes)
            .map(|(seed, size)| {
                let bytes = noise(size, 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed));
                let mut hasher = BlobHasher::default();
                hasher.update(&bytes);
                (hasher.finish().0, bytes)
            })
            .collect();
        blobs.sort_by_key(|(blob, _)| blob.sha256);
        let layout = Layout::new(sizes.iter().map(|size| *size as u64).sum(), Some(volume)).unwrap();
        let path = |name: &str| folder.path().join(name);
        let mut objects = ObjectsWriter::new(fs::File::create(path("objects")).unwrap(), layout).unwrap();
        blobs.iter().try_for_each(|(blob, _)| objects.push(blob)).unwrap();
        let (_, objects) = objects.finish().unwrap();
        let records = RecordsWriter::new(fs::File::create(path("records")).unwrap()).unwrap();
        let (_, records) = records.finish().unwrap();
        let header = Header {
            format: FORMAT.into(),
            stream: Uuid::nil(),
            site: "north".into(),
            sequence: 1,
            follows: None,
            previous: None,
            kind: Kind::Full,
            base: Vec::new(),
            created: Timestamp::from_micros(0),
            expires: None,
            refs: Vec::new(),
            other_refs: None,
            policy: Sha256Digest::of(b""),
            scanner_data: BTreeMap::new(),
            audit_checkpoint: AuditCheckpoint { seq: 0, hash: Sha256Digest::of(b"") },
            records,
            objects,
            volumes: layout,
            patches: Vec::new(),
            parity: None,
            more: BTreeMap::new(),
        };
        Self { key: StreamKey::generate().unwrap(), folder, header, blobs }
    }

    fn begin(&self, name: &str) -> (PathBuf, Writer) {
        let folder = self.folder.path().join(name);
        let (records, objects) = (self.folder.path().join("records"), self.folder.path().join("objects"));
        let target = Target::Folder(folder.clone());
        (folder, Writer::begin(target, self.header.clone(), &self.key, &records, &objects).unwrap())
    }

    /// Payload bytes from a position on, in buffers of no round size.
    fn push(&self, writer: &mut Writer, until: u64) {
        let payload: Vec<u8> = self.blobs.iter().flat_map(|(_, bytes)| bytes.iter().copied()).collect();
        let (from, until) = (writer.position() as usize, (until as usize).min(payload.len()));
        for buffer in payload[from.min(until)..until].chunks(100_003) {
            writer.push(Bytes::copy_from_slice(buffer)).unwrap();
        }
    }

    fn whole(&self) -> PathBuf {
        let (folder, mut writer) = self.begin("whole");
        self.push(&mut writer, u64::MAX);
        writer.finish(&self.key).unwrap();
        folder
    }

    fn stage(&self, folder: &Path, source: &Path) -> Stage {
        self.stage_beside(folder, source, &|_| false)
    }

    /// Where the store has some of the blobs.
    fn stage_beside(&self, folder: &Path, source: &Path, has: &dyn Fn(&Blob) -> bool) -> Stage {
        let document = fs::read(source.join("bundle.json")).unwrap();
        let mut stage = Stage::open(folder.to_owned(), self.header.clone(), &document, "signature").unwrap();
        stage.set_checkpoints(1 << 20);
        for name in [super::OBJECTS, super::RECORDS] {
            if !stage.has_part(name) {
                stage.take_part(name, &mut fs::File::open(source.join(name)).unwrap()).unwrap();
            }
        }
        stage.list(|batch| Ok(batch.iter().map(|object| has(&object.blob)).collect())).unwrap();
        stage.take_trailer(&fs::read(source.join("volumes.json")).unwrap()).unwrap();
        stage
    }

    fn assert_staged(&self, stage: &Stage) {
        for (blob, bytes) in &self.blobs {
            let staged = stage.staged(blob).unwrap();
            assert_eq!(fs::read(staged.path).unwrap(), bytes[..]);
        }
    }
}

/// What names and bytes a folder has.
fn files(folder: &Path) -> BTreeMap<PathBuf, Sha256Digest> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .map(|path| (path.file_name().unwrap().into(), Sha256Digest::of(&fs::read(path).unwrap())))
        .collect()
}

/// Stops after so many bytes.
struct Patience(Cell<u64>);

impl Watch for Patience {
    fn bytes(&self, count: u64) -> Result<()> {
        let left = self.0.get().checked_sub(count).ok_or(Error::Cancelled)?;
        self.0.set(left);
        Ok(())
    }
}

#[test]
fn a_writer_that_stops_in_a_volume_goes_on_to_the_same_bytes() {
    let sample = Sample::new(18 << 20);
    let expected = files(&sample.whole());
    for (place, stops) in
        [&[500_000][..], &[5 << 20, 7 << 20, 17 << 20], &[(18 << 20) - 512, 20 << 20]].into_iter().enumerate()
    {
        let name = format!("broken-{place}");
        let (folder, mut writer) = sample.begin(&name);
        for stop in stops {
            writer.set_checkpoints(1 << 20);
            sample.push(&mut writer, *stop);
            let bundle = writer.bundle();
            drop(writer);
            // What was not durable may be anything after a power cut. Volumes that were finished are.
            for path in (1..=2).map(|index| folder.join(format!("volume-000{index}.rsv"))) {
                let length = fs::metadata(&path).map_or(0, |metadata| metadata.len());
                if (1..18 << 20).contains(&length) {
                    let file = fs::File::options().write(true).open(&path).unwrap();
                    file.set_len(length + 12_345).unwrap();
                }
            }
            // Before the first checkpoint nothing has its name, and it is begun anew.
            let resumed = Writer::resume(&folder, bundle, &sample.key).unwrap();
            writer = resumed.unwrap_or_else(|| sample.begin(&name).1);
            let (reached, noted) = (*stop, writer.position());
            assert!(noted <= reached && reached - noted <= (1 << 20) + 200_000, "{noted} of {reached}");
        }
        sample.push(&mut writer, u64::MAX);
        writer.finish(&sample.key).unwrap();
        // Signatures carry no dates: the same bundle is the same to the last byte.
        assert_eq!(files(&folder), expected, "{stops:?}");
    }
}

#[test]
fn a_stage_that_stops_in_a_volume_goes_on_with_what_is_durable() {
    let sample = Sample::new(18 << 20);
    let source = sample.whole();
    let volumes = find(std::slice::from_ref(&source)).unwrap().volumes;
    for patience in [PIECE + (2 << 20), 11 << 20, 17 << 20, 40 << 20] {
        for backwards in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let mut order = volumes.clone();
            if backwards {
                order.reverse();
            }
            let mut runs = 0;
            let read = loop {
                runs += 1;
                assert!(runs < 100, "no run gets further than the one before");
                let mut stage = sample.stage(folder.path(), &source);
                let watch = Patience(Cell::new(patience));
                let taken = order.iter().try_for_each(|path| {
                    let (head, raw, file) = open_volume(path)?;
                    if stage.wants(head.index)? {
                        stage.take_volume((&head, &raw), Input::File(file), &watch)?;
                    }
                    Ok(())
                });
                match taken {
                    Ok(()) => {
                        assert!(stage.missing().unwrap().is_empty());
                        stage.finish(&Patience(Cell::new(u64::MAX))).unwrap();
                        sample.assert_staged(&stage);
                        break runs;
                    }
                    Err(Error::Cancelled) => {}
                    Err(error) => panic!("{error}"),
                }
            };
            assert!(patience >= 40 << 20 || read > 1);
        }
    }
}

/// A byte that was damaged on the medium is told with its volume and place, and a good copy of the volume is all that is needed.
#[test]
fn damage_in_the_middle_of_a_large_volume_is_told_and_made_good() {
    let sample = Sample::new(18 << 20);
    let source = sample.whole();
    let volume = source.join("volume-0001.rsv");
    let good = fs::read(&volume).unwrap();
    let mut bad = good.clone();
    bad[12 << 20] ^= 1;
    fs::write(&volume, bad).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let never = Patience(Cell::new(u64::MAX));
    let take = |stage: &mut Stage| {
        for path in &find(std::slice::from_ref(&source)).unwrap().volumes {
            let (head, raw, file) = open_volume(path)?;
            stage.take_volume((&head, &raw), Input::File(file), &never)?;
        }
        stage.finish(&never)
    };
    let error = take(&mut sample.stage(folder.path(), &source)).unwrap_err();
    let told = error.to_string();
    assert!(
        matches!(error, Error::Integrity { .. }) && told.contains("volume 1 (`north 000001 1/2`)"),
        "{told}"
    );
    fs::write(&volume, good).unwrap();
    let mut stage = sample.stage(folder.path(), &source);
    take(&mut stage).unwrap();
    sample.assert_staged(&stage);
}

/// Takes the volumes that are missing; how many they were.
fn take_missing(stage: &mut Stage, volumes: &[PathBuf]) -> usize {
    let missing = stage.missing().unwrap();
    for index in &missing {
        let (head, raw, file) = open_volume(&volumes[*index as usize - 1]).unwrap();
        let forever = Patience(Cell::new(u64::MAX));
        stage.take_volume((&head, &raw), Input::File(file), &forever).unwrap();
    }
    missing.len()
}

/// What the store had when its volume was taken, and has no more, comes from that volume again.
#[test]
fn blobs_that_were_collected_are_asked_for_again() {
    let sample = Sample::new(9 << 20);
    let source = sample.whole();
    let volumes = find(std::slice::from_ref(&source)).unwrap().volumes;
    let forever = Patience(Cell::new(u64::MAX));
    for (gone, _) in sample.blobs.iter().filter(|(blob, _)| blob.size > 0) {
        let folder = tempfile::tempdir().unwrap();
        // In the store while all volumes come; then only while the last one comes.
        let mut stage = sample.stage_beside(folder.path(), &source, &|blob| blob == gone);
        assert!(take_missing(&mut stage, &volumes) > 0);
        drop(stage);
        let mut stage = sample.stage(folder.path(), &source);
        let again = stage.missing().unwrap();
        assert!(!again.is_empty(), "`{}` is nowhere", gone.sha256);
        let (head, raw, file) = open_volume(&volumes[again[0] as usize - 1]).unwrap();
        stage.take_volume((&head, &raw), Input::File(file), &forever).unwrap();
        drop(stage);
        let mut stage = sample.stage_beside(folder.path(), &source, &|blob| blob == gone);
        take_missing(&mut stage, &volumes);
        drop(stage);
        let mut stage = sample.stage(folder.path(), &source);
        take_missing(&mut stage, &volumes);
        stage.finish(&forever).unwrap();
        sample.assert_staged(&stage);
    }
}

/// What went from the stage into the store before the load was cut off, and was collected there, is asked for again.
#[test]
fn blobs_that_left_the_stage_are_asked_for_again() {
    let sample = Sample::new(9 << 20);
    let source = sample.whole();
    let volumes = find(std::slice::from_ref(&source)).unwrap().volumes;
    let forever = Patience(Cell::new(u64::MAX));
    let folder = tempfile::tempdir().unwrap();
    let mut stage = sample.stage(folder.path(), &source);
    take_missing(&mut stage, &volumes);
    stage.keep_taken().unwrap();
    for (blob, _) in &sample.blobs {
        fs::remove_file(stage.staged(blob).unwrap().path).unwrap();
    }
    drop(stage);
    let mut stage = sample.stage(folder.path(), &source);
    assert_eq!(take_missing(&mut stage, &volumes), volumes.len());
    stage.finish(&forever).unwrap();
    sample.assert_staged(&stage);
}

#[test]
fn a_bundle_without_all_of_its_payload_is_never_finished() {
    let sample = Sample::new(18 << 20);
    for short in [0, 5 << 20, sample.header.volumes.payload - 1] {
        let (folder, mut writer) = sample.begin(&format!("short-{short}"));
        sample.push(&mut writer, short);
        let error = writer.finish(&sample.key).unwrap_err();
        assert!(matches!(error, Error::Integrity { .. }), "{error}");
        assert!(!folder.join("volumes.json").exists());
    }
}

#[test]
fn a_bundle_that_is_finished_with_a_new_key_is_signed_by_it_alone() {
    let sample = Sample::new(18 << 20);
    let (folder, mut writer) = sample.begin("rotated");
    writer.set_checkpoints(1 << 20);
    sample.push(&mut writer, 5 << 20);
    let bundle = writer.bundle();
    drop(writer);
    let new = StreamKey::generate().unwrap();
    let mut writer = Writer::resume(&folder, bundle, &new).unwrap().unwrap();
    sample.push(&mut writer, u64::MAX);
    writer.finish(&new).unwrap();
    let read = |name: &str| fs::read(folder.join(name)).unwrap();
    let sums = String::from_utf8(read("SHA256SUMS")).unwrap();
    for name in ["bundle.json", "volumes.json"] {
        let signature = read(&format!("{name}.minisig"));
        assert!(sums.contains(&Sha256Digest::of(&signature).to_string()), "{name}");
        new.public().verify(name, &read(name), &String::from_utf8(signature).unwrap()).unwrap();
    }
}

/// Room is asked for what has not come yet: a large blob of which most is staged needs little more.
#[test]
fn room_is_asked_for_what_is_not_staged() {
    let sample = Sample::new(9 << 20);
    let source = sample.whole();
    let volumes = find(std::slice::from_ref(&source)).unwrap().volumes;
    let folder = tempfile::tempdir().unwrap();
    let mut stage = sample.stage(folder.path(), &source);
    let all = stage.to_come();
    assert_eq!(all, sample.header.volumes.payload);
    for (index, path) in (1..).zip(&volumes) {
        let (head, raw, file) = open_volume(path).unwrap();
        stage.take_volume((&head, &raw), Input::File(file), &Patience(Cell::new(u64::MAX))).unwrap();
        drop(stage);
        stage = sample.stage(folder.path(), &source);
        // Blobs that are whole need nothing; the one that is cut needs its rest, to a block or two.
        let left = sample.header.volumes.payload - sample.header.volumes.extent(index).end;
        assert!(
            stage.to_come() >= left.saturating_sub(1 << 16) && stage.to_come() <= left + (1 << 16),
            "{index}"
        );
        assert!(stage.needed() >= stage.to_come());
    }
}

/// What was fetched whole, or came out of order, is hashed at the end: told byte by byte, and stopped within a blob.
#[test]
fn hashing_at_the_end_is_told_and_can_be_stopped() {
    let sample = Sample::new(18 << 20);
    let source = sample.whole();
    let folder = tempfile::tempdir().unwrap();
    let mut stage = sample.stage(folder.path(), &source);
    for (blob, bytes) in &sample.blobs {
        fs::write(stage.place(blob), bytes).unwrap();
    }
    let patience = Patience(Cell::new(2 << 20));
    assert!(matches!(stage.finish(&patience), Err(Error::Cancelled)));
    assert!(patience.0.get() < 2 << 20, "it was told of a part of a blob");
    drop(stage);
    let mut stage = sample.stage(folder.path(), &source);
    let patience = Patience(Cell::new(u64::MAX));
    stage.finish(&patience).unwrap();
    assert!(u64::MAX - patience.0.get() >= 20 << 20);
    sample.assert_staged(&stage);
}

/// What was written to its end, and not entered into the ledger, is not written again; unless something of it is amiss.
#[test]
fn a_bundle_that_has_its_trailer_is_not_written_again() {
    let sample = Sample::new(18 << 20);
    let folder = sample.whole();
    let (whole, bundle) = (files(&folder), Sha256Digest::of(&sample.header.encode().unwrap()));
    let payload = sample.header.volumes.payload;
    let position = || Writer::resume(&folder, bundle, &sample.key).unwrap().unwrap().position();
    assert_eq!(position(), payload);
    Writer::resume(&folder, bundle, &sample.key).unwrap().unwrap().finish(&sample.key).unwrap();
    assert_eq!(files(&folder), whole);
    let other = StreamKey::generate().unwrap();
    let spoils: [fn(&mut Vec<u8>); 2] = [|bytes| bytes[200] ^= 1, |bytes| bytes.truncate(bytes.len() - 1)];
    for (name, spoil) in ["volumes.json", "volume-0002.rsv"].into_iter().zip(spoils) {
        let good = fs::read(folder.join(name)).unwrap();
        let mut bad = good.clone();
        spoil(&mut bad);
        fs::write(folder.join(name), bad).unwrap();
        assert!(position() < payload, "{name}");
        fs::write(folder.join(name), good).unwrap();
    }
    let resumed = Writer::resume(&folder, bundle, &other).unwrap().unwrap();
    assert!(resumed.position() < payload, "all of it is signed by one key");
}

/// A program that goes on with the bundle of an older one writes it as that one began it.
#[test]
fn a_bundle_stays_of_the_format_that_it_was_begun_in() {
    let mut sample = Sample::new(9 << 20);
    (sample.header.format, sample.header.parity) = ("1.2.0".into(), Some(10));
    let (folder, mut writer) = sample.begin("older");
    sample.push(&mut writer, u64::MAX);
    let bundle = writer.bundle();
    let never = Patience(Cell::new(u64::MAX));
    writer.add_parity(&never).unwrap();
    writer.finish(&sample.key).unwrap();
    let found = find(std::slice::from_ref(&folder)).unwrap();
    for path in &found.volumes {
        assert_eq!(open_volume(path).unwrap().0.format, "1.2.0");
    }
    // So that what is made again is what was written.
    let good = fs::read(&found.volumes[0]).unwrap();
    let mut bad = good.clone();
    bad[..512].fill(0);
    fs::write(&found.volumes[0], bad).unwrap();
    let repair = Repair::open(&sample.header, bundle, &found.volumes, &found.parity).unwrap().unwrap();
    let made = repair.make(&[1], Some(&folder.join("made")), &never).unwrap();
    assert!(fs::read(&made.volumes[0]).unwrap() == good);
}
