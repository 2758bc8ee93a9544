//! The conformance suite of [`Store`]: one call that every implementation survives.
#![expect(clippy::unwrap_used, reason = "a suite panics where a test would")]

use std::{collections::BTreeSet, future::Future, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};

use crate::{
    Error,
    digest::Sha256Digest,
    error::Result,
    store::{
        Blob, ByteStream, PresignOptions, PutOptions, RecordKey, StagedBlob, Store, StoreExt as _, scrub,
        tree,
    },
    testing::vandal::{Part, Vandal},
};

/// Runs every check of the contract of [`Store`] on an empty store, and leaves no blob behind.
///
/// `vandal` makes the checks of damage run; without one they cannot.
///
/// # Panics
/// Whenever the store breaks its contract.
pub async fn suite(store: Arc<dyn Store>, vandal: Option<&dyn Vandal>) {
    let store = &*store;
    round_trips(store).await;
    ranges(store).await;
    whole_blobs(store).await;
    files(store).await;
    batches(store).await;
    promises(store).await;
    broken_bodies(store).await;
    dropped_puts(store).await;
    same_bytes_at_once(store).await;
    listing(store).await;
    deletion(store).await;
    records(store).await;
    links(store).await;
    if let Some(vandal) = vandal {
        damaged_bytes(store, vandal).await;
        damaged_trees(store, vandal).await;
    }
    let left: Vec<_> = store.list().try_collect().await.unwrap();
    assert_eq!(left, [], "the suite removes what it puts");
}

const GROUP: usize = tree::MIN_GROUP as usize;

/// Sizes around the edges of groups, of spans and of single requests.
const SIZES: [usize; 9] =
    [0, 1, GROUP - 1, GROUP, GROUP + 1, 2 * GROUP, 8 * GROUP + 1, 17 * GROUP - 1, 9 * 1024 * 1024 + 7];

/// Bytes that no other seed makes.
fn sample(size: usize, seed: u64) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut out = Vec::with_capacity(size + 8);
    while out.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(&state.to_le_bytes());
    }
    out.truncate(size);
    out.into()
}

/// A body in pieces of odd sizes, an empty one among them.
fn body(bytes: &Bytes) -> ByteStream {
    let mut parts = vec![Ok(Bytes::new())];
    let (mut at, mut step) = (0, 1);
    while at < bytes.len() {
        let end = (at + step).min(bytes.len());
        parts.push(Ok(bytes.slice(at..end)));
        (at, step) = (end, (step * 3 + 1).min(300_000));
    }
    stream::iter(parts).boxed()
}

async fn collect(stream: ByteStream) -> Result<Vec<u8>> {
    stream
        .try_fold(Vec::new(), async |mut all, part| {
            all.extend_from_slice(&part);
            Ok(all)
        })
        .await
}

/// Reads until the end or an error; everything yielded must be right.
async fn read_against(store: &dyn Store, blob: &Blob, from: usize, to: usize, expected: &[u8]) -> Result<()> {
    let mut stream = store.read(blob, from as u64..to as u64).await?;
    let mut at = from;
    let mut failure = None;
    while let Some(part) = stream.next().await {
        assert!(failure.is_none(), "something follows an error");
        match part {
            Ok(part) => {
                assert!(
                    part[..] == expected[at..at + part.len()],
                    "wrong bytes within {at}..{}",
                    at + part.len()
                );
                at += part.len();
            }
            Err(error) => failure = Some(error),
        }
    }
    if let Some(error) = failure {
        return Err(error);
    }
    assert_eq!(at, to, "the stream of {from}..{to} ends early");
    Ok(())
}

fn assert_integrity<T>(result: Result<T>, context: impl std::fmt::Display) {
    match result {
        Err(Error::Integrity { .. }) => {}
        Err(error) => panic!("{context}: expected Integrity, found {error:?}"),
        Ok(_) => panic!("{context}: expected Integrity, found success"),
    }
}

async fn round_trips(store: &dyn Store) {
    for (seed, size) in SIZES.into_iter().enumerate() {
        let bytes = sample(size, seed as u64);
        let blob = store.put(body(&bytes), PutOptions::default()).await.unwrap();
        assert_eq!(blob.sha256, Sha256Digest::of(&bytes), "{size}");
        assert_eq!(blob.blake3, blake3::hash(&bytes).into(), "{size}");
        assert_eq!(blob.size, size as u64);
        assert_eq!(store.put_bytes(bytes.clone()).await.unwrap(), blob, "the same bytes again");
        let replace = PutOptions { replace: true, expected: Some(blob.sha256), ..PutOptions::default() };
        assert_eq!(store.put(body(&bytes), replace).await.unwrap(), blob, "replaced by the same bytes");
        read_against(store, &blob, 0, size, &bytes).await.unwrap();
        assert_eq!(store.rehash(&blob.sha256).await.unwrap(), Some(blob));
        let stored = store.stat(&blob.sha256).await.unwrap().expect("just put");
        assert_eq!((stored.sha256, stored.size), (blob.sha256, blob.size));
        store.delete(&blob.sha256).await.unwrap();
    }
}

async fn ranges(store: &dyn Store) {
    let size = 9 * GROUP + 100;
    let bytes = sample(size, 100);
    let blob = store.put_bytes(bytes.clone()).await.unwrap();
    let edges = [
        0,
        1,
        GROUP - 1,
        GROUP,
        GROUP + 1,
        8 * GROUP - 1,
        8 * GROUP,
        8 * GROUP + 1,
        9 * GROUP,
        size - 1,
        size,
    ];
    for from in edges {
        for to in edges.into_iter().filter(|to| *to >= from) {
            read_against(store, &blob, from, to, &bytes).await.unwrap();
        }
    }
    #[expect(clippy::reversed_empty_ranges, reason = "what is refused")]
    for range in [0..blob.size + 1, blob.size + 1..blob.size + 1, 2..1, u64::MAX - 1..u64::MAX] {
        assert!(matches!(store.read(&blob, range.clone()).await, Err(Error::Invalid { .. })), "{range:?}");
    }
    // A reader that stops early, and one that lies about the size or the root.
    let mut early = store.read_all(&blob).await.unwrap();
    assert!(early.next().await.unwrap().is_ok());
    drop(early);
    let shorter = Blob { size: blob.size - 1, ..blob };
    let other = Blob { blake3: blake3::hash(b"other").into(), ..blob };
    for lie in [shorter, other] {
        assert_integrity(async { collect(store.read_all(&lie).await?).await }.await, "a wrong reference");
    }
    store.delete(&blob.sha256).await.unwrap();
}

async fn whole_blobs(store: &dyn Store) {
    let bytes = sample(1000, 200);
    let blob = store.put_bytes(bytes.clone()).await.unwrap();
    assert_eq!(store.read_whole(&blob.sha256, 1000).await.unwrap(), bytes);
    assert!(matches!(store.read_whole(&blob.sha256, 999).await, Err(Error::LimitExceeded { .. })));
    store.delete(&blob.sha256).await.unwrap();
    assert!(matches!(store.read_whole(&blob.sha256, 1000).await, Err(Error::NotFound { .. })));
}

/// What is staged is taken over as a whole; twice the same, and what is here already, are harmless.
async fn batches(store: &dyn Store) {
    store.adopt(Vec::new()).await.unwrap();
    let known = store.put_bytes(sample(100, 800)).await.unwrap();
    let mut all: Vec<(Bytes, Blob)> = Vec::new();
    for few in [3, 40] {
        let mut batch = Vec::new();
        let sizes = SIZES.into_iter().filter(|size| *size < 1 << 20).cycle().take(few);
        let samples = sizes.enumerate().map(|(number, size)| sample(size, 801 + number as u64));
        for (number, bytes) in samples.chain([sample(100, 800)]).enumerate() {
            let one = staged(store, &bytes, &format!("{few}-{number}"));
            all.push((bytes, one.blob));
            batch.push(one);
        }
        store.adopt(batch.clone()).await.unwrap();
        for StagedBlob { path, tree, .. } in batch {
            assert!(!path.exists(), "what was taken over is not there any more");
            let _ = std::fs::remove_file(tree);
        }
    }
    assert!(all.iter().any(|(_, blob)| *blob == known));
    for (bytes, blob) in &all {
        read_against(store, blob, 0, bytes.len(), bytes).await.unwrap();
        assert_eq!(store.rehash(&blob.sha256).await.unwrap(), Some(*blob));
    }
    for (_, blob) in all {
        store.delete(&blob.sha256).await.unwrap();
    }
}

/// Bytes in files of their own, as they wait to be adopted.
fn staged(store: &dyn Store, bytes: &Bytes, name: &str) -> StagedBlob {
    let mut builder = tree::TreeBuilder::default();
    builder.update(bytes);
    let tree = builder.finish();
    let (sha256, size) = (Sha256Digest::of(bytes), bytes.len() as u64);
    let blob = Blob { sha256, blake3: tree.root(), size };
    let (folder, name) = (store.staging(), format!("reservoir-staged-suite-{}-{name}", std::process::id()));
    let (path, tree_path) = (folder.join(&name), folder.join(format!("{name}-tree")));
    std::fs::write(&path, bytes).unwrap();
    if tree::is_stored(size) {
        std::fs::write(&tree_path, tree.encode()).unwrap();
    }
    StagedBlob { blob, path, tree: tree_path }
}

async fn files(store: &dyn Store) {
    let directory = tempfile::tempdir().unwrap();
    for (seed, size) in SIZES.into_iter().enumerate() {
        let bytes = sample(size, 300 + seed as u64);
        let path = directory.path().join(size.to_string());
        std::fs::write(&path, &bytes).unwrap();
        let wrong = PutOptions { expected: Some(Sha256Digest::of(b"other")), ..PutOptions::default() };
        assert_integrity(store.put_file(&path, wrong).await, "a file of another digest");
        let limit = PutOptions { limit: Some(size as u64), ..PutOptions::default() };
        if size > 0 {
            let less = PutOptions { limit: Some(size as u64 - 1), ..PutOptions::default() };
            assert!(matches!(store.put_file(&path, less).await, Err(Error::LimitExceeded { .. })));
        }
        assert_eq!(std::fs::read(&path).unwrap(), bytes, "a refused file stays");
        assert_eq!(store.stat(&Sha256Digest::of(&bytes)).await.unwrap(), None);

        let blob = store.put_file(&path, limit).await.unwrap();
        assert_eq!(blob.sha256, Sha256Digest::of(&bytes));
        assert!(!path.exists(), "a stored file is consumed");
        read_against(store, &blob, 0, size, &bytes).await.unwrap();

        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(store.put_file(&path, PutOptions::default()).await.unwrap(), blob);
        assert!(!path.exists(), "a file that was stored already is consumed, too");
        store.delete(&blob.sha256).await.unwrap();
    }
    assert!(store.put_file(&directory.path().join("absent"), PutOptions::default()).await.is_err());
    assert!(store.put_file(directory.path(), PutOptions::default()).await.is_err());
}

async fn promises(store: &dyn Store) {
    for size in [10, 3 * GROUP, 9 * 1024 * 1024] {
        let bytes = sample(size, 400);
        let size = size as u64;
        let sha256 = Sha256Digest::of(&bytes);
        let other = Some(Sha256Digest::of(b"other"));
        let wrong = [
            PutOptions { expected: other, ..PutOptions::default() },
            PutOptions { size: Some(size - 1), ..PutOptions::default() },
            PutOptions { size: Some(size + 1), expected: Some(sha256), ..PutOptions::default() },
        ];
        for options in wrong {
            assert_integrity(store.put(body(&bytes), options.clone()).await, format!("{options:?}"));
        }
        let limit = PutOptions { limit: Some(size - 1), ..PutOptions::default() };
        assert!(matches!(store.put(body(&bytes), limit).await, Err(Error::LimitExceeded { .. })));
        assert_eq!(store.stat(&sha256).await.unwrap(), None, "what was refused is not there");
        let kept = PutOptions { expected: Some(sha256), size: Some(size), limit: Some(size), replace: false };
        assert_eq!(store.put(body(&bytes), kept).await.unwrap().sha256, sha256);
        store.delete(&sha256).await.unwrap();
    }
}

async fn broken_bodies(store: &dyn Store) {
    for size in [100, 10 * 1024 * 1024] {
        let bytes = sample(size, 500);
        let cut = body(&bytes).chain(stream::once(async { Err(Error::Cancelled) })).boxed();
        let error = store.put(cut, PutOptions::default()).await.unwrap_err();
        assert!(matches!(error, Error::Cancelled), "the body's own error is passed on: {error:?}");
        assert_eq!(store.stat(&Sha256Digest::of(&bytes)).await.unwrap(), None);
    }
    assert_no_leftovers(store).await;
}

async fn dropped_puts(store: &dyn Store) {
    let bytes = sample(10 * 1024 * 1024, 600);
    for polls in [1, 2, 10, 100] {
        // All bytes come, the end never does.
        let stalled = body(&bytes).chain(stream::pending()).boxed();
        give_up_after(polls, store.put(stalled, PutOptions::default())).await;
    }
    assert_eq!(store.stat(&Sha256Digest::of(&bytes)).await.unwrap(), None);
    assert_no_leftovers(store).await;
    // Given up at any other point a blob is absent or whole.
    let bytes = sample(5 * GROUP, 601);
    for polls in 1..20 {
        give_up_after(polls, store.put(body(&bytes), PutOptions::default())).await;
        let sha256 = Sha256Digest::of(&bytes);
        if store.stat(&sha256).await.unwrap().is_some() {
            let blob = Blob { sha256, blake3: blake3::hash(&bytes).into(), size: bytes.len() as u64 };
            assert_eq!(store.rehash(&sha256).await.unwrap(), Some(blob));
            read_against(store, &blob, 0, bytes.len(), &bytes).await.unwrap();
        }
    }
    // Work that was on its way when its caller left is done by now.
    tokio::time::sleep(Duration::from_millis(200)).await;
    store.delete(&Sha256Digest::of(&bytes)).await.unwrap();
}

/// Polls a future some times and drops it.
async fn give_up_after<F: Future>(polls: u32, future: F) {
    let mut future = std::pin::pin!(future);
    for _ in 0..polls {
        // Elapsed or done are both fine here.
        if tokio::time::timeout(Duration::from_micros(300), &mut future).await.is_ok() {
            return;
        }
    }
}

async fn assert_no_leftovers(store: &dyn Store) {
    // A batch may still be on its way to the disk.
    tokio::time::sleep(Duration::from_millis(200)).await;
    store.sweep_leftovers(Duration::ZERO).await.unwrap();
    assert_eq!(store.sweep_leftovers(Duration::ZERO).await.unwrap(), 0);
    let listed: Vec<_> = store.list().try_collect().await.unwrap();
    assert_eq!(listed, [], "nothing became visible");
}

async fn same_bytes_at_once(store: &dyn Store) {
    let bytes = sample(20 * GROUP, 700);
    let puts = (0..8).map(|_| store.put(body(&bytes), PutOptions::default()));
    let blobs = futures::future::try_join_all(puts).await.unwrap();
    assert!(blobs.iter().all(|blob| *blob == blobs[0]));
    let reads = (0..8).map(|_| read_against(store, &blobs[0], 0, bytes.len(), &bytes));
    futures::future::try_join_all(reads).await.unwrap();
    store.delete(&blobs[0].sha256).await.unwrap();
}

async fn listing(store: &dyn Store) {
    let mut expected = BTreeSet::new();
    for seed in 0..40 {
        let blob = store.put_bytes(sample(seed as usize, 800 + seed)).await.unwrap();
        expected.insert((blob.sha256, blob.size));
    }
    let listed: Vec<_> = store.list().map_ok(|blob| (blob.sha256, blob.size)).try_collect().await.unwrap();
    assert_eq!(listed, Vec::from_iter(expected.clone()), "every blob, in digest order");

    let mut last = scrub::Scrubbed::default();
    let damaged: Vec<_> = scrub::scrub(store, true, |so_far| last = so_far).try_collect().await.unwrap();
    assert_eq!(damaged, []);
    assert_eq!((last.blobs, last.damaged), (40, 0));
    assert_eq!(last.bytes, expected.iter().map(|(_, size)| size).sum::<u64>());
    for (sha256, _) in expected {
        store.delete(&sha256).await.unwrap();
    }
}

async fn deletion(store: &dyn Store) {
    for size in [10, 3 * GROUP] {
        let blob = store.put_bytes(sample(size, 900)).await.unwrap();
        store.delete(&blob.sha256).await.unwrap();
        store.delete(&blob.sha256).await.expect("deleting what is absent is fine");
        assert_eq!(store.stat(&blob.sha256).await.unwrap(), None);
        assert_eq!(store.rehash(&blob.sha256).await.unwrap(), None);
        for range in [0..blob.size, 0..0, 1..2] {
            let result = async { collect(store.read(&blob, range.clone()).await?).await }.await;
            assert!(matches!(result, Err(Error::NotFound { .. })), "{range:?}: {result:?}");
        }
    }
}

async fn records(store: &dyn Store) {
    let [first, second] = [uuid::Uuid::new_v4(), uuid::Uuid::new_v4()];
    let key = |line, number, fence| RecordKey { line, number, fence };
    let mut expected = Vec::new();
    for (line, number, fence) in [(first, 10, 1), (first, 9, 1), (first, 9, 2), (second, 1, u64::MAX)] {
        let key = key(line, number, fence);
        assert!(matches!(store.read_record(key).await, Err(Error::NotFound { .. })));
        let bytes = Bytes::from(format!("{key:?}"));
        store.put_record(key, bytes.clone()).await.unwrap();
        store.put_record(key, bytes.clone()).await.expect("the same bytes again");
        let other = store.put_record(key, "other".into()).await;
        assert!(matches!(other, Err(Error::Conflict { .. })), "{other:?}");
        assert_eq!(store.read_record(key).await.unwrap(), bytes);
        expected.push(key);
    }
    expected.sort_unstable();
    let all = store.list_records(None).await.unwrap();
    let ours: Vec<_> = all.into_iter().filter(|key| [first, second].contains(&key.line)).collect();
    assert_eq!(ours, expected);
    let line: Vec<_> = expected.iter().copied().filter(|key| key.line == first).collect();
    assert_eq!(store.list_records(Some(first)).await.unwrap(), line);
    assert_eq!(store.list_records(Some(uuid::Uuid::new_v4())).await.unwrap(), []);
    let long = store.put_record(key(first, 11, 1), vec![0; 1024 * 1024 + 1].into()).await;
    assert!(matches!(long, Err(Error::LimitExceeded { .. })), "{long:?}");
}

async fn links(store: &dyn Store) {
    let bytes = sample(1234, 1000);
    let blob = store.put_bytes(bytes.clone()).await.unwrap();
    let link = store.presign(&blob.sha256, PresignOptions { expires: Duration::from_mins(1) }).await;
    if store.capability().presign {
        let answer = reqwest::get(link.unwrap()).await.unwrap();
        assert_eq!(answer.status(), http::StatusCode::OK);
        assert_eq!(answer.bytes().await.unwrap(), bytes);
        for seconds in [0, 301] {
            let expires = Duration::from_secs(seconds);
            let refused = store.presign(&blob.sha256, PresignOptions { expires }).await;
            assert!(matches!(refused, Err(Error::Invalid { .. })), "{refused:?}");
        }
    } else {
        assert!(matches!(link, Err(Error::Unsupported { .. })), "{link:?}");
    }
    store.delete(&blob.sha256).await.unwrap();
}

async fn damaged_bytes(store: &dyn Store, vandal: &dyn Vandal) {
    for size in [1, GROUP, 3 * GROUP + 5, 20 * GROUP] {
        let bytes = sample(size, 1100);
        for offset in [0, size / 3, size / 2, size - 1] {
            let blob =
                store.put(body(&bytes), PutOptions { replace: true, ..PutOptions::default() }).await.unwrap();
            vandal.flip(Part::Bytes, &blob.sha256, offset as u64).await;
            let context = format!("bit flipped at {offset} of {size}");
            assert_integrity(read_against(store, &blob, 0, size, &bytes).await, &context);
            let one = read_against(store, &blob, offset, offset + 1, &bytes).await;
            assert_integrity(one, &context);
            assert_integrity(store.read_whole(&blob.sha256, u64::MAX).await, &context);
            let found = store.rehash(&blob.sha256).await.unwrap().unwrap();
            assert_ne!(found.sha256, blob.sha256, "{context}");
            let damaged: Vec<_> = scrub::scrub(store, true, |_| ()).try_collect().await.unwrap();
            assert_eq!(damaged.len(), 1, "{context}");
            assert_eq!(damaged[0].damage, scrub::Damage::Rotten { actual: found.sha256 });
        }
        let blob =
            store.put(body(&bytes), PutOptions { replace: true, ..PutOptions::default() }).await.unwrap();
        read_against(store, &blob, 0, size, &bytes).await.expect("replacing repairs");
        vandal.cut(Part::Bytes, &blob.sha256, size as u64 - 1).await;
        assert_integrity(read_against(store, &blob, 0, size, &bytes).await, "one byte short");
        assert_integrity(read_against(store, &blob, 0, 1, &bytes).await, "one byte short, at the other end");
        // Of the right size, so that only a look at its bytes could tell.
        store.put(body(&bytes), PutOptions { replace: true, ..PutOptions::default() }).await.unwrap();
        vandal.flip(Part::Bytes, &blob.sha256, size as u64 / 2).await;
        store.adopt(vec![staged(store, &bytes, "repair")]).await.unwrap();
        read_against(store, &blob, 0, size, &bytes).await.expect("adopting repairs");
        store.delete(&blob.sha256).await.unwrap();
    }
}

async fn damaged_trees(store: &dyn Store, vandal: &dyn Vandal) {
    for (case, offset) in
        [Some(0), Some(9), Some(17), Some(24), Some(24 + 4 * 32 - 1), None].into_iter().enumerate()
    {
        // Fresh bytes each time: a tree that was verified once may be remembered.
        let bytes = sample(3 * GROUP + 5, 1200 + case as u64);
        let blob = store.put_bytes(bytes.clone()).await.unwrap();
        match offset {
            Some(offset) => vandal.flip(Part::Tree, &blob.sha256, offset).await,
            None => vandal.remove(Part::Tree, &blob.sha256).await,
        }
        assert_integrity(
            read_against(store, &blob, 0, bytes.len(), &bytes).await,
            format!("tree at {offset:?}"),
        );
        let damaged: Vec<_> = scrub::scrub(store, true, |_| ()).try_collect().await.unwrap();
        assert_eq!(damaged.iter().map(|found| &found.damage).collect::<Vec<_>>(), [&scrub::Damage::Tree]);
        store.put_bytes(bytes.clone()).await.unwrap();
        read_against(store, &blob, 0, bytes.len(), &bytes).await.expect("putting again repairs a tree");
        store.delete(&blob.sha256).await.unwrap();
    }
}
