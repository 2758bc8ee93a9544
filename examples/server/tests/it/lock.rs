//! Lock files: exactly what they name, for the targets, and offline from then on.

use std::{fs, path::Path};

use reservoir_core::testing::upstream::Reply;

use super::support::{
    client,
    home::{Home, Run, Server},
    index::{File, Index, Style, sdist, tagged, wheel},
    web::files,
};

const PROJECT: &str = "[project]\nname = \"demo\"\nversion = \"0\"\nrequires-python = \">=3.9\"\n\
    dependencies = [\"alpha[more]\", \"winonly; sys_platform == 'win32'\"]\n\n\
    [dependency-groups]\ndev = [\"tool\"]\n";
const TARGETS: &str = "targets = [{ python = \"3.11\", platform = \"manylinux_2_28_x86_64\" }]";

/// `alpha[more]` needs `beta` and `extra`; `native` has wheels for several platforms.
async fn outside(style: Style) -> Index {
    let alpha =
        wheel("alpha", "1.0", &["beta>=1", "native", "extra; extra == 'more'", "unused; extra == 'less'"]);
    let mut files = vec![
        alpha,
        wheel("alpha", "0.9", &[]),
        wheel("beta", "1.0", &[]),
        sdist("beta", "1.0"),
        wheel("extra", "1.0", &[]),
        wheel("unused", "1.0", &[]),
        wheel("tool", "3.0", &[]),
        wheel("winonly", "1.0", &[]),
    ];
    for tags in [
        "cp311-cp311-manylinux_2_17_x86_64",
        "cp311-cp311-manylinux_2_34_x86_64",
        "cp312-cp312-manylinux_2_17_x86_64",
        "cp311-cp311-win_amd64",
    ] {
        files.push(tagged("native", "1.0", tags));
    }
    let index = Index::of(style, files).await;
    // uv looks for the extra among what the wheel says it has.
    index.change("alpha", |project| {
        let old = project.files.remove(0);
        project.files.insert(0, with_extras(&old));
    });
    index
}

fn with_extras(file: &File) -> File {
    use super::support::dist::{Wheel, metadata};
    let lines = "Requires-Dist: beta>=1\nRequires-Dist: native\nProvides-Extra: more\nProvides-Extra: less\n\
                 Requires-Dist: extra; extra == 'more'\nRequires-Dist: unused; extra == 'less'\n";
    let built = Wheel::new("alpha", "1.0").with_metadata(metadata("alpha", "1.0", lines)).build();
    File::new(file.name.clone(), built)
}

/// A project locked against the index itself, and the folder it is in.
fn locked(index: &Index) -> client::Client {
    let uv = client::uv();
    fs::write(uv.path().join("pyproject.toml"), PROJECT).unwrap();
    Run::of(uv.command().args(["lock", &format!("--default-index={}/simple/", index.base())])).expect(0);
    uv
}

fn exported(uv: &client::Client, format: &str, name: &str) -> String {
    let output = uv.path().join(name);
    let mut command = uv.command();
    command.args([
        "export",
        "--frozen",
        "--all-groups",
        "--all-extras",
        "--no-emit-project",
        "--format",
        format,
    ]);
    Run::of(command.arg("--output-file").arg(&output)).expect(0);
    fs::read_to_string(output).unwrap()
}

async fn listed(server: &Server) -> Vec<String> {
    let simple = server.simple("python");
    let mut all = Vec::new();
    for name in ["alpha", "beta", "extra", "native", "tool", "unused", "winonly"] {
        let page = super::support::web::get(&format!("{simple}{name}/"), &[]).await;
        if page.status == 200 {
            all.extend(files(&simple, name).await);
        }
    }
    all
}

const EXPECTED: [&str; 5] = [
    "alpha-1.0-py3-none-any.whl",
    "beta-1.0-py3-none-any.whl",
    "extra-1.0-py3-none-any.whl",
    "native-1.0-cp311-cp311-manylinux_2_17_x86_64.whl",
    "tool-3.0-py3-none-any.whl",
];

/// Case 32, and what it is for: after a replacement of the host, `uv sync --frozen` needs nobody else.
#[tokio::test(flavor = "multi_thread")]
async fn case_32_a_lock_of_uv_is_imported_exactly_and_syncs_offline() {
    let index = outside(Style::Json).await;
    let uv = locked(&index);
    let lock = uv.path().join("uv.lock");
    // The files of a company's proxy lie where those of Python's own host lie.
    let home = Home::with(&index.mirror(&[], TARGETS));
    let (code, report) = home.json(["import", "python", "--lock", lock.to_str().unwrap()]);
    assert_eq!(code, 0, "{report:#}");
    let server = home.serve();
    assert_eq!(listed(&server).await, EXPECTED);
    // Again: nothing is new.
    let fetched = index.count("/files/");
    let (code, report) = home.json(["import", "python", "--lock", lock.to_str().unwrap()]);
    assert_eq!((code, &report["published"]), (0, &serde_json::Value::Null), "{report:#}");
    assert_eq!(index.count("/files/"), fetched);
    home.done(["verify", "--deep"]);
}

/// What tools write by default: the project itself among its own packages, and what comes from elsewhere.
#[tokio::test(flavor = "multi_thread")]
async fn case_32_the_project_itself_is_no_package() {
    let index = outside(Style::Json).await;
    let uv = client::uv();
    let build = "\n[build-system]\nrequires = []\nbuild-backend = \"none\"\n";
    fs::write(uv.path().join("pyproject.toml"), format!("{PROJECT}{build}")).unwrap();
    Run::of(uv.command().args(["lock", &format!("--default-index={}/simple/", index.base())])).expect(0);
    for (format, name) in [("requirements-txt", "requirements.txt"), ("pylock.toml", "pylock.toml")] {
        let output = uv.path().join(name);
        let mut export = uv.command();
        export.args([
            "export",
            "--frozen",
            "--all-groups",
            "--all-extras",
            "--format",
            format,
            "--output-file",
        ]);
        Run::of(export.arg(&output)).expect(0);
        let text = fs::read_to_string(&output).unwrap();
        assert!(text.contains("-e .") || text.contains("directory"), "{text}");
        let home = Home::with(&index.mirror(&[], TARGETS));
        let (code, report) = home.json(["import", "python", "--lock", output.to_str().unwrap()]);
        assert_eq!((code, &report["missing"]), (0, &serde_json::json!([])), "{name}: {report:#}");
        assert_eq!(listed(&home.serve()).await, EXPECTED, "{name}");
        if format == "requirements-txt" {
            // What no index has is missing, and the rest is brought all the same.
            let more =
                format!("{text}\nforeign @ git+https://user:secret@git.example.com/foreign.git@0123\n");
            fs::write(&output, more).unwrap();
            let home = Home::with(&index.mirror(&[], TARGETS));
            let (code, report) = home.json(["import", "python", "--lock", output.to_str().unwrap()]);
            let missing = report["missing"].as_array().unwrap();
            assert!(code == 3 && missing.len() == 1, "{report:#}");
            let told = missing[0].as_str().unwrap();
            assert!(told.contains("`foreign`") && !told.contains("secret"), "{told}");
        }
    }
}

/// An index of special builds beside the common one: each file comes from the registry that has it, whichever knows the
/// name first.
#[tokio::test(flavor = "multi_thread")]
async fn case_32_a_lock_of_several_indexes() {
    let common = Index::of(Style::Json, [wheel("alpha", "1.0", &["beta"]), wheel("beta", "1.0", &[])]).await;
    let special =
        Index::of(Style::Html, [wheel("alpha", "1.0+cpu", &["beta"]), wheel("beta", "6.6.6", &[])]).await;
    let uv = client::uv();
    let project = format!(
        "[project]\nname = \"demo\"\nversion = \"0\"\nrequires-python = \">=3.9\"\ndependencies = [\"alpha\"]\n\n\
         [[tool.uv.index]]\nname = \"special\"\nurl = \"{}/simple/\"\nexplicit = true\n\n\
         [tool.uv.sources]\nalpha = {{ index = \"special\" }}\n",
        special.base()
    );
    fs::write(uv.path().join("pyproject.toml"), project).unwrap();
    Run::of(uv.command().args(["lock", &format!("--default-index={}/simple/", common.base())])).expect(0);
    let lock = uv.path().join("uv.lock");
    assert!(fs::read_to_string(&lock).unwrap().contains("1.0+cpu"));
    let home = Home::with(&format!(
        "[[registry]]\nname = \"common\"\necosystem = \"pypi\"\nurl = \"{}/simple/\"\n\n\
         [[registry]]\nname = \"special\"\necosystem = \"pypi\"\nurl = \"{}/simple/\"\n\n\
         [[repository]]\nname = \"python\"\necosystem = \"pypi\"\nregistries = [\"common\", \"special\"]\n",
        common.base(),
        special.base(),
    ));
    for _ in 0..2 {
        let (code, report) = home.json(["import", "python", "--lock", lock.to_str().unwrap()]);
        assert_eq!((code, &report["missing"]), (0, &serde_json::json!([])), "{report:#}");
    }
    let server = home.serve();
    let simple = server.simple("python");
    assert_eq!(files(&simple, "alpha").await, ["alpha-1.0+cpu-py3-none-any.whl"]);
    assert_eq!(files(&simple, "beta").await, ["beta-1.0-py3-none-any.whl"], "never by its name alone");
    let client = client::uv();
    client.install(&simple, &["alpha"]).expect(0);
    assert_eq!(client.installed(), ["alpha==1.0+cpu", "beta==1.0"]);
}

/// The size that the case speaks of: of each of a hundred packages the one wheel that is locked, and no source.
#[tokio::test(flavor = "multi_thread")]
async fn case_32_a_lock_of_a_hundred_packages() {
    let names: Vec<String> = (0..100).map(|number| format!("p{number:03}")).collect();
    let index = Index::json().await;
    for (number, name) in names.iter().enumerate() {
        // A chain of ten each: the lock has far more than its project names.
        let next = names.get(number + 1).filter(|_| number % 10 < 9);
        let next: Vec<&str> = next.into_iter().map(String::as_str).collect();
        index.add(name, wheel(name, "1.0", &next));
        index.add(name, wheel(name, "0.9", &[]));
        index.add(name, sdist(name, "1.0"));
    }
    let uv = client::uv();
    let asked: Vec<&String> = names.iter().step_by(10).collect();
    let project = format!(
        "[project]\nname = \"demo\"\nversion = \"0\"\nrequires-python = \">=3.9\"\ndependencies = {asked:?}\n"
    );
    fs::write(uv.path().join("pyproject.toml"), project).unwrap();
    Run::of(uv.command().args(["lock", &format!("--default-index={}/simple/", index.base())])).expect(0);
    let home = Home::with(&index.mirror(&[], TARGETS));
    let before = index.count("/files/");
    let lock = uv.path().join("uv.lock");
    let (code, report) = home.json(["import", "python", "--lock", lock.to_str().unwrap()]);
    assert_eq!((code, &report["fetched_files"]), (0, &100.into()), "{report:#}");
    assert_eq!(index.count("/files/") - before, 100, "each once");
    let (_, listed) = home.json(["list", "python", "--status", "AVAILABLE"]);
    let listed = listed["revisions"].as_array().unwrap();
    assert!(listed.len() == 100 && listed.iter().all(|row| row["revision"] == "1.0"), "{listed:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_project_installs_offline_after_its_host_was_replaced() {
    // Outside: a Reservoir, whose addresses are laid out as those of Python's own file host.
    let index = outside(Style::Html).await;
    let names = ["alpha", "beta", "extra", "native", "tool", "unused", "winonly"];
    let outer = Home::with(&index.mirror(&names, "whole = true\nsdists = true"));
    outer.sync("python", 0);
    let outer_server = outer.serve();
    let uv = client::uv();
    fs::write(uv.path().join("pyproject.toml"), PROJECT).unwrap();
    let default = |server: &Server| format!("--default-index={}", server.simple("python"));
    Run::of(uv.command().args(["lock", &default(&outer_server)])).expect(0);
    let lock = uv.path().join("uv.lock");
    let text = fs::read_to_string(&lock).unwrap();
    // Inside: only what the lock names.
    let inner = Home::with(&format!(
        "[[registry]]\nname = \"outer\"\necosystem = \"pypi\"\nurl = \"{}\"\n\n[[repository]]\nname = \"python\"\n\
         ecosystem = \"pypi\"\nregistry = \"outer\"\ntargets = [{}]\n",
        outer_server.simple("python"),
        here()
    ));
    let (code, report) = inner.json(["import", "python", "--lock", lock.to_str().unwrap()]);
    assert_eq!(code, 3, "{report:#}");
    // `native` is for CPython 3.11 and 3.12 on x86-64 alone.
    let missing = report["missing"].as_array().unwrap();
    let is_native = |line: &serde_json::Value| line.as_str().unwrap().contains("native==1.0");
    assert!(missing.iter().all(is_native), "{report:#}");
    let server = inner.serve();
    let (outer_base, inner_base) = (outer_server.base.clone(), server.base.clone());
    drop(outer_server);
    drop(index);
    fs::write(&lock, text.replace(&outer_base, &inner_base)).unwrap();
    let mut sync = uv.command();
    sync.args(["sync", "--frozen", "--no-dev", "--python", "python3", "--no-install-package", "native"]);
    Run::of(sync.arg(default(&server))).expect(0);
    let freeze = Run::of(uv.command().args(["pip", "freeze", "--python", ".venv"])).expect(0);
    assert_eq!(freeze.stdout, "alpha==1.0\nbeta==1.0\nextra==1.0\n");
}

/// A target that is this machine's own Python, without wheels for a platform.
fn here() -> String {
    let run = Run::of(
        std::process::Command::new("python3")
            .args(["-c", "import sys; print(*sys.version_info[:2], sep='.')"]),
    );
    // No wheel of the fixture is for musl.
    format!("{{ python = \"{}\", platform = \"musllinux_1_2_x86_64\" }}", run.expect(0).stdout.trim())
}

#[tokio::test(flavor = "multi_thread")]
async fn locks_of_other_tools_bring_the_same() {
    for style in [Style::Json, Style::Html] {
        let index = outside(style).await;
        let uv = locked(&index);
        for (format, name) in [("pylock.toml", "pylock.toml"), ("requirements-txt", "requirements.txt")] {
            let text = exported(&uv, format, name);
            let home = Home::with(&index.mirror(&[], TARGETS));
            let (code, report) =
                home.json(["import", "python", "--lock", uv.path().join(name).to_str().unwrap()]);
            assert_eq!(code, 0, "{report:#}\n{text}");
            assert_eq!(listed(&home.serve()).await, EXPECTED, "{text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_lock_names_and_nobody_offers_is_said() {
    let index = outside(Style::Json).await;
    let uv = locked(&index);
    let lock = uv.path().join("uv.lock");
    let import = |index: &Index, more: &str, text: &str| {
        let home = Home::with(&index.mirror(&[], more));
        fs::write(&lock, text).unwrap();
        let (code, report) = home.json(["import", "python", "--lock", lock.to_str().unwrap()]);
        (code, report["missing"].to_string(), home)
    };
    let text = fs::read_to_string(&lock).unwrap();

    // Gone, changed, from elsewhere, for nobody here.
    index.change("extra", |project| project.files.clear());
    index.change("tool", |project| project.files[0] = wheel("tool", "3.0", &["evil"]));
    let with_git = format!(
        "{text}\n[[package]]\nname = \"fromgit\"\nversion = \"1\"\nsource = {{ git = \"https://example.com/x\" }}\n"
    );
    let with_git =
        with_git.replacen("dependencies = [\n", "dependencies = [\n    { name = \"fromgit\" },\n", 10);
    let musl = "targets = [{ python = \"3.11\", platform = \"musllinux_1_2_x86_64\" }]";
    let (code, missing, home) = import(&index, musl, &with_git);
    assert_eq!(code, 3, "{missing}");
    for part in [
        "no registry offers `extra-1.0-py3-none-any.whl`",
        "`tool-3.0-py3-none-any.whl` is offered with other bytes",
        "`fromgit==1` (uv.lock): it comes from git",
        "nothing of it fits",
    ] {
        assert!(missing.contains(part), "{part}: {missing}");
    }
    let server = home.serve();
    assert_eq!(listed(&server).await, EXPECTED[..2].to_vec(), "what is right is here");

    // A registry without digests: the lock's own decides.
    let plain = Index::json().await;
    let file = wheel("alpha", "1.0", &[]);
    let page = |file: &File| {
        let url = format!("{}{}", plain.base(), file.path());
        format!("<a href=\"{url}\">{}</a>", file.name)
    };
    let evil = wheel("alpha", "1.0", &["evil"]);
    plain.upstream.route("/simple/alpha/", Reply::ok(page(&evil)).content_type("text/html"));
    plain.upstream.route(evil.path(), Reply::ok(evil.bytes.clone()));
    let lock_text = format!(
        "version = 1\n[[package]]\nname = \"alpha\"\nversion = \"1.0\"\nsource = {{ registry = \"x\" }}\n\
         wheels = [{{ url = \"https://example.com/{}\", hash = \"sha256:{}\" }}]\n",
        file.name, file.sha256
    );
    let (code, _, home) = import(&plain, "", &lock_text);
    assert_eq!(code, 3);
    assert!(home.done(["history", "python", "alpha@1.0"]).contains("FAILED"));

    // What is no lock is a mistake.
    for (name, text, word) in [
        ("uv.lock", "version = 2\n", "version"),
        ("uv.lock", "package = [", "line 1"),
        ("pylock.toml", "lock-version = \"2.0\"\n", "version"),
        ("requirements.txt", "alpha==1.0\n", "--hash"),
        ("requirements.txt", "alpha>=1.0 --hash=sha256:00\n", "=="),
        ("requirements.txt", "-r other.txt\n", "-r"),
        ("poetry.lock", "", "none of the lock files"),
    ] {
        let path = uv.path().join(name);
        fs::write(&path, text).unwrap();
        let run = home.run([Path::new("import"), Path::new("python"), Path::new("--lock"), &path]);
        assert!(run.code != 0 && run.stderr.contains(word), "{name} {text}: {}", run.all());
    }
}
