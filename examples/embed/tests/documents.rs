//! The documents say what is there: the README's program, the files and the tests that they link to.

use std::{fs, path::Path};

#[test]
fn the_readme_shows_this_program() {
    let readme = include_str!("../../../README.md");
    let (_, after) = readme.split_once("```rust\n").expect("the README has a Rust block");
    let (shown, _) = after.split_once("```\n").expect("the block ends");
    let program = include_str!("../src/main.rs");
    let (_, program) = program.split_once("#[tokio::main]").expect("the program has a main");
    assert_eq!(shown, format!("#[tokio::main]{program}"), "copy the program's `main` into README.md");
}

#[test]
fn links_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut tests = 0;
    let documents = ["README.md", "ARCHITECTURE.md", "docs/operations.md", "docs/adding-an-ecosystem.md"];
    let more = ["docs/decisions.md", "docs/python-cases.md", "docs/hub-cases.md", "docs/apt-cases.md"];
    for document in documents.into_iter().chain(more).chain(["benches/RESULTS.md"]) {
        let document = root.join(document);
        let text = fs::read_to_string(&document).unwrap();
        for (before, after) in text.match_indices("](").map(|(at, _)| text.split_at(at)) {
            let label = before.rsplit('[').next().unwrap().trim_matches('`');
            let target = after[2..].split([')', '#']).next().unwrap();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            let path = document.parent().unwrap().join(target);
            let place = format!("{}: [{label}]({target})", document.display());
            assert!(path.exists(), "{place} leads nowhere");
            // `[`some_name`](file.rs)` is a promise that the file has that function.
            let is_function = label.contains('_')
                && label.bytes().all(|b| b.is_ascii_lowercase() || b == b'_' || b.is_ascii_digit());
            if is_function {
                tests += 1;
                let code = fs::read_to_string(&path).unwrap();
                assert!(code.contains(&format!("fn {label}(")), "{place}: there is no such function");
            }
        }
    }
    assert!(tests > 30, "ARCHITECTURE.md names the tests of its promises; found {tests}");
}
