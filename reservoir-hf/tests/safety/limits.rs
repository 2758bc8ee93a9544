//! What is too large, cut short or malformed, and in how much memory and time that is found.

use std::{
    fs,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::StreamExt as _;
use reservoir_core::{
    gate::{Scanner as _, Verdict},
    store::{ObjectStoreOptions, PutOptions, Store as _},
};
use reservoir_hf::safety::{Limits, ModelFiles};
use tempfile::TempDir;

use super::{files, rule, scan, scan_stored, scan_with};

/// The largest resident size of this process so far, in bytes (proc(5)). Each test has a process of its own (nextest).
fn peak_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

/// A pickle of 192 MiB with a word remembered every few bytes is judged in less memory than a third of it.
#[tokio::test]
async fn a_large_pickle_needs_little_memory() {
    let folder = TempDir::with_prefix("reservoir-large").unwrap();
    let url = format!("file://{}", folder.path().join("store").display());
    let store = reservoir_core::store::open(&url, ObjectStoreOptions::default()).await.unwrap();
    let mut batch = b"(".to_vec();
    for number in 0..20_000_u32 {
        batch.extend(b"\x8c\x08");
        batch.extend(format!("{number:08}").as_bytes());
        batch.extend(b"\x94](K\x01G\x3f\xf0\0\0\0\0\0\0e");
    }
    batch.push(b'u');
    let batch = Bytes::from(batch);
    let pieces = std::iter::once(Bytes::from_static(b"\x80\x04}\x94"))
        .chain(std::iter::repeat_n(batch.clone(), (192 << 20) / batch.len()))
        .chain([Bytes::from_static(b".")]);
    let pieces = futures::stream::iter(pieces.map(Ok)).boxed();
    let blob = store.put(pieces, PutOptions::default()).await.unwrap();
    assert_eq!(scan_stored(ModelFiles::default(), &store, &blob).await, Verdict::Clean);
    let peak = peak_memory();
    assert!(peak < 64 << 20, "{} MiB", peak >> 20);
}

#[tokio::test]
async fn malformed_headers_are_found_in_under_a_second() {
    let files = files("malformed");
    assert!(files.len() >= 45, "{}", files.len());
    let mut accepted = Vec::new();
    for (name, bytes) in files {
        let started = Instant::now();
        let verdict = scan(bytes).await;
        assert!(started.elapsed() < Duration::from_secs(1), "{name} took {:?}", started.elapsed());
        let expected = if name.ends_with("gguf") { "gguf-malformed" } else { "safetensors-malformed" };
        if rule(&verdict) != expected {
            accepted.push((name, verdict));
        }
    }
    assert!(accepted.is_empty(), "{accepted:#?}");
}

#[tokio::test]
async fn headers_have_two_limits() {
    let header = |bytes: usize| {
        let json = [&b"{"[..], &vec![b' '; bytes - 2], b"}"].concat();
        [&(json.len() as u64).to_le_bytes()[..], &json].concat()
    };
    for (bytes, expected) in
        [(25_000_000, "clean"), (25_000_001, "incomplete"), (100_000_001, "safetensors-malformed")]
    {
        let file = header(bytes);
        assert_eq!(rule(&scan(file).await), expected, "{bytes}");
    }
}

#[tokio::test]
async fn limits_make_a_look_incomplete() {
    let files = files("clean");
    let torch = files["torch-many.pt"].clone();
    let few = Limits { members: 50, ..Limits::default() };
    let shallow = Limits { depth: 0, ..Limits::default() };
    for limits in [few, shallow] {
        let verdict = scan_with(ModelFiles::with_limits(limits), torch.clone()).await;
        assert!(matches!(verdict, Verdict::Incomplete { .. }), "{verdict:?}");
        let rules = ModelFiles::with_limits(limits).rules().await.unwrap();
        assert_ne!(rules, ModelFiles::default().rules().await.unwrap());
    }
}

#[tokio::test]
async fn what_is_cut_short_is_never_clean() {
    let files = files("clean");
    for name in
        ["torch-state-dict.pt", "nemo.tar.gz", "arrays.npz", "model.gguf", "model.safetensors", "data.txt.xz"]
    {
        let whole = &files[name];
        for at in (32..whole.len() - 1).step_by(whole.len() / 40 + 1) {
            let verdict = scan(whole.slice(..at)).await;
            assert_ne!(verdict, Verdict::Clean, "{name} cut at {at} of {}", whole.len());
        }
    }
}
