//! What inspection says of wheels and sdists, and what it refuses.

#![allow(clippy::unwrap_used, reason = "these are tests, and what they share")]

mod support;

use std::{
    collections::BTreeMap,
    io::Write as _,
    process::{Command, Stdio},
};

use blake2::{Blake2b, Digest as _, digest::consts::U32};
use reservoir_core::{
    Error, Result,
    ecosystem::{Ecosystem as _, Inspection, PulledFile},
    testing::memory::MemoryStore,
};
use reservoir_pypi::Pypi;
use serde_json::{Value, json};
use support::{
    dist::{Wheel, metadata, tar_gz, tar_gz_with, zip},
    raw_zip::RawZip,
    site::keep,
};

/// A file listed as `project` `revision`.
async fn inspect_as(
    (project, revision): (&str, &str),
    file_name: &str,
    bytes: Vec<u8>,
    attributes: Value,
) -> Result<Inspection> {
    let store = MemoryStore::new();
    let blob = keep(&store, bytes);
    let attributes: BTreeMap<String, Value> = serde_json::from_value(attributes).unwrap();
    let file = PulledFile {
        artifact: &project.parse().unwrap(),
        revision: &revision.parse().unwrap(),
        path: &format!("{project}/{file_name}").parse().unwrap(),
        attributes: &attributes,
        blob: &blob,
        store: &store,
    };
    Pypi.inspect(&file).await
}

const WHEEL: &str = "alpha-1.0-py3-none-any.whl";
const SDIST: &str = "alpha-1.0.tar.gz";

async fn inspect(file_name: &str, bytes: Vec<u8>) -> Result<Inspection> {
    inspect_as(("alpha", "1.0"), file_name, bytes, json!({})).await
}

fn rule(result: Result<Inspection>) -> &'static str {
    match result {
        Err(Error::Malformed { rule, .. }) => rule,
        other => panic!("not refused by a rule: {other:?}"),
    }
}

async fn refused(wheel: &Wheel) -> &'static str {
    rule(inspect(WHEEL, wheel.build()).await)
}

const RICH: &str = "Summary: The first letter\nLicense-Expression: MIT\nRequires-Python: >=3.8,<4\n\
                    Requires-Dist: beta>=1.0 ; extra == \"x\"\nRequires-Dist: gamma (>=2.*,)\nProvides-Extra: x\n";

#[tokio::test]
async fn a_wheel_tells_what_it_is() {
    let text = metadata("Alpha", "1.0", RICH);
    let bytes = Wheel::new("alpha", "1.0").with_metadata(&text).build();
    let blake2b = format!("{:x}", Blake2b::<U32>::digest(&bytes));
    let mut inspection = inspect(WHEEL, bytes).await.unwrap();
    assert_eq!(inspection.requirements, ["beta>=1.0 ; extra == \"x\"", "gamma (>=2.*,)"]);
    assert_eq!(inspection.labels, Vec::<String>::new());
    assert_eq!(inspection.attributes["blake2b_256"], blake2b);
    let [derived] = &inspection.derived[..] else { panic!("one sidecar: {inspection:?}") };
    assert_eq!(derived.path.as_str(), format!("alpha/{WHEEL}.metadata"));
    assert_eq!(derived.bytes, text.as_bytes(), "byte for byte");
    inspection.attributes.remove("blake2b_256");
    insta::assert_json_snapshot!(inspection);
}

#[tokio::test]
async fn a_promise_of_other_metadata_is_seen() {
    let bytes = Wheel::new("alpha", "1.0").build();
    let inspection = inspect(WHEEL, bytes.clone()).await.unwrap();
    let right = inspection.attributes["metadata_sha256"].clone();
    for (promised, labels) in [
        (json!({ "sha256": right }), vec![]),
        (json!(true), vec![]),
        (json!({ "sha256": "0".repeat(64) }), vec!["metadata-differs-upstream"]),
    ] {
        let attributes = json!({ "core-metadata": promised });
        let inspection = inspect_as(("alpha", "1.0"), WHEEL, bytes.clone(), attributes).await.unwrap();
        assert_eq!(inspection.labels, labels);
    }
}

#[tokio::test]
async fn names_and_versions_are_compared_in_normal_form() {
    for (folder, name, version, file) in [
        ("zope.interface-5.0", "Zope.Interface", "5.0", "zope.interface-5.0-py3-none-any.whl"),
        ("zope_interface-5.0.0", "zope-interface", "5.0.0", "zope_interface-5.0-py3-none-any.whl"),
        ("Zope_Interface-5.0", "zope_interface", "v5.0", "Zope_Interface-5.0-1-py3-none-any.whl"),
    ] {
        let mut wheel = Wheel::new("x", "0");
        let old = std::mem::replace(&mut wheel.dist_info, format!("{folder}.dist-info"));
        for (path, _) in &mut wheel.files {
            *path = path.replace(&old, &wheel.dist_info);
        }
        let bytes = wheel.with_metadata(metadata(name, version, "")).build();
        inspect_as(("zope-interface", "5.0"), file, bytes, json!({})).await.unwrap();
    }
}

/// Case 41, and what else makes a wheel two things at once.
#[tokio::test]
async fn a_wheel_is_one_thing() {
    let wheel = || Wheel::new("alpha", "1.0");
    let beta = metadata("beta", "1.0", "");
    for (change, expected) in [
        (wheel().with("beta-1.0.dist-info/METADATA", &beta), "wheel-dist-info"),
        (wheel().with("beta-1.0.DIST-INFO/METADATA", &beta), "wheel-dist-info"),
        (wheel().with("alpha-1.0.data/purelib/beta-1.0.dist-info/METADATA", &beta), "wheel-dist-info"),
        (Wheel::new("beta", "1.0"), "wheel-dist-info"),
        (Wheel::new("alpha", "2.0"), "wheel-dist-info"),
        (wheel().with_metadata(&beta), "metadata-name"),
        (wheel().with_metadata(metadata("alpha", "2.0", "")), "metadata-version"),
        (wheel().with_metadata(metadata("alpha", "1.0", "Name: beta\n")), "metadata-duplicate-field"),
        (
            wheel().with_metadata(b"Metadata-Version: 2.1\nName: alpha\nVersion: 1.0\nAuthor: \xff\n"),
            "metadata-encoding",
        ),
        (wheel().without("alpha-1.0.dist-info/METADATA"), "wheel-incomplete"),
        (wheel().without("alpha-1.0.dist-info/WHEEL"), "wheel-incomplete"),
        (wheel().with("alpha-1.0.dist-info/WHEEL", "Wheel-Version: 2.0\n"), "wheel-version-file"),
        (wheel().with("alpha-1.0.dist-info/WHEEL", "Generator: me\n"), "wheel-version-file"),
    ] {
        assert_eq!(refused(&change).await, expected, "{change:?}");
    }
    let nested = [("x/alpha-1.0.dist-info/METADATA".to_owned(), metadata("alpha", "1.0", "").into_bytes())];
    assert_eq!(rule(inspect(WHEEL, zip(&nested)).await), "wheel-dist-info");
}

/// setuptools carries the `*.dist-info` of what it vendors.
#[tokio::test]
async fn a_vendored_dist_info_is_no_second_one() {
    let vendored = "alpha/_vendor/beta-1.0.dist-info/METADATA";
    let wheel = Wheel::new("alpha", "1.0").with(vendored, metadata("beta", "1.0", ""));
    assert_eq!(inspect(WHEEL, wheel.build()).await.unwrap().derived.len(), 1);
}

#[tokio::test]
async fn metadata_that_is_too_large_is_refused() {
    let text = metadata("alpha", "1.0", &"Classifier: a classifier that says nothing\n".repeat(500_000));
    assert!(text.len() > 16 << 20);
    let error = inspect(WHEEL, Wheel::new("alpha", "1.0").with_metadata(text).build()).await.unwrap_err();
    assert!(matches!(error, Error::Malformed { .. } | Error::LimitExceeded { .. }), "{error}");
}

/// Makes a good archive contradict itself.
type Fault = fn(&mut RawZip);

/// Case 40: what uv could not install, or would install differently from pip, never comes in.
#[tokio::test]
async fn archives_that_say_two_things_are_refused() {
    let wheel = Wheel::new("alpha", "1.0");
    let good = || RawZip::of(&wheel.members());
    inspect(WHEEL, good().build()).await.expect("the same archive without a fault is taken");
    let faults: [(&str, Fault); 20] = [
        ("checksum in the local header", |zip| zip.members[0].local.crc ^= 1),
        ("checksum in the directory", |zip| zip.members[0].central.crc ^= 1),
        ("checksum in both", |zip| zip.members[0].both(|header| header.crc ^= 1)),
        ("size in the local header", |zip| zip.members[0].local.size += 1),
        ("size in the directory", |zip| zip.members[0].central.size += 1),
        ("name in the local header", |zip| zip.members[0].local.name = b"alpha/other.py".to_vec()),
        ("method in the local header", |zip| zip.members[0].local.method = 8),
        ("unknown method", |zip| zip.members[0].both(|header| header.method = 12)),
        ("encryption", |zip| zip.members[0].both(|header| header.flags |= 1)),
        ("name that is not UTF-8", |zip| {
            zip.members[0].both(|header| header.name = b"alpha/\xff.py".to_vec());
        }),
        ("control character in a name", |zip| {
            zip.members[0].both(|header| header.name = b"a\x07.py".to_vec());
        }),
        ("empty name", |zip| zip.members[0].both(|header| header.name.clear())),
        ("name that climbs out", |zip| zip.members[0].both(|header| header.name = b"../a.py".to_vec())),
        ("absolute name", |zip| zip.members[0].both(|header| header.name = b"/a.py".to_vec())),
        ("the same name twice", |zip| {
            let again = zip.members[0].clone();
            zip.members.push(again);
            zip.count += 1;
        }),
        ("member that the directory does not list", |zip| {
            zip.members[0].listed = false;
            zip.count -= 1;
        }),
        ("count of entries", |zip| zip.count += 1),
        ("bytes after the end", |zip| zip.after = b"more".to_vec()),
        ("bytes before the beginning", |zip| zip.before = b"more".to_vec()),
        ("archive within the comment", |zip| zip.comment = b"PK\x05\x06".repeat(6)),
    ];
    for (fault, make) in faults {
        let mut zip = good();
        make(&mut zip);
        match inspect(WHEEL, zip.build()).await {
            Err(Error::Malformed { rule, .. }) => assert!(rule.starts_with("zip-"), "{fault}: {rule}"),
            other => panic!("{fault}: {other:?}"),
        }
    }
}

/// Case 42; each rule by itself is tested beside its code.
#[tokio::test]
async fn record_is_held_against_the_files() {
    let wheel = || Wheel::new("alpha", "1.0");
    let record = wheel().true_record();
    for (change, expected) in [
        (wheel().with_record(record.replace("alpha/__init__", "../alpha/__init__")), "record-path"),
        (wheel().with_record(record.replace("alpha/__init__", "/alpha/__init__")), "record-path"),
        (wheel().with_record(format!("{record}gone.py,sha256=x,1\n")), "record-extra-line"),
        (wheel().with_record("alpha-1.0.dist-info/RECORD,,\n"), "record-unlisted-file"),
        (wheel().with_record(record.replace("sha256=", "md5=")), "record-weak-hash"),
        (wheel().with("alpha/__init__.py", "two = 2\n").with_record(record.clone()), "record-hash"),
        (wheel().with_record("not a record\n"), "record-syntax"),
    ] {
        assert_eq!(refused(&change).await, expected, "{change:?}");
    }
}

#[tokio::test]
async fn what_the_registry_listed_must_agree() {
    let bytes = || Wheel::new("alpha", "1.0").build();
    for (listed, file, expected) in [
        (("beta", "1.0"), WHEEL, "filename-project"),
        (("alpha", "1.1"), WHEEL, "filename-version"),
        (("alpha", "1.0"), "alpha-1.0.whl", "wheel-filename"),
        (("alpha", "1.0"), "alpha-1.0.egg", "filename-kind"),
    ] {
        assert_eq!(rule(inspect_as(listed, file, bytes(), json!({})).await), expected, "{file}");
    }
}

fn sdist(pkg_info: &str) -> Vec<(String, Vec<u8>)> {
    vec![
        ("alpha-1.0/PKG-INFO".to_owned(), pkg_info.as_bytes().to_vec()),
        ("alpha-1.0/setup.py".to_owned(), b"import setuptools\n".to_vec()),
        ("alpha-1.0/alpha.egg-info/PKG-INFO".to_owned(), b"not looked at".to_vec()),
    ]
}

#[tokio::test]
async fn an_sdist_tells_what_it_is() {
    let modern = metadata("alpha", "1.0", RICH).replace("Version: 2.1", "Version: 2.2");
    let inspection = inspect(SDIST, tar_gz(&sdist(&modern))).await.unwrap();
    assert_eq!((inspection.labels.len(), inspection.requirements.len(), inspection.derived.len()), (0, 2, 0));
    assert_eq!(inspection.attributes["requires-python"], ">=3.8,<4");
    assert_eq!(inspection.attributes.get("metadata_sha256"), None);

    let zipped = inspect("alpha-1.0.zip", zip(&sdist(&modern))).await.unwrap();
    assert_eq!(zipped.requirements, inspection.requirements);

    // Case 43, the last row.
    let old = metadata("alpha", "1.0", RICH);
    let dynamic = modern.replace("Summary:", "Dynamic: Requires-Dist\nSummary:");
    for pkg_info in [old, dynamic] {
        let inspection = inspect(SDIST, tar_gz(&sdist(&pkg_info))).await.unwrap();
        assert_eq!(inspection.labels, ["needs-build"]);
    }
}

#[tokio::test]
async fn an_sdist_is_one_folder() {
    let good = metadata("alpha", "1.0", "");
    let with = |path: &str| {
        let mut files = sdist(&good);
        files.push((path.to_owned(), b"x".to_vec()));
        files
    };
    let renamed =
        |to: &str| sdist(&good).into_iter().map(|(path, b)| (path.replace("alpha-1.0", to), b)).collect();
    for (files, expected) in [
        (with("beta-1.0/x"), "sdist-folder"),
        (with("loose"), "sdist-folder"),
        (renamed("beta-1.0"), "sdist-folder"),
        (renamed("alpha-2.0"), "sdist-folder"),
        (renamed("alpha"), "sdist-folder"),
        (vec![], "sdist-folder"),
        (sdist(&good)[1..].to_vec(), "sdist-incomplete"),
        (sdist(&metadata("beta", "1.0", "")), "metadata-name"),
        (sdist(&metadata("alpha", "1.1", "")), "metadata-version"),
    ] {
        assert_eq!(rule(inspect(SDIST, tar_gz(&files)).await), expected, "{files:?}");
    }
}

/// Case 43: what would leave the folder it is unpacked into.
#[tokio::test]
async fn an_sdist_stays_in_its_folder() {
    use tar::EntryType;

    let good = sdist(&metadata("alpha", "1.0", ""));
    for (path, kind, target) in [
        ("../alpha.py", EntryType::Regular, ""),
        ("alpha-1.0/../../alpha.py", EntryType::Regular, ""),
        ("/alpha.py", EntryType::Regular, ""),
        ("alpha-1.0/link", EntryType::Link, "../../etc/passwd"),
        ("alpha-1.0/link", EntryType::Symlink, "../../etc/passwd"),
        ("alpha-1.0/link", EntryType::Symlink, "/etc/passwd"),
        ("alpha-1.0/device", EntryType::Block, ""),
        ("alpha-1.0/device", EntryType::Char, ""),
        ("alpha-1.0/pipe", EntryType::Fifo, ""),
    ] {
        let hostile = (path.to_owned(), kind, target.to_owned());
        let rule = rule(inspect(SDIST, tar_gz_with(&good, &[hostile])).await);
        assert!(rule.starts_with("tar-"), "{path}: {rule}");
    }
    let inside = ("alpha-1.0/link".to_owned(), EntryType::Symlink, "setup.py".to_owned());
    inspect(SDIST, tar_gz_with(&good, &[inside])).await.expect("a link within the folder is fine");
    let beside = ("beta/link".to_owned(), EntryType::Symlink, "../alpha-1.0/setup.py".to_owned());
    assert_eq!(rule(inspect(SDIST, tar_gz_with(&good, &[beside])).await), "sdist-folder");
}

#[tokio::test]
async fn other_packings_of_sdists_are_not_read() {
    let error = inspect("alpha-1.0.tar.bz2", b"BZh9".to_vec()).await.unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }), "{error}");
}

/// pip and importlib.metadata read METADATA with Python's `email`; where we accept a file we read the same.
#[tokio::test]
async fn metadata_reads_as_python_reads_it() {
    const SCRIPT: &str = "import email, json, sys\n\
        m = email.message_from_string(sys.stdin.buffer.read().decode())\n\
        flat = lambda values: [' '.join(str(v).split()) for v in values or []]\n\
        print(json.dumps([flat(m.get_all(k)) for k in ('Requires-Dist', 'Requires-Python', 'Provides-Extra')]))\n";
    for more in [
        "",
        RICH,
        "requires-DIST:beta\nRequires-Dist:    gamma   \nREQUIRES-PYTHON:\t>=3\n",
        "Requires-Dist: beta\n  (>=1)\n\t; python_version > '3'\nProvides-Extra: y\n",
        "Requires-Dist: beta\n\nRequires-Dist: only text\n",
        "License: one\n        two\n  Requires-Dist: part of the licence\nRequires-Dist: beta\n",
        "Description: a: b\nUnknown: x\nRequires-Dist: beta; extra == \"\u{e9}\"\n",
    ] {
        for ending in ["\n", "\r\n"] {
            let text = metadata("alpha", "1.0", more).replace('\n', ending);
            let mut python = Command::new("python3")
                .args(["-c", SCRIPT])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .expect("python3 is needed; run scripts/test, which installs it");
            python.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
            let expected: Value = serde_json::from_slice(&python.wait_with_output().unwrap().stdout).unwrap();

            let inspection =
                inspect(WHEEL, Wheel::new("alpha", "1.0").with_metadata(&text).build()).await.unwrap();
            let flat = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
            let requires: Vec<String> = inspection.requirements.iter().map(|text| flat(text)).collect();
            let python: Vec<String> = inspection
                .attributes
                .get("requires-python")
                .into_iter()
                .map(|v| flat(v.as_str().unwrap()))
                .collect();
            let extras = inspection.attributes.get("provides_extra").cloned().unwrap_or(json!([]));
            assert_eq!(json!([requires, python, extras]), expected, "{text:?}");
        }
    }
}
