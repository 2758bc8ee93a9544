//! Every one of these is refused, and leaves the store as it was to the byte, and the catalog as it was.

use std::path::Path;

use reservoir_core::{
    ErrorKind, ExportOptions,
    bundle::{StreamKey, VolumeHead},
    store::StoreExt as _,
};
use serde_json::{Value, json};

use super::{
    forge::Forge,
    gap::{Gap, Inside, options},
    world::store,
};

pub(crate) type Case = (&'static str, &'static [ErrorKind], fn(&Forge));

const VOLUME: &str = "volume-0001.rsv";
use ErrorKind::{Conflict, Integrity, Invalid, Malformed, TooNew, Untrusted};

/// What anybody can do to the files who holds the medium.
pub(crate) const CARRIER: &[Case] = &[
    ("a changed header", &[Untrusted], |f| f.edit("bundle.json", |b| b[20] ^= 1)),
    ("an extended header", &[Untrusted], |f| f.edit("bundle.json", |b| b.push(b' '))),
    ("a cut header", &[Untrusted], |f| f.edit("bundle.json", |b| b.truncate(100))),
    ("an empty header", &[Untrusted], |f| f.write("bundle.json", b"")),
    ("a stripped signature", &[Untrusted], |f| f.remove("bundle.json.minisig")),
    ("an empty signature", &[Untrusted], |f| f.write("bundle.json.minisig", b"")),
    ("a signature that is not text", &[Untrusted], |f| f.write("bundle.json.minisig", &[0xff; 200])),
    ("another document's signature", &[Untrusted], |f| f.swap("bundle.json.minisig", "volumes.json.minisig")),
    ("a signature by another key", &[Untrusted], |f| {
        let key = StreamKey::generate().unwrap();
        f.write("bundle.json.minisig", key.sign(&f.read("bundle.json"), "mine").as_bytes());
    }),
    ("a changed comment of the signature", &[Untrusted], |f| {
        f.edit("bundle.json.minisig", |b| {
            let at = b.windows(8).position(|w| w == b"trusted ").unwrap();
            let last = b[at + 8..].windows(8).position(|w| w == b"trusted ").unwrap() + at + 8;
            b[last + 20] ^= 1;
        });
    }),
    ("changed records", &[Integrity], |f| f.edit("records.jsonl.zst", |b| b[30] ^= 1)),
    ("cut records", &[Integrity], |f| f.edit("records.jsonl.zst", |b| b.truncate(40))),
    ("extended records", &[Integrity], |f| f.edit("records.jsonl.zst", |b| b.push(0))),
    ("missing records", &[Malformed], |f| f.remove("records.jsonl.zst")),
    ("a changed list of blobs", &[Integrity], |f| f.edit("objects.jsonl.zst", |b| b[30] ^= 1)),
    ("a missing list of blobs", &[Malformed], |f| f.remove("objects.jsonl.zst")),
    ("a changed volume", &[Integrity], |f| f.edit(VOLUME, |b| b[5000] ^= 1)),
    ("a changed last byte of a volume", &[Integrity], |f| f.edit(VOLUME, |b| *b.last_mut().unwrap() ^= 1)),
    ("a cut volume", &[Malformed], |f| f.edit(VOLUME, |b| b.truncate(5000))),
    ("an extended volume", &[Malformed], |f| f.edit(VOLUME, |b| b.extend(b"more"))),
    ("a volume without its head", &[Malformed], |f| f.edit(VOLUME, |b| drop(b.drain(..512)))),
    ("a changed head of a volume", &[Malformed], |f| f.edit(VOLUME, |b| b[60] ^= 1)),
    ("a volume that says it has no end", &[Malformed], |f| {
        f.edit(VOLUME, |b| {
            let head = VolumeHead::decode("v", &b[..512].try_into().unwrap()).unwrap();
            b[..512].copy_from_slice(&VolumeHead { size: u64::MAX, ..head }.encode().unwrap());
        });
    }),
    ("a stripped signature of the trailer", &[Untrusted], |f| f.remove("volumes.json.minisig")),
    ("a changed trailer", &[Untrusted], |f| f.edit("volumes.json", |b| b[30] ^= 1)),
    ("a missing trailer", &[Malformed], |f| {
        f.remove("volumes.json");
        f.remove("volumes.json.minisig");
    }),
];

/// Names under which a medium has no files. A pipe would keep whoever opens it waiting for ever.
const NO_FILES: &[Case] = &[
    ("a volume that is a link", &[Malformed], |f| f.link(VOLUME)),
    ("a volume that is a pipe", &[Malformed], |f| f.pipe(VOLUME)),
    ("a header that is a link", &[Malformed], |f| f.link("bundle.json")),
    ("a header that is a pipe", &[Malformed], |f| f.pipe("bundle.json")),
    ("a header that is a folder", &[Malformed], |f| {
        f.remove("bundle.json");
        std::fs::create_dir(f.folder.join("bundle.json")).unwrap();
    }),
    ("a signature that is a pipe", &[Malformed], |f| f.pipe("bundle.json.minisig")),
    ("records that are a link", &[Malformed], |f| f.link("records.jsonl.zst")),
    ("records that are a pipe", &[Malformed], |f| f.pipe("records.jsonl.zst")),
    ("a list of blobs that is a pipe", &[Malformed], |f| f.pipe("objects.jsonl.zst")),
    ("a trailer that is a pipe", &[Malformed], |f| f.pipe("volumes.json")),
    ("a signature of the trailer that is a pipe", &[Malformed], |f| f.pipe("volumes.json.minisig")),
];

fn object(lines: &mut [Value], place: usize) -> &mut Value {
    &mut lines[place]
}

fn first<'a>(lines: &'a mut [Value], kind: &str) -> &'a mut Value {
    lines.iter_mut().find(|line| line["record"] == kind).unwrap()
}

fn with_blob(lines: &mut [Value]) -> &mut Value {
    lines.iter_mut().find(|line| line["record"] == "file" && line["blob"].is_object()).unwrap()
}

/// Blobs whose digests repeat a byte, all made by one patch.
fn patches(blobs: &[&str], patch: &Value) -> Value {
    let one = |byte: &&str| json!({ "blob": { "sha256": byte.repeat(32), "blake3": byte.repeat(32), "size": 100 }, "patch": patch });
    blobs.iter().map(one).collect()
}

/// What a sender could do whose key is trusted, but whose program is not ours.
pub(crate) const SENDER: &[Case] = &[
    ("a newer major format", &[TooNew], |f| f.header(|h| h["format"] = json!("2.0.0"))),
    ("no format", &[Malformed], |f| f.header(|h| h["format"] = json!("latest"))),
    ("an expired bundle", &[Untrusted], |f| f.header(|h| h["expires"] = json!("2020-01-01T00:00:00Z"))),
    ("number zero", &[Malformed], |f| f.header(|h| h["sequence"] = json!(0))),
    ("the last number there is", &[Malformed], |f| f.header(|h| h["sequence"] = json!(u64::MAX))),
    ("a number that not every reader takes", &[Malformed], |f| {
        f.header(|h| h["sequence"] = json!(1_u64 << 53));
    }),
    ("a snapshot without a number", &[Malformed], |f| {
        f.header(|h| h["refs"][0]["number"] = json!(u64::MAX));
    }),
    ("a part that fills every disk", &[Malformed], |f| {
        f.header(|h| {
            h["records"]["size"] = json!(u64::MAX);
            h["records"]["unpacked"] = json!(u64::MAX);
        });
    }),
    ("a bundle that follows itself", &[Malformed], |f| f.header(|h| h["follows"] = h["sequence"].clone())),
    ("a delta of nothing", &[Malformed, Conflict], |f| f.header(|h| h["kind"] = json!("delta"))),
    ("one ref twice", &[Malformed], |f| {
        f.header(|h| {
            let carried = h["refs"][0].clone();
            h["refs"].as_array_mut().unwrap().push(carried);
        });
    }),
    ("another ref than main", &[Malformed], |f| f.header(|h| h["refs"][0]["ref"] = json!("secret"))),
    ("a reserved repository name", &[Malformed], |f| f.header(|h| h["refs"][0]["repository"] = json!("api"))),
    ("a path as repository name", &[Malformed], |f| {
        f.header(|h| h["refs"][0]["repository"] = json!("../../etc"));
    }),
    ("an unknown ecosystem", &[Invalid], |f| f.header(|h| h["refs"][0]["ecosystem"] = json!("unknown"))),
    ("another Reservoir as ecosystem", &[Invalid, Malformed], |f| {
        f.header(|h| h["refs"][0]["ecosystem"] = json!("reservoir"));
    }),
    ("a patch that is nowhere", &[Malformed], |f| {
        f.header(|h| h["patches"] = patches(&["11"], &json!("ab".repeat(32))));
    }),
    ("a patch that is none", &[Malformed], |f| {
        let mut first = Value::Null;
        f.lines("objects", |lines| first = lines[0]["sha256"].clone());
        f.header(|h| h["patches"] = patches(&["11"], &first));
    }),
    ("a blob patched twice", &[Malformed], |f| {
        f.header(|h| h["patches"] = patches(&["11", "11"], &json!("ab".repeat(32))));
    }),
    ("patches out of order", &[Malformed], |f| {
        f.header(|h| h["patches"] = patches(&["22", "11"], &json!("ab".repeat(32))));
    }),
    ("a patch that fills every disk", &[ErrorKind::Quota], |f| {
        f.header(|h| {
            h["patches"] = patches(&["11"], &json!("ab".repeat(32)));
            h["patches"][0]["blob"]["size"] = json!(u64::MAX);
        });
    }),
    ("a ref to nothing", &[Integrity, Malformed], |f| {
        f.header(|h| h["refs"][0]["snapshot"] = json!("ab".repeat(32)));
    }),
    ("a base that is not here", &[Conflict], |f| f.header(|h| h["base"] = json!(["cd".repeat(32)]))),
    ("volumes that do not add up", &[Malformed], |f| f.header(|h| h["volumes"]["count"] = json!(99))),
    ("volumes without capacity", &[Malformed], |f| f.header(|h| h["volumes"]["capacity"] = json!(0))),
    ("a payload without end", &[Malformed], |f| {
        f.header(|h| h["volumes"] = json!({ "capacity": u64::MAX, "count": 1, "payload": u64::MAX }));
    }),
    ("another spelling of the header", &[Malformed], |f| {
        f.edit("bundle.json", |b| drop(b.splice(1..1, *b" ")));
        f.sign("bundle.json");
    }),
    ("a bomb in the records", &[Malformed], |f| {
        let bomb = vec![b'a'; 64 << 20];
        f.part("records", &bomb, 1);
    }),
    ("a bomb in the list of blobs", &[Malformed], |f| f.part("objects", &vec![b' '; 64 << 20], 1)),
    ("fewer lines than promised", &[Malformed], |f| {
        f.header(|h| h["objects"]["lines"] = json!(h["objects"]["lines"].as_u64().unwrap() + 1));
    }),
    ("a longer list than promised", &[Malformed], |f| {
        f.header(|h| h["records"]["unpacked"] = json!(h["records"]["unpacked"].as_u64().unwrap() - 1));
    }),
    ("a blob twice", &[Malformed], |f| {
        f.lines("objects", |lines| {
            let again = lines[0].clone();
            lines.insert(0, again);
        });
    }),
    ("blobs out of order", &[Malformed], |f| f.lines("objects", |lines| lines.swap(0, 1))),
    ("blobs that overlap", &[Malformed], |f| {
        f.lines("objects", |lines| object(lines, 1)["offset"] = json!(1));
    }),
    ("a blob in a volume that is not there", &[Malformed], |f| {
        f.lines("objects", |lines| object(lines, 0)["volume"] = json!(77));
    }),
    ("a blob that is longer than everything", &[Malformed], |f| {
        f.lines("objects", |lines| object(lines, 0)["size"] = json!(u64::MAX));
    }),
    ("a blob that is missing from the list", &[Malformed], |f| {
        f.lines("objects", |lines| drop(lines.remove(2)));
    }),
    ("another digest than the bytes have", &[Integrity], |f| {
        f.lines("objects", |lines| {
            let mut digest = lines[0]["sha256"].as_str().unwrap().to_owned();
            let last = if digest.ends_with('0') { "1" } else { "0" };
            digest.replace_range(63.., last);
            lines[0]["sha256"] = json!(digest);
        });
    }),
    ("another tree than the bytes have", &[Integrity], |f| {
        f.lines("objects", |lines| object(lines, 0)["blake3"] = json!("12".repeat(32)));
    }),
    ("an unknown key in the list of blobs", &[Malformed], |f| {
        f.lines("objects", |lines| object(lines, 0)["path"] = json!("../../etc/passwd"));
    }),
    ("other bytes under a good trailer", &[Integrity], |f| {
        f.edit(VOLUME, |b| b[6000] ^= 1);
        f.bind();
    }),
    ("a trailer of another bundle", &[Malformed], |f| f.trailer(|t| t["bundle"] = json!("ab".repeat(32)))),
    ("a trailer with a volume less", &[Malformed], |f| {
        f.trailer(|t| drop(t["volumes"].as_array_mut().unwrap().pop()));
    }),
    ("a trailer with other pieces", &[Integrity], |f| {
        f.trailer(|t| t["volumes"][0]["pieces"][0] = json!("ab".repeat(32)));
    }),
    ("a path that climbs", &[Malformed], |f| {
        f.lines("records", |lines| with_blob(lines)["path"] = json!("../../../etc/passwd"));
    }),
    ("an absolute path", &[Malformed], |f| {
        f.lines("records", |lines| with_blob(lines)["path"] = json!("/etc/passwd"));
    }),
    ("an artifact that climbs", &[Malformed], |f| {
        f.lines("records", |lines| first(lines, "revision")["artifact"] = json!("a/../../b"));
    }),
    ("a status that nobody knows", &[Malformed], |f| {
        f.lines("records", |lines| first(lines, "revision")["status"] = json!("BLESSED"));
    }),
    ("a file under no revision", &[Malformed], |f| {
        f.lines("records", |lines| {
            let file = with_blob(lines).clone();
            lines.insert(1, file);
        });
    }),
    ("a line under no repository", &[Malformed], |f| f.lines("records", |lines| drop(lines.remove(0)))),
    ("a repository that no ref names", &[Malformed], |f| {
        f.lines("records", |lines| lines[0]["config"]["name"] = json!("other"));
    }),
    ("options that the format refuses", &[Invalid, Malformed], |f| {
        f.lines("records", |lines| lines[0]["config"]["options"] = json!({ "packages": 7 }));
    }),
    ("a file that was let in without bytes", &[Malformed], |f| {
        f.lines("records", |lines| drop(with_blob(lines).as_object_mut().unwrap().remove("blob")));
    }),
    ("a file with other bytes than its registry said", &[Malformed], |f| {
        f.lines("records", |lines| with_blob(lines)["sha256"] = json!("ab".repeat(32)));
    }),
    ("a file with another size than its bytes", &[Malformed], |f| {
        f.lines("records", |lines| with_blob(lines)["size"] = json!(7));
    }),
    ("a file that no disk has room for", &[Malformed], |f| {
        f.lines("records", |lines| {
            let file = with_blob(lines).as_object_mut().unwrap();
            for key in ["blob", "inspection", "derived", "sha256"] {
                file.remove(key);
            }
            file.insert("admitted".into(), json!(false));
            file.insert("size".into(), json!(u64::MAX));
        });
    }),
    ("a blob that is nowhere", &[Malformed], |f| {
        f.lines("records", |lines| {
            let file = with_blob(lines);
            file["blob"]["sha256"] = json!("ab".repeat(32));
            file["sha256"] = json!("ab".repeat(32));
        });
    }),
    ("a blob with another size than it has", &[Integrity], |f| {
        f.lines("records", |lines| {
            let file = with_blob(lines);
            (file["size"], file["blob"]["size"]) = (json!(1), json!(1));
        });
    }),
    ("a missing page", &[Integrity, Malformed], |f| {
        // Nothing but manifests name their pages.
        let (records, root) = (f.records(), f.root());
        f.leave_out(|sha256| sha256 != root && !records.contains(sha256));
    }),
    ("a missing root", &[Integrity, Malformed], |f| {
        let root = f.root();
        f.leave_out(|sha256| sha256 == root);
    }),
    ("a missing package", &[Malformed], |f| {
        let records = f.records();
        f.leave_out(|sha256| records.contains(sha256));
    }),
    ("parity of more than everything", &[Malformed], |f| f.header(|h| h["parity"] = json!(101))),
    ("parity without end", &[Malformed], |f| f.header(|h| h["parity"] = json!(u32::MAX))),
    ("no records", &[Malformed], |f| f.lines("records", Vec::clear)),
    ("records that are no JSON", &[Malformed], |f| f.part("records", b"{{{{\n", 1)),
    ("a file of which too much is said", &[Malformed], |f| {
        let noise: String =
            (0..(5 << 20) / 64).map(|n: u64| blake3::hash(&n.to_le_bytes()).to_hex().to_string()).collect();
        f.lines("records", |lines| with_blob(lines)["attributes"]["noise"] = json!(noise));
    }),
    ("a line of 20 MiB", &[Malformed], |f| {
        let noise: String =
            (0..(20 << 20) / 64).map(|n: u64| blake3::hash(&n.to_le_bytes()).to_hex().to_string()).collect();
        f.part("records", format!("\"{noise}\"\n").as_bytes(), 1);
    }),
];

/// Loads each, and looks at it. A sender's lies are found where things are put together; what a carrier did, wherever every
/// byte is read.
async fn refuse_all(gap: &Gap, inside: &Inside, source: &Path, (cases, is_seen): (&[Case], bool)) -> usize {
    let before = inside.state().await;
    for (number, (name, kinds, spoil)) in cases.iter().enumerate() {
        let folder = gap.path(&format!("hostile-{number}"));
        let forge = Forge::copy(source, folder.clone(), gap.stream_key());
        spoil(&forge);
        let expected = |error: &reservoir_core::Error| {
            assert!(kinds.contains(&error.kind()), "{name}: {:?} {error}", error.kind());
        };
        match inside.load(std::slice::from_ref(&folder)).await {
            Ok(loaded) => panic!("{name} was taken: {loaded:#?}"),
            Err(error) => expected(&error),
        }
        let looked = inside.engine.inspect_bundle(vec![folder.clone()]).await;
        match inside.engine.verify_bundle(vec![folder.clone()]).await {
            Ok(verified) => assert!(!is_seen, "{name} was verified: {verified:#?}"),
            Err(error) if is_seen => {
                expected(&error);
                let _ = looked.map_err(|error| expected(&error));
            }
            Err(_) => {}
        }
        assert!(inside.state().await == before, "{name} left something behind");
        // What of it was verified would be kept for the next try of the same bundle.
        let _ = std::fs::remove_dir_all(inside.folder.path().join("scratch/load"));
        std::fs::remove_dir_all(folder).unwrap();
    }
    cases.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_bundles_leave_the_store_as_it_was() {
    let gap = Gap::new().await;
    gap.ledger("good").await;
    let mut count = refuse_all(&gap, &gap.inside, &gap.path("good"), (CARRIER, true)).await;
    count += refuse_all(&gap, &gap.inside, &gap.path("good"), (NO_FILES, true)).await;
    count += refuse_all(&gap, &gap.inside, &gap.path("good"), (SENDER, false)).await;
    assert!(count >= 40, "{count}");
    // What was refused does not stand in the way of the true one.
    assert!(gap.load("good").await.unwrap().applied);
}

/// Replays, gaps, rollbacks: what the place in the stream says.
#[tokio::test(flavor = "multi_thread")]
async fn only_the_next_bundle_is_taken() {
    let mut gap = Gap::new().await;
    gap.ledger("1").await;
    gap.release("3.0").await;
    gap.ledger("2").await;
    gap.release("4.0").await;
    gap.ledger("3").await;
    let refused = async |name: &str, kind: ErrorKind, says: &str| {
        let before = gap.inside.state().await;
        let error = gap.load(name).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(says), "{error}");
        assert!(gap.inside.state().await == before);
    };
    refused("2", Conflict, "bundle 1 or a full one is needed").await;
    gap.load("1").await.unwrap();
    refused("3", Conflict, "bundle 2 is needed").await;
    gap.load("2").await.unwrap();
    assert!(gap.load("1").await.unwrap().already, "what was applied is a no-op");
    gap.load("3").await.unwrap();
    // Another bundle under an old number, signed by the right key.
    let forge = Forge::copy(&gap.path("2"), gap.path("forged"), gap.stream_key());
    forge.header(|header| header["created"] = json!("2021-01-01T00:00:00Z"));
    refused("forged", Untrusted, "bundle 3 of its stream was applied").await;
    // The right number after the wrong bundle.
    let forge = Forge::copy(&gap.path("3"), gap.path("forked"), gap.stream_key());
    forge.header(|header| {
        header["sequence"] = json!(4);
        header["follows"] = json!(3);
    });
    refused("forked", Untrusted, "it follows another bundle 3").await;
    // A stream is bound to its key, however much another key is trusted.
    let other = StreamKey::generate().unwrap();
    gap.inside.trust(&other, reservoir_core::catalog::Accept::Evidence).await;
    let forge = Forge::copy(&gap.path("3"), gap.path("stolen"), other);
    forge.header(|header| header["sequence"] = json!(5));
    refused("stolen", Untrusted, "is bound to key").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_nothing_is_taken() {
    let gap = Gap::new().await;
    gap.ledger("1").await;
    let stranger = Inside::new().await;
    let before = stranger.state().await;
    let error = stranger.load(&[gap.path("1")]).await.unwrap_err();
    assert_eq!(error.kind(), Untrusted);
    assert!(error.to_string().contains("key trust"), "{error}");
    assert!(stranger.state().await == before);
}

/// A medium with volumes that were swapped with those of another bundle.
#[tokio::test(flavor = "multi_thread")]
async fn swapped_volumes_are_refused() {
    let mut gap = Gap::new().await;
    gap.ledger("1").await;
    gap.release("3.0").await;
    gap.ledger("2").await;
    std::fs::copy(gap.path("2").join(VOLUME), gap.path("1").join(VOLUME)).unwrap();
    let before = gap.inside.state().await;
    let error = gap.load("1").await.unwrap_err();
    assert_eq!(error.kind(), Malformed, "{error}");
    let said = error.to_string();
    assert!(
        said.contains("it is `north 000002 1/1` of another") && said.contains("`north 000001 …`"),
        "{said}"
    );
    assert!(gap.inside.state().await == before);
}

/// What a bundle says of bytes that are here already is held against those, as it is of bytes that come.
#[tokio::test(flavor = "multi_thread")]
async fn a_lie_about_what_is_stored_is_refused() {
    let gap = Gap::new().await;
    gap.export("good", ExportOptions { volume_size: None, ..options() }).await;
    let home = store(gap.inside.folder.path()).await;
    let stored = home.put_bytes(vec![7; 3000].into()).await.unwrap();
    for honest in [false, true] {
        let forge = Forge::copy(&gap.path("good"), gap.path(&format!("forged-{honest}")), gap.stream_key());
        let blake3 = if honest { stored.blake3.to_string() } else { "12".repeat(32) };
        let blob = json!({ "sha256": stored.sha256.to_string(), "blake3": blake3, "size": 3000 });
        forge.lines("records", |lines| {
            let mut file = with_blob(lines).clone();
            let path = file["path"].as_str().unwrap().replace(".toy", "-copy.toy");
            file["path"] = json!(path);
            (file["sha256"], file["size"]) = (blob["sha256"].clone(), json!(3000));
            file["blob"] = blob.clone();
            let place =
                lines.iter().position(|line| line["path"] != path && line["blob"].is_object()).unwrap();
            lines.insert(place, file);
        });
        forge.put_in(&blob);
        let before = gap.inside.state().await;
        match gap.inside.load(std::slice::from_ref(&forge.folder)).await {
            Ok(loaded) => assert!(honest && loaded[0].applied, "{loaded:#?}"),
            Err(error) => {
                assert!(!honest && error.kind() == Integrity, "{error}");
                assert!(gap.inside.state().await == before);
            }
        }
    }
}
