//! A registry of made-up projects in this process, and a repository that mirrors it.

use std::collections::HashMap;

use reservoir_core::testing::upstream::{Recorded, Reply, Upstream};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::{Result, binary::Home, wheel::wheel};

const JSON: &str = "application/vnd.pypi.simple.v1+json";

/// Projects of some versions, one wheel each.
#[derive(Debug)]
pub(crate) struct Registry {
    upstream: Upstream,
    /// The paths of all project pages.
    pub(crate) pages: Vec<String>,
    tags: HashMap<String, String>,
    /// Wheels on offer.
    pub(crate) files: usize,
    /// Their bytes together.
    pub(crate) bytes: u64,
}

impl Registry {
    /// Starts it with everything in memory.
    pub(crate) async fn start(projects: usize, versions: usize, wheel_size: usize) -> Result<Self> {
        let upstream = Upstream::start().await;
        let mut registry = Self { upstream, pages: Vec::new(), tags: HashMap::new(), files: 0, bytes: 0 };
        for project in 0..projects {
            registry.add(&format!("project{project:03}"), versions, wheel_size)?;
        }
        Ok(registry)
    }

    fn add(&mut self, project: &str, versions: usize, wheel_size: usize) -> Result<()> {
        let mut files = Vec::new();
        for version in 1..=versions {
            let (name, bytes) = wheel(project, &format!("1.{version}"), wheel_size)?;
            let path = format!("/files/{name}");
            let sha256 = base16(&Sha256::digest(&bytes));
            files.push(json!({
                "filename": name,
                "url": self.upstream.url(&path),
                "hashes": { "sha256": sha256 },
                "size": bytes.len(),
            }));
            self.files += 1;
            self.bytes += bytes.len() as u64;
            self.upstream.route(path, Reply::ok(bytes));
        }
        let page = json!({ "meta": { "api-version": "1.1" }, "name": project, "files": files });
        let page = page.to_string();
        let tag = format!("\"{}\"", base16(&Sha256::digest(&page)));
        let path = format!("/simple/{project}/");
        self.upstream.route(&path, Reply::ok(page).content_type(JSON).etag(&tag));
        self.tags.insert(path.clone(), tag);
        self.pages.push(path);
        Ok(())
    }

    /// Makes `home` mirror all of it, as the repository `python`.
    pub(crate) fn apply_to(&self, home: &Home) -> Result<()> {
        let names =
            self.pages.iter().map(|page| format!("{:?}", page.trim_matches('/').replace("simple/", "")));
        let document = format!(
            "[[registry]]\nname = \"index\"\necosystem = \"pypi\"\nurl = \"{}\"\n\n\
             [[repository]]\nname = \"python\"\necosystem = \"pypi\"\nregistry = \"index\"\nwhole = true\n\
             packages = [{}]\n",
            self.upstream.url("/simple/"),
            names.collect::<Vec<_>>().join(", "),
        );
        let file = home.folder().join("mirror.toml");
        std::fs::write(&file, document)?;
        home.run(&["apply", &file.display().to_string()]).map(drop)
    }

    /// The address of a path here.
    pub(crate) fn url(&self, path: &str) -> String {
        self.upstream.url(path).to_string()
    }

    /// The `ETag` of a page.
    pub(crate) fn tag(&self, page: &str) -> String {
        self.tags.get(page).cloned().unwrap_or_default()
    }

    /// All requests so far.
    pub(crate) fn requests(&self) -> Vec<Recorded> {
        self.upstream.requests()
    }
}

fn base16(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
