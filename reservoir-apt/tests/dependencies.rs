//! `dependencies = true` and `check`: what is chosen goes together, from a signed archive to the last verdict.
#![expect(clippy::unwrap_used, reason = "these are tests, outside of test functions")]

mod support;

use std::collections::BTreeSet;

use reservoir_core::{
    Checked, Engine,
    catalog::RevisionFilter,
    clock::Timestamp,
    ecosystem::{Registry, RepositoryConfig},
    lifecycle::Status,
    name::Actor,
    openpgp::SigningKey,
    sync::SyncReport,
};
use serde_json::json;
use support::{
    archive::engine_in,
    deb::Deb,
    serve::Served,
    site::{Site, plain},
};

/// An archive and a mirror of it.
struct World {
    _upstream: Served,
    _folder: tempfile::TempDir,
    engine: Engine,
    architectures: serde_json::Value,
}

impl World {
    async fn new(debs: &[Deb], packages: &[&str]) -> Self {
        Self::of(&["amd64"], debs, packages).await
    }

    async fn of(architectures: &[&str], debs: &[Deb], packages: &[&str]) -> Self {
        let mut config = plain();
        config.options.insert("architectures".to_owned(), json!(architectures));
        let mut site = Site::now(config);
        // The key was made just now, and signs nothing older than itself.
        site.begin = Timestamp::from_micros(Timestamp::now().as_seconds() * 1_000_000);
        let edits = debs.iter().map(|deb| site.package(deb)).collect();
        site.publish(edits).await;
        let folder = tempfile::tempdir().unwrap();
        let keyring = folder.path().join("keyring.gpg");
        std::fs::write(&keyring, site.signer.binary_public().unwrap()).unwrap();
        let upstream = Served::start(site).await;

        let signer = SigningKey::generate("Mirror <mirror@example.com>").unwrap();
        let engine = engine_in(folder.path()).await.signer(signer).build().unwrap();
        let ann: Actor = "ann".parse().unwrap();
        let registry = Registry {
            name: "debian".parse().unwrap(),
            ecosystem: "apt".parse().unwrap(),
            url: Some(upstream.base.parse().unwrap()),
            allowed_hosts: Vec::new(),
            options: [("keyring".to_owned(), json!(keyring))].into(),
        };
        engine.catalog().put_registry(&registry, &ann).await.unwrap();
        let architectures = json!(architectures);
        let world = Self { _upstream: upstream, _folder: folder, engine, architectures };
        world.put("mirror", packages, &[]).await;
        world
    }

    /// A repository of the archive.
    async fn put(&self, name: &str, packages: &[&str], base: &[&str]) {
        let mut options = plain().options;
        options.insert("architectures".to_owned(), self.architectures.clone());
        options.insert("packages".to_owned(), json!(packages));
        options.insert("base".to_owned(), json!(base));
        let repository = RepositoryConfig {
            registries: vec!["debian".parse().unwrap()],
            dependencies: true,
            options,
            ..RepositoryConfig::new(name.parse().unwrap(), "apt".parse().unwrap())
        };
        self.engine.catalog().put_repository(&repository, &"ann".parse().unwrap()).await.unwrap();
    }

    async fn sync(&self) -> SyncReport {
        self.sync_of("mirror").await
    }

    async fn sync_of(&self, name: &str) -> SyncReport {
        let task = self.engine.sync(&name.parse().unwrap(), "ann".parse().unwrap()).await.unwrap();
        let report = task.wait().await.unwrap();
        assert_eq!((&report.failed, &report.alarms), (&Vec::new(), &Vec::new()));
        report
    }

    async fn available(&self) -> BTreeSet<String> {
        self.available_in("mirror").await
    }

    async fn available_in(&self, name: &str) -> BTreeSet<String> {
        let revisions = self.revisions_in(name).await;
        revisions.iter().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
    }

    async fn revisions(&self) -> BTreeSet<String> {
        self.revisions_in("mirror").await
    }

    async fn revisions_in(&self, name: &str) -> BTreeSet<String> {
        let repository = self.engine.catalog().repository(&name.parse().unwrap()).await.unwrap();
        let filter = RevisionFilter { status: Some(Status::Available), ..RevisionFilter::default() };
        let revisions = self.engine.catalog().revisions(repository.id, &filter, None, 1000).await.unwrap();
        let names = revisions.iter().map(|one| format!("{} {}", one.artifact, one.revision));
        names.filter(|name| !name.starts_with("dists")).collect()
    }

    async fn check(&self) -> Checked {
        self.engine.check(&"mirror".parse().unwrap()).await.unwrap()
    }
}

fn deb(name: &str, version: &str, fields: &[(&str, &str)]) -> Deb {
    fields.iter().fold(Deb::new(name, version, "amd64"), |deb, (name, value)| deb.field(name, value))
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Who takes the first of each alternative gets `lib` and `exim`: the one is too old, the other excluded.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_mirrored_can_be_installed_from_the_mirror_alone() {
    let world = World::new(
        &[
            deb("app", "1", &[("Depends", "lib (>= 2) | libalt, exim | mta"), ("Pre-Depends", "base")]),
            deb("base", "1", &[]),
            deb("exim", "1", &[("Provides", "mta")]),
            deb("lib", "1", &[]),
            deb("libalt", "1", &[("Conflicts", "exim"), ("Recommends", "extra")]),
            deb("postfix", "1", &[("Provides", "mta (= 3)")]),
            deb("sendmail", "1", &[("Provides", "mta"), ("Depends", "nowhere")]),
            deb("extra", "1", &[]),
        ],
        &["app"],
    )
    .await;
    let report = world.sync().await;
    assert_eq!(report.missing, Vec::<String>::new());
    assert_eq!(world.available().await, names(&["app", "base", "libalt", "postfix"]));
    let checked = world.check().await;
    assert!(checked.is_complete(), "{checked:?}");
    assert_eq!((checked.targets[0].target.as_str(), checked.targets[0].checked), ("bookworm amd64", 4));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_excludes_each_other_is_mirrored_side_by_side() {
    let mta: &[(&str, &str)] = &[("Provides", "mta"), ("Conflicts", "mta"), ("Depends", "lib")];
    let world = World::new(
        &[deb("exim", "1", mta), deb("postfix", "1", mta), deb("lib", "1", &[]), deb("other", "1", &[])],
        &["exim", "postfix"],
    )
    .await;
    assert_eq!(world.sync().await.missing, Vec::<String>::new());
    assert_eq!(world.available().await, names(&["exim", "lib", "postfix"]));
    assert!(world.check().await.is_complete());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_installed_is_told_with_the_reason_and_every_time() {
    let world = World::new(
        &[
            deb("app", "1", &[("Depends", "one, two")]),
            deb("one", "1", &[]),
            deb("two", "1", &[("Breaks", "one (<< 2)")]),
            deb("fine", "1", &[]),
        ],
        &["app", "fine"],
    )
    .await;
    let why = "`app 1 (amd64)` needs `one`: `one 1 (amd64)`; `app 1 (amd64)` needs `two`: `two 1 (amd64)`; \
               `two 1 (amd64)` excludes `one 1 (amd64)` (`Breaks: one (<< 2)`)";
    for _ in 0..2 {
        let missing = world.sync().await.missing;
        assert_eq!(missing, [format!("`app 1 (amd64)` cannot be installed from `bookworm amd64`: {why}")]);
    }
    // Of what cannot be installed nothing else is brought in, so that it lacks more here.
    assert_eq!(world.available().await, names(&["app", "fine"]));
    let checked = world.check().await;
    assert!(!checked.is_complete());
    let broken: Vec<_> = checked.targets[0].broken.iter().map(|one| one.why.to_string()).collect();
    assert_eq!(broken, ["`app 1 (amd64)` needs `one`, which nothing satisfies"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_counts_as_available_and_is_not_mirrored_again() {
    let world = World::new(
        &[deb("app", "1", &[("Depends", "lib, tool")]), deb("lib", "1", &[]), deb("tool", "1", &[])],
        &["lib"],
    )
    .await;
    world.sync().await;
    world.put("apps", &["app"], &["mirror"]).await;
    assert_eq!(world.sync_of("apps").await.missing, Vec::<String>::new());
    assert_eq!(world.available_in("apps").await, names(&["app", "tool"]));
    let checked = world.engine.check(&"apps".parse().unwrap()).await.unwrap();
    assert!(checked.is_complete(), "{checked:?}");
    assert_eq!((checked.targets[0].packages, checked.targets[0].checked), (3, 2));
}

/// Machines of amd64 run programs of i386 where the repository has them, and who names one gets it; those of arm64 are
/// other machines.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_named_by_another_architecture_is_brought() {
    let i386 = |name: &str, fields: &[(&str, &str)]| {
        fields.iter().fold(Deb::new(name, "1", "i386"), |deb, (name, value)| deb.field(name, value))
    };
    let world = World::of(
        &["amd64", "i386", "arm64"],
        &[
            deb("app", "1", &[("Depends", "wine32:i386, tool")]),
            i386("wine32", &[("Depends", "libc")]),
            i386("libc", &[]),
            deb("libc", "1", &[]),
            deb("tool", "1", &[]),
            i386("tool", &[("Multi-Arch", "foreign")]),
            deb("arm", "1", &[("Depends", "lib:arm64")]),
            Deb::new("lib", "1", "arm64"),
        ],
        &["app", "arm"],
    )
    .await;
    let report = world.sync().await;
    assert_eq!(report.missing.len(), 1, "{report:#?}");
    assert!(report.missing[0].contains("lib:arm64"), "{report:#?}");
    assert_eq!(world.available().await, names(&["app", "arm", "libc", "tool", "wine32"]));
    let revisions = world.revisions().await;
    assert!(revisions.contains("libc 1:i386") && revisions.contains("tool 1:amd64"), "{revisions:?}");
    assert!(!revisions.contains("libc 1:amd64") && !revisions.contains("tool 1:i386"), "{revisions:?}");
    let checked = world.check().await;
    let broken: Vec<_> = checked.targets.iter().flat_map(|target| &target.broken).collect();
    assert_eq!(broken.len(), 1, "{broken:?}");
}
