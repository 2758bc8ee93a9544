//! File names and tags, compared with the library that pip decides with.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod common;

use std::collections::BTreeSet;

use proptest::prelude::*;
use reservoir_core::Error;
use reservoir_pypi::{
    filename::{DistFilename, SdistFilename, WheelFilename},
    name::ProjectName,
    tags::Tags,
    target::Target,
};
use serde_json::{Value, json};

fn rule(outcome: &Result<impl Sized, Error>) -> &'static str {
    match outcome {
        Err(Error::Malformed { rule, .. }) => rule,
        Err(_) => "another error",
        Ok(_) => "accepted",
    }
}

fn project(name: &str) -> ProjectName {
    name.parse().unwrap()
}

#[test]
fn wheels_are_read_as_pip_reads_them() {
    let names = [
        "six-1.17.0-py2.py3-none-any.whl",
        "zope.interface-5.0-cp39-cp39-manylinux2010_x86_64.whl",
        "zope_interface-5.0.1-cp39-cp39-manylinux_2_5_x86_64.manylinux1_x86_64.whl",
        "torch-2.3.1+cu121-cp311-cp311-linux_x86_64.whl",
        "demo-1.0-1-py3-none-any.whl",
        "demo-1.0-12build_x-py3-none-any.whl",
        "demo-1.0-x1-py3-none-any.whl",
        "demo-1!2.0-py3-none-any.whl",
        "demo-1.0rc1.dev3-cp313-cp313t-musllinux_1_2_aarch64.whl",
        "Demo-1.0-cp38-abi3-macosx_10_9_universal2.whl",
        "demo-2004d_x-py3-none-any.whl",
        "demo-py3-none-any.whl",
        "demo__x-1.0-py3-none-any.whl",
        "demo-1.0-py3-none-any.zip",
        "a-b-c-1.0-py3-none-any.whl",
    ];
    let answers = common::packaging(&json!({ "wheels": names }));
    for (name, theirs) in names.iter().zip(answers["wheels"].as_array().unwrap()) {
        let ours = WheelFilename::parse(name).ok().filter(|wheel| wheel.variant.is_none()).map(|wheel| {
            let mut tags = BTreeSet::new();
            for python in &wheel.python {
                for abi in &wheel.abi {
                    tags.extend(wheel.platform.iter().map(|platform| format!("{python}-{abi}-{platform}")));
                }
            }
            let build = wheel.build.map_or(json!([]), |build| json!([build.0, build.1]));
            json!([wheel.name.as_str(), wheel.version.normal(), build, tags])
        });
        assert_eq!(ours.unwrap_or_default(), *theirs, "{name}");
    }
}

#[test]
fn variant_wheels_are_known_and_fit_nothing() {
    let target: Target = target("3.13", "manylinux_2_28_x86_64");
    let tags = Tags::of(&target);
    for name in ["demo-1.0-cp313-cp313-linux_x86_64-x8664v3.whl", "demo-1.0-2-py3-none-any-null.whl"] {
        let wheel = WheelFilename::parse(name).unwrap();
        assert!(wheel.variant.is_some(), "{name}");
        assert_eq!(tags.rank(&wheel), None, "{name}");
    }
}

#[test]
fn sdists_of_every_age() {
    let table = [
        ("zope_interface-5.0.tar.gz", "zope-interface", "5.0"),
        ("zope.interface-5.0.zip", "zope-interface", "5.0"),
        ("python-dateutil-2.8.2.tar.gz", "python-dateutil", "2.8.2"),
        ("python_dateutil-2.8.2.tar.bz2", "python-dateutil", "2.8.2"),
        ("foo-2-bar-1.0.tgz", "foo-2-bar", "1.0"),
        ("foo-1.0-1.tar.gz", "foo", "1.0.post1"),
        ("foo-1.0-rc1.tar.xz", "foo", "1.0rc1"),
        ("Foo-1.0+local.1.TAR.GZ", "foo", "1.0+local.1"),
    ];
    for (text, name, version) in table {
        let name = project(name);
        let sdist = SdistFilename::parse(text, Some(&name)).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!((&sdist.name, sdist.version.normal().as_str()), (&name, version), "{text}");
        assert_eq!(DistFilename::Sdist(sdist).path().as_str(), format!("{name}/{text}"));
    }
    // Without a project the last dash decides, as PEP 625 has it.
    let sdist = SdistFilename::parse("python-dateutil-2.8.2.tar.gz", None).unwrap();
    assert_eq!(sdist.name, project("python-dateutil"));
}

#[test]
fn what_is_not_taken_says_why() {
    let long = format!("x-{}-py3-none-any.whl", "1".repeat(5000));
    let table = [
        ("", "filename-hostile"),
        ("../../x-1-py3-none-any.whl", "filename-hostile"),
        ("C:\\x-1-py3-none-any.whl", "filename-hostile"),
        ("x-1-py3-none-any\0.whl", "filename-hostile"),
        ("x-1-py3-none-any.whl\n", "filename-hostile"),
        ("x-1-py3-none-\u{202e}any.whl", "filename-hostile"),
        ("..", "filename-hostile"),
        (".x-1.tar.gz", "filename-hostile"),
        ("x%2f-1.tar.gz", "filename-hostile"),
        (&long, "filename-hostile"),
        ("x-1.0-py3.11.egg", "filename-kind"),
        ("x-1.0.win32.exe", "filename-kind"),
        ("x-1.0.msi", "filename-kind"),
        ("x-1.0-1.noarch.rpm", "filename-kind"),
        ("x-1.0.dmg", "filename-kind"),
        ("x-1.0.tar.gz.asc", "filename-kind"),
        ("index.html", "filename-kind"),
        (".tar.gz", "filename-hostile"),
        ("y-1.0.tar.gz", "filename-project"),
        ("y-1.0-py3-none-any.whl", "filename-project"),
        ("xy-1.0.tar.gz", "filename-project"),
        ("x-latest.tar.gz", "sdist-filename"),
        ("x-1-99999999999999999999999-py3-none-any.whl", "wheel-filename"),
        ("x-1-py3-none-.whl", "wheel-filename"),
        ("x-1-py3..py2-none-any.whl", "wheel-filename"),
    ];
    for (text, expected) in table {
        assert_eq!(rule(&DistFilename::parse(text, &project("x"))), expected, "{text:?}");
    }
}

fn target(python: &str, platform: &str) -> Target {
    serde_json::from_value(json!({ "python": python, "platform": platform })).unwrap()
}

#[test]
fn tags_are_those_of_packaging_in_its_order() {
    let linux = |minor: u32, arch: &str| json!({ "kind": "manylinux", "minor": minor, "arch": arch });
    let musl = |minor: u32, arch: &str| json!({ "kind": "musllinux", "minor": minor, "arch": arch });
    let mac = |major: u32, minor: u32, arch: &str| json!({ "kind": "macosx", "major": major, "minor": minor, "arch": arch });
    let table: [(&str, &str, Value); 11] = [
        ("3.11", "manylinux_2_28_x86_64", linux(28, "x86_64")),
        ("3.10", "manylinux_2_35_aarch64", linux(35, "aarch64")),
        ("3.13t", "manylinux_2_39_x86_64", linux(39, "x86_64")),
        ("3.9", "manylinux2014_x86_64", linux(17, "x86_64")),
        ("3.12", "musllinux_1_2_x86_64", musl(2, "x86_64")),
        ("3.14t", "musllinux_1_1_aarch64", musl(1, "aarch64")),
        ("3.12", "macosx_14_0_arm64", mac(14, 0, "arm64")),
        ("3.11", "macosx_12_3_x86_64", mac(12, 3, "x86_64")),
        ("3.8", "macosx_10_15_x86_64", mac(10, 15, "x86_64")),
        ("3.12", "win_amd64", json!({ "kind": "win", "tag": "win_amd64" })),
        ("3.14", "linux_x86_64", json!({ "kind": "linux", "tag": "linux_x86_64" })),
    ];
    let questions: Vec<Value> = table
        .iter()
        .map(|(python, _, platform)| {
            let mut question = platform.clone();
            let minor: u32 = python["3.".len()..].trim_end_matches('t').parse().unwrap();
            question["python"] = minor.into();
            question["threaded"] = python.ends_with('t').into();
            question
        })
        .collect();
    let answers = common::packaging(&json!({ "tags": questions }));
    for ((python, platform, _), theirs) in table.iter().zip(answers["tags"].as_array().unwrap()) {
        let tags = Tags::of(&target(python, platform));
        let ours: Vec<String> = tags.iter().collect();
        let theirs: Vec<&str> = theirs.as_array().unwrap().iter().map(|tag| tag.as_str().unwrap()).collect();
        assert_eq!(ours, theirs, "{python} on {platform}");
        // The rank of a wheel with one tag follows the list.
        let ranks: Vec<usize> = ours
            .iter()
            .map(|tag| tags.rank(&WheelFilename::parse(&format!("x-1-{tag}.whl")).unwrap()).unwrap())
            .collect();
        assert!(ranks.is_sorted(), "{python} on {platform}");
    }
}

#[test]
fn targets_that_make_no_sense_are_refused() {
    for python in ["3", "2.7", "3.11.4", "3.12t", "cp311", "", "3.-1", "3.100", "3.1e1", "+3.11"] {
        let value = json!({ "python": python });
        assert!(serde_json::from_value::<Target>(value).is_err(), "{python:?}");
    }
    for platform in
        ["linux", "manylinux_2_x86_64", "manylinux_2_99999_x86_64", "win64", "macosx_11_0_ppc", ""]
    {
        let value = json!({ "python": "3.11", "platform": platform });
        assert!(serde_json::from_value::<Target>(value).is_err(), "{platform:?}");
    }
    assert!(serde_json::from_value::<Target>(json!({ "python": "3.11", "os": "linux" })).is_err());
}

proptest! {
    #[test]
    fn names_never_panic_and_always_make_a_path(
        text in "\\PC{0,60}|[xX]-[0-9a-z.+!_-]{1,40}(\\.whl|\\.tar\\.gz|\\.zip)"
    ) {
        if let Ok(name) = DistFilename::parse(&text, &project("x")) {
            let path = name.path();
            prop_assert_eq!(path.file_name(), text.as_str());
            prop_assert!(!name.version().to_revision().as_str().is_empty());
        }
        let _ = SdistFilename::parse(&text, None);
    }
}
