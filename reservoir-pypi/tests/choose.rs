//! Which files a repository takes, compared with what pip would install.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod common;

use std::collections::BTreeMap;

use reservoir_core::{
    Error,
    depends::Dependencies as _,
    ecosystem::{Candidate, CandidateFile, Inspection, RepositoryConfig, Requirement},
    lifecycle::{RevisionId, Status},
};
use reservoir_pypi::{
    depends::PypiDependencies,
    filename::DistFilename,
    name::ProjectName,
    options::Options,
    select::{choose, roots},
};
use serde_json::{Value, json};

/// A repository with these keys of its own.
fn repository(options: &Value) -> RepositoryConfig {
    serde_json::from_value(json!({ "name": "python", "ecosystem": "pypi", "options": options })).unwrap()
}

/// Revisions of one project from its file names, each with the attributes a registry gave.
fn candidates(project: &str, files: &[(&str, Value)]) -> Vec<Candidate> {
    let project: ProjectName = project.parse().unwrap();
    let mut revisions: BTreeMap<String, Vec<CandidateFile>> = BTreeMap::new();
    for (name, attributes) in files {
        let name = DistFilename::parse(name, &project).unwrap();
        revisions.entry(name.version().normal()).or_default().push(CandidateFile {
            path: name.path(),
            size: None,
            sha256: None,
            attributes: serde_json::from_value(attributes.clone()).unwrap(),
            inspection: None,
        });
    }
    let candidate = |(id, (revision, files)): (usize, (String, Vec<CandidateFile>))| Candidate {
        id: RevisionId(id as i64),
        revision: revision.parse().unwrap(),
        status: Status::Scanned,
        files,
    };
    revisions.into_iter().enumerate().map(candidate).collect()
}

fn plain<'n>(names: &[&'n str]) -> Vec<(&'n str, Value)> {
    names.iter().map(|name| (*name, json!({}))).collect()
}

fn requirement(artifact: &str, constraint: &str, wanted_by: Option<&str>) -> Requirement {
    Requirement {
        artifact: artifact.parse().unwrap(),
        constraint: constraint.into(),
        extras: Vec::new(),
        wanted_by: wanted_by.map(str::to_owned),
    }
}

/// The file names chosen, newest version first.
fn chosen(options: &Value, requirement: &Requirement, candidates: &[Candidate]) -> Vec<String> {
    choose(&repository(options), requirement, candidates)
        .unwrap()
        .into_iter()
        .flat_map(|chosen| chosen.paths)
        .map(|path| path.file_name().to_owned())
        .collect()
}

#[test]
fn the_wheel_is_the_one_pip_takes() {
    let wheels = [
        "demo-1.0-cp310-cp310-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
        "demo-1.0-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
        "demo-1.0-cp311-cp311-manylinux_2_28_x86_64.whl",
        "demo-1.0-1-cp311-cp311-manylinux_2_28_x86_64.whl",
        "demo-1.0-cp311-cp311-manylinux_2_34_x86_64.whl",
        "demo-1.0-cp311-cp311-musllinux_1_1_x86_64.whl",
        "demo-1.0-cp311-cp311-musllinux_1_2_x86_64.whl",
        "demo-1.0-cp313-cp313-manylinux_2_17_x86_64.whl",
        "demo-1.0-cp313-cp313t-manylinux_2_17_x86_64.whl",
        "demo-1.0-cp38-abi3-manylinux_2_17_x86_64.whl",
        "demo-1.0-cp39-abi3-manylinux_2_17_aarch64.whl",
        "demo-1.0-cp39-abi3-macosx_10_9_universal2.whl",
        "demo-1.0-cp312-cp312-macosx_11_0_arm64.whl",
        "demo-1.0-cp312-cp312-win_amd64.whl",
        "demo-1.0-2-py3-none-any.whl",
        "demo-1.0-10-py3-none-any.whl",
        "demo-1.0-py2.py3-none-any.whl",
    ];
    let linux = |python: u32, threaded: bool, kind: &str, minor: u32, arch: &str| json!({ "python": python, "threaded": threaded, "kind": kind, "minor": minor, "arch": arch });
    let mac = |python: u32, major: u32, arch: &str| json!({ "python": python, "threaded": false, "kind": "macosx", "major": major, "minor": 0, "arch": arch });
    let windows = json!({ "python": 12, "threaded": false, "kind": "win", "tag": "win_amd64" });
    let table = [
        ("3.10", "manylinux_2_28_x86_64", linux(10, false, "manylinux", 28, "x86_64")),
        ("3.11", "manylinux_2_17_x86_64", linux(11, false, "manylinux", 17, "x86_64")),
        ("3.11", "manylinux_2_28_x86_64", linux(11, false, "manylinux", 28, "x86_64")),
        ("3.11", "manylinux_2_39_x86_64", linux(11, false, "manylinux", 39, "x86_64")),
        ("3.12", "manylinux_2_28_x86_64", linux(12, false, "manylinux", 28, "x86_64")),
        ("3.13", "manylinux_2_28_x86_64", linux(13, false, "manylinux", 28, "x86_64")),
        ("3.13t", "manylinux_2_28_x86_64", linux(13, true, "manylinux", 28, "x86_64")),
        ("3.14t", "manylinux_2_28_x86_64", linux(14, true, "manylinux", 28, "x86_64")),
        ("3.12", "manylinux_2_34_aarch64", linux(12, false, "manylinux", 34, "aarch64")),
        ("3.11", "musllinux_1_1_x86_64", linux(11, false, "musllinux", 1, "x86_64")),
        ("3.11", "musllinux_1_2_x86_64", linux(11, false, "musllinux", 2, "x86_64")),
        ("3.12", "macosx_14_0_arm64", mac(12, 14, "arm64")),
        ("3.11", "macosx_13_0_x86_64", mac(11, 13, "x86_64")),
        ("3.12", "win_amd64", windows),
    ];
    let questions: Vec<Value> =
        table.iter().map(|(_, _, target)| json!({ "target": target, "wheels": wheels })).collect();
    let answers = common::packaging(&json!({ "best": questions }));
    let candidates = candidates("demo", &plain(&wheels));
    for ((python, platform, _), theirs) in table.iter().zip(answers["best"].as_array().unwrap()) {
        let options = json!({ "targets": [{ "python": python, "platform": platform }] });
        let ours = chosen(&options, &requirement("demo", "", None), &candidates);
        assert_eq!(json!(ours), json!([theirs]), "{python} on {platform}");
    }
}

#[test]
fn each_target_gets_its_own_newest_version() {
    let candidates = candidates(
        "demo",
        &[
            ("demo-1.0-py3-none-any.whl", json!({ "requires-python": ">=3.8" })),
            ("demo-2.0-py3-none-any.whl", json!({ "requires-python": ">=3.10" })),
            ("demo-3.0-py3-none-any.whl", json!({ "requires-python": ">=3.12.1" })),
        ],
    );
    let targets = |pythons: &[&str]| json!({ "targets": pythons.iter().map(|python| json!({ "python": python })).collect::<Vec<_>>() });
    let any = requirement("demo", "", None);
    let take = |pythons: &[&str]| chosen(&targets(pythons), &any, &candidates);
    assert_eq!(take(&["3.9"]), ["demo-1.0-py3-none-any.whl"]);
    assert_eq!(take(&["3.11"]), ["demo-2.0-py3-none-any.whl"]);
    assert_eq!(take(&["3.12", "3.9"]), ["demo-3.0-py3-none-any.whl", "demo-1.0-py3-none-any.whl"]);
    assert!(take(&["3.7"]).is_empty());
}

#[test]
fn a_marker_narrows_the_targets() {
    let candidates = candidates("demo", &plain(&["demo-1.0-cp311-cp311-win_amd64.whl", "demo-1.0.tar.gz"]));
    let targets = json!([
        { "python": "3.11", "platform": "win_amd64" },
        { "python": "3.11", "platform": "manylinux_2_28_x86_64" },
    ]);
    let take = |tail: &str| {
        chosen(&json!({ "targets": targets }), &requirement("demo", tail, Some("x 1.0")), &candidates)
    };
    assert_eq!(take("; sys_platform == 'win32'"), ["demo-1.0-cp311-cp311-win_amd64.whl"]);
    assert_eq!(take(">=1"), ["demo-1.0-cp311-cp311-win_amd64.whl", "demo-1.0.tar.gz"]);
}

#[test]
fn how_many_versions() {
    let candidates = candidates(
        "demo",
        &plain(&["demo-1.0-py3-none-any.whl", "demo-1.1-py3-none-any.whl", "demo-2.0-py3-none-any.whl"]),
    );
    let count = |options: &Value, constraint: &str, by: Option<&str>| {
        chosen(options, &requirement("demo", constraint, by), &candidates).len()
    };
    let none = json!({});
    assert_eq!(count(&none, "", None), 1);
    assert_eq!(count(&none, "*", None), 3);
    assert_eq!(count(&none, ">=1.0", None), 3);
    assert_eq!(count(&none, ">=1.0,<2", None), 2);
    assert_eq!(count(&none, ">=1.0", Some("other 1.0")), 1);
    assert_eq!(count(&json!({ "newest": 2 }), ">=1.0", Some("other 1.0")), 2);
    assert_eq!(count(&json!({ "newest": 2 }), "", None), 2);
    assert_eq!(count(&json!({ "newest": 2 }), "*", None), 2);
    assert_eq!(count(&none, ">=3", None), 0);
}

#[test]
fn prereleases_follow_pep_440_unless_told() {
    let both = candidates("demo", &plain(&["demo-1.0-py3-none-any.whl", "demo-2.0rc1-py3-none-any.whl"]));
    let only = candidates("demo", &plain(&["demo-2.0rc1-py3-none-any.whl"]));
    let any = requirement("demo", "", None);
    let named = requirement("demo", ">=2.0.dev0", None);
    assert_eq!(chosen(&json!({}), &any, &both), ["demo-1.0-py3-none-any.whl"]);
    assert_eq!(chosen(&json!({}), &any, &only), ["demo-2.0rc1-py3-none-any.whl"]);
    assert_eq!(chosen(&json!({}), &named, &both), ["demo-2.0rc1-py3-none-any.whl"]);
    assert_eq!(chosen(&json!({ "prereleases": true }), &any, &both), ["demo-2.0rc1-py3-none-any.whl"]);
    assert!(chosen(&json!({ "prereleases": false }), &named, &both).is_empty());
}

#[test]
fn yanked_files_need_an_exact_pin() {
    let candidates = candidates(
        "demo",
        &[
            ("demo-1.0-py3-none-any.whl", json!({})),
            ("demo-2.0-py3-none-any.whl", json!({ "yanked": "broken" })),
            ("demo-3.0-py3-none-any.whl", json!({ "yanked": true })),
        ],
    );
    let take = |options: &Value, constraint: &str| {
        chosen(options, &requirement("demo", constraint, None), &candidates)
    };
    assert_eq!(take(&json!({}), ""), ["demo-1.0-py3-none-any.whl"]);
    assert_eq!(take(&json!({}), "==2.0"), ["demo-2.0-py3-none-any.whl"]);
    assert_eq!(take(&json!({}), "===3.0"), ["demo-3.0-py3-none-any.whl"]);
    assert!(take(&json!({}), "==2.*").is_empty());
    assert!(take(&json!({}), ">=2").is_empty());
    assert_eq!(take(&json!({ "yanked": true }), ""), ["demo-3.0-py3-none-any.whl"]);
}

#[test]
fn local_versions_match_by_their_public_part() {
    let candidates =
        candidates("torch", &plain(&["torch-2.3.1-py3-none-any.whl", "torch-2.3.1+cu121-py3-none-any.whl"]));
    let take = |constraint: &str| chosen(&json!({}), &requirement("torch", constraint, None), &candidates);
    assert_eq!(take("==2.3.1").len(), 2);
    assert_eq!(take("==2.3.1+cu121"), ["torch-2.3.1+cu121-py3-none-any.whl"]);
}

#[test]
fn sdists_as_configured() {
    let both = candidates("demo", &plain(&["demo-1.0-py3-none-any.whl", "demo-1.0.tar.gz"]));
    let source = candidates("demo", &plain(&["demo-1.0-cp39-cp39-win_amd64.whl", "demo-1.0.tar.gz"]));
    let any = requirement("demo", "", None);
    let with = |sdists: Value| json!({ "sdists": sdists, "targets": [{ "python": "3.11", "platform": "manylinux_2_28_x86_64" }] });
    assert_eq!(chosen(&with(json!("fallback")), &any, &both), ["demo-1.0-py3-none-any.whl"]);
    assert_eq!(chosen(&with(json!("fallback")), &any, &source), ["demo-1.0.tar.gz"]);
    assert_eq!(chosen(&with(json!(true)), &any, &both).len(), 2);
    assert!(chosen(&with(json!(false)), &any, &source).is_empty());
    // Without targets every wheel is taken.
    assert_eq!(chosen(&json!({}), &any, &source), ["demo-1.0-cp39-cp39-win_amd64.whl"]);
}

#[test]
fn what_a_person_turned_down_is_passed_over() {
    let mut candidates =
        candidates("demo", &plain(&["demo-1.0-py3-none-any.whl", "demo-2.0-py3-none-any.whl"]));
    candidates[1].status = Status::Rejected;
    assert_eq!(
        chosen(&json!({}), &requirement("demo", "", Some("x 1")), &candidates),
        ["demo-1.0-py3-none-any.whl"]
    );
}

#[test]
fn the_selection_becomes_requirements() {
    let options = json!({
        "packages": [
            "six==1.17.0",
            "Requests[socks, Use_Chardet] >=2.31,<3",
            "torch",
            { "name": "numpy", "versions": "all" },
            "pywin32; sys_platform == 'win32'",
        ],
        "targets": [{ "python": "3.11", "platform": "manylinux_2_28_x86_64" }],
    });
    let found = roots(&repository(&options), &[]).unwrap();
    let shown: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["six==1.17.0", "requests[socks,use-chardet]>=2.31,<3", "torch", "numpy*"]);
    assert!(found.iter().all(|root| root.wanted_by.is_none()));

    let found = roots(&repository(&options), &["flask>=3".into()]).unwrap();
    assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), ["flask>=3"]);
}

#[test]
fn keys_that_make_no_sense_are_refused_by_name() {
    let table = [
        (json!({ "package": ["six"] }), "`package`"),
        (json!({ "packages": ["six =="] }), "`packages`"),
        (json!({ "packages": ["six @ https://example.com/six-1.0-py3-none-any.whl"] }), "`packages`"),
        (json!({ "packages": [{ "name": "six", "version": "all" }] }), "`packages`"),
        (json!({ "targets": [{ "python": "two" }] }), "`targets`"),
        (json!({ "sdists": "sometimes" }), "`sdists`"),
        (json!({ "newest": 0 }), "`newest`"),
        (json!({ "newest": -1 }), "`newest`"),
        (json!({ "prereleases": "yes" }), "`prereleases`"),
    ];
    for (options, key) in table {
        let error = Options::of(&repository(&options)).unwrap_err();
        assert!(matches!(error, Error::Invalid { .. }), "{options}: {error:?}");
        assert!(error.to_string().contains(key), "{options}: {error}");
    }
}

/// What `Requires-Dist` lines ask for, as text.
fn needs(options: &Value, extras: &[&str], lines: &[&str]) -> Result<Vec<String>, Error> {
    let wanted = Requirement {
        extras: extras.iter().map(|extra| (*extra).to_owned()).collect(),
        ..requirement("demo", "", None)
    };
    let inspection = Inspection {
        requirements: lines.iter().map(|line| (*line).to_owned()).collect(),
        ..Inspection::default()
    };
    let found = PypiDependencies.requirements(&repository(options), &wanted, "demo 1.0", &inspection)?;
    assert!(found.iter().all(|one| one.wanted_by.as_deref() == Some("demo 1.0")));
    Ok(found.iter().map(ToString::to_string).collect())
}

#[test]
fn extras_add_extras() {
    let lines = [
        "base",
        "demo[fast,Nice_Names]; extra == 'all'",
        "speedups>=1; extra == 'fast'",
        "names; extra == 'nice-names'",
        "unused; extra == 'other'",
        "both; extra == 'fast' and python_version >= '3.8'",
    ];
    let none: [&str; 0] = [];
    let take = |extras: &[&str]| needs(&json!({}), extras, &lines).unwrap().len();
    assert_eq!(take(&none), 1);
    assert_eq!(take(&["fast"]), 3);
    assert_eq!(take(&["ALL"]), 4);
    assert_eq!(take(&["unknown"]), 1);
}

#[test]
fn lines_are_repaired_or_refused() {
    let lines = [
        "a>=2.*",
        "b (>=1.0,)",
        "c>=1<2",
        "d!=~5.0",
        "e>dev",
        "f >='1.0'",
        "g[x] @ file:///g ; extra == 'g'",
    ];
    let found = needs(&json!({}), &[], &lines).unwrap();
    assert_eq!(found, ["a>=2.*", "b(>=1.0,)", "c>=1<2", "d!=~5.0", "e>dev", "f>='1.0'"]);
    let url = needs(&json!({}), &["g"], &lines).unwrap_err();
    assert!(matches!(&url, Error::Denied { .. }), "{url:?}");
    let secret = needs(&json!({}), &[], &["g @ https://user:secret@example.com/g.whl"]).unwrap_err();
    assert!(!secret.to_string().contains("secret"), "{secret}");
    for line in ["", "-x", "a==", "a>=1;", "a;python_version", "a[x", "a;('x'=='y'", "a==1.0 garbage here"] {
        let error = needs(&json!({}), &[], &[line]).unwrap_err();
        assert!(matches!(error, Error::Malformed { rule: "requirement", .. }), "{line:?}: {error:?}");
    }
}

#[test]
fn markers_that_nobody_else_reads() {
    let on = json!({ "targets": [{ "python": "3.11", "platform": "manylinux_2_28_x86_64" }] });
    let lines = [
        "a; 'gpu' in extras",
        "b; 'x86_64' in variant_namespaces",
        "c; platform_release >= '6.1'",
        "d; python_full_version >= '3.11.4' and python_full_version < '3.11.9'",
        "e; python_implementation == 'PyPy'",
        "f; os.name == 'nt'",
        "g; '3.12' > python_version",
        "h; python_version in '2.7, 3.11'",
        "i; implementation_name ~= 'cpython'",
    ];
    assert_eq!(
        needs(&on, &[], &lines).unwrap().iter().map(|one| &one[..1]).collect::<Vec<_>>(),
        ["c", "d", "g", "h", "i"]
    );
    assert_eq!(needs(&on, &["gpu"], &lines[..1]).unwrap().len(), 1);
}

#[test]
fn attestations_come_with_their_file() {
    let mut known = candidates("demo", &plain(&["demo-1.0-py3-none-any.whl", "demo-1.0.tar.gz"]));
    let mut companion = known[0].files[0].clone();
    companion.path = "demo/demo-1.0-py3-none-any.whl.provenance".parse().unwrap();
    let mut other = companion.clone();
    other.path = "demo/demo-1.0.tar.gz.provenance".parse().unwrap();
    known[0].files.extend([companion, other]);
    let files = chosen(&json!({ "sdists": false }), &requirement("demo", "", None), &known);
    assert_eq!(files, ["demo-1.0-py3-none-any.whl", "demo-1.0-py3-none-any.whl.provenance"]);
}
