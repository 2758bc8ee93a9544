//! The real thing: real packages from the index that this machine's pip uses, and nothing else.

use super::support::{
    client,
    home::{Home, Run},
};

/// The program with this machine's own configuration of pip.
fn real(home: &Home, arguments: &[&str]) -> Run {
    Run::of(home.command().args(arguments))
}

#[tokio::test(flavor = "multi_thread")]
async fn real_packages_from_the_index_of_this_machine() {
    let home = Home::with(
        "[[registry]]\nname = \"index\"\necosystem = \"pypi\"\nurl = \"system\"\n\n\
         [[repository]]\nname = \"python\"\necosystem = \"pypi\"\nregistry = \"index\"\n\
         packages = [\"six==1.17.0\", \"idna>=3,<4\", \"requests>=2.31,<3\"]\ndependencies = true\n\
         targets = [{ python = \"3.11\", platform = \"manylinux_2_28_x86_64\" }, \
         { python = \"3.12\", platform = \"manylinux_2_28_x86_64\" }, \
         { python = \"3.13\", platform = \"manylinux_2_28_x86_64\" }]\n",
    );
    let first = real(&home, &["--json", "sync", "python"]).expect(0);
    let first: serde_json::Value = serde_json::from_str(&first.stdout).unwrap();
    assert_eq!(first["published"], 1, "{first:#}");
    let server = home.serve();
    for client in client::all() {
        client.install(&server.simple("python"), &["six", "requests"]).expect(0);
        let installed = client.installed();
        for name in ["six==1.17.0", "requests==2.", "idna==3.", "urllib3==", "certifi=="] {
            assert!(installed.iter().any(|row| row.starts_with(name)), "{name}: {installed:?}");
        }
    }
    let second = real(&home, &["--json", "sync", "python"]).expect(0);
    let second: serde_json::Value = serde_json::from_str(&second.stdout).unwrap();
    assert_eq!((&second["fetched_files"], &second["published"]), (&0.into(), &serde_json::Value::Null));
    assert_eq!(second["unchanged"], second["asked"]);
    assert!(home.done(["verify", "--deep"]).contains(" 0 damaged"));
}

#[tokio::test(flavor = "multi_thread")]
async fn quickstart_works_from_nothing() {
    let home = Home::empty();
    let run = real(&home, &["quickstart", "--no-serve"]).expect(0);
    assert!(run.stdout.contains("pip install --index-url http://127.0.0.1:8470/python/simple/"), "{run:?}");
    let server = home.serve();
    let pip = client::pip();
    pip.install(&server.simple("python"), &["six", "rich"]).expect(0);
    assert!(pip.installed().iter().any(|row| row.starts_with("six==")), "{:?}", pip.installed());
}

/// Nothing is mirrored ahead: the first client brings what it needs, the others have it from here.
#[tokio::test(flavor = "multi_thread")]
async fn a_cache_of_the_index_of_this_machine() {
    let home = Home::with(
        "[[registry]]\nname = \"index\"\necosystem = \"pypi\"\nurl = \"system\"\n\n\
         [[repository]]\nname = \"python\"\necosystem = \"pypi\"\nregistry = \"index\"\nmode = \"cache\"\n",
    );
    let server = home.serve();
    for client in client::all() {
        client.install(&server.simple("python"), &["six", "requests>=2.31,<3"]).expect(0);
        let installed = client.installed();
        for name in ["six==1.", "requests==2.", "idna==3.", "urllib3==", "certifi=="] {
            assert!(installed.iter().any(|row| row.starts_with(name)), "{name}: {installed:?}");
        }
    }
    let page = super::support::web::page(&server.simple("python"), "numpy").await;
    assert!(page["files"].as_array().unwrap().len() > 4000, "all that the index lists");
    let unknown = format!("{}no-such-project-of-reservoir/", server.simple("python"));
    assert_eq!(super::support::web::get(&unknown, &[]).await.status, 404);
    home.done(["publish", "python"]);
    assert!(home.done(["verify", "--deep"]).contains(" 0 damaged"));
}
