//! poetry and pdm, against a cache.

use std::{fs, path::Path, process::Command};

use super::support::{
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

/// The program that a variable names, alone in a folder.
fn command(variable: &str, folder: &Path) -> Command {
    let program = std::env::var_os(variable)
        .unwrap_or_else(|| panic!("{variable} is not set; run scripts/test, which installs the clients"));
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy().to_lowercase();
        if text.starts_with("pip_") || text.starts_with("uv_") || text.ends_with("_proxy") {
            command.env_remove(&name);
        }
    }
    command
        .env("HOME", folder)
        .env("XDG_CONFIG_HOME", folder.join("config"))
        .env("XDG_CACHE_HOME", folder.join("cache"))
        .env("XDG_DATA_HOME", folder.join("data"))
        .env("PIP_CONFIG_FILE", "/dev/null")
        .env("NO_COLOR", "1")
        .current_dir(folder);
    command
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
    let mut poetry = command("RESERVOIR_TEST_POETRY", folder.path());
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
    let project = format!(
        "[project]\nname = \"demo\"\nversion = \"0\"\nrequires-python = \">=3.9\"\n\n[tool.pdm]\ndistribution = \
         false\n\n[[tool.pdm.source]]\nname = \"pypi\"\nurl = \"{}\"\nverify_ssl = false\n",
        server.simple("python")
    );
    fs::write(folder.path().join("pyproject.toml"), project).unwrap();
    let mut pdm = command("RESERVOIR_TEST_PDM", folder.path());
    pdm.env("PDM_CHECK_UPDATE", "0").env("PDM_USE_VENV", "1").env("PDM_NON_INTERACTIVE", "1");
    Run::of(pdm.args(["add", "alpha"])).expect(0);
    let installed = installed(folder.path());
    assert!(installed.iter().any(|name| name == "alpha-1.0"), "{installed:?}");
    assert!(installed.iter().any(|name| name == "beta-1.0"), "{installed:?}");
}
