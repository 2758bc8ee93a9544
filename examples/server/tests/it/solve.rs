//! `import --solve`, `import --dry-run` and `check` for Python packages, with uv and pip as the measure.

use std::collections::BTreeSet;

use reservoir_core::testing::upstream::Reply;
use serde_json::Value;

use super::support::{
    client,
    dist::{Wheel, metadata, tar_gz},
    home::{Home, Run},
    index::{File, Index, Style, sdist_with, tagged, wheel},
};

/// The interpreter that the clients run on; pip evaluates markers for no other.
const TARGET: &str = "targets = [{ python = \"PYTHON\", platform = \"manylinux_2_28_x86_64\" }]";

fn python() -> String {
    let script = "import sys; print('%d.%d' % sys.version_info[:2])";
    let run = Run::of(std::process::Command::new("python3").args(["-c", script])).expect(0);
    run.stdout.trim().to_owned()
}

fn here(more: &str) -> String {
    format!("{}\n{more}", TARGET.replace("PYTHON", &python()))
}

/// What a plan or a list has, as `name==version`.
fn pins(rows: &Value) -> BTreeSet<String> {
    let pin =
        |row: &Value| format!("{}=={}", row["artifact"].as_str().unwrap(), row["revision"].as_str().unwrap());
    rows.as_array().unwrap().iter().map(pin).collect()
}

fn set(pins: &[&str]) -> BTreeSet<String> {
    pins.iter().map(|pin| (*pin).to_owned()).collect()
}

/// Announces its own `METADATA`.
fn announced(name: &str, version: &str, requires: &[&str]) -> File {
    with_extras(name, version, requires, &[])
}

/// The same with the extras that it defines; older pips believe no others.
fn with_extras(name: &str, version: &str, requires: &[&str], extras: &[&str]) -> File {
    let requires = requires.iter().map(|line| format!("Requires-Dist: {line}\n"));
    let extras = extras.iter().map(|extra| format!("Provides-Extra: {extra}\n"));
    let text = metadata(name, version, &requires.chain(extras).collect::<String>());
    let built = Wheel::new(name, version).with_metadata(&text).build();
    File::new(format!("{name}-{version}-py3-none-any.whl"), built).announcing(text)
}

fn served(home: &Home) -> BTreeSet<String> {
    let (_, list) = home.json(["list", "python", "--status", "AVAILABLE"]);
    pins(&list["revisions"])
}

/// What `uv pip compile` picks from an index, or nothing when it finds no solution.
fn compiled(simple: &str, requirements: &[&str], arguments: &[&str]) -> Result<BTreeSet<String>, String> {
    let uv = client::uv();
    let file = uv.path().join("requirements.in");
    std::fs::write(&file, requirements.join("\n")).unwrap();
    let mut command = uv.command();
    command.args(["pip", "compile", "--no-annotate", "--no-header", "--no-strip-extras", "--no-build"]);
    command.args(["--python-version", &python(), "--python-platform", "x86_64-manylinux_2_28"]);
    let run = Run::of(command.args(["--index-url", simple]).args(arguments).arg(&file));
    let pin = |line: &str| {
        let (name, version) = line.split_once("==")?;
        let name = name.split('[').next()?;
        Some(format!("{name}=={}", version.split([' ', ';']).next()?))
    };
    if run.code == 0 { Ok(run.stdout.lines().filter_map(pin).collect()) } else { Err(run.all()) }
}

/// Each version has what it needs; the newest of each would not.
fn tangled() -> Vec<File> {
    vec![
        announced("app", "2.0", &["core>=2", "plugin"]),
        announced("app", "1.0", &["core>=1", "plugin"]),
        announced("plugin", "3.0", &["core<1"]),
        announced("plugin", "2.0", &["core<3", "leaf[fast]>=1"]),
        announced("plugin", "1.0", &["core<2"]),
        announced("core", "3.0", &[]),
        announced("core", "2.1", &["helper; python_version >= '3'", "never; sys_platform == 'win32'"]),
        announced("core", "1.0", &[]),
        announced("helper", "1.0", &[]),
        with_extras("leaf", "1.5", &["speed; extra == 'fast'", "slow; extra == 'slow'"], &["fast", "slow"]),
        announced("speed", "1.0", &[]),
        announced("never", "1.0", &[]),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_that_go_together_are_picked_as_uv_picks_them() {
    let index = Index::of(Style::Json, tangled()).await;
    let home = Home::with(&index.mirror(&[], &here("dependencies = true")));
    let expected = set(&["app==2.0", "core==2.1", "helper==1.0", "leaf==1.5", "plugin==2.0", "speed==1.0"]);
    let uv = compiled(&format!("{}/simple/", index.base()), &["app"], &[]);
    assert_eq!(uv.as_ref(), Ok(&expected));
    let (code, plan) = home.json(["import", "python", "app", "--solve", "--dry-run"]);
    assert_eq!(code, 0, "{plan:#}");
    assert_eq!(pins(&plan["revisions"]), expected);
    assert_eq!((plan["files"].as_u64(), index.count("/files/")), (Some(6), plan_reads(&index)));
    assert_eq!(served(&home), BTreeSet::new(), "a plan brings nothing");
    home.run(["import", "python", "app", "--solve"]).expect(0);
    assert_eq!(served(&home), expected);
    home.run(["check", "python"]).expect(0);
    let server = home.serve();
    for client in client::all() {
        client.install(&server.simple("python"), &["app"]).expect(0);
        assert_eq!(client.installed().into_iter().collect::<BTreeSet<_>>(), expected);
    }
}

/// Requests for files: sidecars alone.
fn plan_reads(index: &Index) -> usize {
    let requests = index.upstream.requests();
    requests.iter().filter(|request| request.target.ends_with(".metadata")).count()
}

/// What is tried is read, and little more: of two hundred versions that nobody needs none is.
#[tokio::test(flavor = "multi_thread")]
async fn metadata_is_read_of_what_is_tried_alone() {
    let mut files = vec![announced("root", "1.0", &["many<50", "wide"])];
    files.extend((0..100).map(|version| announced("many", &format!("{version}.0"), &[])));
    files.extend((0..100).map(|version| announced("wide", &format!("{version}.0"), &["many"])));
    let index = Index::of(Style::Json, files).await;
    let home = Home::with(&index.mirror(&["root"], &here("dependencies = true")));
    let report = home.run(["--json", "import", "python", "--solve"]).expect(0);
    assert_eq!(served(&home), set(&["many==49.0", "root==1.0", "wide==99.0"]), "{report:?}");
    assert_eq!(plan_reads(&index), 3, "{:?}", index.upstream.requests());
}

/// Markers, wheels and interpreters differ; what each target needs is brought.
#[tokio::test(flavor = "multi_thread")]
async fn each_target_has_its_own_solution() {
    let index = Index::of(
        Style::Json,
        [
            announced("app", "1.0", &["old; python_version < '3.12'", "win; sys_platform == 'win32'", "lib"]),
            announced("old", "1.0", &[]),
            announced("win", "1.0", &[]),
            tagged("lib", "2.0", "cp312-cp312-manylinux_2_17_x86_64"),
            tagged("lib", "1.0", "cp311-cp311-win_amd64"),
            tagged("lib", "1.0", "cp311-cp311-manylinux_2_17_x86_64"),
        ],
    )
    .await;
    let home = Home::with(&index.mirror(
        &["app"],
        "dependencies = true\ntargets = [{ python = \"3.12\", platform = \"manylinux_2_28_x86_64\" }, \
         { python = \"3.11\", platform = \"win_amd64\" }]",
    ));
    home.run(["import", "python", "--solve"]).expect(0);
    assert_eq!(served(&home), set(&["app==1.0", "lib==1.0", "lib==2.0", "old==1.0", "win==1.0"]));
    let (_, lib) = home.json(["show", "python", "lib@1.0"]);
    let stored = |file: &&Value| file["stored"].as_bool().unwrap();
    let files: Vec<_> = lib["revisions"][0]["files"].as_array().unwrap().iter().filter(stored).collect();
    assert_eq!(files.len(), 1, "the wheel of the target alone: {lib:#}");
    let (code, checked) = home.json(["check", "python"]);
    assert_eq!((code, checked["targets"].as_array().unwrap().len()), (0, 2), "{checked:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn yanked_early_and_late_releases_are_passed_over() {
    let index = Index::of(
        Style::Json,
        [
            announced("app", "1.0", &["yank", "pre", "late", "only", "young"]),
            announced("yank", "2.0", &[]).yanked("broken"),
            announced("yank", "1.0", &[]),
            announced("pre", "2.0rc1", &[]),
            announced("pre", "1.0", &[]),
            announced("late", "2.0", &[]).requires_python(">=3.99"),
            announced("late", "1.0", &[]).requires_python(">=3"),
            announced("only", "1.0b1", &[]),
            announced("young", "2.0", &[]).uploaded("2026-02-01T00:00:00Z"),
            announced("young", "1.0", &[]).uploaded("2026-01-01T00:00:00Z"),
        ]
        .map(|file| if file.upload_time.is_none() { file.uploaded("2025-01-01T00:00:00Z") } else { file }),
    )
    .await;
    let more = here("dependencies = true\nexclude_newer = \"2026-01-15\"");
    let home = Home::with(&index.mirror(&["app"], &more));
    home.run(["import", "python", "--solve"]).expect(0);
    let expected = set(&["app==1.0", "late==1.0", "only==1.0b1", "pre==1.0", "yank==1.0", "young==1.0"]);
    assert_eq!(served(&home), expected);
    let simple = format!("{}/simple/", index.base());
    assert_eq!(compiled(&simple, &["app"], &["--exclude-newer", "2026-01-15T00:00:00Z"]), Ok(expected));
    // Whoever pins it by hand has it.
    home.run(["import", "python", "yank==2.0", "pre>=2.0rc1", "--solve"]).expect(0);
    assert!(served(&home).is_superset(&set(&["yank==2.0", "pre==2.0rc1"])), "{:?}", served(&home));
}

/// Without a sidecar, the end of the wheel is read; without ranges, and of source, the whole. What was read and is
/// not picked is not served.
#[tokio::test(flavor = "multi_thread")]
async fn without_sidecars_files_are_read_themselves() {
    for ranges in [true, false] {
        let padded = Wheel::new("app", "2.0").with("app/data", vec![7; 200_000]).with_metadata(metadata(
            "app",
            "2.0",
            "Requires-Dist: missing\n",
        ));
        let newest = File::new("app-2.0-py3-none-any.whl", padded.build());
        let path = newest.path();
        let reply = Reply::ok(newest.bytes.clone());
        let index = Index::of(
            Style::Html,
            [
                newest,
                wheel("app", "1.0", &["lib"]),
                sdist_with("lib", "2.0", "2.1", ""),
                sdist_with("lib", "1.0", "2.2", "Requires-Dist: leaf\n"),
                wheel("leaf", "1.0", &[]),
            ],
        )
        .await;
        if !ranges {
            index.upstream.route(path.clone(), reply.without_ranges());
        }
        let home = Home::with(&index.mirror(&["app"], &here("dependencies = true")));
        let run = home.run(["import", "python", "--solve"]).expect(0);
        assert_eq!(served(&home), set(&["app==1.0", "leaf==1.0", "lib==1.0"]), "{run:?}");
        home.run(["check", "python"]).expect(0);
        let asked = index.upstream.requests().into_iter().filter(|request| request.target == path);
        let whole = asked.filter(|request| request.header("range").is_empty()).count();
        assert_eq!(whole, usize::from(!ranges), "whole fetches of what is not picked");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_solved_is_told_in_words() {
    let index = Index::of(
        Style::Json,
        [
            announced("app", "1.0", &["left==1", "right==1"]),
            announced("left", "1", &["shared<2"]),
            announced("right", "1", &["shared>=2"]),
            announced("shared", "1.0", &[]),
            announced("shared", "2.0", &[]),
        ],
    )
    .await;
    let home = Home::with(&index.mirror(&["app"], &here("dependencies = true")));
    let (code, report) = home.json(["import", "python", "--solve"]);
    assert_eq!(code, 3, "{report:#}");
    let told = report["missing"][0].as_str().unwrap();
    for part in [
        "`left 1` needs `shared<2`",
        "`right 1` needs `shared>=2`",
        "only one of `shared 1.0` and `shared 2.0`",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert_eq!(served(&home), BTreeSet::new(), "nothing was brought in");
}

/// A solution is built on what the registry says of a file; the file has the last word, and the operator hears of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_that_lies_is_told() {
    let lying = wheel("app", "1.0", &["secret"]).announcing(metadata("app", "1.0", ""));
    let foreign = wheel("other", "2.0", &[]).announcing(metadata("another", "2.0", ""));
    let index = Index::of(
        Style::Json,
        [lying, foreign, announced("other", "1.0", &[]), announced("secret", "1.0", &[])],
    )
    .await;
    let home = Home::with(&index.mirror(&["app", "other"], &here("dependencies = true")));
    let (code, report) = home.json(["import", "python", "--solve"]);
    assert_eq!(code, 3, "{report:#}");
    assert!(report["alarms"][0].as_str().unwrap().contains("needs something else"), "{report:#}");
    assert!(report["skipped"][0].as_str().unwrap().contains("other-2.0"), "{report:#}");
    home.run(["import", "python", "--solve"]).expect(0);
    assert_eq!(served(&home), set(&["app==1.0", "other==1.0", "secret==1.0"]));
}

/// A registry that is away must not make an older version win.
#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_that_is_away_ends_the_solving() {
    let index = Index::of(Style::Json, [announced("app", "2.0", &[]), announced("app", "1.0", &[])]).await;
    let path = announced("app", "2.0", &[]).path();
    index.upstream.route(format!("{path}.metadata"), Reply::status(503));
    let home = Home::with(&index.mirror(&["app"], &here("dependencies = true")));
    home.run(["import", "python", "--solve"]).expect(1);
    assert_eq!(served(&home), BTreeSet::new());
}

/// The size of what a closure would bring is told before it is pulled, with sizes asked for where pages have none.
#[tokio::test(flavor = "multi_thread")]
async fn a_closure_is_sized_before_it_is_pulled() {
    for style in [Style::Json, Style::Html] {
        let files = [
            announced("app", "1.0", &["lib"]),
            announced("lib", "3.0", &[]),
            announced("lib", "2.0", &["leaf"]),
            announced("lib", "1.0", &[]),
            announced("leaf", "1.0", &[]),
        ];
        let sizes: usize = [0, 1, 2, 4].into_iter().map(|index: usize| files[index].bytes.len()).sum();
        let index = Index::of(style, files).await;
        let home = Home::with(&index.mirror(&["app"], &here("dependencies = true\nnewest = 2")));
        let (code, plan) = home.json(["import", "python", "--dry-run"]);
        assert_eq!((code, plan["unsized_files"].as_u64()), (0, Some(0)), "{plan:#}");
        assert_eq!(pins(&plan["revisions"]), set(&["app==1.0", "leaf==1.0", "lib==2.0", "lib==3.0"]));
        assert_eq!(plan["bytes"].as_u64(), Some(sizes as u64), "{plan:#}");
        let report = home.sync("python", 0);
        assert_eq!((&report["fetched_files"], &report["fetched_bytes"]), (&plan["files"], &plan["bytes"]));
        let (_, again) = home.json(["import", "python", "--dry-run"]);
        assert_eq!((&again["files"], &again["kept_bytes"]), (&0.into(), &plan["bytes"]));
    }
}

/// Every planted breakage, what `check` must say of it, and whether clients must fail on it.
#[tokio::test(flavor = "multi_thread")]
async fn planted_breakages_are_those_that_pip_and_uv_meet() {
    let python = python();
    let files = [
        wheel("fine", "1.0", &["fine-dep>=1"]),
        wheel("fine_dep", "1.0", &[]),
        wheel("gone", "1.0", &["gone-dep>=1"]),
        wheel("far", "1.0", &["gone"]),
        wheel("foreign", "1.0", &["foreign-dep"]),
        tagged("foreign_dep", "1.0", "cp311-cp311-win_amd64"),
        wheel("ahead", "1.0", &["ahead-dep"]),
        wheel("ahead_dep", "1.0", &[]).requires_python(">=3.90"),
        wheel("yanks", "1.0", &["yanks-dep>=1"]),
        wheel("yanks_dep", "1.0", &[]).yanked("broken"),
        with_extras("extra", "1.0", &["gone-dep; extra == 'net'"], &["net"]),
        wheel("early", "1.0", &["early-dep>=1"]),
        wheel("early_dep", "2.0b1", &[]),
        wheel("torn", "1.0", &["torn-a==1", "torn-b==1"]),
        wheel("torn_a", "1", &["torn-c<2"]),
        wheel("torn_b", "1", &["torn-c>=2"]),
        wheel("torn_c", "1.0", &[]),
        wheel("torn_c", "2.0", &[]),
        wheel("narrow", "1.0", &["fine-dep>=2"]),
        wheel("marked", "1.0", &["gone-dep; python_version < '3'"]),
    ];
    let index = Index::of(Style::Json, files).await;
    let wanted = [
        "fine",
        "gone",
        "far",
        "foreign",
        "ahead",
        "yanks",
        "yanks-dep==1.0",
        "extra",
        "extra[net]",
        "early",
        "torn",
        "narrow",
        "marked",
        "foreign-dep",
        "ahead-dep",
    ];
    let targets = format!(
        "dependencies = true\ntargets = [{{ python = \"{python}\", platform = \"manylinux_2_28_x86_64\" }}, \
         {{ python = \"3.11\", platform = \"win_amd64\" }}, {{ python = \"3.95\" }}]"
    );
    let home = Home::with(&index.mirror(&wanted, &targets));
    home.sync("python", 3);
    let (code, checked) = home.json(["check", "python"]);
    assert_eq!(code, 3, "{checked:#}");
    let target = &checked["targets"][0];
    let broken = target["broken"].as_array().unwrap();
    let why = |name: &str| {
        let label = format!("the selected {name}");
        let row = broken.iter().find(|row| row["package"] == *label)?;
        let lines = row["why"].as_array().unwrap().iter().map(|line| line.as_str().unwrap());
        Some(lines.collect::<Vec<_>>().join("\n"))
    };
    let server = home.serve();
    let simple = server.simple("python");
    let (pip, uv) = (client::pip(), client::uv());
    let clients = |name: &str| {
        let mut command = pip.command();
        command.args(["install", "--dry-run", "--ignore-installed", "--index-url", &simple, name]);
        let pip = Run::of(&mut command);
        let mut command = uv.command();
        command.args(["pip", "install", "--dry-run", "--python", "python3", "--target"]);
        let uv = Run::of(command.arg(uv.path().join("target")).args(["--index-url", &simple, name]));
        (pip, uv)
    };
    for (name, words) in [
        ("fine", ""),
        ("gone", "`gone 1.0` needs `gone-dep>=1`, which nothing satisfies: `gone-dep` is not here"),
        ("far", "`gone 1.0` needs `gone-dep>=1`, which nothing satisfies"),
        (
            "foreign",
            "needs `foreign-dep`, which nothing satisfies: 1.0 is here as a wheel for `cp311-cp311-win_amd64`",
        ),
        ("ahead", "needs `ahead-dep`, which nothing satisfies: 1.0 needs Python >=3.90"),
        ("yanks", "needs `yanks-dep>=1`, which nothing satisfies: 1.0 is yanked"),
        ("yanks-dep==1.0", ""),
        ("extra", ""),
        ("extra[net]", "`extra[net] 1.0` needs `gone-dep; extra == 'net'`, which nothing satisfies"),
        ("early", ""),
        ("torn", "only one of `torn-c 1.0` and `torn-c 2.0` can be installed"),
        ("narrow", "needs `fine-dep>=2`, which nothing satisfies: here is 1.0"),
        ("marked", ""),
    ] {
        let why = why(name);
        assert_eq!(why.is_some(), !words.is_empty(), "{name}: {why:?}\n{checked:#}");
        assert!(why.as_deref().unwrap_or_default().contains(words), "{name}: {why:?}");
        let (pip, uv) = clients(name);
        for run in [pip, uv] {
            assert_eq!(run.code != 0, why.is_some(), "{name}: {why:?}\n{run:?}");
        }
    }
    let text = home.run(["check", "python"]).expect(3);
    assert!(text.stdout.contains("broken   gone 1.0 in "), "{text:?}");
    // What is broken on one target is fine on another.
    let elsewhere = checked["targets"][1]["broken"].as_array().unwrap();
    assert!(!elsewhere.iter().any(|row| row["package"] == "foreign 1.0"), "{checked:#}");
}

/// Random indexes: a solution is found exactly when uv finds one, and is one.
#[tokio::test(flavor = "multi_thread")]
async fn random_indexes_are_solvable_exactly_when_uv_solves_them() {
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move |below: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % below
    };
    let mut outcomes = [0, 0];
    for round in 0..12 {
        let mut files = Vec::new();
        let names: Vec<String> = (0..6).map(|number| format!("p{number}")).collect();
        for (number, name) in names.iter().enumerate() {
            for version in 1..=4 {
                let mut requires = Vec::new();
                for other in names.iter().skip(number + 1).chain(names.iter().take(1)) {
                    let bound = random(4) + 1;
                    let operator = ["==", "<=", ">=", "!="][random(4) as usize];
                    if random(3) > 0 && name != other {
                        requires.push(format!("{other}{operator}{bound}"));
                    }
                }
                let requires: Vec<&str> = requires.iter().map(String::as_str).collect();
                files.push(announced(name, &version.to_string(), &requires));
            }
        }
        let index = Index::of(Style::Json, files).await;
        let home = Home::with(&index.mirror(&["p1", "p0"], &here("dependencies = true")));
        let (code, plan) = home.json(["import", "python", "--solve", "--dry-run"]);
        let uv = compiled(&format!("{}/simple/", index.base()), &["p1", "p0"], &[]);
        match uv {
            Ok(_) => {
                assert_eq!(code, 0, "round {round}: {plan:#}");
                let picked: Vec<String> = pins(&plan["revisions"]).into_iter().collect();
                let picked: Vec<&str> = picked.iter().map(String::as_str).collect();
                // With everything pinned uv agrees that it is a solution, and one without anything in excess.
                let pinned =
                    compiled(&format!("{}/simple/", index.base()), &[&["p1", "p0"], &*picked].concat(), &[]);
                assert_eq!(pinned, Ok(set(&picked)), "round {round}");
            }
            Err(words) => assert_eq!(code, 3, "round {round}: {plan:#}\n{words}"),
        }
        outcomes[usize::from(code == 0)] += 1;
    }
    assert!(outcomes.iter().all(|count| *count > 0), "both happen: {outcomes:?}");
}

/// Source whose metadata is not static: nothing is built here to find out what it needs.
#[tokio::test(flavor = "multi_thread")]
async fn what_must_be_built_cannot_be_proven() {
    let index =
        Index::of(Style::Json, [wheel("app", "1.0", &["lib"]), sdist_with("lib", "1.0", "2.1", "")]).await;
    let home = Home::with(&index.mirror(&["app"], &here("dependencies = true")));
    home.sync("python", 0);
    let (code, checked) = home.json(["check", "python"]);
    assert_eq!(code, 3, "{checked:#}");
    assert!(checked.to_string().contains("known only once it is built"), "{checked:#}");
}

/// Where clients build, what source is built with comes along, and `check` misses it when it is not here.
#[tokio::test(flavor = "multi_thread")]
async fn what_source_is_built_with_is_a_requirement_where_clients_build() {
    let source = |name: &str, format: &str, requires: &str| {
        let root = format!("{name}-1.0");
        let info = format!("Metadata-Version: {format}\nName: {name}\nVersion: 1.0\n{requires}");
        let project = "[build-system]\nrequires = [\"builder>=2\", \"winonly; sys_platform == 'win32'\"]\n";
        let files =
            [(format!("{root}/PKG-INFO"), info.into()), (format!("{root}/pyproject.toml"), project.into())];
        File::new(format!("{root}.tar.gz"), tar_gz(&files))
    };
    let files = || {
        [
            wheel("app", "1.0", &["fixed", "loose"]),
            source("fixed", "2.2", ""),
            // What it needs may change with its build; what it says is all that there is.
            source("loose", "2.1", "Requires-Dist: leaf\n"),
            wheel("leaf", "1.0", &[]),
            wheel("builder", "2.0", &["tool"]),
            wheel("builder", "1.0", &[]),
            wheel("tool", "1.0", &[]),
        ]
    };
    let index = Index::of(Style::Json, files()).await;
    let home = Home::with(&index.mirror(&["app"], &here("dependencies = true\nbuilds = true")));
    home.sync("python", 0);
    let expected = set(&["app==1.0", "builder==2.0", "fixed==1.0", "leaf==1.0", "loose==1.0", "tool==1.0"]);
    assert_eq!(served(&home), expected);
    let (code, checked) = home.json(["check", "python"]);
    assert_eq!((code, &checked["targets"][0]["notes"]), (0, &serde_json::json!([])), "{checked:#}");
    home.done(["reject", "python", "builder@2.0"]);
    let (code, checked) = home.json(["check", "python"]);
    let broken = checked["targets"][0]["broken"].to_string();
    assert!(code == 3 && broken.contains("builder>=2 to be built"), "{checked:#}");

    // Without the key nothing of that is brought, and `check` says that it did not look.
    let home = Home::with(&index.mirror(&["fixed"], &here("dependencies = true")));
    home.sync("python", 0);
    assert_eq!(served(&home), set(&["fixed==1.0"]));
    let run = home.run(["check", "python"]).expect(0);
    assert!(
        run.stdout.contains("note     here as source alone") && run.stdout.contains("fixed 1.0"),
        "{run:?}"
    );
}

/// Without targets nobody can say.
#[tokio::test(flavor = "multi_thread")]
async fn check_asks_for_whom() {
    let index = Index::of(Style::Json, [wheel("app", "1.0", &[])]).await;
    let home = Home::with(&index.mirror(&["app"], ""));
    home.sync("python", 0);
    let run = home.run(["check", "python"]).expect(2);
    assert!(run.stderr.contains("key `targets`"), "{run:?}");
}
