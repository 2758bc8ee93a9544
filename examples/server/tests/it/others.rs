//! poetry and pdm, against a cache.

use std::{fs, path::Path};

use super::support::{
    client::alone,
    home::{Home, Run, Server},
    index::{Index, Style, wheel},
};

async fn served() -> (Index, Home, Server) {
    let index =
        Index::of(Style::Json, [wheel("alpha", "1.0", &["beta>=1"]), wheel("beta", "1.0", &[])]).await;
    let home = Home::with(&index.cache(""));
    let server = home.serve();
    (index, home, server)
}

fn installed(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for library in fs::read_dir(folder.join(".venv/lib")).unwrap() {
        for entry in fs::read_dir(library.unwrap().path().join("site-packages")).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            found.extend(name.strip_suffix(".dist-info").map(str::to_owned));
        }
    }
    found.sort();
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn case_03_poetry_adds_from_a_cache() {
    let (_index, _home, server) = served().await;
    let folder = tempfile::tempdir().unwrap();
    let project = format!(
        "[project]\nname = \"demo\"\nversion = \"0\"\nrequires-python = \">=3.9\"\n\n[tool.poetry]\npackage-mode = \
         false\n\n[[tool.poetry.source]]\nname = \"ours\"\nurl = \"{}\"\npriority = \"primary\"\n",
        server.simple("python")
    );
    fs::write(folder.path().join("pyproject.toml"), project).unwrap();
    let mut poetry = alone("RESERVOIR_TEST_POETRY", folder.path());
    poetry.env("POETRY_VIRTUALENVS_IN_PROJECT", "true").env("POETRY_KEYRING_ENABLED", "false");
    Run::of(poetry.args(["add", "--no-interaction", "alpha"])).expect(0);
    let installed = installed(folder.path());
    assert!(installed.iter().any(|name| name == "alpha-1.0"), "{installed:?}");
    assert!(installed.iter().any(|name| name == "beta-1.0"), "{installed:?}");
    let lock = fs::read_to_string(folder.path().join("poetry.lock")).unwrap();
    assert!(lock.contains(server.simple("python").trim_end_matches('/')), "{lock}");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_04_pdm_adds_from_a_cache() {
    let (_index, _home, server) = served().await;
    let folder = tempfile::tempdir().unwrap();
    // A source called `pypi` takes the place of the one that is built in.
    let project = format!(
        "[project]\nname = \"demo\"\nversion = \"0\"\nrequires-python = \">=3.9\"\n\n[[tool.pdm.source]]\n\
         name = \"pypi\"\nurl = \"{}\"\nverify_ssl = false\n\n[tool.pdm]\ndistribution = false\n",
        server.simple("python")
    );
    fs::write(folder.path().join("pyproject.toml"), project).unwrap();
    let mut pdm = alone("RESERVOIR_TEST_PDM", folder.path());
    pdm.env("PDM_CHECK_UPDATE", "0").env("PDM_NON_INTERACTIVE", "1");
    Run::of(pdm.args(["add", "--no-self", "alpha"])).expect(0);
    let installed = installed(folder.path());
    assert!(installed.iter().any(|name| name == "alpha-1.0"), "{installed:?}");
    assert!(installed.iter().any(|name| name == "beta-1.0"), "{installed:?}");
    let lock = fs::read_to_string(folder.path().join("pdm.lock")).unwrap();
    assert!(lock.contains("alpha-1.0-py3-none-any.whl") && lock.contains("sha256:"), "{lock}");
}
