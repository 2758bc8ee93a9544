//! What `import --solve` picks for real projects, with `uv pip compile` as the measure: the index that this machine's
//! pip uses, as it was on one day. Nothing but pages and metadata is fetched.
//!
//! Where uv builds what is only source to find out what it needs, nothing is built here; so uv is told not to build
//! either. With that, no difference is known: what both pick is the same, or both find nothing.

use std::{collections::BTreeSet, process::Command, thread};

use super::support::{
    client::{self, Client},
    home::{Home, Run},
};

/// The day: files uploaded later do not count.
const DAY: &str = "2026-10-01T00:00:00Z";
/// Requirements of which none is there but as source.
const SOURCE_ONLY: &str = "pyspark";

/// Each line is solved alone. Together they have extras, markers, pins among their dependencies, pre-releases that
/// nothing else satisfies, and dependencies that hold back one another.
const PROJECTS: [&str; 36] = [
    "requests",
    "flask",
    "rich",
    "django",
    "fastapi",
    "fastapi[standard]",
    "pandas",
    "scipy",
    "scikit-learn",
    "matplotlib",
    "notebook",
    "black",
    "pytest",
    "sphinx",
    "celery",
    "celery[redis]",
    "s3fs",
    "sqlalchemy",
    "tox",
    "scrapy",
    "httpx",
    "httpx[http2]",
    "torch",
    "transformers",
    "keras",
    "streamlit",
    "dask[complete]",
    "nltk",
    "opentelemetry-distro",
    "google-cloud-storage",
    "azure-identity",
    "kubernetes",
    "mkdocs-material",
    "pre-commit",
    "boto3",
    SOURCE_ONLY,
];

/// The address that pip is configured with; without one, uv's own default is the same.
fn index() -> Option<String> {
    if let Ok(url) = std::env::var("PIP_INDEX_URL") {
        return Some(url);
    }
    let run = Run::of(Command::new("python3").args(["-m", "pip", "config", "get", "global.index-url"]));
    Some(run.stdout.trim().to_owned()).filter(|url| run.code == 0 && !url.is_empty())
}

/// What uv picks; nothing, when it finds no solution.
fn uv(client: &Client, project: &str) -> BTreeSet<String> {
    let file = client.path().join("requirements.in");
    std::fs::write(&file, project).unwrap();
    let mut command = client.command();
    command.args(["pip", "compile", "--no-annotate", "--no-header", "--no-build", "--exclude-newer", DAY]);
    command.args(["--python-version", "3.11", "--python-platform", "x86_64-manylinux_2_28"]).arg(&file);
    if let Some(index) = index() {
        command.args(["--index-url", &index]);
    }
    let run = Run::of(&mut command);
    if run.code != 0 {
        assert!(run.stderr.contains("No solution found"), "{project}: {run:?}");
        return BTreeSet::new();
    }
    run.stdout.lines().filter(|line| line.contains("==")).map(str::to_owned).collect()
}

fn ours(home: &Home, project: &str) -> BTreeSet<String> {
    let (code, plan) = home.json(["import", "python", project, "--solve", "--dry-run"]);
    let rows = plan["revisions"].as_array().unwrap();
    let pin = |row: &serde_json::Value| {
        format!("{}=={}", row["artifact"].as_str().unwrap(), row["revision"].as_str().unwrap())
    };
    assert_eq!(code, if rows.is_empty() { 3 } else { 0 }, "{project}: {plan:#}");
    rows.iter().map(pin).collect()
}

#[test]
fn real_projects_are_picked_as_uv_picks_them() {
    let work = |projects: &'static [&'static str]| {
        let home = Home::with(&format!(
            "[[registry]]\nname = \"index\"\necosystem = \"pypi\"\nurl = \"system\"\n\n\
             [[repository]]\nname = \"python\"\necosystem = \"pypi\"\nregistry = \"index\"\npackages = []\n\
             dependencies = true\nsdists = false\nexclude_newer = \"{DAY}\"\n\
             targets = [{{ python = \"3.11\", platform = \"manylinux_2_28_x86_64\" }}]\n",
        ));
        let client = client::uv();
        let mut different = Vec::new();
        for project in projects {
            let (uv, ours) = (uv(&client, project), ours(&home, project));
            assert_eq!(ours.is_empty(), *project == SOURCE_ONLY, "{project}");
            if uv != ours {
                let only =
                    |these: &BTreeSet<String>, those| these.difference(those).cloned().collect::<Vec<_>>();
                different.push(format!("{project}: uv {:?}, here {:?}", only(&uv, &ours), only(&ours, &uv)));
            }
        }
        different
    };
    let workers: Vec<_> =
        PROJECTS.chunks(PROJECTS.len() / 4).map(|projects| thread::spawn(move || work(projects))).collect();
    let different: Vec<String> = workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect();
    assert!(different.is_empty(), "{different:#?}");
}
