//! Others that mirror us: bandersnatch, and another Reservoir.

use std::{fs, path::Path, time::Duration};

use serde_json::json;

use super::support::{
    client::{self, alone},
    home::{Home, Run, Server},
    index::{Index, Style, sdist, wheel},
    web::{JSON, files, get},
};

async fn outside() -> Index {
    Index::of(
        Style::Json,
        [
            wheel("alpha", "1.0", &["beta>=1"]).uploaded("2024-01-02T03:04:05Z"),
            sdist("alpha", "1.0"),
            wheel("beta", "1.0", &[]),
            wheel("beta", "2.0", &[]).yanked("broken"),
        ],
    )
    .await
}

fn served(index: &Index, arguments: &[&str]) -> (Home, Server) {
    let home = Home::with(&index.mirror(&["alpha", "beta"], "whole = true\nsdists = true\nyanked = true"));
    home.sync("python", 0);
    let server = home.serve_with(arguments);
    (home, server)
}

#[tokio::test(flavor = "multi_thread")]
async fn serials_rise_with_what_changes() {
    let index = outside().await;
    let (home, server) = served(&index, &[]);
    let serials = async || {
        let answer = get(&server.simple("python"), &[("accept", JSON)]).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, JSON));
        let list = answer.json();
        let of = |row: &serde_json::Value| {
            (row["name"].as_str().unwrap().to_owned(), row["_last-serial"].as_u64().unwrap())
        };
        let projects: Vec<_> = list["projects"].as_array().unwrap().iter().map(of).collect();
        for (name, serial) in &projects {
            let url = format!("{}/python/pypi/{name}/json", server.base);
            let document = get(&url, &[]).await;
            assert_eq!(document.header("x-pypi-last-serial"), serial.to_string());
            assert_eq!(document.json()["last_serial"], *serial);
        }
        projects
    };
    let before = serials().await;
    index.add("alpha", wheel("alpha", "2.0", &[]));
    home.sync("python", 0);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let after = serials().await;
    assert!(after[0].1 > before[0].1, "alpha changed: {before:?} {after:?}");
    assert_eq!(after[1], before[1], "beta did not");
}

#[tokio::test(flavor = "multi_thread")]
async fn projects_are_described_as_mirrors_read_them() {
    let index = outside().await;
    let (_home, server) = served(&index, &[]);
    let ask = async |path: &str| get(&format!("{}/python/pypi/{path}", server.base), &[]).await;
    let document = ask("Alpha/json").await.json();
    assert_eq!(document["info"]["version"], "1.0");
    assert_eq!(document["info"]["requires_dist"], json!(["beta>=1"]));
    assert_eq!(document["releases"]["1.0"], document["urls"]);
    let wheel = &document["urls"][0];
    assert_eq!(wheel["packagetype"], "bdist_wheel");
    assert_eq!(wheel["upload_time_iso_8601"], "2024-01-02T03:04:05Z");
    let file = get(wheel["url"].as_str().unwrap(), &[]).await;
    assert_eq!((file.status, file.body.len() as u64), (200, wheel["size"].as_u64().unwrap()));
    let beta = ask("beta/json").await.json();
    assert_eq!(beta["info"]["version"], "2.0");
    assert_eq!(beta["releases"]["2.0"][0]["yanked_reason"], "broken");
    let old = ask("beta/1.0/json").await.json();
    assert_eq!((&old["info"]["version"], &old["releases"]), (&json!("1.0"), &json!(null)));
    for path in ["unknown/json", "beta/9/json", "beta/x y/json", "../json", "-/json"] {
        assert_eq!(ask(path).await.status, 404, "{path}");
    }
}

/// Runs bandersnatch over everything there is, with another line of its configuration.
fn bandersnatch(folder: &Path, server: &Server, more: &str) -> Run {
    let config = format!(
        "[mirror]\ndirectory = {}/mirror\nmaster = {}\nallow-non-https = true\njson = true\n\
         hash-index = false\nworkers = 2\ntimeout = 10\nstop-on-error = true\nverifiers = 2\n{more}\n",
        folder.display(),
        server.base
    );
    fs::write(folder.join("bandersnatch.conf"), config).unwrap();
    let mut command = alone("RESERVOIR_TEST_BANDERSNATCH", folder);
    Run::of(command.arg("--config").arg(folder.join("bandersnatch.conf")).arg("mirror"))
}

fn names_below(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                waiting.push(entry.path());
            } else {
                found.push(entry.file_name().into_string().unwrap());
            }
        }
    }
    found.sort();
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn case_44_bandersnatch_mirrors_us() {
    bandersnatch_mirrors_us("api-method = simple").await;
}

/// By XML-RPC.
#[tokio::test(flavor = "multi_thread")]
async fn case_44_bandersnatch_mirrors_us_by_its_defaults() {
    bandersnatch_mirrors_us("").await;
}

/// bandersnatch wants files at `/packages` of their host, so that the repository stands at the root.
async fn bandersnatch_mirrors_us(method: &str) {
    let index = outside().await;
    let (home, server) = served(&index, &["--root", "python"]);
    let folder = tempfile::tempdir().unwrap();
    bandersnatch(folder.path(), &server, method).expect(0);
    let web = folder.path().join("mirror/web");
    let expected = [
        "alpha-1.0-py3-none-any.whl",
        "alpha-1.0.tar.gz",
        "beta-1.0-py3-none-any.whl",
        "beta-2.0-py3-none-any.whl",
    ];
    assert_eq!(names_below(&web.join("packages")), expected);
    // A second run has nothing to do.
    let run = bandersnatch(folder.path(), &server, method).expect(0);
    assert!(!run.all().contains("Downloading:"), "{}", run.all());
    // What is new comes, what is refused goes.
    index.add("alpha", wheel("alpha", "2.0", &[]));
    home.sync("python", 0);
    home.done(["reject", "python", "beta@2.0"]);
    home.done(["publish", "python"]);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let run = bandersnatch(folder.path(), &server, method).expect(0);
    assert_eq!(run.all().matches("Downloading:").count(), 1, "{}", run.all());
    let page = fs::read_to_string(web.join("simple/beta/index.html")).unwrap();
    assert!(page.contains("beta-1.0") && !page.contains("beta-2.0"), "{page}");
    assert!(names_below(&web.join("packages")).contains(&"alpha-2.0-py3-none-any.whl".to_owned()));
}

/// As Python's own client of XML-RPC asks; where uploads are taken too, this is none.
#[tokio::test(flavor = "multi_thread")]
async fn what_changed_is_told_by_xml_rpc() {
    let index = outside().await;
    let home = Home::with(&index.mirror(&["alpha", "beta"], "whole = true\nyanked = true\nhosted = true"));
    home.sync("python", 0);
    let server = home.serve();
    let script = "import json, sys, xmlrpc.client\n\
                  ours = xmlrpc.client.ServerProxy(sys.argv[1])\n\
                  last = ours.changelog_last_serial()\n\
                  told = ours.list_packages_with_serial(), last, ours.changelog_since_serial(0)\n\
                  try:\n    ours.search({'name': '<six>'})\n\
                  except xmlrpc.client.Fault as fault:\n    print(json.dumps([*told, fault.faultCode]))\n";
    let asked = || {
        let mut python = std::process::Command::new("python3");
        python.args(["-c", script, &server.url("/python/pypi")]).env("NO_PROXY", "127.0.0.1");
        let told = Run::of(&mut python).expect(0).stdout;
        serde_json::from_str::<serde_json::Value>(&told).unwrap()
    };
    let told = asked();
    assert_eq!(told[0], json!({ "alpha": 1, "beta": 1 }), "{told}");
    assert_eq!((&told[1], &told[3]), (&json!(1), &json!(-32601)));
    let rows: Vec<_> = told[2].as_array().unwrap().iter().map(|row| (&row[0], &row[3], &row[4])).collect();
    let (update, first) = (json!("update"), json!(1));
    assert_eq!(rows, [(&json!("alpha"), &update, &first), (&json!("beta"), &update, &first)]);
    index.add("alpha", wheel("alpha", "2.0", &[]));
    home.sync("python", 0);
    let begun = std::time::Instant::now();
    while asked()[0] != json!({ "alpha": 2, "beta": 1 }) {
        assert!(begun.elapsed() < Duration::from_secs(30), "{}", asked());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// A repository at the root answers as under its name, and takes no other's place.
#[tokio::test(flavor = "multi_thread")]
async fn a_repository_stands_at_the_root() {
    let index = outside().await;
    let (home, server) = served(&index, &["--root", "python"]);
    let simple = format!("{}/simple/", server.base);
    for client in client::all() {
        client.install(&simple, &["alpha"]).expect(0);
        assert_eq!(client.installed(), ["alpha==1.0", "beta==1.0"]);
    }
    assert_eq!(files(&server.simple("python"), "alpha").await.len(), 2);
    assert_eq!(get(&format!("{}/other/simple/", server.base), &[]).await.status, 404);
    assert_eq!(get(&format!("{}/healthz", server.base), &[]).await.status, 200);
    assert!(home.run(["serve", "--root", "nobody", "--listen", "127.0.0.1:0"]).code != 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn case_44_a_reservoir_mirrors_and_caches_another() {
    let index = outside().await;
    let (outer, outer_server) = served(&index, &[]);
    let registry = |mode: &str| {
        format!(
            "[[registry]]\nname = \"outer\"\necosystem = \"pypi\"\nurl = \"{}\"\n\n[[repository]]\nname = \"python\"\n\
             ecosystem = \"pypi\"\nregistry = \"outer\"\n{mode}\n",
            outer_server.simple("python")
        )
    };
    let mirror =
        Home::with(&registry("packages = [\"alpha\", \"beta\"]\nwhole = true\nsdists = true\nyanked = true"));
    let cache = Home::with(&registry("mode = \"cache\"\nfresh_for = \"1s\""));
    mirror.sync("python", 0);
    let (mirrored, cached) = (mirror.serve(), cache.serve());
    let page = super::support::web::page(&outer_server.simple("python"), "alpha").await;
    let ours = super::support::web::page(&mirrored.simple("python"), "alpha").await;
    assert_eq!(page["files"], ours["files"], "addresses, digests, times, sidecars");
    for server in [&mirrored, &cached] {
        for client in client::all() {
            client.install(&server.simple("python"), &["alpha"]).expect(0);
            assert_eq!(client.installed(), ["alpha==1.0", "beta==1.0"]);
        }
    }
    // Nothing new: nothing is transferred.
    let report = mirror.sync("python", 0);
    assert_eq!((&report["fetched_files"], &report["unchanged"]), (&json!(0), &json!(2)), "{report:#}");
    // A yank goes all the way.
    index.change("alpha", |project| project.files.iter_mut().for_each(|file| file.yanked = Some("oops")));
    outer.sync("python", 0);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    mirror.sync("python", 0);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    for server in [&mirrored, &cached] {
        let page = super::support::web::page(&server.simple("python"), "alpha").await;
        assert_eq!(page["files"][0]["yanked"], "oops", "{page:#}");
    }
}
