//! What every command says, as text and as JSON, and with which status it ends.

use std::fmt::Write as _;

use insta::{assert_json_snapshot, assert_snapshot};
use serde_json::Value;

use super::support::{
    home::Home,
    index::{Index, Style, wheel},
};

/// Numbers, times and digests that differ between runs.
fn stable(text: &str, index: &Index) -> String {
    let text = text.replace(&index.base(), "http://INDEX");
    let mut out = String::new();
    for word in text.split_inclusive([' ', '\n', '"']) {
        let (core, end) = word.split_at(word.trim_end_matches([' ', '\n', '"']).len());
        out += match core {
            _ if core.len() > 20 && core.ends_with('Z') && core.contains('T') => "TIME",
            _ if core.strip_prefix("sha256:").unwrap_or(core).len() == 64 => "DIGEST",
            _ => core,
        };
        out += end;
    }
    out
}

fn stable_json(value: &Value, index: &Index) -> Value {
    serde_json::from_str(&stable(&value.to_string(), index)).unwrap()
}

async fn index() -> Index {
    Index::of(
        Style::Json,
        [
            wheel("alpha", "1.0", &["beta>=1"]),
            wheel("alpha", "2.0", &["beta>=1"]).yanked("broken"),
            wheel("beta", "1.0", &[]),
        ],
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_story_of_a_mirror() {
    let index = index().await;
    let home = Home::with(&index.mirror(&["alpha"], "dependencies = true"));
    let mut story = String::new();
    let mut tell = |arguments: &[&str]| {
        let run = home.run(arguments);
        let text = stable(&run.all(), &index);
        writeln!(story, "$ reservoir {}    (status {})\n{text}", arguments.join(" "), run.code).unwrap();
    };
    tell(&["init"]);
    tell(&["scan", "python"]);
    tell(&["list", "python"]);
    tell(&["sync", "python"]);
    tell(&["sync", "python"]);
    tell(&["list"]);
    tell(&["list", "python", "--status", "AVAILABLE"]);
    tell(&["show", "python", "alpha@1.0"]);
    tell(&["history", "python", "alpha@1.0"]);
    tell(&["publish", "python"]);
    tell(&["reject", "python", "beta@1.0", "--reason", "we found a hole"]);
    tell(&["sync", "python"]);
    tell(&["log", "python"]);
    tell(&["diff", "python", "1", "main"]);
    tell(&["rollback", "python", "1"]);
    tell(&["cleanup", "python", "beta@1.0"]);
    tell(&["verify"]);
    tell(&["gc"]);
    tell(&["task", "list"]);
    tell(&["task", "cancel", "1"]);
    tell(&["client-setup", "python"]);
    insta::with_settings!({ omit_expression => true }, { assert_snapshot!(story.replace(&home.path().display().to_string(), "HOME")) });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_requirement_is_listed_with_status_3() {
    let index = Index::of(Style::Json, [wheel("alpha", "1.0", &["gamma"])]).await;
    let home = Home::with(&index.mirror(&["alpha", "delta"], "dependencies = true"));
    let report = home.sync("python", 3);
    assert_json_snapshot!(stable_json(&report["missing"], &index));
    // What is there is published all the same.
    assert_eq!(report["published"], 1);
}

#[test]
fn mistakes_end_with_2_and_failures_with_1() {
    let home = Home::new();
    let mut told = String::new();
    for (arguments, status) in [
        (&["frobnicate"] as &[&str], 2),
        (&["sync"], 2),
        (&["upload", "python", "file.whl"], 1),
        (&["import-list", "models.csv"], 1),
        (&["check", "python"], 1),
        (&["list", "--status", "AVAILABLE"], 2),
        (&["serve", "--listen", "0.0.0.0:0", "--allow-anonymous-writes"], 2),
        (&["sync", "nothing"], 1),
        (&["sync", "Not A Name"], 2),
        (&["show", "nothing", "six"], 1),
        (&["task", "cancel", "7"], 1),
        (&["serve", "--listen", "nonsense"], 1),
        (&["client-setup", "nothing"], 1),
    ] {
        let run = home.run(arguments).expect(status);
        assert_eq!(run.stdout, "", "{arguments:?}");
        let first = run.stderr.lines().next().unwrap_or_default();
        writeln!(told, "$ reservoir {}    (status {status})\n{first}", arguments.join(" ")).unwrap();
    }
    insta::with_settings!({ omit_expression => true }, { assert_snapshot!(told) });
}

/// What a person wrote and nobody understands is wrong usage, wherever it stands.
#[tokio::test(flavor = "multi_thread")]
async fn nonsense_from_a_person_ends_with_2() {
    let index = Index::of(Style::Json, [wheel("alpha", "1.0", &[])]).await;
    let home = Home::with(&index.mirror(&["alpha"], ""));
    home.write("uv.lock", "version = 1\n[[package\n");
    home.write("models.csv", "name,place\nx,y\n");
    home.apply("[[repository]]\nname = \"hub\"\necosystem = \"hf\"\nmode = \"hosted\"\n").expect(0);
    for (arguments, told) in [
        (&["import", "python", "alpha>=="] as &[&str], "alpha>=="),
        (&["import", "python", "alpha>==", "--dry-run"], "alpha>=="),
        (&["import", "python", "--lock", "uv.lock"], "line 2"),
        (&["import-list", "models.csv", "--repo", "hub"], "names no column `path`"),
    ] {
        let run = home.run(arguments).expect(2);
        assert!(run.stderr.contains(told), "{arguments:?}: {run:?}");
    }
    // What is wrong with one of many files is in the report.
    let run = home.run(["upload", "hub", "uv.lock"]).expect(3);
    assert!(run.stdout.contains("its own clients put them there over HTTP"), "{run:?}");
}

#[test]
fn errors_are_json_too() {
    let home = Home::new();
    let (code, error) = home.json(["sync", "nothing"]);
    assert_eq!(code, 1);
    assert_json_snapshot!(error, @r#"
    {
      "error": "no repository `nothing`",
      "kind": "NotFound"
    }
    "#);
    // What goes through a pipe is the bundle and nothing else.
    let run = home.run(["--json", "export", "-", "nothing"]);
    assert_eq!((run.code == 0, &*run.stdout), (false, ""), "{run:?}");
    assert!(run.stderr.contains("nothing"), "{run:?}");
}

#[test]
fn a_home_must_be_made_first() {
    let home = Home::empty();
    let run = home.run(["list"]).expect(2);
    assert!(run.stderr.contains("is not initialised; run `reservoir init`"), "{run:?}");
    assert_eq!(home.json(["init"]).1["created"], true);
    assert_eq!(home.json(["init"]).1["created"], false);
    assert!(home.done(["list"]).contains("no repositories"));
}

#[test]
fn help_teaches() {
    let home = Home::empty();
    let (help, apply) = (home.done(["--help"]), home.done(["help", "apply"]));
    insta::with_settings!({ omit_expression => true }, {
        assert_snapshot!("help", help);
        assert_snapshot!("help_apply", apply);
    });
}

/// A reader that has seen enough does not make the program panic.
#[test]
fn a_closed_pipe_is_no_error() {
    let home = Home::new();
    let mut child = home.command().arg("--help").stdout(std::process::Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    child.wait().unwrap();
    let mut child = home.command().arg("list").stdout(std::process::Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
