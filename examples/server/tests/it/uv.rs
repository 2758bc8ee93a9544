//! uv, with nothing but our index.

use std::fs;

use super::support::{
    client,
    home::{Home, Run, Server},
    index::{Index, Style, sdist, wheel},
    web::{file_url, get},
    wire::Wire,
};

fn served(index: &Index, packages: &[&str], more: &str) -> (Home, Server) {
    let home = Home::with(&index.mirror(packages, more));
    home.sync("python", 0);
    let server = home.serve();
    (home, server)
}

async fn alpha_and_beta(style: Style) -> Index {
    Index::of(style, [wheel("alpha", "1.0", &["beta>=1"]), wheel("beta", "1.0", &[])]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn case_02_uv_installs_by_metadata_and_without_ranges() {
    let index = alpha_and_beta(Style::Html).await;
    let (_home, server) = served(&index, &["alpha"], "dependencies = true");
    let wire = Wire::to(&server.base);
    let uv = client::uv();
    uv.install(&wire.simple("python"), &["alpha"]).expect(0);
    assert_eq!(uv.installed(), ["alpha==1.0", "beta==1.0"]);
    let lines = wire.lines();
    assert_eq!(lines.iter().filter(|line| line.ends_with(".whl.metadata")).count(), 2, "{lines:#?}");
    assert!(!lines.iter().any(|line| line.ends_with("(range)")), "{lines:#?}");
}

/// A registry that tells neither sizes nor times: the keys are left out, and uv resolves.
#[tokio::test(flavor = "multi_thread")]
async fn case_08_what_is_unknown_is_left_out() {
    let index = Index::json().await;
    index.add("alpha", wheel("alpha", "1.0", &[]).without_size());
    let (_home, server) = served(&index, &["alpha"], "");
    let page = super::support::web::page(&server.simple("python"), "alpha").await;
    assert!(page["files"][0].get("upload-time").is_none(), "{page}");
    assert!(page["files"][0]["size"].is_u64(), "{page}");
    let uv = client::uv();
    uv.install(&server.simple("python"), &["alpha"]).expect(0);
    assert_eq!(uv.installed(), ["alpha==1.0"]);
}

/// The second run asks whether the page is the same, and is told so.
#[tokio::test(flavor = "multi_thread")]
async fn case_11_a_page_is_revalidated() {
    let index = Index::of(Style::Json, [wheel("alpha", "1.0", &[])]).await;
    let (_home, server) = served(&index, &["alpha"], "");
    let (uv, wire) = (client::uv(), Wire::to(&server.base));
    let simple = wire.simple("python");
    uv.install(&simple, &["alpha"]).expect(0);
    let run = uv.install(&simple, &["--refresh", "alpha"]).expect(0);
    let conditional =
        wire.requests().into_iter().filter(|head| head.to_lowercase().contains("if-none-match"));
    assert!(conditional.count() >= 1, "{:#?}", wire.requests());
    assert!(run.all().contains("not-modified response"), "{}", run.all());
}

#[tokio::test(flavor = "multi_thread")]
async fn case_18_a_quarantined_project_has_no_files() {
    let index = Index::of(Style::Json, [wheel("alpha", "1.0", &[])]).await;
    let (home, server) = served(&index, &["alpha"], "");
    let simple = server.simple("python");
    let url = file_url(&simple, "alpha", "alpha-1.0-py3-none-any.whl").await;
    assert_eq!(get(&url, &[]).await.status, 200);
    index.change("alpha", |project| project.status = Some(("quarantined", "malware")));
    home.sync("python", 3);
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    assert_eq!(super::support::web::files(&simple, "alpha").await, Vec::<String>::new());
    assert_eq!(get(&url, &[]).await.status, 403);
    assert_eq!(get(&format!("{url}.metadata"), &[]).await.status, 403);
    let (_, shown) = home.json(["show", "python", "alpha"]);
    assert!(shown["quarantined"].as_str().unwrap().contains("malware"), "{shown}");
    // No person lets it in meanwhile, and nothing is kept that says that one did.
    let (code, said) = home.json(["approve", "python", "alpha@1.0", "--reason", "surely"]);
    assert_eq!((code, said["kind"].as_str()), (1, Some("Denied")), "{said}");
    let (_, history) = home.json(["history", "python", "alpha@1.0"]);
    assert!(!history.to_string().contains("surely"), "{history}");
    let run = client::uv().install(&simple, &["alpha"]);
    assert_ne!(run.code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn case_19_a_refused_version_is_explained() {
    let index = Index::of(Style::Json, [wheel("alpha", "1.0", &[]), wheel("alpha", "2.0", &[])]).await;
    let (home, server) = served(&index, &["alpha"], "whole = true");
    let simple = server.simple("python");
    let url = file_url(&simple, "alpha", "alpha-2.0-py3-none-any.whl").await;
    home.done(["reject", "python", "alpha@2.0", "--reason", "it phones home"]);
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    assert_eq!(super::support::web::files(&simple, "alpha").await, ["alpha-1.0-py3-none-any.whl"]);
    let refused = get(&url, &[]).await;
    assert_eq!((refused.status, refused.header("content-type")), (403, "application/problem+json"));
    assert_eq!(refused.json()["status"], 403);
    assert!(refused.json()["detail"].as_str().unwrap().contains("it phones home"), "{}", refused.text());
    let uv = client::uv();
    uv.install(&simple, &["alpha"]).expect(0);
    assert_eq!(uv.installed(), ["alpha==1.0"]);
    let run = uv.install(&simple, &[&format!("alpha @ {url}")]);
    assert_ne!(run.code, 0);
    assert!(run.all().contains("it phones home"), "uv shows the detail: {}", run.all());
}

/// A lock made against one host works with another after a textual replacement of the host.
#[tokio::test(flavor = "multi_thread")]
async fn case_28_a_lock_moves_to_another_host() {
    let index = Index::of(
        Style::Json,
        [wheel("alpha", "1.0", &["beta>=1"]), wheel("beta", "1.0", &[]), sdist("beta", "1.0")],
    )
    .await;
    let (_first_home, first) = served(&index, &["alpha"], "dependencies = true\nsdists = true");
    let (_second_home, second) = served(&index, &["alpha"], "dependencies = true\nsdists = true");
    let uv = client::uv();
    let project = "[project]\nname = \"demo\"\nversion = \"0\"\nrequires-python = \">=3.9\"\n\
                   dependencies = [\"alpha\"]\n";
    fs::write(uv.path().join("pyproject.toml"), project).unwrap();
    let default = |server: &Server| format!("--default-index={}", server.simple("python"));
    Run::of(uv.command().args(["lock", &default(&first)])).expect(0);
    let lock = uv.path().join("uv.lock");
    let text = fs::read_to_string(&lock).unwrap();
    assert!(text.contains(&format!("{}/python/packages/", first.base)), "{text}");
    fs::write(&lock, text.replace(&first.base, &second.base)).unwrap();
    drop(first);
    // `--frozen` takes the lock as it is, `--locked` holds it against the index first.
    for how in ["--frozen", "--locked"] {
        Run::of(uv.command().args(["sync", how, "--python", "python3", &default(&second)])).expect(0);
        let freeze = Run::of(uv.command().args(["pip", "freeze", "--python", ".venv"])).expect(0);
        assert_eq!(freeze.stdout, "alpha==1.0\nbeta==1.0\n");
        fs::remove_dir_all(uv.path().join(".venv")).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn case_29_lock_excludes_what_is_newer() {
    let index = Index::of(
        Style::Html,
        [
            wheel("alpha", "1.0", &[]).uploaded("2023-06-01T00:00:00Z"),
            wheel("alpha", "2.0", &[]).uploaded("2024-06-01T00:00:00Z"),
        ],
    )
    .await;
    let (_home, server) = served(&index, &["alpha"], "whole = true");
    let uv = client::uv();
    let project = "[project]\nname = \"demo\"\nversion = \"0\"\nrequires-python = \">=3.9\"\n\
                   dependencies = [\"alpha\"]\n";
    fs::write(uv.path().join("pyproject.toml"), project).unwrap();
    let index = format!("--default-index={}", server.simple("python"));
    Run::of(uv.command().args(["lock", &index, "--exclude-newer", "2024-01-01"])).expect(0);
    let lock = fs::read_to_string(uv.path().join("uv.lock")).unwrap();
    assert!(lock.contains("alpha-1.0-py3-none-any.whl") && !lock.contains("alpha-2.0"), "{lock}");
}
