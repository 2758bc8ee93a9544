//! Bundles down a stream: hostile ones, those that break off, and those of which nobody knows whether they arrived.

use std::{
    env, fs,
    io::{Cursor, Read},
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    sync::Arc,
};

use reservoir_core::{
    Base, Engine, ErrorKind, ExportOptions, Exported, Medium, Result,
    bundle::{StreamKey, Target},
    catalog::{Catalog, CatalogOptions},
};

use super::{
    forge::Forge,
    gap::{Gap, content, engine, options},
    hostile::{CARRIER, Case, SENDER},
    world::{ann, builder, sqlite, store},
};

const HOME: &str = "RESERVOIR_STREAM_HOME";
const TAPE: &str = "RESERVOIR_STREAM_TAPE";
const AT: &str = "RESERVOIR_STREAM_AT";

/// The members of the stream that a folder would be, without its end; what is not there is left away.
fn members(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let small = ["bundle.json", "bundle.json.minisig", "records.jsonl.zst", "objects.jsonl.zst"];
    let volumes = (1..=100).map(|index| format!("volume-{index:04}.rsv"));
    let last = ["SHA256SUMS", "volumes.json", "volumes.json.minisig"];
    let names = small.map(str::to_owned).into_iter().chain(volumes).chain(last.map(str::to_owned));
    let member = |name: String| Some((member(&name, &fs::read(folder.join(&name)).ok()?), name));
    names.filter_map(member).map(|(bytes, name)| (name, bytes)).collect()
}

fn member(name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.set_path(name).unwrap();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_entry_type(tar::EntryType::Regular);
    header.set_cksum();
    let filled = vec![0; bytes.len().next_multiple_of(512) - bytes.len()];
    [header.as_bytes(), bytes, &filled].concat()
}

/// The one case that is none on a stream.
const PIECES: &str = "a trailer with other pieces";

/// The end of a stream.
const END: [u8; 1024] = [0; 1024];

fn tape(folder: &Path) -> Vec<u8> {
    let members = members(folder).into_iter().map(|(_, bytes)| bytes);
    members.chain([END.to_vec()]).flatten().collect()
}

async fn to_stream(engine: &Engine, path: &Path, options: ExportOptions) -> Result<Exported> {
    let target = Target::Stream(Box::new(fs::File::create(path).unwrap()));
    engine.export(options, target, ann()).await?.wait().await
}

/// What is refused as a folder is refused as a stream.
#[tokio::test(flavor = "multi_thread")]
async fn hostile_streams_leave_the_store_as_it_was() {
    let gap = Gap::new().await;
    gap.ledger("good").await;
    let before = gap.inside.state().await;
    // Sums of pieces are for finding damage on media. On a stream they come behind the bytes, of which every blob was held
    // against its own digest by then.
    let cases: Vec<&Case> = CARRIER.iter().chain(SENDER).filter(|case| case.0 != PIECES).collect();
    assert_eq!(cases.len() + 1, CARRIER.len() + SENDER.len());
    for (name, kinds, spoil) in cases {
        let forge = Forge::copy(&gap.path("good"), gap.path("hostile"), gap.stream_key());
        spoil(&forge);
        match gap.inside.load_tape(Cursor::new(tape(&forge.folder))).await {
            Ok(loaded) => panic!("{name} was taken: {loaded:#?}"),
            // What is missing from a folder is another member on a stream.
            Err(error) => assert!(
                kinds.contains(&error.kind()) || error.kind() == ErrorKind::Malformed,
                "{name}: {error}"
            ),
        }
        assert!(gap.inside.state().await == before, "{name} left something behind");
        let _ = fs::remove_dir_all(gap.inside.folder.path().join("scratch/load"));
        fs::remove_dir_all(&forge.folder).unwrap();
    }
    assert!(gap.inside.load_tape(Cursor::new(tape(&gap.path("good")))).await.unwrap().applied);
}

/// A stream that ends anywhere before its end, or goes on behind it, or has its members in another order.
#[tokio::test(flavor = "multi_thread")]
async fn streams_that_were_cut_or_changed_are_refused() {
    let gap = Gap::large().await;
    gap.ledger("good").await;
    let (good, members) = (tape(&gap.path("good")), members(&gap.path("good")));
    assert!(members.len() > 9, "several volumes");
    let before = gap.inside.state().await;
    let refused = async |name: &str, tape: Vec<u8>| {
        match gap.inside.load_tape(Cursor::new(tape)).await {
            Ok(loaded) => panic!("{name}: {loaded:#?}"),
            // A compressed file that was cut has another digest.
            Err(error) => assert!(
                matches!(error.kind(), ErrorKind::Malformed | ErrorKind::Integrity),
                "{name}: {error}"
            ),
        }
        assert!(gap.inside.state().await == before, "{name} left something behind");
    };
    let mut from = 0;
    for (name, bytes) in &members {
        for at in [0, 100, 512, 513, bytes.len() - 1] {
            refused(&format!("cut {at} bytes into `{name}`"), good[..from + at].to_vec()).await;
        }
        if !tar::Header::from_byte_slice(&bytes[..512]).size().unwrap().is_multiple_of(512) {
            let mut hidden = good.clone();
            hidden[from + bytes.len() - 1] = 1;
            refused(&format!("something behind `{name}`"), hidden).await;
        }
        from += bytes.len();
    }
    for place in 1..members.len() {
        let mut order: Vec<_> = members.iter().map(|(_, bytes)| bytes.as_slice()).collect();
        order.swap(place - 1, place);
        order.push(&END);
        refused(&format!("`{}` too early", members[place].0), order.concat()).await;
    }
    let behind = |bytes: &[u8]| [&good[..], bytes].concat();
    refused("no end", good[..from].to_vec()).await;
    refused("half an end", good[..from + 512].to_vec()).await;
    refused("an end of a block and a half", good[..from + 800].to_vec()).await;
    refused("a second block that is not empty", [&good[..from + 512], &[1; 512]].concat()).await;
    refused("a member in its end", [&good[..from + 512], &member("more", b"more")].concat()).await;
    refused("a byte behind its end", behind(b"x")).await;
    refused("a byte behind zeros", behind(&[&[0; 9000][..], b"x"].concat())).await;
    refused("a bundle behind it", behind(&good)).await;
    refused("zeros without end", behind(&vec![0; (1 << 20) + 1])).await;
    // As `tar` and `dd` fill up what they write in larger blocks.
    let filled = behind(&vec![0; good.len().next_multiple_of(10_240) - good.len()]);
    assert!(gap.inside.load_tape(Cursor::new(filled)).await.unwrap().applied);
    assert_eq!(content(&gap.inside.engine).await, content(&gap.outside.engine).await);
}

/// Starts one of the tests below in a process of its own.
async fn child(name: &str, home: &Path, tape: &Path, at: u64) -> ExitStatus {
    let mut child = Command::new(env::current_exe().unwrap());
    child.args(["--ignored", "--exact", &format!("stream::{name}"), "--nocapture"]);
    child.env(HOME, home).env(TAPE, tape).env(AT, at.to_string());
    tokio::task::spawn_blocking(move || child.output().unwrap()).await.unwrap().status
}

fn of(name: &str) -> PathBuf {
    env::var(name).expect("started by the other tests").into()
}

/// Ends the process behind so many bytes.
struct Dying<R> {
    input: R,
    left: usize,
}

impl<R: Read> Read for Dying<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.left == 0 {
            std::process::abort();
        }
        let wanted = buffer.len().min(self.left);
        let read = self.input.read(&mut buffer[..wanted])?;
        self.left -= read;
        Ok(read)
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a child of the other tests"]
async fn dying_load() {
    let left = of(AT).to_str().unwrap().parse().unwrap();
    let tape = Dying { input: fs::File::open(of(TAPE)).unwrap(), left };
    let engine = engine(&of(HOME), store(&of(HOME)).await).await;
    let _ = engine.load(Medium::Stream(Box::new(tape)), false, ann()).await.unwrap().wait().await;
}

/// Whoever's load died in the middle of a stream plays it again.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_loaded_wherever_the_load_before_died() {
    let gap = Gap::large().await;
    let path = gap.path("tape");
    to_stream(&gap.outside.engine, &path, options()).await.unwrap();
    let size = fs::metadata(&path).unwrap().len();
    let before = gap.inside.state().await;
    for at in (0..8).map(|part| 700 + part * size / 8).chain([size - 1024, size - 512, size]) {
        let ended = child("dying_load", gap.inside.folder.path(), &path, at).await;
        assert_eq!(ended.signal(), Some(6), "{at}: {ended:?}");
        assert!(gap.inside.state().await == before, "{at} of {size} bytes left something behind");
    }
    assert!(gap.inside.load_tape(fs::File::open(&path).unwrap()).await.unwrap().applied);
    assert_eq!(content(&gap.inside.engine).await, content(&gap.outside.engine).await);
    assert!(gap.inside.engine.verify(true).await.unwrap().damaged.is_empty());
}

/// Dies when every byte went down the stream and the ledger is to be told.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a child of the other tests"]
async fn dying_export() {
    let home = of(HOME);
    let catalog = Catalog::open(&sqlite(&home), CatalogOptions::default()).await.unwrap();
    catalog.on_write(Arc::new(|operation| {
        if operation == "finish a bundle" {
            std::process::abort();
        }
    }));
    let key = StreamKey::load(home.join("bundle.key")).unwrap();
    let engine = builder(&home, catalog).await.bundle_key(key).build().unwrap();
    let _ = to_stream(&engine, &of(TAPE), options()).await;
}

/// A number that went down a stream may have arrived, whatever the ledger says: no other bundle gets it.
#[tokio::test(flavor = "multi_thread")]
async fn a_number_that_went_down_a_stream_is_not_given_again() {
    let mut gap = Gap::new().await;
    let full = || ExportOptions { base: Base::Nothing, ..options() };
    let outside = gap.outside.folder.path().to_owned();
    let dying = async |gap: &Gap, sequence: u64| {
        let path = gap.path(&format!("tape-{sequence}"));
        assert_eq!(child("dying_export", &outside, &path, 0).await.signal(), Some(6));
        let loaded = gap.inside.load_tape(fs::File::open(&path).unwrap()).await.unwrap();
        assert!(loaded.applied && loaded.sequence == sequence, "{loaded:#?}");
    };
    gap.ledger("1").await;
    gap.load("1").await.unwrap();
    gap.release("3.0").await;
    dying(&gap, 2).await;
    gap.release("4.0").await;
    // Also where the next goes into a folder. It follows what the ledger knows of, and says how to go on.
    assert_eq!(gap.ledger("3").await.sequence, Some(3));
    let refused = gap.load("3").await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict);
    let said = refused.to_string();
    assert!(said.contains("follows bundle 1") && said.contains("`--full`"), "{said}");
    assert_eq!(gap.export("4", full()).await.sequence, Some(4));
    assert!(gap.load("4").await.unwrap().applied);
    gap.release("5.0").await;
    dying(&gap, 5).await;
    gap.release("6.0").await;
    let path = gap.path("tape-6");
    assert_eq!(to_stream(&gap.outside.engine, &path, full()).await.unwrap().sequence, Some(6));
    assert!(gap.inside.load_tape(fs::File::open(&path).unwrap()).await.unwrap().applied);
    assert_eq!(content(&gap.inside.engine).await, content(&gap.outside.engine).await);
    // One that was cut off leaves a gap in the numbers, and none in the stream.
    gap.release("7.0").await;
    let away = super::resume::Away::last_blob(&gap).await;
    to_stream(&gap.outside.engine, &gap.path("tape-7"), full()).await.unwrap_err();
    away.back();
    let path = gap.path("tape-8");
    assert_eq!(to_stream(&gap.outside.engine, &path, options()).await.unwrap().sequence, Some(8));
    assert!(gap.inside.load_tape(fs::File::open(&path).unwrap()).await.unwrap().applied);
}
