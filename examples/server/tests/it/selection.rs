//! What a Python repository takes from nobody: too new, too large, for other platforms; by whatever way it is brought.

use std::collections::BTreeSet;

use super::support::{
    dist::Wheel,
    home::Home,
    index::{File, Index, Style, tagged, wheel},
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
