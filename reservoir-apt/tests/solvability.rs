//! Verdicts and choices against those of Debian's own tools.
#![expect(clippy::unwrap_used, reason = "tests")]

#[path = "support/dose.rs"]
mod dose;
#[path = "support/planted.rs"]
mod planted;

use std::{collections::BTreeSet, io::Read};

use reservoir_apt::{
    control::{Piece, Stanza, Stanzas},
    depends::Archive,
};
use reservoir_core::depends::{PackageId, Solver, Universe as _};

/// An archive of everything in an index.
fn archive(index: impl Read, native: &str, foreign: &[&str]) -> Archive {
    let mut archive = Archive::new(native, foreign, false);
    let mut stanzas = Stanzas::new(index);
    while let Some(piece) = stanzas.next_piece().unwrap() {
        let Piece::Stanza(bytes) = piece else { panic!("a stanza over the limit") };
        archive.add(&Stanza::parse(bytes).unwrap(), true).unwrap();
    }
    archive.finish()
}

/// `NAME VERSION (ARCHITECTURE)` of what cannot be installed, and why.
fn broken(archive: &Archive) -> Vec<(String, String)> {
    let mut solver = Solver::new(archive).unwrap();
    let verdicts = solver.check(&mut || Ok(())).unwrap();
    let why = |package: &PackageId| {
        let why = solver.explain(*package).unwrap();
        assert!(!why.0.is_empty(), "{}", archive.label(*package));
        (archive.label(*package), why.to_string())
    };
    verdicts.broken.iter().map(why).collect()
}

fn labels(broken: &[(String, String)]) -> BTreeSet<String> {
    broken.iter().map(|(label, _)| label.clone()).collect()
}

#[test]
fn every_verdict_on_a_whole_archive_is_that_of_dose_debcheck() {
    let index = dose::configured_index();
    let archive = archive(std::fs::File::open(index.path()).unwrap(), "amd64", &[]);
    assert!(archive.len() > 50_000, "only {} packages", archive.len());
    let broken = broken(&archive);
    assert_eq!(labels(&broken), dose::broken(index.path(), "amd64", &[]));
}

/// Fifty breakages that are none to who compares names: what is broken is found, what is not broken is not, and
/// `dose-debcheck` agrees.
#[test]
fn planted_breakages_are_found_where_names_alone_find_none() {
    let (index, planted) = planted::index();
    assert!(planted.len() >= 50, "{}", planted.len());
    let mut file = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut file, index.as_bytes()).unwrap();

    let archive = archive(index.as_bytes(), "amd64", &["i386"]);
    let found = labels(&broken(&archive));
    assert_eq!(found, dose::broken(file.path(), "amd64", &["i386"]));
    for (about, label) in &planted {
        assert!(found.contains(label), "{about}: {label} was not found");
    }
    assert!(!found.iter().any(|label| label.contains("-fine ")), "{found:?}");
    let planted: BTreeSet<String> = planted.into_iter().map(|(_, label)| label).collect();
    assert_eq!(planted::broken_by_name(&index, &planted), BTreeSet::new());
}

/// `name:any` means packages that are `Multi-Arch: allowed` and no others. `dose-debcheck` takes any package of the
/// name; apt 2.6 and dpkg do not, and they are what installs.
#[test]
fn where_dose_debcheck_is_laxer_than_apt_apt_is_followed() {
    let index = "Package: wants-plain\nVersion: 1\nArchitecture: amd64\nDepends: plain:any\n\n\
                 Package: wants-foreign\nVersion: 1\nArchitecture: amd64\nDepends: foreign:any\n\n\
                 Package: wants-allowed\nVersion: 1\nArchitecture: amd64\nDepends: allowed:any\n\n\
                 Package: plain\nVersion: 1\nArchitecture: amd64\n\n\
                 Package: foreign\nVersion: 1\nArchitecture: amd64\nMulti-Arch: foreign\n\n\
                 Package: allowed\nVersion: 1\nArchitecture: amd64\nMulti-Arch: allowed\n";
    let mut file = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut file, index.as_bytes()).unwrap();
    let found = labels(&broken(&archive(index.as_bytes(), "amd64", &[])));
    assert_eq!(found, BTreeSet::from(["wants-foreign 1 (amd64)".into(), "wants-plain 1 (amd64)".into()]));
    assert_eq!(dose::broken(file.path(), "amd64", &[]), BTreeSet::new());
}
