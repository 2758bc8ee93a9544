//! One Reservoir as the registry of another, over HTTP: what comes is what a bundle would bring, checked as strictly.

use std::{fs, process::Stdio};

use reservoir_core::{
    catalog::{Catalog, CatalogOptions},
    ecosystem::{Approval, RepositoryConfig},
};
use serde_json::json;

use super::{
    bundle::{Gap, installs, large, page},
    bundle_disk::size,
    hub::World,
    support::{
        home::{Home, send},
        hub_client,
        web::ask,
        wire::Wire,
    },
};

/// A repository that another Reservoir has.
fn taken(base: &str, repository: &str, ecosystem: &str) -> String {
    format!(
        "[[registry]]\nname = \"outside\"\necosystem = \"reservoir\"\nurl = \"{base}\"\n\n[[repository]]\n\
         name = \"{repository}\"\necosystem = \"{ecosystem}\"\nregistry = \"outside\"\n"
    )
}

/// A repository as the catalog of a home has it.
async fn config(home: &Home, repository: &str) -> RepositoryConfig {
    let url = format!("sqlite:{}", home.path().join("catalog.sqlite").display());
    let catalog = Catalog::open(&url, CatalogOptions::default()).await.unwrap();
    let config = catalog.repository(&repository.parse().unwrap()).await.unwrap().config;
    catalog.close().await;
    config
}

/// Trusts the key of another home.
fn trust(home: &Home, other: &Home) {
    let key = home.write("other.pub", &other.done(["key", "show"]));
    home.done(["key", "trust", key.to_str().unwrap()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_is_taken_over_by_network() {
    let gap = Gap::new().await;
    trust(&gap.outside, &gap.inside);
    let outside = gap.outside.serve_with(&["--share"]);
    gap.inside.apply(&taken(&outside.base, "python", "pypi")).expect(0);
    let (code, offered) = gap.inside.json(["scan", "python"]);
    assert_eq!((code, offered["fetched_files"].as_u64()), (0, Some(0)), "{offered:#}");
    let first = gap.inside.sync("python", 0);
    assert!(first["fetched_bytes"].as_u64() > Some(300_000), "{first:#}");
    assert_eq!((&first["admitted"], &first["published"]), (&json!(3), &json!(1)), "{first:#}");
    let inside = gap.inside.serve();
    installs(&inside, &["alpha==1.0", "beta==1.5"]);
    for project in ["alpha", "beta"] {
        assert_eq!(page(&outside, project).await, page(&inside, project).await);
    }
    let again = gap.inside.sync("python", 0);
    assert_eq!((&again["fetched_files"], &again["unchanged"]), (&json!(0), &json!(1)), "{again:#}");
    // Only what changed comes, and it comes in the same line.
    gap.release("2.0");
    let second = gap.inside.sync("python", 0);
    assert!(second["fetched_bytes"].as_u64() < Some(50_000), "{second:#}");
    assert_eq!(second["published"], 2);
    installs(&inside, &["alpha==2.0", "beta==1.5"]);
    // What is rejected there goes here.
    gap.outside.done(["reject", "python", "alpha@2.0", "--reason", "bad"]);
    gap.outside.done(["publish", "python"]);
    gap.inside.sync("python", 0);
    installs(&inside, &["alpha==1.0", "beta==1.5"]);
    gap.inside.done(["verify", "--deep"]);
    // Neither the names of single packages nor other sources make sense here.
    let refused = gap.inside.run(["import", "python", "alpha"]);
    assert!(refused.code == 2 && refused.stderr.contains("comes whole"), "{}", refused.all());
}

/// The file that says where a repository comes from says nothing of what comes with it: applied again, it changes
/// nothing of that, and the rest as it says.
#[tokio::test(flavor = "multi_thread")]
async fn applying_the_file_again_keeps_what_came() {
    let gap = Gap::new().await;
    trust(&gap.outside, &gap.inside);
    let outside = gap.outside.serve_with(&["--share"]);
    let file = taken(&outside.base, "python", "pypi");
    gap.inside.apply(&file).expect(0);
    gap.inside.sync("python", 0);
    let came = config(&gap.inside, "python").await;
    assert!(came.dependencies && came.options["packages"] == json!(["alpha", "beta"]), "{came:?}");
    gap.inside.apply(&file).expect(0);
    assert_eq!(config(&gap.inside, "python").await, came);
    gap.inside.apply(&format!("{file}approval = \"manual\"\n")).expect(0);
    let manual = RepositoryConfig { approval: Approval::Manual, ..came };
    assert_eq!(config(&gap.inside, "python").await, manual);
}

/// What is asked is as long for a repository with hundreds of refs as for one with none.
#[tokio::test(flavor = "multi_thread")]
async fn refs_by_the_hundred_are_taken_over() {
    let gap = Gap::new().await;
    trust(&gap.outside, &gap.inside);
    let url = format!("sqlite:{}", gap.outside.path().join("catalog.sqlite").display());
    let catalog = Catalog::open(&url, CatalogOptions::default()).await.unwrap();
    let repository = catalog.repository(&"python".parse().unwrap()).await.unwrap().id;
    let actor = "ann".parse().unwrap();
    for number in 0..200 {
        let name = format!("a-snapshot-that-somebody-gave-a-name-{number}").parse().unwrap();
        catalog.set_ref(repository, &name, 1, &actor, None).await.unwrap();
    }
    catalog.close().await;
    let outside = gap.outside.serve_with(&["--share"]);
    gap.inside.apply(&taken(&outside.base, "python", "pypi")).expect(0);
    gap.inside.sync("python", 0);
    gap.release("2.0");
    assert_eq!(gap.inside.sync("python", 0)["published"], 2);
}

/// `kill -9` in the middle of a file: the next sync goes on there, and asks for nothing twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_pull_goes_on_where_it_was() {
    let gap = Gap::new().await;
    for version in ["3.0", "4.0"] {
        gap.index.add("beta", large("beta", version, 20 << 20));
    }
    gap.outside.sync("python", 0);
    trust(&gap.outside, &gap.inside);
    let outside = gap.outside.serve_with(&["--share"]);
    let wire = Wire::to(&outside.base);
    gap.inside.apply(&taken(&wire.base(), "python", "pypi")).expect(0);
    let staged = gap.inside.path().join("scratch/load");
    let mut sync = gap.inside.command();
    let mut child =
        sync.args(["sync", "python"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    // In the middle of the large ones, which come at the same time.
    while size(&staged) < 8 << 20 {
        assert_eq!(child.try_wait().unwrap(), None, "it was over before it could be killed");
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    send("KILL", child.id());
    child.wait().unwrap();
    let first = wire.lines();
    let kept = size(&staged);
    assert!(kept < 40 << 20, "{kept}");
    let report = gap.inside.sync("python", 0);
    assert_eq!(report["published"], 1, "{report:#}");
    let second = wire.lines().split_off(first.len());
    let ranged = second.iter().filter(|line| line.ends_with(" (range)")).count();
    assert!(ranged > 0, "{second:#?}");
    let mut again = second.iter().filter(|line| line.contains("/get/") && first.contains(line));
    // The two small documents that say what comes are read again; no blob is.
    assert!(again.all(|line| line.contains("/bundle.json")), "{first:#?}\n{second:#?}");
    let inside = gap.inside.serve();
    installs(&inside, &["alpha==1.0", "beta==4.0"]);
    gap.inside.done(["verify", "--deep"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn models_are_taken_over_with_their_commits() {
    let world = World::new().await;
    let (first, second) = (world.mirrored(), Home::new());
    trust(&first, &second);
    trust(&second, &first);
    let outside = first.serve_with(&["--share"]);
    second.apply(&taken(&outside.base, "hub", "hf")).expect(0);
    second.sync("hub", 0);
    let expected = world.expected();
    drop((outside, world, first));
    let inside = second.serve();
    for client in hub_client::all() {
        let run = client.run(&inside.url("/hub"), include_str!("hub/read.py"), &expected).expect(0);
        assert!(run.stdout.ends_with("done\n"), "{run:?}");
    }
}

/// A new key of the one that asks, and a catalog that the other lost: what came is gone on with.
#[tokio::test(flavor = "multi_thread")]
async fn new_keys_and_lost_catalogs_are_no_rift() {
    let gap = Gap::new().await;
    trust(&gap.outside, &gap.inside);
    let outside = gap.outside.serve_with(&["--share"]);
    gap.inside.apply(&taken(&outside.base, "python", "pypi")).expect(0);
    gap.inside.sync("python", 0);
    gap.inside.done(["key", "rotate"]);
    gap.release("2.0");
    let refused = gap.inside.run(["sync", "python"]);
    assert_eq!(refused.code, 1, "a key that nobody trusts: {}", refused.all());
    let keys = fs::read_dir(gap.inside.path().join("keys")).unwrap().map(|entry| entry.unwrap().path());
    let new = keys.into_iter().find(|path| path.extension().is_some_and(|end| end == "pub")).unwrap();
    gap.outside.done(["key", "trust", new.to_str().unwrap()]);
    let second = gap.inside.sync("python", 0);
    assert!(second["published"] == 2 && second["fetched_bytes"].as_u64() < Some(50_000), "{second:#}");
    drop(outside);
    for name in ["catalog.sqlite", "catalog.sqlite-wal", "catalog.sqlite-shm"] {
        let _ = fs::remove_file(gap.outside.path().join(name));
    }
    gap.outside.done(["rebuild"]);
    gap.outside.apply(&gap.index.mirror(&["alpha", "beta"], "dependencies = true\nwhole = true")).expect(0);
    trust(&gap.outside, &gap.inside);
    gap.release("3.0");
    let outside = gap.outside.serve_with(&["--share"]);
    gap.inside.apply(&taken(&outside.base, "python", "pypi")).expect(0);
    let third = gap.inside.sync("python", 0);
    assert!(third["published"] == 3 && third["fetched_bytes"].as_u64() < Some(50_000), "{third:#}");
    let inside = gap.inside.serve();
    installs(&inside, &["alpha==3.0", "beta==1.5"]);
}

/// Both sides must trust each other, and there must be something to be had.
#[tokio::test(flavor = "multi_thread")]
async fn strangers_give_and_get_nothing() {
    let gap = Gap::new().await;
    let outside = gap.outside.serve_with(&["--share"]);
    gap.inside.apply(&taken(&outside.base, "python", "pypi")).expect(0);
    // The inside trusts the outside, the outside does not know the inside.
    let refused = gap.inside.run(["sync", "python"]);
    assert_eq!(refused.code, 1, "{}", refused.all());
    // The outside knows the stranger, who does not trust it.
    let stranger = Home::with(&taken(&outside.base, "python", "pypi"));
    trust(&gap.outside, &stranger);
    let refused = stranger.run(["sync", "python"]);
    assert!(refused.code == 1 && refused.stderr.contains("trust"), "{}", refused.all());
    for path in [
        "/api/v1/bundles/plan/python",
        "/api/v1/bundles/plan/python?have=%7B%7D&signature=x",
        "/api/v1/bundles/get/../../keys/bundle.key",
        "/api/v1/bundles/get/11111111-1111-1111-1111-111111111111/00/bundle.json",
        "/api/v1/bundles/nothing",
    ] {
        let answer = ask(http::Method::GET, &outside.url(path), &[]).await.unwrap();
        assert!(answer.status >= 400, "{path}: {}", answer.status);
    }
    // Without the flag there is no such route.
    let closed = gap.outside.serve();
    let answer = ask(http::Method::GET, &closed.url("/api/v1/bundles/plan/python"), &[]).await.unwrap();
    assert_eq!(answer.status, 404);
    // Once both trust each other it goes; what was handed out is for that bundle's blobs alone.
    trust(&gap.outside, &gap.inside);
    gap.inside.sync("python", 0);
    let shared = gap.outside.path().join("scratch").join("share");
    let stream = fs::read_dir(shared).unwrap().next();
    assert!(stream.is_some(), "what is handed out lies in the scratch folder");
}
