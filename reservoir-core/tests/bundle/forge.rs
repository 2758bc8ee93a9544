//! Bundles that the key signed and no Reservoir would write.

use std::{
    fs,
    path::{Path, PathBuf},
};

use reservoir_core::{
    bundle::{StreamKey, VolumeHead, trailer::VolumeSums, volume::PIECE},
    digest::Sha256Digest,
};
use serde_json::{Value, json};

pub(crate) struct Forge {
    pub(crate) folder: PathBuf,
    key: StreamKey,
}

impl Forge {
    /// A copy of a good bundle, to be spoiled.
    pub(crate) fn copy(source: &Path, folder: PathBuf, key: StreamKey) -> Self {
        fs::create_dir_all(&folder).unwrap();
        for entry in fs::read_dir(source).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, folder.join(path.file_name().unwrap())).unwrap();
        }
        Self { folder, key }
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.folder.join(name)).unwrap()
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.folder.join(name), bytes).unwrap();
    }

    pub(crate) fn edit(&self, name: &str, edit: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = self.read(name);
        edit(&mut bytes);
        self.write(name, &bytes);
    }

    pub(crate) fn remove(&self, name: &str) {
        fs::remove_file(self.folder.join(name)).unwrap();
    }

    /// Puts a link in the place of a file, to that file elsewhere.
    pub(crate) fn link(&self, name: &str) {
        let (path, other) = (self.folder.join(name), self.folder.join("elsewhere"));
        fs::rename(&path, &other).unwrap();
        std::os::unix::fs::symlink(&other, &path).unwrap();
    }

    /// Puts a pipe in the place of a file, which nobody writes into.
    pub(crate) fn pipe(&self, name: &str) {
        self.remove(name);
        let made = std::process::Command::new("mkfifo").arg(self.folder.join(name)).status().unwrap();
        assert!(made.success());
    }

    pub(crate) fn swap(&self, a: &str, b: &str) {
        let (first, second) = (self.read(a), self.read(b));
        self.write(a, &second);
        self.write(b, &first);
    }

    pub(crate) fn sign(&self, name: &str) {
        let signature = self.key.sign(&self.read(name), "forged");
        self.write(&format!("{name}.minisig"), signature.as_bytes());
    }

    fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&self.read(name)).unwrap()
    }

    fn put_json(&self, name: &str, value: &Value) {
        let mut bytes = serde_json::to_vec(value).unwrap();
        bytes.push(b'\n');
        self.write(name, &bytes);
        self.sign(name);
    }

    /// Edits the header, and signs everything again so that it belongs together.
    pub(crate) fn header(&self, edit: impl FnOnce(&mut Value)) {
        let mut header = self.json("bundle.json");
        edit(&mut header);
        self.put_json("bundle.json", &header);
        self.bind();
    }

    /// Volumes and trailer as they belong to the header.
    pub(crate) fn bind(&self) {
        let bundle = Sha256Digest::of(&self.read("bundle.json"));
        let mut trailer = self.json("volumes.json");
        trailer["bundle"] = json!(bundle.to_string());
        for (place, volume) in trailer["volumes"].as_array_mut().unwrap().iter_mut().enumerate() {
            let name = format!("volume-{:04}.rsv", place + 1);
            self.edit(&name, |bytes| {
                let raw: [u8; 512] = bytes[..512].try_into().unwrap();
                let head = VolumeHead::decode("v", &raw).unwrap();
                bytes[..512].copy_from_slice(&VolumeHead { bundle, ..head }.encode().unwrap());
            });
            let bytes = self.read(&name);
            let pieces = bytes.chunks(PIECE as usize).map(|piece| blake3::hash(piece).into()).collect();
            let old: VolumeSums = serde_json::from_value(volume.clone()).unwrap();
            *volume = json!(VolumeSums { sha256: Sha256Digest::of(&bytes), pieces, ..old });
        }
        self.put_json("volumes.json", &trailer);
    }

    /// Edits the trailer and signs it.
    pub(crate) fn trailer(&self, edit: impl FnOnce(&mut Value)) {
        let mut trailer = self.json("volumes.json");
        edit(&mut trailer);
        self.put_json("volumes.json", &trailer);
    }

    /// Edits the lines of a compressed file, and signs everything again.
    pub(crate) fn lines(&self, part: &str, edit: impl FnOnce(&mut Vec<Value>)) {
        let name = format!("{part}.jsonl.zst");
        let unpacked = zstd::decode_all(&self.read(&name)[..]).unwrap();
        let mut lines: Vec<Value> = unpacked
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect();
        edit(&mut lines);
        let text = lines.iter().fold(String::new(), |text, line| text + &line.to_string() + "\n");
        self.part(part, text.as_bytes(), lines.len() as u64);
    }

    /// Leaves one blob away, as a sender would that never had it: the list and the one volume agree without it.
    pub(crate) fn leave_out(&self, which: impl Fn(&str) -> bool) {
        let mut gone = (0, 0);
        self.lines("objects", |lines| {
            let place = lines.iter().position(|line| which(line["sha256"].as_str().unwrap())).unwrap();
            let line = lines.remove(place);
            gone = (line["offset"].as_u64().unwrap(), line["size"].as_u64().unwrap());
            for line in &mut lines[place..] {
                line["offset"] = json!(line["offset"].as_u64().unwrap() - gone.1);
            }
        });
        self.edit("volume-0001.rsv", |bytes| {
            let raw: [u8; 512] = bytes[..512].try_into().unwrap();
            let head = VolumeHead::decode("v", &raw).unwrap();
            bytes.drain(512 + gone.0 as usize..512 + (gone.0 + gone.1) as usize);
            let head = VolumeHead { size: head.size - gone.1, ..head };
            bytes[..512].copy_from_slice(&head.encode().unwrap());
        });
        let size = self.read("volume-0001.rsv").len();
        self.trailer(|trailer| trailer["volumes"][0]["size"] = json!(size));
        self.header(|header| header["volumes"]["payload"] = json!(size - 512));
    }

    /// Lists one blob more, whose bytes are zeros in the one volume.
    pub(crate) fn put_in(&self, blob: &Value) {
        let size = blob["size"].as_u64().unwrap();
        let mut at = 0;
        self.lines("objects", |lines| {
            let place = lines.partition_point(|line| line["sha256"].as_str() < blob["sha256"].as_str());
            at = lines[..place].iter().map(|line| line["size"].as_u64().unwrap()).sum();
            for line in &mut lines[place..] {
                line["offset"] = json!(line["offset"].as_u64().unwrap() + size);
            }
            let mut line = lines[0].clone();
            for (key, value) in blob.as_object().unwrap() {
                line[key] = value.clone();
            }
            line["offset"] = json!(at);
            lines.insert(place, line);
        });
        self.edit("volume-0001.rsv", |bytes| {
            let raw: [u8; 512] = bytes[..512].try_into().unwrap();
            let head = VolumeHead::decode("v", &raw).unwrap();
            let at = 512 + at as usize;
            bytes.splice(at..at, vec![0; size as usize]);
            let head = VolumeHead { size: head.size + size, ..head };
            bytes[..512].copy_from_slice(&head.encode().unwrap());
        });
        let size = self.read("volume-0001.rsv").len();
        self.trailer(|trailer| trailer["volumes"][0]["size"] = json!(size));
        self.header(|header| {
            header["volumes"]["payload"] = json!(size - 512);
            header["volumes"]["capacity"] = json!(size - 512);
        });
    }

    /// The records, as text.
    pub(crate) fn records(&self) -> String {
        String::from_utf8(zstd::decode_all(&self.read("records.jsonl.zst")[..]).unwrap()).unwrap()
    }

    /// The content root of the one ref.
    pub(crate) fn root(&self) -> String {
        self.json("bundle.json")["refs"][0]["snapshot"].as_str().unwrap().to_owned()
    }

    /// Replaces a compressed file, and signs everything again.
    pub(crate) fn part(&self, part: &str, unpacked: &[u8], lines: u64) {
        let packed = zstd::encode_all(unpacked, 3).unwrap();
        self.write(&format!("{part}.jsonl.zst"), &packed);
        self.header(|header| {
            header[part] = json!({
                "lines": lines,
                "sha256": Sha256Digest::of(&packed).to_string(),
                "size": packed.len(),
                "unpacked": unpacked.len(),
            });
        });
    }
}
