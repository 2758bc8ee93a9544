//! What a Python repository takes from nobody: too new, too large, for other platforms; by whatever way it is brought.

use std::collections::BTreeSet;

use serde_json::json;

use super::support::{
    dist::Wheel,
    home::Home,
    index::{File, Index, Style, tagged, wheel},
    web::{file_url, get},
};

const OLD: &str = "2025-01-01T00:00:00Z";
/// Younger than any age until then.
const YOUNG: &str = "2099-01-01T00:00:00Z";

async fn index() -> Index {
    let large =
        Wheel::new("heavy", "2.0").with("heavy/data", vec![7; 300_000]).with("heavy/noise", noise()).build();
    let files = [
        wheel("app", "2.0", &[]).uploaded(YOUNG),
        wheel("app", "1.0", &["heavy", "native"]).uploaded(OLD),
        // Whose time nobody knows may be new.
        wheel("app", "1.5", &[]),
        File::new("heavy-2.0-py3-none-any.whl", large).uploaded(OLD),
        wheel("heavy", "1.0", &[]).uploaded(OLD),
        tagged("native", "1.0", "cp311-cp311-win_amd64").uploaded(OLD),
        tagged("native", "1.0", "cp311-cp311-macosx_11_0_arm64").uploaded(OLD),
        tagged("native", "1.0", "cp311-cp311-manylinux_2_17_x86_64").uploaded(OLD),
    ];
    Index::of(Style::Json, files).await
}

/// What does not compress.
fn noise() -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..150_000).map(|_| next()).collect()
}

/// The files that are here, of those that were chosen.
fn files(home: &Home) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for project in ["app", "heavy", "native"] {
        let (_, shown) = home.json(["show", "python", project]);
        let revisions = shown["revisions"].as_array().unwrap();
        let files = revisions.iter().flat_map(|revision| revision["files"].as_array().unwrap());
        let stored = files.filter(|file| file["stored"].as_bool().unwrap());
        found.extend(stored.map(|file| file["path"].as_str().unwrap().to_owned()));
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_excluded_is_brought_by_no_way() {
    let kept = "exclude_newer = \"7d\"\nmax_size = 100000\nexclude_platforms = [\"win\", \"macosx\"]\n\
                dependencies = true\n";
    let target = "targets = [{ python = \"3.11\", platform = \"manylinux_2_28_x86_64\" }, \
                  { python = \"3.11\", platform = \"win_amd64\" }]\n";
    for (more, command, status) in [
        ("", ["sync", "python"].as_slice(), 0),
        // For Windows nothing is left of `native`, and that is told.
        (target, &["import", "python", "app"], 0),
        (target, &["import", "python", "app", "--solve"], 3),
    ] {
        let index = index().await;
        let home = Home::with(&index.mirror(&["app"], &format!("{kept}{more}")));
        let (code, report) = home.json(command);
        assert_eq!(code, status, "{command:?}: {report:#}");
        let expected = [
            "app/app-1.0-py3-none-any.whl",
            "heavy/heavy-1.0-py3-none-any.whl",
            "native/native-1.0-cp311-cp311-manylinux_2_17_x86_64.whl",
        ];
        assert_eq!(files(&home), expected.map(str::to_owned).into(), "{command:?}");
        let told = report["missing"].to_string();
        assert_eq!(told.contains("wheels for `win_amd64` are excluded"), status == 3, "{told}");
    }
}

/// Files that were asked for whole.
fn fetched(index: &Index) -> usize {
    let requests = index.upstream.requests();
    let is_file = |target: &str| target.starts_with("/files/") && !target.ends_with(".metadata");
    requests
        .iter()
        .filter(|r| r.method == "GET" && r.header("range").is_empty() && is_file(&r.target))
        .count()
}

/// One import may bring so much and no more; what would bring more is refused with its size, before anything comes.
#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_is_too_large_is_refused_with_its_size_before_anything_is_pulled() {
    for style in [Style::Json, Style::Html] {
        let files =
            [wheel("app", "1.0", &["lib"]), wheel("lib", "1.0", &["leaf"]), wheel("leaf", "1.0", &[])];
        let size: usize = files.iter().map(|file| file.bytes.len()).sum();
        let lock: Vec<String> = files.iter().map(|file| format!("--hash=sha256:{}", file.sha256)).collect();
        let lock = format!("app==1.0 {}\nlib==1.0 {}\nleaf==1.0 {}\n", lock[0], lock[1], lock[2]);
        let index = Index::of(style, files).await;
        let config = |limit: usize| {
            let target = "targets = [{ python = \"3.11\", platform = \"manylinux_2_28_x86_64\" }]";
            index.mirror(&["app"], &format!("dependencies = true\n{target}\nmax_import = {limit}"))
        };
        let home = Home::with(&config(size - 1));
        let lock = home.write("requirements.txt", &lock);
        for arguments in [
            &["sync", "python"] as &[&str],
            &["import", "python", "app"],
            &["import", "python", "app", "--solve"],
            &["import", "python", "--lock", lock.to_str().unwrap()],
        ] {
            let run = home.run(arguments).expect(1);
            for part in [format!("3 files with {size} bytes"), format!("{} bytes (`max_import`)", size - 1)] {
                assert!(run.stderr.contains(&part), "{arguments:?}: {part}: {}", run.stderr);
            }
            assert_eq!(fetched(&index), 0, "{arguments:?}");
        }
        // Whoever only asks is told.
        assert_eq!(home.json(["import", "python", "app", "--dry-run"]).1["bytes"], size);
        home.apply(&config(size)).expect(0);
        let report = home.sync("python", 0);
        assert_eq!((&report["fetched_bytes"], fetched(&index)), (&json!(size), 3), "{report:#}");
        // What is here does not count.
        home.apply(&config(1)).expect(0);
        home.sync("python", 0);
    }
    let wrong =
        Home::new().apply("[[repository]]\nname = \"x\"\necosystem = \"pypi\"\nmax_import = \"much\"\n");
    assert!(wrong.expect(2).stderr.contains("max_import"));
}

/// A registry that does not say how large a file is does not get it past `max_size`.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_turns_out_too_large_is_not_taken() {
    let noise = Wheel::new("heavy", "1.0").with("heavy/noise", noise()).build();
    let heavy = File::new("heavy-1.0-py3-none-any.whl", noise);
    let index = Index::of(Style::Html, [heavy.clone(), wheel("light", "1.0", &[])]).await;
    let home = Home::with(&index.mirror(&["heavy", "light"], "max_size = \"100kB\""));
    let report = home.sync("python", 3);
    let failed = report["failed"].to_string();
    assert!(failed.contains("heavy") && failed.contains("more than 100000 bytes"), "{report:#}");
    assert!(!home.blob(&heavy.sha256).exists());
    assert_eq!(report["admitted"], 1, "{report:#}");

    let home = Home::with(&index.cache("max_size = \"100kB\""));
    let server = home.serve();
    let answer = get(&file_url(&server.simple("python"), "heavy", &heavy.name).await, &[]).await;
    assert_eq!((answer.status, answer.header("content-type")), (403, "application/problem+json"));
    assert!(answer.text().contains("more than 100000 bytes"), "{}", answer.text());
}
