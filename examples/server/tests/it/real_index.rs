//! The real thing: real packages from the index that this machine's pip uses, and nothing else.

use std::{fmt::Write as _, fs, process::Command};

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
    assert_eq!(
        second["asked"], first["asked"],
        "how many pages are other bytes a moment later is the index's affair"
    );
    assert!(home.done(["verify", "--deep"]).contains(" 0 damaged"));
}

#[tokio::test(flavor = "multi_thread")]
async fn quickstart_works_from_nothing() {
    let home = Home::empty();
    let run = real(&home, &["quickstart", "--no-serve"]).expect(0);
    // The line to try it with, whose address is another one here: what it installs can be installed.
    let line = "pip install --index-url http://127.0.0.1:8470/python/simple/ ";
    let packages = run.stdout.lines().find_map(|shown| shown.trim().strip_prefix(line));
    let packages: Vec<&str> = packages.unwrap_or_else(|| panic!("{run:?}")).split(' ').collect();
    let server = home.serve();
    let pip = client::pip();
    pip.install(&server.simple("python"), &packages).expect(0);
    assert!(pip.installed().iter().any(|row| row.starts_with("httpx==")), "{:?}", pip.installed());
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

/// A project that people have: locked against the index of this machine, imported by its lock, installed from here
/// alone. Between the two stands a replacement of the host in the lock, as text.
#[tokio::test(flavor = "multi_thread")]
async fn a_real_project_is_imported_by_its_lock_and_installs_offline() {
    let uv = client::uv();
    let project = "[project]\nname = \"demo\"\nversion = \"0\"\nrequires-python = \">=3.10\"\n\
                   dependencies = [\"requests>=2.31,<3\", \"rich>=13\", \"pyyaml\"]\n";
    fs::write(uv.path().join("pyproject.toml"), project).unwrap();
    let mut lock_it = outside(&uv);
    lock_it.arg("lock");
    if let Some(index) = system_index() {
        lock_it.args(["--default-index", &index]);
    }
    Run::of(&mut lock_it).expect(0);
    let lock = uv.path().join("uv.lock");
    let text = fs::read_to_string(&lock).unwrap();
    let python = python3("import sys; print(*sys.version_info[:2], sep='.')");
    let machine = python3("import platform; print(platform.machine())");
    let glibc = python3("import platform; print(platform.libc_ver()[1].replace('.', '_'))");
    let home = Home::with(&format!(
        "[[registry]]\nname = \"index\"\necosystem = \"pypi\"\nurl = \"system\"\n\n\
         [[repository]]\nname = \"python\"\necosystem = \"pypi\"\nregistry = \"index\"\n\
         targets = [{{ python = \"{python}\", platform = \"manylinux_{glibc}_{machine}\" }}]\n",
    ));
    let report = real(&home, &["--json", "import", "python", "--lock", lock.to_str().unwrap()]).expect(0);
    let report: serde_json::Value = serde_json::from_str(&report.stdout).unwrap();
    let server = home.serve();
    // Whatever host the files had, the path below it is the same here.
    let mut moved = String::new();
    for (at, part) in text.split("/packages/").enumerate() {
        if at == 0 {
            moved.push_str(part);
            continue;
        }
        let start = moved.rfind("\"http").expect("an address stands before its path") + 1;
        moved.truncate(start);
        write!(moved, "{}/python/packages/{part}", server.base).unwrap();
    }
    fs::write(&lock, moved).unwrap();
    let index = format!("--default-index={}", server.simple("python"));
    Run::of(uv.command().args(["sync", "--frozen", "--python", "python3", &index])).expect(0);
    let freeze = Run::of(uv.command().args(["pip", "freeze", "--python", ".venv"])).expect(0).stdout;
    for name in ["requests==2.", "rich==", "pyyaml==", "idna==3.", "pygments=="] {
        assert!(freeze.contains(name), "{name}: {freeze}");
    }
    let files = report["fetched_files"].as_u64().unwrap();
    assert_eq!(files, freeze.lines().count() as u64, "as many files as were installed: {report:#}");
}

/// uv with what this machine needs to reach its index.
fn outside(uv: &client::Client) -> Command {
    let mut command = uv.command();
    for (name, value) in std::env::vars_os() {
        let text = name.to_string_lossy().to_lowercase();
        if text.ends_with("_proxy") || text == "ssl_cert_file" {
            command.env(name, value);
        }
    }
    command
}

/// The index that this machine's pip is configured with; uv knows the one that is built into both.
fn system_index() -> Option<String> {
    let configured = "import subprocess, sys\n\
                      pip = [sys.executable, '-m', 'pip', 'config', 'get', 'global.index-url']\n\
                      print(subprocess.run(pip, capture_output=True, text=True).stdout.strip())";
    let configured = std::env::var("PIP_INDEX_URL").unwrap_or_else(|_| python3(configured));
    Some(configured).filter(|url| !url.is_empty())
}

fn python3(program: &str) -> String {
    Run::of(Command::new("python3").args(["-c", program])).expect(0).stdout.trim().to_owned()
}
