//! Crossing the gap with the real program: one home that reads an index, another that has never seen one.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use reservoir_core::digest::Sha256Digest;
use serde_json::Value;

use super::{
    bundle_hub::Crossing,
    hosted::{attestations, hosted, post},
    support::{
        client,
        home::{Home, Run, Server},
        index::{File, Index, Style, wheel},
        web::{get, page as listed},
    },
};

/// The outside with an index, the inside that trusts its key, and a folder for media.
pub(super) struct Gap {
    pub(super) index: Index,
    pub(super) outside: Home,
    pub(super) inside: Home,
    pub(super) media: tempfile::TempDir,
}

const PACKAGES: [&str; 2] = ["alpha", "beta"];

pub(super) async fn packages() -> Index {
    let wheels = [wheel("alpha", "1.0", &["beta>=1"]), wheel("beta", "1.0", &[]), big("beta", "1.5")];
    Index::of(Style::Json, wheels).await
}

impl Gap {
    pub(super) async fn new() -> Self {
        Self::of(Home::new(), Home::new()).await
    }

    /// Between two homes that are there, with this index outside.
    fn between(index: Index, outside: Home, inside: Home) -> Self {
        outside.apply(&index.mirror(&PACKAGES, "dependencies = true\nwhole = true")).expect(0);
        outside.sync("python", 0);
        let gap = Self { index, outside, inside, media: tempfile::tempdir().unwrap() };
        gap.trust(&gap.inside, "evidence");
        gap
    }

    /// Between two homes of any kind, with packages outside.
    pub(super) async fn of(outside: Home, inside: Home) -> Self {
        Self::between(packages().await, outside, inside)
    }

    fn trust(&self, inside: &Home, accept: &str) {
        let key = self.media.path().join("outside.pub");
        fs::write(&key, self.outside.done(["key", "show"])).unwrap();
        inside.done(["key", "trust", key.to_str().unwrap(), "--accept", accept]);
    }

    pub(super) fn path(&self, name: &str) -> String {
        self.media.path().join(name).to_str().unwrap().to_owned()
    }

    pub(super) fn export(&self, name: &str, more: &[&str]) -> Value {
        let out = self.path(name);
        let (code, report) = self.outside.json([&["export", &out][..], more].concat());
        assert_eq!(code, 0, "{report:#}");
        report
    }

    pub(super) fn load(&self, name: &str) -> Value {
        let (code, report) = self.inside.json(["load", &self.path(name)]);
        assert_eq!(code, 0, "{report:#}");
        report["bundles"][0].clone()
    }

    /// Offers another version outside.
    pub(super) fn release(&self, version: &str) {
        self.index.add("alpha", wheel("alpha", version, &["beta>=1"]));
        self.outside.sync("python", 0);
    }
}

/// A wheel of 300 kB that does not compress.
fn big(name: &str, version: &str) -> File {
    large(name, version, 300_000)
}

/// A wheel of so many bytes and some more.
pub(super) fn large(name: &str, version: &str, bytes: usize) -> File {
    let wheel = super::support::dist::Wheel::new(name, version)
        .with(&format!("{name}/data.bin"), noise(bytes))
        .with_metadata(super::support::dist::metadata(name, version, ""));
    File::new(format!("{name}-{version}-py3-none-any.whl"), wheel.build())
}

/// Bytes that nothing compresses.
pub(super) fn noise(count: usize) -> Vec<u8> {
    let mut state = 7_u32;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..count).map(next).collect()
}

/// Every file below a folder with its digest.
pub(super) fn tree(folder: &Path) -> BTreeMap<PathBuf, Sha256Digest> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path.clone(), Sha256Digest::of(&fs::read(&path).unwrap()));
            }
        }
    }
    found
}

pub(super) fn installs(server: &Server, expected: &[&str]) {
    // What another process published is served within a second.
    std::thread::sleep(std::time::Duration::from_millis(1200));
    for client in client::all() {
        client.install(&server.simple("python"), &["alpha"]).expect(0);
        assert_eq!(client.installed(), expected);
    }
}

/// What a client reads: the page of a project, without what differs between sites.
pub(super) async fn page(server: &Server, project: &str) -> String {
    let accept = [("accept", "application/vnd.pypi.simple.v1+json")];
    get(&format!("{}{project}/", server.simple("python")), &accept).await.text().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_clients_install_the_same_bytes_inside() {
    let gap = Gap::new().await;
    let report = gap.export("one", &["--to", "north"]);
    assert_eq!((report["sequence"].as_u64(), report["kind"].as_str()), (Some(1), Some("full")));
    let loaded = gap.load("one");
    assert_eq!(loaded["applied"], true, "{loaded:#}");
    assert_eq!(loaded["repositories"][0]["created"], true);
    let (outside, inside) = (gap.outside.serve(), gap.inside.serve());
    installs(&inside, &["alpha==1.0", "beta==1.5"]);
    for project in ["alpha", "beta"] {
        assert_eq!(page(&outside, project).await, page(&inside, project).await);
    }
    // Ids, history, decisions and verdicts are the same.
    let (_, there) = gap.outside.json(["show", "python", "alpha"]);
    let (_, here) = gap.inside.json(["show", "python", "alpha"]);
    assert_eq!(there["revisions"][0]["files"][0]["sha256"], here["revisions"][0]["files"][0]["sha256"]);
    let history = gap.inside.done(["history", "python", "alpha@1.0"]);
    let outside_history = gap.outside.done(["history", "python", "alpha@1.0"]);
    for line in outside_history.lines() {
        assert!(history.contains(line), "{line} is not in\n{history}");
    }
    gap.inside.done(["verify", "--deep"]);
}

/// What a publisher attested of a file is inside what it is outside, to the byte.
#[tokio::test(flavor = "multi_thread")]
async fn attestations_travel_with_their_files() {
    let (home, outside) = hosted("");
    let file = wheel("alpha", "1.0", &[]);
    let said = attestations(&file);
    let fields = [(":action", "file_upload"), ("content", ""), ("attestations", &*said)];
    assert_eq!(post(&outside, &fields, &file).await.0, 200);
    let crossing = Crossing::from(home);
    crossing.carry("one");
    let inside = crossing.inside.serve();
    let mut documents = Vec::new();
    for server in [&outside, &inside] {
        let simple = server.simple("python");
        let page = listed(&simple, "alpha").await;
        let base: url::Url = format!("{simple}alpha/").parse().unwrap();
        let url = base.join(page["files"][0]["provenance"].as_str().unwrap()).unwrap();
        documents.push(get(url.as_str(), &[]).await.body);
    }
    assert!(documents[0].len() > 100 && documents[0] == documents[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_bundle_brings_only_what_changed() {
    let gap = Gap::new().await;
    let first = gap.export("one", &[]);
    gap.load("one");
    let nothing = gap.export("nothing", &[]);
    assert_eq!(nothing["sequence"], Value::Null, "{nothing:#}");
    gap.release("2.0");
    let second = gap.export("two", &[]);
    assert_eq!((second["sequence"].as_u64(), second["kind"].as_str()), (Some(2), Some("delta")));
    assert!(second["bytes"].as_u64() < Some(50_000) && first["bytes"].as_u64() > Some(300_000), "{second:#}");
    let loaded = gap.load("two");
    assert_eq!(loaded["repositories"][0]["snapshot"], 2, "{loaded:#}");
    let server = gap.inside.serve();
    installs(&server, &["alpha==2.0", "beta==1.5"]);
    let again = gap.load("two");
    assert_eq!((&again["already"], &again["applied"]), (&Value::Bool(true), &Value::Bool(false)));
    gap.inside.done(["verify", "--deep"]);
}

/// The stock tools of the carrier: nothing of ours is needed to know that the medium is whole and whose it is.
#[tokio::test(flavor = "multi_thread")]
async fn minisign_and_sha256sum_check_the_carrier() {
    let gap = Gap::new().await;
    gap.export("one", &["--volume-size", "100kB"]);
    let folder = PathBuf::from(gap.path("one"));
    let run = |program: &str, arguments: &[&str]| {
        Run::of(Command::new(program).args(arguments).current_dir(&folder).stdin(Stdio::null()))
    };
    let sums = run("sha256sum", &["--strict", "-c", "SHA256SUMS"]).expect(0);
    let files = fs::read_dir(&folder).unwrap().count();
    assert_eq!(sums.stdout.lines().count(), files - 1, "all but the sums themselves: {}", sums.stdout);
    for file in ["bundle.json", "volumes.json"] {
        let key = gap.path("outside.pub");
        let said = run("minisign", &["-V", "-p", &key, "-m", file]).expect(0);
        assert!(
            said.stdout.contains("Trusted comment") && said.stdout.contains("of bundle 1"),
            "{}",
            said.stdout
        );
    }
    let mut bytes = fs::read(folder.join("bundle.json")).unwrap();
    bytes[10] ^= 1;
    fs::write(folder.join("bundle.json"), bytes).unwrap();
    let key = gap.path("outside.pub");
    assert_ne!(run("minisign", &["-V", "-p", &key, "-m", "bundle.json"]).code, 0);
    assert_ne!(run("sha256sum", &["-c", "SHA256SUMS"]).code, 0);
}

/// What an export would write is told before: sizes, media, and what travels as metadata alone, which is no success.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_here_as_metadata_alone_is_told() {
    let gap = Gap::new().await;
    gap.release("2.0");
    gap.outside.done(["cleanup", "python", "alpha@1.0", "--reason", "spent"]);
    gap.outside.done(["publish", "python"]);
    let out = gap.path("one");
    let arguments = ["export", &out, "--to", "north", "--volume-size", "100kB"];
    let planned = gap.outside.run([&arguments[..], &["--dry-run"]].concat()).expect(3);
    assert!(!Path::new(&out).exists());
    let (code, report) = gap.outside.json(arguments);
    assert_eq!((code, report["metadata_only"].as_u64()), (3, Some(1)), "{report:#}");
    assert_eq!(report["missing"], serde_json::json!(["python alpha@1.0 (SCANNED)"]));
    let volumes = report["volumes"].as_array().unwrap();
    let size = report["bytes"].as_u64().unwrap() / 1024;
    for told in [
        format!("would write bundle 1 for north (full): {} blobs, {size}", report["blobs"]),
        format!("on {} volumes\n", volumes.len()),
        format!("  volume {}\n", volumes[1].as_str().unwrap()),
        "python alpha@1.0 (SCANNED)\n".to_owned(),
    ] {
        assert!(planned.stdout.contains(&told), "{told}: {}", planned.stdout);
    }
    gap.load("one");
    let server = gap.inside.serve();
    installs(&server, &["alpha==2.0", "beta==1.5"]);
    let (_, listed) = gap.inside.json(["list", "python", "--status", "SCANNED"]);
    assert_eq!(listed["revisions"].as_array().map(Vec::len), Some(1), "{listed:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn volumes_come_in_any_order_and_missing_ones_are_named() {
    let gap = Gap::new().await;
    let report = gap.export("one", &["--volume-size", "100kB", "--to", "SOUTH"]);
    let count = report["volumes"].as_array().unwrap().len();
    assert!(count >= 4, "{report:#}");
    // The header on the last medium with the last volume; one volume on each other.
    let disc = |index: usize| gap.media.path().join(format!("disc-{index}"));
    for index in 1..=count {
        fs::create_dir(disc(index)).unwrap();
        let name = format!("volume-{index:04}.rsv");
        fs::rename(gap.media.path().join("one").join(&name), disc(index).join(&name)).unwrap();
    }
    let one = gap.media.path().join("one");
    for entry in fs::read_dir(&one).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, disc(count).join(path.file_name().unwrap())).unwrap();
    }
    fs::remove_dir_all(one).unwrap();
    let before = tree(&gap.inside.path().join("store"));
    let load = |index: usize| gap.inside.json(["load", disc(index).to_str().unwrap()]);
    let early = gap.inside.run(["load", disc(1).to_str().unwrap()]);
    assert_eq!(early.code, 2, "{}", early.all());
    assert!(early.stderr.contains("SOUTH 000001 1/"), "{}", early.stderr);
    for index in (2..=count).rev() {
        let (code, report) = load(index);
        assert_eq!(code, 3, "{report:#}");
        let missing = report["bundles"][0]["missing"].as_array().unwrap();
        assert_eq!(missing.len(), index - 1);
        assert_eq!(missing[0]["label"], format!("SOUTH 000001 1/{count}"));
    }
    assert_eq!(tree(&gap.inside.path().join("store")), before, "nothing is let in before all is here");
    let both = [disc(1), disc(count)];
    gap.inside.done(["load", both[0].to_str().unwrap(), both[1].to_str().unwrap()]);
    gap.inside.done(["verify", "--deep"]);
    let server = gap.inside.serve();
    installs(&server, &["alpha==1.0", "beta==1.5"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_enough() {
    let gap = Gap::new().await;
    for version in ["", "2.0"] {
        if !version.is_empty() {
            gap.release(version);
        }
        let file = gap.path("tape");
        let export = gap
            .outside
            .command()
            .args(["export", "-"])
            .stdout(fs::File::create(&file).unwrap())
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        assert!(export.status.success(), "{}", String::from_utf8_lossy(&export.stderr));
        let listed = Run::of(Command::new("tar").args(["-tf", &file])).expect(0);
        assert!(listed.stdout.starts_with("bundle.json\nbundle.json.minisig\n"), "{}", listed.stdout);
        let load =
            gap.inside.command().args(["load", "-"]).stdin(fs::File::open(&file).unwrap()).output().unwrap();
        assert!(load.status.success(), "{}", String::from_utf8_lossy(&load.stderr));
    }
    let server = gap.inside.serve();
    installs(&server, &["alpha==2.0", "beta==1.5"]);
}

/// Whatever is said while standard output is a bundle is said beside it, as JSON where that is asked for.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_but_the_bundle_goes_down_a_stream() {
    let gap = Gap::new().await;
    let file = gap.path("tape");
    let export = |arguments: &[&str]| {
        let mut export = gap.outside.command();
        export.args(["--json", "export", "-"]).args(arguments);
        let run = Run::of(export.stdout(fs::File::create(&file).unwrap()).stderr(Stdio::piped()));
        (run.code, serde_json::from_str::<Value>(&run.stderr).unwrap(), fs::read(&file).unwrap())
    };
    let (code, error, bytes) = export(&["nothing"]);
    assert!(code == 1 && error["kind"] == "NotFound" && bytes.is_empty(), "{error:#}");
    let (code, report, bytes) = export(&[]);
    assert!(code == 0 && report["sequence"] == 1 && report["written"] == true, "{report:#}");
    assert!(bytes.starts_with(b"bundle.json\0") && bytes.ends_with(&[0; 1024]));
    let beside = gap.inside.run(["load", "-", &gap.path("one")]).expect(2);
    assert!(beside.stderr.contains("a stream on standard input"), "{}", beside.stderr);
    let load = Run::of(gap.inside.command().args(["load", "-"]).stdin(fs::File::open(&file).unwrap()));
    load.expect(0);
    let (code, report) = gap.outside.json(["export", "-", "--dry-run"]);
    assert!(code == 0 && report["written"] == false, "{report:#}");
}

/// `kill -9` of the program itself, on both sides, later each time, until it gets through.
#[tokio::test(flavor = "multi_thread")]
async fn killed_programs_go_on_where_they_were() {
    let gap = Gap::new().await;
    let folder = gap.path("one");
    let sides: [(&Home, [&str; 2]); 2] =
        [(&gap.outside, ["export", &folder]), (&gap.inside, ["load", &folder])];
    for (home, arguments) in sides {
        let mut killed = 0;
        for step in 1.. {
            let mut child =
                home.command().args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            let began = std::time::Instant::now();
            // The first are killed as they begin, however fast the machine; each lives longer than the one before.
            let patience = std::time::Duration::from_millis(5 * step * step);
            let ended = loop {
                if let Some(status) = child.try_wait().unwrap() {
                    break Some(status);
                }
                if began.elapsed() >= patience {
                    break None;
                }
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            };
            match ended {
                Some(status) if status.success() => break,
                // The lease of the killed one is found dead by the next.
                Some(status) => panic!("{arguments:?} ended with {status}"),
                None => {
                    super::support::home::send("KILL", child.id());
                    child.wait().unwrap();
                    killed += 1;
                }
            }
        }
        assert!(killed > 0);
    }
    gap.inside.done(["verify", "--deep"]);
    let server = gap.inside.serve();
    installs(&server, &["alpha==1.0", "beta==1.5"]);
}

/// A load moves what clients see at once: whoever installs meanwhile gets the one state or the other.
#[tokio::test(flavor = "multi_thread")]
async fn clients_install_while_a_bundle_is_loaded() {
    let gap = Gap::new().await;
    gap.export("one", &[]);
    gap.load("one");
    gap.release("2.0");
    gap.export("two", &[]);
    let server = gap.inside.serve();
    let simple = server.simple("python");
    let installs = tokio::task::spawn_blocking(move || {
        let client = client::uv();
        let mut seen = Vec::new();
        for _ in 0..60 {
            client.install(&simple, &["--no-cache", "alpha"]).expect(0);
            seen.push(client.installed()[0].clone());
            if seen.last().is_some_and(|last| last == "alpha==2.0") {
                break;
            }
        }
        seen
    });
    gap.load("two");
    let seen = installs.await.unwrap();
    assert!(seen.iter().all(|one| one == "alpha==1.0" || one == "alpha==2.0"), "{seen:?}");
    assert!(seen.is_sorted() && seen.last().is_some_and(|last| last == "alpha==2.0"), "{seen:?}");
}

/// The whole loop by the commands: inventory out, trusted there, a delta from it; and a rotated key.
#[tokio::test(flavor = "multi_thread")]
async fn inventories_and_new_keys_by_hand() {
    let gap = Gap::new().await;
    gap.export("one", &["--to", "north"]);
    gap.load("one");
    gap.release("2.0");
    gap.export("lost", &["--to", "north"]);
    let (key, have) = (gap.path("inside.pub"), gap.path("inventory.json"));
    fs::write(&key, gap.inside.done(["key", "show"])).unwrap();
    gap.inside.done(["inventory", &have]);
    gap.outside.done(["key", "trust", &key, "--comment", "the inside"]);
    let report = gap.export("two", &["--to", "north", "--have", &have]);
    assert!(report["bytes"].as_u64() < Some(50_000), "{report:#}");
    gap.load("two");
    // One that was interrupted has kept the old key already.
    let keys = gap.outside.path().join("keys");
    let (_, shown) = gap.outside.json(["key", "show"]);
    let kept = keys.join(format!("bundle-{}.key", shown["name"].as_str().unwrap()));
    fs::hard_link(keys.join("bundle.key"), &kept).unwrap();
    let old = fs::read(&kept).unwrap();
    gap.outside.done(["key", "rotate"]);
    assert_eq!(fs::read(&kept).unwrap(), old);
    assert_ne!(fs::read(keys.join("bundle.key")).unwrap(), old);
    gap.release("3.0");
    gap.export("three", &["--to", "north"]);
    let refused = gap.inside.run(["load", &gap.path("three")]).expect(1);
    assert!(refused.stderr.contains("is not trusted here"), "{}", refused.stderr);
    let mut new = fs::read_dir(&keys).unwrap().map(|entry| entry.unwrap().path());
    let new = new.find(|path| path.extension().is_some_and(|end| end == "pub")).unwrap();
    let trusted = gap.inside.done(["key", "trust", new.to_str().unwrap()]);
    assert!(trusted.contains("in the place of"), "{trusted}");
    gap.load("three");
    let inspected = gap.inside.run(["bundle", "verify", &gap.path("three")]).expect(0);
    assert!(inspected.stdout.contains("every byte is as it was written"), "{}", inspected.stdout);
    let (_, said) = gap.inside.json(["bundle", "inspect", &gap.path("three")]);
    let (_, before) = gap.inside.json(["bundle", "inspect", &gap.path("two")]);
    assert_eq!((&said["previous"], &said["follows"]), (&before["bundle"], &before["sequence"]), "{said:#}");
    assert_eq!(said["base"], serde_json::json!([before["refs"][0]["content"]]), "{said:#}");
    assert_eq!(said["refs"][0]["ecosystem"], "pypi");
    assert_eq!(said["labels"], serde_json::json!(["north 000004 1/1"]));
    for text in
        ["signed by ", "accept evidence", "policy ", "scanner ", "audit log at ", "follows bundle 3, header "]
    {
        assert!(inspected.stdout.contains(text), "{text}: {}", inspected.stdout);
    }
    let server = gap.inside.serve();
    installs(&server, &["alpha==3.0", "beta==1.5"]);
}

/// A medium that was lost is made again from what the others have, and both sides are told.
#[tokio::test(flavor = "multi_thread")]
async fn parity_volumes_make_a_lost_medium_good() {
    let gap = Gap::new().await;
    let report = gap.export("one", &["--volume-size", "70kB", "--parity", "25"]);
    assert_eq!(report["parity_volumes"], 25, "{report:#}");
    let folder = PathBuf::from(gap.path("one"));
    let sums = Command::new("sha256sum").args(["--strict", "-c", "SHA256SUMS"]).current_dir(&folder).output();
    assert!(sums.unwrap().status.success(), "parity volumes are among the sums");
    fs::remove_file(folder.join("volume-0002.rsv")).unwrap();
    let (code, verified) = gap.inside.json(["bundle", "verify", &gap.path("one")]);
    assert_eq!((code, &verified["repairable"][0]["index"]), (3, &Value::from(2)), "{verified:#}");
    let loaded = gap.inside.run(["load", &gap.path("one")]).expect(0);
    assert!(loaded.stdout.contains("repaired volume 2 ("), "{}", loaded.stdout);
    let server = gap.inside.serve();
    installs(&server, &["alpha==1.0", "beta==1.5"]);
}
