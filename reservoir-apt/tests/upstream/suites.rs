//! What is read of suites: indexes in every form, and what of them is wanted.

use std::collections::BTreeSet;

use reservoir_core::{
    archive::Compression, clock::Timestamp, digest::Sha256Digest, lifecycle::Status, testing::upstream::Reply,
};
use serde_json::json;

use super::{
    has_alarm, hello, jq, one,
    support::{
        archive::{SuiteFiles, World, ann, path},
        deb::Deb,
    },
};

#[tokio::test]
async fn a_suite_is_mirrored_and_costs_one_request_when_nothing_changed() {
    let (world, _) = one().await;
    let first = world.sync().await;
    assert!(first.is_complete(), "{first:#?}");
    assert_eq!(first.admitted, 2, "the package and its suite: {first:#?}");
    let hello = world.candidates("hello").await;
    assert_eq!((hello.len(), hello[0].status), (1, Status::Available));
    assert_eq!(hello[0].revision.as_str(), "1.0-1:amd64");
    let stanza = hello[0].files[0].attributes["stanzas"]["stable/main"].as_str().unwrap();
    assert!(stanza.starts_with("Package: hello\n") && !stanza.ends_with('\n'), "{stanza}");
    let suite = world.candidates("dists/stable").await;
    assert_eq!(suite[0].files[0].attributes["release"]["origin"], "Example");
    assert_eq!(suite[0].files[0].attributes["signed-by"][0][0], world.signer.fingerprints()[0].as_str());
    assert!(suite[0].files[0].path.as_str().starts_with("upstream/up/stable/"), "{suite:#?}");

    let before = world.requests().len();
    let second = world.sync().await;
    assert_eq!((second.asked, second.unchanged), (1, 1), "{second:#?}");
    assert_eq!(world.requests()[before..], ["dists/stable/InRelease"]);
}

#[tokio::test]
async fn every_compression_is_read() {
    for compression in [&Compression::ALL[..], &[Compression::None]].concat() {
        let world = World::new(json!({})).await;
        let text = format!("{}\n", world.deb(&hello()));
        let suite = SuiteFiles::new("stable", -1).index("main/binary-amd64/Packages", &text, compression);
        world.suite(&suite);
        let report = world.sync().await;
        assert!(report.is_complete(), "{compression:?}: {report:#?}");
        assert_eq!(world.revisions("hello").await, ["1.0-1:amd64"], "{compression:?}");
    }
}

#[tokio::test]
async fn indexes_are_asked_for_by_their_digest_where_that_is_offered() {
    let (world, suite) = one().await;
    let suite = suite.field("Acquire-By-Hash: yes");
    world.suite(&suite);
    let name = "main/binary-amd64/Packages.xz";
    let by_hash = format!("main/binary-amd64/by-hash/SHA256/{}", Sha256Digest::of(&suite.files[name]));
    let report = world.sync().await;
    assert!(report.is_complete(), "{report:#?}");
    let asked = world.requests();
    assert_eq!(
        asked[1..3],
        [format!("dists/stable/{by_hash}"), format!("dists/stable/{name}")],
        "{asked:#?}"
    );

    // The name may be gone by then.
    let world = World::new(json!({})).await;
    let suite = SuiteFiles::new("stable", -1).packages(&[world.deb(&hello())]).field("Acquire-By-Hash: yes");
    world.suite(&suite);
    world.upstream.route(path("", &suite, name), Reply::status(404));
    let by_hash = format!("main/binary-amd64/by-hash/SHA256/{}", Sha256Digest::of(&suite.files[name]));
    world.upstream.route(path("", &suite, &by_hash), Reply::ok(suite.files[name].clone()));
    assert!(world.sync().await.is_complete());
}

#[tokio::test]
async fn stanzas_that_others_read_differently_are_left_out_and_the_rest_is_read() {
    let world = World::new(json!({})).await;
    let bad =
        |name: &str, change: &dyn Fn(String) -> String| change(world.deb(&Deb::new(name, "1-1", "amd64")));
    let stanzas = vec![
        bad("no-package", &|stanza| stanza.replace("Package: no-package\n", "")),
        bad("no-colon", &|stanza| format!("{stanza}\ngarbage")),
        bad("twice", &|stanza| format!("{stanza}\nfilename: pool/other.deb")),
        bad("blank", &|stanza| stanza.replace(" with two lines", " with two lines\n \t\n more")),
        bad("comment", &|stanza| format!("{stanza}\n# Filename: pool/other.deb")),
        bad("control", &|stanza| stanza.replace("two lines", "two\u{7}lines")),
        bad("no-digest", &|stanza| stanza.replace("SHA256:", "SHA1:")),
        bad("no-size", &|stanza| stanza.replace("Size:", "Saize:")),
        bad("escape", &|stanza| stanza.replace("Filename: pool", "Filename: ../../etc")),
        bad("absolute", &|stanza| stanza.replace("Filename: pool", "Filename: http://example.com/pool")),
        bad("coded", &|stanza| stanza.replace("Filename: pool", "Filename: %2e%2e/pool")),
        bad("slashes", &|stanza| stanza.replace("Filename: pool", "Filename: //pool")),
        bad("backslash", &|stanza| stanza.replace("Filename: pool/", "Filename: pool\\")),
        bad("version", &|stanza| stanza.replace("Version: 1-1", "Version: 1_1")),
        world.deb(&hello()),
    ];
    let names: Vec<&str> =
        stanzas.iter().filter_map(|stanza| stanza.strip_prefix("Package: ")?.lines().next()).collect();
    world.suite(&SuiteFiles::new("stable", -1).packages(&stanzas));
    let report = world.sync().await;
    assert_eq!(report.alarms.len(), stanzas.len() - 1, "{report:#?}");
    for rule in
        ["control-missing-field", "control-line", "control-duplicate", "control-blank-line", "filename"]
    {
        assert!(has_alarm(&report, rule), "{rule}: {report:#?}");
    }
    for name in names.into_iter().filter(|name| *name != "hello") {
        assert!(world.revisions(name).await.is_empty(), "{name}");
    }
    assert_eq!(world.candidates("hello").await[0].status, Status::Available);
}

#[tokio::test]
async fn upper_case_digests_are_folded_and_everything_else_is_kept() {
    let world = World::new(json!({})).await;
    let deb = hello().field("X-Vendor", "Käse  mit   Löchern").field("Phased-Update-Percentage", "10");
    let stanza = world.deb(&deb);
    let digest = stanza.rsplit_once(' ').unwrap().1.to_owned();
    let upper = stanza.replace(&digest, &digest.to_uppercase());
    world.suite(&SuiteFiles::new("stable", -1).packages(&[upper]));
    assert!(world.sync().await.is_complete());
    assert_eq!(
        world.candidates("hello").await[0].files[0].attributes["stanzas"]["stable/main"],
        stanza.as_str()
    );
}

#[tokio::test]
async fn flat_repositories_are_read_as_they_are() {
    let world = World::new(json!({ "suites": ["/"], "architectures": ["amd64"] })).await;
    let deb = Deb::new("cuda", "12.0-1", "amd64");
    let bytes = deb.build();
    world.upstream.route("/debian/cuda_12.0-1_amd64.deb", Reply::ok(bytes.clone()));
    let text = format!("{}\n", deb.stanza("./cuda_12.0-1_amd64.deb", &bytes));
    let suite = SuiteFiles::flat(-1).index("Packages", &text, Compression::Gzip);
    let mut release = suite.release();
    release += "Acquire-By-Hash: no\n";
    world.files("", &suite);
    let signed = world.signer.clearsign(&release, Timestamp::now()).unwrap();
    world.in_release("", &suite, signed.into_bytes());
    let report = world.sync().await;
    assert!(report.is_complete(), "{report:#?}");
    let found = &world.candidates("cuda").await[0].files[0];
    assert_eq!(found.path.as_str(), "cuda_12.0-1_amd64.deb");
    assert!(found.attributes["stanzas"]["/"].as_str().unwrap().contains("Filename: ./cuda"));
    let suite = &world.candidates("dists:flat").await[0].files[0];
    assert!(suite.path.as_str().starts_with("upstream/up/flat:/"), "{}", suite.path);
}

#[tokio::test]
async fn suites_and_registries_add_up_and_what_one_drops_stays_with_the_other() {
    let world = World::new(json!({ "suites": ["stable", "updates"] })).await;
    world.registry("second", "/second", json!({})).await;
    world.repository(&["up", "second"], json!({ "suites": ["stable", "updates"] })).await;
    let (hello, jq_stanza) = (world.deb(&hello()), world.deb(&jq("1.6-1")));
    let bytes = self::hello().build();
    world.upstream.route(format!("/debian/second/{}", self::hello().pool()), Reply::ok(bytes));
    world.suite(&SuiteFiles::new("stable", -10).packages(&[hello.clone(), jq_stanza.clone()]));
    world.suite_below("/second", &SuiteFiles::new("updates", -10).packages(std::slice::from_ref(&hello)));
    let report = world.sync().await;
    assert!(report.is_complete(), "{report:#?}");
    let keys = async || {
        let candidates = world.candidates("hello").await;
        let stanzas = candidates[0].files[0].attributes["stanzas"].as_object().unwrap();
        stanzas.keys().cloned().collect::<Vec<String>>()
    };
    assert_eq!(keys().await, ["stable/main", "updates/main"]);

    // Nothing flaps, however often they are read.
    for registry in ["", "/second"] {
        let suite = if registry.is_empty() { "stable" } else { "updates" };
        let stanzas =
            if registry.is_empty() { vec![hello.clone(), jq_stanza.clone()] } else { vec![hello.clone()] };
        world.suite_below(registry, &SuiteFiles::new(suite, -9).packages(&stanzas));
    }
    let report = world.sync().await;
    assert_eq!((report.new_files, report.alarms.len()), (2, 0), "two new states of suites: {report:#?}");
    assert_eq!(keys().await, ["stable/main", "updates/main"]);

    // `stable` drops both: one is still offered elsewhere, the other is gone.
    world.suite(&SuiteFiles::new("stable", -8).packages(&[]));
    assert!(world.sync().await.alarms.is_empty());
    assert_eq!(keys().await, ["updates/main"]);
    let jq = world.catalog.files(world.candidates("jq").await[0].id).await.unwrap();
    assert!(jq[0].gone && jq[0].blob.is_some(), "{jq:#?}");
    let hello = world.catalog.files(world.candidates("hello").await[0].id).await.unwrap();
    assert!(!hello[0].gone && hello[0].registry.as_str() == "second", "{hello:#?}");

    // A suite that no registry has is told.
    world.repository(&["up", "second"], json!({ "suites": ["stable", "updates", "nowhere"] })).await;
    let report = world.sync().await;
    assert_eq!(report.missing, ["no registry knows `dists/nowhere`"], "{report:#?}");
}

#[tokio::test]
async fn architectures_components_and_versions_are_selected() {
    let world = World::new(json!({ "architectures": ["arm64"], "packages": ["jq (<< 2)", "hello"] })).await;
    let stanzas: Vec<String> = [
        jq("1.6-1"),
        jq("1.7-1"),
        jq("2.0-1"),
        Deb::new("jq", "1.5-1", "arm64"),
        Deb::new("jq", "1.7-1", "arm64"),
        Deb::new("jq", "2.0-1", "arm64"),
        Deb::new("hello", "1.0-1", "arm64"),
        Deb::new("hello", "1.10-1", "all"),
        Deb::new("other", "1", "arm64"),
    ]
    .iter()
    .map(|deb| world.deb(deb))
    .collect();
    let text = stanzas.join("\n\n") + "\n";
    let suite = SuiteFiles::new("stable", -1).index("main/binary-arm64/Packages", &text, Compression::Zstd);
    world.suite(&suite);
    let report = world.sync().await;
    assert!(report.is_complete(), "{report:#?}");
    let available = async |artifact: &str| {
        let candidates = world.candidates(artifact).await;
        let available = candidates.iter().filter(|candidate| candidate.status == Status::Available);
        available.map(|candidate| candidate.revision.to_string()).collect::<Vec<String>>()
    };
    assert_eq!(available("jq").await, ["1.5-1:arm64", "1.7-1:arm64"]);
    assert_eq!(available("hello").await, ["1.10-1:all"]);
    assert!(available("other").await.is_empty());
}

#[tokio::test]
async fn sections_and_priorities_narrow_the_whole() {
    let world = World::new(json!({ "sections": ["net"], "priorities": ["optional"] })).await;
    let deb = |name: &str, section: &str, priority: &str| {
        world.deb(&Deb::new(name, "1", "amd64").field("Section", section).field("Priority", priority))
    };
    world.suite(&SuiteFiles::new("stable", -1).packages(&[
        deb("a", "net", "optional"),
        deb("b", "universe/net", "optional"),
        deb("c", "admin", "optional"),
        deb("d", "net", "extra"),
    ]));
    let report = world.sync().await;
    assert!(report.is_complete(), "{report:#?}");
    for (name, expected) in
        [("a", Status::Available), ("b", Status::Available), ("c", Status::Scanned), ("d", Status::Scanned)]
    {
        assert_eq!(world.candidates(name).await[0].status, expected, "{name}");
    }
}

#[tokio::test]
async fn source_packages_come_whole_when_they_are_wanted() {
    let world = World::new(json!({ "sources": true })).await;
    let files = |version: &str| {
        let dsc = |list: &str| {
            format!("Format: 3.0 (quilt)\nSource: hello\nVersion: {version}\nChecksums-Sha256:\n{list}")
        };
        let (orig, debian) = ("upstream", format!("debian {version}"));
        let line = |bytes: &str, name: &str| {
            format!(" {} {} {name}\n", Sha256Digest::of(bytes.as_bytes()), bytes.len())
        };
        let list =
            line(orig, "hello_1.0.orig.tar.gz") + &line(&debian, &format!("hello_{version}.debian.tar.xz"));
        let dsc = dsc(&list);
        let name = format!("hello_{version}.dsc");
        let stanza = format!(
            "Package: hello\nVersion: {version}\nDirectory: pool/main/h/hello\nChecksums-Sha256:\n{}{list}",
            line(&dsc, &name)
        );
        for (name, bytes) in [
            (name, dsc),
            ("hello_1.0.orig.tar.gz".to_owned(), orig.to_owned()),
            (format!("hello_{version}.debian.tar.xz"), debian),
        ] {
            world.upstream.route(format!("/debian/pool/main/h/hello/{name}"), Reply::ok(bytes));
        }
        stanza
    };
    let text = files("1.0-1") + "\n" + &files("1.0-2");
    let suite = SuiteFiles::new("stable", -1).packages(&[world.deb(&hello())]).index(
        "main/source/Sources",
        &text,
        Compression::Xz,
    );
    world.suite(&suite);
    let report = world.sync().await;
    assert!(report.is_complete(), "{report:#?}");
    let sources = world.candidates("src:hello").await;
    let names: BTreeSet<&str> = sources.iter().map(|candidate| candidate.revision.as_str()).collect();
    assert_eq!(names, BTreeSet::from(["1.0-1:source", "1.0-2:source", "1.0:orig"]));
    assert!(sources.iter().all(|candidate| candidate.status == Status::Available), "{sources:#?}");
}

#[tokio::test]
async fn sha512_alone_is_enough_and_compared() {
    let world = World::new(json!({})).await;
    let sha512 = |bytes: &[u8]| {
        use sha2::Digest as _;
        format!("{:x}", sha2::Sha512::digest(bytes))
    };
    let alone = |deb: &Deb, sha512: &str| {
        let stanza = world.deb(deb);
        let lines = stanza.lines().map(|line| match line.strip_prefix("SHA256:") {
            Some(_) => format!("SHA512: {sha512}"),
            None => line.to_owned(),
        });
        lines.collect::<Vec<_>>().join("\n")
    };
    let (good, bad) = (alone(&hello(), &sha512(&hello().build())), alone(&jq("1.6-1"), &sha512(b"other")));
    let suite = SuiteFiles::new("stable", -1).packages(&[good, bad]);
    let release = |suite: &SuiteFiles, wrong: bool| {
        let files = suite.files.iter().chain(&suite.absent);
        let lines = files.map(|(path, bytes)| {
            let digest = if wrong { sha512(b"other") } else { sha512(bytes) };
            format!(" {digest} {} {path}", bytes.len())
        });
        let text = format!("{}SHA512:\n{}\n", suite.head, lines.collect::<Vec<_>>().join("\n"));
        world.signer.clearsign(&text, Timestamp::now()).unwrap().into_bytes()
    };
    world.files("", &suite);
    world.in_release("", &suite, release(&suite, true));
    let report = world.sync().await;
    assert!(has_alarm(&report, "index-digest"), "{report:#?}");
    assert!(world.candidates("hello").await.is_empty());
    world.in_release("", &suite, release(&suite, false));
    let report = world.sync().await;
    assert_eq!(world.candidates("hello").await[0].status, Status::Available, "{report:#?}");
    assert_ne!(world.candidates("jq").await[0].status, Status::Available, "{report:#?}");
}

/// Descriptions are found by their MD5, and a suite is read anew when only they changed.
#[tokio::test]
async fn descriptions_come_with_their_packages() {
    let world = World::new(json!({})).await;
    let md5 = "0123456789abcdef0123456789abcdef";
    let stanza = format!("{}\nDescription-md5: {md5}", world.deb(&hello()).trim_end());
    let translation = |text: &str| {
        format!("Package: hello\nDescription-md5: {md5}\nDescription-en: a greeting\n {text}\n\nbroken\n\n")
    };
    let suite = |hours, text: &str| {
        SuiteFiles::new("stable", hours).packages(std::slice::from_ref(&stanza)).index(
            "main/i18n/Translation-en",
            &translation(text),
            Compression::Bzip2,
        )
    };
    let known = async || {
        let candidates = world.candidates("hello").await;
        let descriptions = candidates[0].files[0].attributes.get("descriptions").cloned();
        descriptions.map(|known| known["stable/main"].as_str().unwrap().to_owned())
    };
    world.suite(&suite(-9, "It greets."));
    let report = world.sync().await;
    assert!(report.is_complete(), "{report:#?}");
    assert!(known().await.unwrap().ends_with("a greeting\n It greets."));
    world.suite(&suite(-8, "It greets better."));
    world.sync().await;
    assert!(known().await.unwrap().ends_with("It greets better."));
    // Upstream lists them and does not have them: packages do without.
    let mut absent = suite(-7, "Nobody reads this.");
    absent.files.retain(|path, _| !path.contains("i18n"));
    let listed = suite(-7, "Nobody reads this.");
    let signed = world.signer.clearsign(&listed.release(), Timestamp::now()).unwrap();
    world.in_release("", &listed, signed.into_bytes());
    world.files("", &absent);
    world.upstream.route("/debian/dists/stable/main/i18n/Translation-en.bz2", Reply::status(404));
    let report = world.sync().await;
    assert!(report.is_complete(), "{report:#?}");
    assert_eq!(known().await, None);
}

/// What a registry signed about its packages is nothing that a person could approve by itself.
#[tokio::test]
async fn a_suite_waits_for_nobody_where_packages_do() {
    let world = World::new(json!({})).await;
    let mut config = world.row().await.config;
    config.approval = reservoir_core::ecosystem::Approval::Manual;
    world.catalog.put_repository(&config, &ann()).await.unwrap();
    world.suite(&SuiteFiles::new("stable", -10).packages(&[world.deb(&hello())]));
    let report = world.sync().await;
    assert_eq!(report.waiting.len(), 1, "{report:#?}");
    assert_eq!(world.candidates("hello").await[0].status, Status::NeedsApproval);
    assert_eq!(world.candidates("dists/stable").await[0].status, Status::Available);
}
