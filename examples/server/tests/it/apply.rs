//! `apply`: declarative, idempotent, and precise about mistakes.

use std::fmt::Write as _;

use insta::{assert_snapshot, with_settings};

use super::support::home::Home;

const MIRROR: &str = r#"
[[registry]]
name = "index"
ecosystem = "pypi"
url = "https://index.example.com/simple/"

[[repository]]
name = "python"
ecosystem = "pypi"
registry = "index"
mode = "mirror"
packages = ["six==1.17.0", "requests>=2.31,<3"]
dependencies = true
targets = [{ python = "3.11", platform = "manylinux_2_28_x86_64" }]
approval = "automatic"
publish = "automatic"
schedule = "6h"
"#;

#[test]
fn the_second_time_changes_nothing() {
    let home = Home::new();
    assert_snapshot!(home.apply(MIRROR).expect(0).stdout, @r"
    added     registry index
    added     repository python
    ");
    assert_snapshot!(home.apply(MIRROR).expect(0).stdout, @r"
    unchanged registry index
    unchanged repository python
    ");
}

#[test]
fn only_what_differs_is_changed() {
    let home = Home::with(MIRROR);
    let changed = MIRROR.replace("\"6h\"", "\"15 3 * * *\"");
    assert_snapshot!(home.apply(&changed).expect(0).stdout, @r"
    unchanged registry index
    changed   repository python
    ");
}

#[test]
fn what_the_file_omits_stays_without_prune() {
    let home = Home::with(MIRROR);
    let other = MIRROR.replace("\"python\"", "\"other\"");
    assert_snapshot!(home.apply(&other).expect(0).stdout, @r"
    unchanged registry index
    added     repository other
    ");
    assert_snapshot!(home.done(["apply", "mirror.toml", "--prune"]), @r"
    unchanged registry index
    unchanged repository other
    removed   repository python
    ");
    home.write("empty.toml", "");
    assert_snapshot!(home.done(["apply", "empty.toml", "--prune"]), @r"
    removed   repository other
    removed   registry index
    ");
    assert_snapshot!(home.done(["list"]), @"no repositories; see `reservoir help apply`");
}

#[test]
fn a_second_registry_serves_where_the_first_knows_nothing() {
    let home = Home::new();
    let two = MIRROR.replace("registry = \"index\"", "registries = [\"index\", \"second\"]")
        + "[[registry]]\nname = \"second\"\necosystem = \"pypi\"\nurl = \"system\"\n";
    assert_snapshot!(home.apply(&two).expect(0).stdout, @r"
    added     registry index
    added     registry second
    added     repository python
    ");
}

/// Each mistake by itself: what is said, with the line and what to do.
#[test]
fn mistakes_are_told_with_their_line() {
    let home = Home::new();
    let replaced = |from: &str, to: &str| {
        assert!(MIRROR.contains(from), "{from}");
        MIRROR.replacen(from, to, 1)
    };
    let mistakes = [
        ("no toml", replaced("url = \"https", "url = https")),
        ("unknown table", replaced("[[repository]]", "[[repositry]]")),
        ("unknown key", replaced("dependencies =", "dependancies =")),
        ("unknown key like nothing", replaced("dependencies =", "zzzzzzzzzzzz =")),
        ("unknown registry key", replaced("url =", "uri =")),
        ("single table", replaced("[[registry]]", "[registry]")),
        ("no ecosystem", replaced("ecosystem = \"pypi\"\nurl", "url")),
        ("unknown ecosystem", replaced("\"pypi\"\nurl", "\"gems\"\nurl")),
        ("no url", replaced("url = \"https://index.example.com/simple/\"\n", "")),
        ("no address", replaced("https://index.example.com", "index.example.com")),
        ("another scheme", replaced("https://index", "ftp://index")),
        ("undefined registry", replaced("registry = \"index\"", "registry = \"indx\"")),
        ("no registry", replaced("registry = \"index\"\n", "")),
        ("registry twice", replaced("registry = \"index\"", "registry = \"index\"\nregistries = []")),
        ("reserved name", replaced("name = \"python\"", "name = \"api\"")),
        ("bad name", replaced("name = \"python\"", "name = \"Python\"")),
        ("name of uploads", replaced("name = \"index\"", "name = \"upload\"")),
        ("unknown mode", replaced("mode = \"mirror\"", "mode = \"mirrored\"")),
        ("unknown approval", replaced("approval = \"automatic\"", "approval = \"maybe\"")),
        ("bad schedule", replaced("\"6h\"", "\"soon\"")),
        ("bad requirement", replaced("requests>=2.31,<3", "requests>=")),
        ("direct reference", replaced("requests>=2.31,<3", "requests @ file:///etc/passwd")),
        ("bad target", replaced("manylinux_2_28_x86_64", "beos_r5")),
        ("wrong type", replaced("dependencies = true", "dependencies = \"yes\"")),
        ("twice the same name", format!("{MIRROR}{MIRROR}")),
    ];
    let mut told = String::new();
    for (mistake, toml) in mistakes {
        let run = home.apply(&toml).expect(2);
        assert_eq!(run.stdout, "", "{mistake}");
        writeln!(told, "{mistake}\n    {}", run.stderr.trim_end()).unwrap();
    }
    with_settings!({ omit_expression => true }, { assert_snapshot!(told) });
    assert_snapshot!(home.done(["list"]), @"no repositories; see `reservoir help apply`");
}

#[test]
fn a_missing_file_is_a_failure() {
    let run = Home::new().run(["apply", "nothing.toml"]).expect(1);
    assert_snapshot!(run.stderr, @"error: cannot read `nothing.toml`: No such file or directory (os error 2)");
}
