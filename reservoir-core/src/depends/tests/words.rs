//! What people read.

use super::toy::Toy;
use crate::depends::{PackageId, Solution, Solver};

fn why(toy: &Toy, package: u32) -> String {
    let mut solver = Solver::new(toy).unwrap();
    let verdicts = solver.check(&mut || Ok(())).unwrap();
    assert!(verdicts.broken.contains(&PackageId(package)), "{verdicts:?}");
    solver.explain(PackageId(package)).unwrap().to_string()
}

#[test]
fn a_missing_package_is_followed_to_where_it_lacks() {
    let toy = Toy::of(3).need(0, &[1]).need(1, &[2]).need(2, &[]);
    assert_eq!(
        why(&toy, 0),
        "`p0` needs `[1]`: `p1`; `p1` needs `[2]`: `p2`; `p2` needs `[]`, which nothing satisfies"
    );
}

#[test]
fn all_alternatives_are_told() {
    let toy = Toy::of(3).need(0, &[1, 2]).need(1, &[]).need(2, &[]);
    assert_eq!(
        why(&toy, 0),
        "`p0` needs `[1, 2]`: `p1` or `p2`; `p1` needs `[]`, which nothing satisfies; \
         `p2` needs `[]`, which nothing satisfies"
    );
}

#[test]
fn a_conflict_is_told_without_what_does_not_matter() {
    // p0 needs p1 and p2; p1 needs p3, which p2 excludes. p4 has nothing to do with it.
    let toy = Toy::of(5).need(0, &[4]).need(0, &[1]).need(0, &[2]).need(1, &[3, 3]).exclude(2, 3);
    assert_eq!(
        why(&toy, 0),
        "`p0` needs `[1]`: `p1`; `p0` needs `[2]`: `p2`; `p1` needs `[3, 3]`: `p3`; \
         `p2` excludes `p3` (`no p3`)"
    );
}

#[test]
fn what_needs_the_impossible_says_why_that_is_impossible() {
    let toy = Toy::of(4).need(0, &[1]).need(0, &[2]).exclude(1, 2).need(3, &[0]);
    assert_eq!(
        why(&toy, 3),
        "`p3` needs `[0]`: `p0`; `p0` needs `[1]`: `p1`; `p0` needs `[2]`: `p2`; `p1` excludes `p2` (`no p2`)"
    );
}

#[test]
fn what_excludes_the_essential_cannot_be_installed() {
    let mut toy = Toy::of(2).exclude(1, 0);
    toy.always = vec![vec![0]];
    assert_eq!(why(&toy, 1), "every installation needs `[0]`: `p0`; `p1` excludes `p0` (`no p0`)");
}

#[test]
fn without_the_essential_there_is_no_installation() {
    let mut toy = Toy::of(1);
    toy.always = vec![vec![]];
    assert_eq!(why(&toy, 0), "every installation needs `[]`, which nothing satisfies");
}

#[test]
fn first_alternatives_are_taken_where_they_fit() {
    // p0 needs p1 or p2, and p3; p3 excludes p1.
    let fits = Toy::of(4).need(0, &[1, 2]).need(0, &[3]);
    let clashes = fits.clone().exclude(3, 1);
    let solve = |toy: &Toy| match Solver::new(toy).unwrap().solve(&[vec![PackageId(0)]]).unwrap() {
        Solution::Install(packages) => packages.iter().map(|package| package.0).collect::<Vec<_>>(),
        Solution::Impossible(explanation) => panic!("{explanation}"),
    };
    assert_eq!(solve(&fits), [0, 1, 3]);
    assert_eq!(solve(&clashes), [0, 2, 3]);
}

#[test]
fn what_is_there_already_is_preferred() {
    let toy = Toy::of(4).need(0, &[1, 2]).need(0, &[3]).need(3, &[2]);
    let solved = Solver::new(&toy).unwrap().solve(&[vec![PackageId(0)]]).unwrap();
    assert_eq!(solved, Solution::Install([0, 2, 3].map(PackageId).to_vec()));
}

#[test]
fn what_cannot_be_together_is_covered_one_after_the_other() {
    // p0 and p1 exclude each other; p2 needs p1 or p3, and p3 is not wanted by anybody.
    let toy = Toy::of(5).exclude(0, 1).need(2, &[1, 3]).need(4, &[]);
    let cover = Solver::new(&toy).unwrap().cover(&[0, 1, 2, 4].map(PackageId), &mut || Ok(())).unwrap();
    assert_eq!(cover.impossible, [PackageId(4)]);
    assert!([0, 1, 2].iter().all(|package| cover.packages.contains(&PackageId(*package))), "{cover:?}");
}
