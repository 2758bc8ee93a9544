//! Versions, specifiers and markers, compared with the library that pip decides with.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod common;

use proptest::prelude::*;
use reservoir_pypi::{requirement::PyRequirement, target::Target, version::Version};
use serde_json::{Value, json};

const VERSIONS: [&str; 30] = [
    "0",
    "0.0.0.dev0",
    "0.9",
    "1.0.dev1",
    "1.0a1.dev2",
    "1.0a1",
    "1.0b2",
    "1.0rc1",
    "1.0",
    "1.0.0",
    "1.0+abc.5",
    "1.0+abc.10",
    "1.0+5",
    "1.0.post1.dev1",
    "1.0.post1",
    "1.0.1",
    "1.1.dev1",
    "1.1",
    "1.10",
    "1.9",
    "2.0rc1",
    "2.0",
    "2.3.1+cu121",
    "2.3.1",
    "10.0",
    "2024.1.1",
    "1!0.1",
    "1!1.0rc1",
    "1!1.0",
    "v1.2-RC.3",
];

#[test]
fn versions_are_ordered_and_written_as_pip_does() {
    let strange = [
        "1.0-1",
        "1.0-r2",
        "1.0.PREVIEW-3",
        "1.0c",
        "1_0",
        "",
        "x",
        "1.0+",
        "1.0..1",
        "1 .0",
        "2004d",
        "٣.1",
    ];
    let all: Vec<&str> = VERSIONS.iter().chain(&strange).copied().collect();
    let answers = common::packaging(&json!({ "normal": all, "sorted": [VERSIONS] }));
    for (text, theirs) in all.iter().zip(answers["normal"].as_array().unwrap()) {
        let ours = text.parse::<Version>().ok().map(|version| version.normal());
        assert_eq!(json!(ours), *theirs, "{text:?}");
    }
    let mut ours: Vec<Version> = VERSIONS.iter().map(|text| text.parse().unwrap()).collect();
    ours.sort();
    let ours: Vec<&str> = ours.iter().map(Version::as_str).collect();
    assert_eq!(json!(ours), answers["sorted"][0]);
}

#[test]
fn specifiers_match_what_pip_matches() {
    let specifiers = [
        "",
        "==1.0",
        "==1.0.0",
        "==1.*",
        "==1.0.*",
        "!=1.0",
        "!=1.*",
        ">=1.0",
        ">1.0",
        "<1.1",
        "<=1.0",
        "~=1.0",
        "~=1.0.0",
        "~=1.0rc1",
        "===1.0",
        "==1.0+abc.5",
        "==2.3.1",
        ">1.0.post1",
        "<1.0.post1",
        "<2.0",
        "<2.0rc1",
        ">=1.0,<2",
        ">=1.0, !=1.1, <2",
        ">=1!0",
        "==1!1.*",
        "<1!0.1",
        ">1.1.dev0",
        ">=1.0.dev0",
    ];
    let pairs: Vec<(&str, &str)> = specifiers
        .iter()
        .flat_map(|specifier| VERSIONS.iter().map(move |version| (*specifier, *version)))
        .collect();
    let answers = common::packaging(&json!({ "contains": pairs }));
    let mut differ = Vec::new();
    for ((specifier, version), theirs) in pairs.iter().zip(answers["contains"].as_array().unwrap()) {
        // What pip cannot read is repaired here; the repairs have their own test.
        let Value::Bool(theirs) = theirs else { continue };
        let ours = PyRequirement::parse(&format!("x{specifier}")).unwrap();
        let ours = ours.constraint.contains(&version.parse().unwrap());
        if ours != *theirs {
            differ.push(format!("{version} in {specifier:?}: {ours}"));
        }
    }
    assert!(differ.is_empty(), "{differ:#?}");
}

#[test]
fn markers_hold_where_pip_says_so() {
    let linux = json!({
        "implementation_name": "cpython", "implementation_version": "3.11.999", "os_name": "posix",
        "platform_machine": "x86_64", "platform_python_implementation": "CPython", "platform_release": "6",
        "platform_system": "Linux", "platform_version": "1", "python_full_version": "3.11.999",
        "python_version": "3.11", "sys_platform": "linux",
    });
    let windows = json!({
        "implementation_name": "cpython", "implementation_version": "3.9.999", "os_name": "nt",
        "platform_machine": "AMD64", "platform_python_implementation": "CPython", "platform_release": "10",
        "platform_system": "Windows", "platform_version": "10", "python_full_version": "3.9.999",
        "python_version": "3.9", "sys_platform": "win32",
    });
    let targets: [(Target, Value); 2] = [
        (
            serde_json::from_value(json!({ "python": "3.11", "platform": "manylinux_2_28_x86_64" })).unwrap(),
            linux,
        ),
        (serde_json::from_value(json!({ "python": "3.9", "platform": "win_amd64" })).unwrap(), windows),
    ];
    let markers = [
        "python_version >= '3.8'",
        "python_version < '3.10'",
        "python_version == '3.11'",
        "python_version != '3.11'",
        "python_version ~= '3.9'",
        "python_version == '3.*'",
        "'3.10' <= python_version",
        "python_version in '3.9 3.10'",
        "python_version not in '3.9, 3.10'",
        "sys_platform == 'linux' or os_name == \"nt\"",
        "sys_platform == 'linux' and os_name == 'nt'",
        "os_name == 'nt' and python_version < '3.10' or platform_machine == 'x86_64'",
        "os_name == 'nt' and (python_version < '3.9' or platform_machine == 'x86_64')",
        "'linux' in sys_platform",
        "'win' not in sys_platform",
        "sys_platform != 'darwin'",
        "platform_system == 'Windows'",
        "platform_python_implementation == 'CPython' and implementation_name != 'pypy'",
        "platform_machine in 'x86_64 aarch64'",
        "extra == 'socks'",
        "extra == 'socks' or python_version > '3'",
    ];
    for (target, environment) in &targets {
        let pairs: Vec<(&str, &Value)> = markers.iter().map(|marker| (*marker, environment)).collect();
        let answers = common::packaging(&json!({ "markers": pairs }));
        for (marker, theirs) in markers.iter().zip(answers["markers"].as_array().unwrap()) {
            let ours = PyRequirement::parse(&format!("x; {marker}")).unwrap();
            let ours = ours.may_apply(std::slice::from_ref(target), &[]);
            assert_eq!(json!(ours), *theirs, "{marker} on {target:?}");
        }
    }
}

#[test]
fn nesting_and_length_are_bounded() {
    let deep = format!("x; {}python_version > '3'{}", "(".repeat(100_000), ")".repeat(100_000));
    let long = format!("x>={}", "1.".repeat(20_000));
    let wide = format!("x; {}extra == 'a'", "extra == 'a' or ".repeat(1_000));
    for text in [&deep, &long, &wide] {
        assert!(PyRequirement::parse(text).is_err());
    }
    let shallow = format!("x; {}python_version > '3'{}", "(".repeat(500), ")".repeat(500));
    assert!(PyRequirement::parse(&shallow).is_err());
}

proptest! {
    #[test]
    fn requirements_never_panic(
        text in "\\PC{0,80}|[a-z]{1,3}(\\[[a-z,]{0,5}\\])? ?[<>=!~ 0-9.*,'+a-c]{0,20}(;[ a-z_'\"<>=()0-9.]{0,60})?"
    ) {
        if let Ok(requirement) = PyRequirement::parse(&text) {
            let _ = requirement.may_apply(&[], &[]);
            let _ = requirement.constraint.contains(&"1.0".parse().unwrap());
            prop_assert!(text.contains(requirement.tail.as_str()));
        }
    }

    #[test]
    fn markers_never_panic(
        words in proptest::collection::vec(
            prop_oneof![
                Just("python_version"), Just("extra"), Just("and"), Just("or"), Just("not"), Just("in"), Just("("),
                Just(")"), Just("'3'"), Just("'"), Just(">="), Just("=="), Just("platform_release"), Just("é"),
            ],
            0..30,
        )
    ) {
        if let Ok(requirement) = PyRequirement::parse(&format!("x; {}", words.join(" "))) {
            let target: Target = serde_json::from_value(json!({ "python": "3.11" })).unwrap();
            let _ = requirement.may_apply(&[target], &["3".into()]);
        }
    }
}
