//! Small random universes, where trying all installations says what is right.

use proptest::prelude::*;

use super::toy::Toy;
use crate::depends::{PackageId, Solution, Solver};

const PACKAGES: usize = 9;

fn some(of: usize) -> impl Strategy<Value = Vec<u32>> {
    prop::collection::vec(0..of as u32, 0..=3)
}

fn universe() -> impl Strategy<Value = Toy> {
    let slots = prop::collection::vec(0..PACKAGES as u32 + 2, PACKAGES);
    let needs = prop::collection::vec(prop::collection::vec(some(PACKAGES), 0..=3), PACKAGES);
    let excludes = prop::collection::vec(some(PACKAGES), PACKAGES);
    let always = prop::collection::vec(some(PACKAGES), 0..=1);
    (slots, needs, excludes, always).prop_map(|(slots, needs, excludes, always)| Toy {
        slots,
        needs,
        excludes,
        always,
    })
}

/// All consistent installations.
fn installations(toy: &Toy) -> Vec<u32> {
    (0..1 << PACKAGES).filter(|set| toy.holds(*set)).collect()
}

/// One of each of what a preference walk decides, by trying all: the goals, then nothing further.
fn first_goals(all: &[u32], goals: &[Vec<PackageId>]) -> Option<u32> {
    let mut taken = 0;
    if !all.iter().any(|set| goals.iter().all(|goal| goal.iter().any(|p| set & (1 << p.0) != 0))) {
        return None;
    }
    for (index, goal) in goals.iter().enumerate() {
        if goal.iter().any(|package| taken & (1 << package.0) != 0) {
            continue;
        }
        let rest = |set: &u32| goals[index..].iter().all(|goal| goal.iter().any(|p| set & (1 << p.0) != 0));
        let fits = |package: &&PackageId| {
            let wanted = taken | (1 << package.0);
            all.iter().any(|set| set & wanted == wanted && rest(set))
        };
        taken |= 1 << goal.iter().find(fits)?.0;
    }
    Some(taken)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn verdicts_are_those_of_an_exhaustive_search(toy in universe()) {
        let all = installations(&toy);
        let expected: Vec<PackageId> = (0..PACKAGES as u32)
            .filter(|package| !all.iter().any(|set| set & (1 << package) != 0))
            .map(PackageId)
            .collect();
        let mut solver = Solver::new(&toy).unwrap();
        let verdicts = solver.check(&mut || Ok(())).unwrap();
        prop_assert_eq!(&verdicts.broken, &expected);
        for package in (0..PACKAGES as u32).map(PackageId) {
            let explanation = solver.explain(package).unwrap();
            prop_assert_eq!(explanation.0.is_empty(), !expected.contains(&package), "{}", explanation);
        }
    }

    #[test]
    fn a_cover_lets_each_goal_be_installed_from_it_alone(toy in universe(), goals in some(PACKAGES)) {
        let all = installations(&toy);
        let goals: Vec<PackageId> = goals.into_iter().map(PackageId).collect();
        let cover = Solver::new(&toy).unwrap().cover(&goals, &mut || Ok(())).unwrap();
        let set = cover.packages.iter().fold(0, |set, package| set | (1 << package.0));
        let alone = Toy { always: Vec::new(), ..toy.clone() };
        for goal in goals {
            let possible = all.iter().any(|one| one & (1 << goal.0) != 0);
            prop_assert_eq!(cover.impossible.contains(&goal), !possible);
            // Some installation of packages of the cover, which what is always needed completes.
            let from_it = |part: u32| {
                part & set == part && part & (1 << goal.0) != 0 && alone.holds(part)
                    && all.iter().any(|one| one & part == part)
            };
            prop_assert_eq!((0..1 << PACKAGES).any(from_it), possible);
        }
    }

    #[test]
    fn solutions_are_installations_and_exist_when_there_is_one(
        toy in universe(),
        goals in prop::collection::vec(some(PACKAGES), 1..=3),
    ) {
        let goals: Vec<Vec<PackageId>> =
            goals.into_iter().map(|goal| goal.into_iter().map(PackageId).collect()).collect();
        let expected = first_goals(&installations(&toy), &goals);
        match Solver::new(&toy).unwrap().solve(&goals).unwrap() {
            Solution::Install(packages) => {
                let set = packages.iter().fold(0, |set, package| set | (1 << package.0));
                let all = installations(&toy);
                prop_assert!(all.iter().any(|one| one & set == set), "{:?} cannot be completed", packages);
                let alone = Toy { always: Vec::new(), ..toy.clone() };
                prop_assert!(alone.holds(set), "{:?} lacks something", packages);
                let expected = expected.unwrap();
                // What is forced by one goal may satisfy another before its turn.
                let met = goals.iter().all(|goal| goal.iter().any(|p| set & (1 << p.0) != 0));
                prop_assert!(met);
                if goals.len() == 1 {
                    prop_assert_eq!(set & expected, expected);
                }
            }
            Solution::Impossible(explanation) => {
                prop_assert_eq!(expected, None);
                prop_assert!(goals.iter().any(Vec::is_empty) || !explanation.0.is_empty());
            }
        }
    }
}

#[test]
fn what_only_helps_gets_no_verdict() {
    #[derive(Debug)]
    struct Half(Toy);
    impl crate::depends::Universe for Half {
        fn len(&self) -> usize {
            self.0.len()
        }
        fn label(&self, package: PackageId) -> String {
            self.0.label(package)
        }
        fn requirements(&self, package: PackageId, out: &mut crate::depends::Clauses) {
            self.0.requirements(package, out);
        }
        fn conflicts(&self, package: PackageId, out: &mut Vec<PackageId>) {
            self.0.conflicts(package, out);
        }
        fn in_question(&self, package: PackageId) -> bool {
            package.0 == 0
        }
        fn requirement_text(&self, package: Option<PackageId>, index: usize) -> String {
            self.0.requirement_text(package, index)
        }
        fn conflict_text(&self, package: PackageId, other: PackageId) -> String {
            self.0.conflict_text(package, other)
        }
    }
    let half = Half(Toy::of(3).need(0, &[1]).need(2, &[]));
    let verdicts = Solver::new(&half).unwrap().check(&mut || Ok(())).unwrap();
    assert_eq!((verdicts.checked, verdicts.broken), (1, vec![]));
}

#[test]
fn many_versions_of_one_slot_exclude_one_another() {
    // A hundred versions of one package, which two others want two different ones of.
    let mut toy = Toy::of(102).need(100, &[7]).need(101, &[93]);
    toy.slots[..100].fill(500);
    let mut solver = Solver::new(&toy).unwrap();
    let both = [vec![PackageId(100)], vec![PackageId(101)]];
    let Solution::Impossible(explanation) = solver.solve(&both).unwrap() else { panic!("both went in") };
    assert_eq!(
        explanation.to_string(),
        "`p100` needs `[7]`: `p7`; `p101` needs `[93]`: `p93`; only one of `p7` and `p93` can be installed"
    );
    assert!(solver.check(&mut || Ok(())).unwrap().broken.is_empty());
}
