//! Packages, an operating system's archive and models in one signed bundle, and then what changed of them in another.

use serde_json::Value;

use super::{
    apt::{noticed, root},
    bundle::{installs, packages},
    bundle_hub::Crossing,
    hub::World,
    support::{
        apt::Archive,
        deb::Deb,
        home::Home,
        hub_client,
        index::{Index, wheel},
    },
};

/// All three kinds in one file, each with a registry of its own.
fn everything(index: &Index, archive: &Archive, world: &World) -> String {
    let named = |toml: &str, name: &str| toml.replace("\"upstream\"", &format!("\"{name}\""));
    format!(
        "{}\n{}\n{}\n[[repository]]\nname = \"debian\"\necosystem = \"apt\"\nregistry = \"archive\"\n\
         suites = [\"bookworm\"]\ncomponents = [\"main\"]\narchitectures = [\"amd64\"]\n",
        index.mirror(&["alpha", "beta"], "dependencies = true\nwhole = true"),
        named(&world.mirror(), "models"),
        named(&archive.registry(), "archive"),
    )
}

fn numbers(loaded: &Value) -> Vec<(&str, Option<u64>)> {
    let rows = loaded["repositories"].as_array().unwrap().iter();
    rows.map(|row| (row["repository"].as_str().unwrap(), row["snapshot"].as_u64())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bundle_brings_everything_and_the_next_what_changed() {
    let (index, archive, world) = (packages().await, Archive::new().await, World::new().await);
    let base = archive.ftparchive("bookworm", &archive.debs(&[Deb::new("hello", "1", "amd64")]));
    archive.serve(&base);
    let crossing = Crossing::from(Home::with(&everything(&index, &archive, &world)));
    let repositories = ["debian", "hub", "python"];
    for repository in repositories {
        crossing.outside.sync(repository, 0);
    }
    let (first, loaded) = crossing.carry("one");
    assert_eq!((&first["kind"], &loaded["applied"]), (&"full".into(), &true.into()), "{loaded:#}");
    assert_eq!(numbers(&loaded), repositories.map(|name| (name, Some(1))));
    let server = crossing.inside.serve();
    installs(&server, &["alpha==1.0", "beta==1.5"]);
    let apt = root(&crossing.inside, &server, "debian").await;
    apt.update().clean();
    apt.get(&["install", "hello"]).clean();
    let read = || {
        for client in hub_client::all() {
            let run = client.run(&server.url("/hub"), include_str!("hub/read.py"), &world.expected());
            assert!(run.expect(0).stdout.ends_with("done\n"));
        }
    };
    read();

    // One wheel and one deb are new; the models are as they were.
    index.add("alpha", wheel("alpha", "2.0", &["beta>=1"]));
    let news = archive.debs(&[Deb::new("hello", "2", "amd64")]);
    std::fs::copy(&news[0], base.join("pool/main").join(news[0].file_name().unwrap())).unwrap();
    archive.sign(&base, "bookworm", "Test");
    archive.serve(&base);
    for repository in repositories {
        crossing.outside.sync(repository, 0);
    }
    let (second, loaded) = crossing.carry("two");
    assert_eq!(second["kind"], "delta");
    assert_eq!(numbers(&loaded), [("debian", Some(2)), ("hub", None), ("python", Some(2))], "{loaded:#}");
    assert!(first["bytes"].as_u64() > Some(500_000), "{first:#}");
    assert!(second["bytes"].as_u64() < Some(80_000), "{second:#}");
    noticed().await;
    installs(&server, &["alpha==2.0", "beta==1.5"]);
    apt.update().clean();
    assert_eq!(apt.candidate("hello").as_deref(), Some("2"));
    apt.get(&["install", "hello"]).clean();
    read();
    assert!(crossing.inside.done(["verify", "--deep"]).contains(" 0 damaged"));
}
