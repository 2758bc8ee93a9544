//! Fifty packages that cannot be installed although every name that they need exists, each beside a twin that can.

use std::{collections::BTreeSet, fmt::Write as _};

use reservoir_apt::control::{Piece, Stanza, Stanzas};

/// One breakage: stanzas with `@` for a prefix of their own names. `BAD` is the broken one, `FINE` its twin.
struct Plant {
    /// What it is about.
    about: &'static str,
    stanzas: String,
}

/// `name version architecture, more fields`.
fn stanza(head: &str, fields: &[&str]) -> String {
    let mut words = head.split(' ');
    let mut word = |otherwise: &'static str| words.next().unwrap_or(otherwise).to_owned();
    let (name, version, architecture) = (word(""), word("1"), word("amd64"));
    let mut text = format!("Package: @{name}\nVersion: {version}\nArchitecture: {architecture}\n");
    for field in fields {
        writeln!(text, "{field}").unwrap();
    }
    text + "\n"
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn plants() -> Vec<Plant> {
    let mut plants = Vec::new();
    let mut plant = |about, stanzas: &[(&str, &[&str])]| {
        let stanzas = stanzas.iter().map(|(head, fields)| stanza(head, fields)).collect();
        plants.push(Plant { about, stanzas });
    };

    // What excludes what.
    for excludes in
        ["Conflicts: @b", "Breaks: @b", "Conflicts: @b (<< 2)", "Breaks: @b (= 1)", "Breaks: @b (>= 1), @x"]
    {
        plant(
            "conflict",
            &[
                ("BAD", &["Depends: @a, @b"]),
                ("FINE", &["Depends: @b, @c"]),
                ("a", &[excludes]),
                ("b", &[]),
                ("c", &["Conflicts: @b (<< 1), @d"]),
            ],
        );
    }
    for depth in ["@a1", "@a2", "@a3", "@a4"] {
        plant(
            "conflict",
            &[
                ("BAD", &[&format!("Depends: {depth}\nPre-Depends: @z")]),
                ("FINE", &[&format!("Depends: {depth}")]),
                ("a4", &["Depends: @a3"]),
                ("a3", &["Pre-Depends: @a2"]),
                ("a2", &["Depends: @a1"]),
                ("a1", &["Conflicts: @z"]),
                ("z", &[]),
            ],
        );
    }
    plant(
        "conflict",
        &[
            ("BAD", &["Depends: @exim, @postfix"]),
            ("FINE", &["Depends: @mta"]),
            ("exim", &["Provides: @mta", "Conflicts: @mta"]),
            ("postfix", &["Provides: @mta", "Conflicts: @mta"]),
        ],
    );
    plant(
        "conflict",
        &[
            ("BAD", &["Conflicts: @init"]),
            ("FINE", &["Conflicts: @uninteresting"]),
            ("init", &["Essential: yes"]),
            ("uninteresting", &[]),
        ],
    );
    plant(
        "conflict",
        &[
            ("BAD", &["Depends: @a (= 1), @b"]),
            ("FINE", &["Depends: @a (= 1)"]),
            ("a 1", &[]),
            ("a 2", &[]),
            ("b", &["Depends: @a (= 2)"]),
        ],
    );
    plant(
        "conflict",
        &[
            ("BAD", &["Depends: @a, @b, @c"]),
            ("FINE", &["Depends: @a, @b"]),
            ("a", &["Depends: @x | @y"]),
            ("b", &["Depends: @x (= 2) | @y (= 2)"]),
            ("c", &["Depends: @x (= 3) | @y (= 3)", "Conflicts: @x (= 2), @y (= 2)"]),
            ("x 2", &[]),
            ("x 3", &[]),
            ("y 2", &[]),
            ("y 3", &[]),
        ],
    );

    // Versions, of packages and of what they provide.
    for (wanted, had) in [
        ("@a (>= 2)", "1.9"),
        ("@a (<< 2)", "2"),
        ("@a (= 1.0-1)", "1.0-1+b1"),
        ("@a (>= 1:0)", "9"),
        ("@a (>= 1.0)", "1.0~rc1"),
        ("@a (<= 1.0)", "1.0+dfsg"),
        ("@a (= 0:2)", "1:2"),
        ("@a (>> 1.0-1)", "1.0-1"),
        ("@a (<< 1.0~)", "1.0"),
        ("@a (>> 2.10)", "2.9"),
    ] {
        let head = format!("a {had}");
        plant(
            "version",
            &[
                ("BAD", &[&format!("Depends: {wanted}")]),
                ("FINE", &[&format!("Depends: @a (= {had})")]),
                (&head, &[]),
            ],
        );
    }
    for (wanted, provided) in [
        ("@v (>= 1)", "@v"),
        ("@v (= 1)", "@v"),
        ("@v (>= 3)", "@v (= 2)"),
        ("@v (<< 2)", "@v (= 2)"),
        ("@v (= 2.0)", "@v (= 2.0-1), @w (= 2.0)"),
    ] {
        plant(
            "provides",
            &[
                ("BAD", &[&format!("Depends: {wanted}")]),
                ("FINE", &["Depends: @v"]),
                ("a 5", &[&format!("Provides: {provided}")]),
            ],
        );
    }
    plant(
        "provides",
        &[
            ("BAD", &["Depends: @a", "Conflicts: @v (<< 3)"]),
            ("FINE", &["Depends: @a", "Conflicts: @v (<< 2), @u (>= 0)"]),
            ("a", &["Provides: @v (= 2), @u"]),
        ],
    );
    plant(
        "provides",
        &[
            ("BAD", &["Depends: @v (>= 2), @v (<< 2)"]),
            ("FINE", &["Depends: @v (>= 2), @v (<< 3)"]),
            ("a", &["Provides: @v (= 2)"]),
            ("b", &["Provides: @v (= 1)", "Breaks: @a"]),
        ],
    );

    // Architectures.
    for wanted in ["@v:any", "@a:i386", "@b:amd64", "@b:native", "@b"] {
        plant(
            "architecture",
            &[
                ("BAD", &[&format!("Depends: {wanted}")]),
                ("FINE", &["Depends: @a, @b:i386, @f, @l:any"]),
                ("a", &["Provides: @v"]),
                ("b 1 i386", &[]),
                ("f 1 i386", &["Multi-Arch: foreign"]),
                ("l 1 i386", &["Multi-Arch: allowed"]),
            ],
        );
    }
    plant(
        "architecture",
        &[
            ("BAD", &["Depends: @a, @a:i386"]),
            ("FINE", &["Depends: @s, @s:i386"]),
            ("a", &[]),
            ("a 1 i386", &[]),
            ("s", &["Multi-Arch: same"]),
            ("s 1 i386", &["Multi-Arch: same"]),
        ],
    );
    plant(
        "architecture",
        &[
            ("BAD", &["Depends: @s, @s:i386"]),
            ("FINE", &["Depends: @s"]),
            ("s 2", &["Multi-Arch: same"]),
            ("s 1 i386", &["Multi-Arch: same"]),
        ],
    );
    plant(
        "architecture",
        &[
            ("BAD 1 i386", &["Depends: @a"]),
            ("FINE 1 i386", &["Depends: @f"]),
            ("a 1 all", &[]),
            ("f 1 all", &["Multi-Arch: foreign"]),
        ],
    );
    plant(
        "architecture",
        &[
            ("BAD", &["Depends: @a, @b:i386"]),
            ("FINE", &["Depends: @a"]),
            ("a", &["Conflicts: @b"]),
            ("b 1 i386", &["Multi-Arch: foreign"]),
        ],
    );

    // Alternatives, none of which will do.
    for (wanted, more) in [
        ("@a (>= 2) | @b (>= 2)", ""),
        ("@a (>= 2) | @c", ""),
        ("@c | @d", ""),
        ("@c | @a (= 3) | @d", ""),
        ("@e | @c", ", @b"),
        ("@e | @f", ", @b"),
        ("@e | @a:i386 | @f", ", @b"),
        ("@g (>= 2) | @e", ", @b"),
        ("@g (= 1) | @c | @f", ", @b"),
    ] {
        plant(
            "alternatives",
            &[
                ("BAD", &[&format!("Depends: {wanted}{more}")]),
                ("FINE", &[&format!("Depends: {wanted} | @b{more}")]),
                ("a", &["Provides: @g"]),
                ("b", &[]),
                ("c", &["Depends: @a (>= 3)"]),
                ("d", &["Depends: @c | @b (<< 1)"]),
                ("e", &["Conflicts: @b"]),
                ("f", &["Breaks: @b (<= 1)"]),
            ],
        );
    }
    for (holes, pigeons) in [(1, 2), (2, 3), (3, 4), (4, 5)] {
        // Each pigeon has a hole of its own choice, none of which takes two.
        let choice =
            |pigeon| (0..holes).map(|hole| format!("@h{hole} (= {pigeon})")).collect::<Vec<_>>().join(" | ");
        let mut stanzas = String::new();
        let all =
            |count: usize| (0..count).map(|pigeon| format!("@p{pigeon}")).collect::<Vec<_>>().join(", ");
        stanzas += &stanza("BAD", &[&format!("Depends: {}", all(pigeons))]);
        stanzas += &stanza("FINE", &[&format!("Depends: {}", all(holes))]);
        for pigeon in 0..pigeons {
            stanzas += &stanza(&format!("p{pigeon}"), &[&format!("Depends: {}", choice(pigeon))]);
            for hole in 0..holes {
                stanzas += &stanza(&format!("h{hole} {pigeon}"), &[]);
            }
        }
        plants.push(Plant { about: "alternatives", stanzas });
    }
    plants
}

/// All plants as one index, and the labels of what is broken in it.
pub(super) fn index() -> (String, Vec<(&'static str, String)>) {
    let (mut text, mut broken) = (String::new(), Vec::new());
    for (number, plant) in plants().into_iter().enumerate() {
        text += &plant
            .stanzas
            .replace('@', &format!("p{number}-"))
            .replace("-BAD", "-bad")
            .replace("-FINE", "-fine");
        let architecture =
            if plant.stanzas.contains("BAD\nVersion: 1\nArchitecture: i386") { "i386" } else { "amd64" };
        broken.push((plant.about, format!("p{number}-bad 1 ({architecture})")));
    }
    (text, broken)
}

/// Of `suspects`, those that a matcher of names alone finds to lack something.
pub(super) fn broken_by_name(index: &str, suspects: &BTreeSet<String>) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut asking = Vec::new();
    let word = |relation: &str| -> String {
        relation.trim().chars().take_while(|c| c.is_ascii_alphanumeric() || "+-.".contains(*c)).collect()
    };
    let mut stanzas = Stanzas::new(index.as_bytes());
    while let Some(Piece::Stanza(bytes)) = stanzas.next_piece().unwrap() {
        let stanza = Stanza::parse(bytes).unwrap();
        let field = |name| stanza.get(name).unwrap_or_default().to_owned();
        names.insert(field("Package"));
        names.extend(field("Provides").split(',').map(word));
        let label = format!("{} {} ({})", field("Package"), field("Version"), field("Architecture"));
        asking.push((label, format!("{},{}", field("Pre-Depends"), field("Depends"))));
    }
    let lacks = |needs: &str| {
        let clauses = needs.split(',').filter(|clause| !clause.trim().is_empty());
        clauses.into_iter().any(|clause| !clause.split('|').map(word).any(|name| names.contains(&name)))
    };
    asking.retain(|(label, needs)| suspects.contains(label) && lacks(needs));
    asking.into_iter().map(|(label, _)| label).collect()
}
