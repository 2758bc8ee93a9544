//! A Python index made by the test, on the loopback: JSON with `ETag`, or HTML of the plainest kind.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Mutex, MutexGuard},
};

use reservoir_core::{
    digest::Sha256Digest,
    testing::upstream::{Reply, Upstream},
};
use serde_json::{Value, json};

use super::dist::{Wheel, metadata, tar_gz};

/// How the index answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// `application/vnd.pypi.simple.v1+json`, with validators and sizes.
    Json,
    /// HTML without `ETag`, sizes or core-metadata, whatever is asked for.
    Html,
}

/// The index. Changes to projects are seen by the next request.
#[derive(Debug)]
pub struct Index {
    pub upstream: Upstream,
    style: Style,
    projects: Mutex<BTreeMap<String, Project>>,
}

#[derive(Debug, Clone, Default)]
pub struct Project {
    pub files: Vec<File>,
    /// PEP 792.
    pub status: Option<(&'static str, &'static str)>,
    pub serial: Option<u64>,
}

/// A file as the index lists it.
#[derive(Debug, Clone)]
pub struct File {
    pub name: String,
    pub bytes: Vec<u8>,
    /// The digest that the page claims.
    pub sha256: String,
    /// Where the file is; below the index unless set.
    pub url: Option<String>,
    pub yanked: Option<&'static str>,
    pub requires_python: Option<&'static str>,
    pub upload_time: Option<&'static str>,
    pub sized: bool,
    /// The sidecar that the page announces, by its own digest.
    pub sidecar: Option<Vec<u8>>,
}

impl File {
    pub fn new(name: impl Into<String>, bytes: Vec<u8>) -> Self {
        Self {
            name: name.into(),
            sha256: Sha256Digest::of(&bytes).to_string(),
            bytes,
            url: None,
            yanked: None,
            requires_python: None,
            upload_time: None,
            sized: true,
            sidecar: None,
        }
    }

    pub fn yanked(mut self, reason: &'static str) -> Self {
        self.yanked = Some(reason);
        self
    }

    pub fn uploaded(mut self, time: &'static str) -> Self {
        self.upload_time = Some(time);
        self
    }

    pub fn requires_python(mut self, specifiers: &'static str) -> Self {
        self.requires_python = Some(specifiers);
        self
    }

    /// Announces this as its `METADATA`.
    pub fn announcing(mut self, metadata: impl Into<Vec<u8>>) -> Self {
        self.sidecar = Some(metadata.into());
        self
    }

    pub fn at(mut self, url: impl Into<String>) -> Self {
        self.url = Some(url.into());
        self
    }

    pub fn without_size(mut self) -> Self {
        self.sized = false;
        self
    }

    /// Where the fixture serves it.
    pub fn path(&self) -> String {
        format!("/files/{}/{}", self.sha256, self.name.replace('+', "%2B"))
    }

    fn json(&self, base: &str) -> Value {
        let url = self.url.clone().unwrap_or_else(|| format!("{base}{}", self.path()));
        let mut row = json!({ "filename": self.name, "url": url, "hashes": { "sha256": self.sha256 } });
        let yanked = |reason: &str| if reason.is_empty() { json!(true) } else { json!(reason) };
        let optional = [
            ("size", self.sized.then(|| json!(self.bytes.len()))),
            ("yanked", self.yanked.map(yanked)),
            ("requires-python", self.requires_python.map(Value::from)),
            ("upload-time", self.upload_time.map(Value::from)),
            ("core-metadata", self.sidecar.as_ref().map(|text| json!({ "sha256": Sha256Digest::of(text) }))),
        ];
        for (key, value) in optional {
            if let Some(value) = value {
                row[key] = value;
            }
        }
        row
    }

    fn html(&self, base: &str) -> String {
        let url = self.url.clone().unwrap_or_else(|| format!("{base}{}", self.path()));
        let mut anchor = format!("<a href=\"{}#sha256={}\"", escape(&url), self.sha256);
        let attributes = [
            ("data-requires-python", self.requires_python),
            ("data-yanked", self.yanked),
            ("data-upload-time", self.upload_time),
        ];
        for (key, value) in attributes {
            if let Some(value) = value {
                write!(anchor, " {key}=\"{}\"", escape(value)).unwrap();
            }
        }
        format!("{anchor}>{}</a><br/>\n", escape(&self.name))
    }
}

/// A wheel for every platform, with what it requires.
pub fn wheel(name: &str, version: &str, requires: &[&str]) -> File {
    let mut lines = String::new();
    for requirement in requires {
        writeln!(lines, "Requires-Dist: {requirement}").unwrap();
    }
    let built = Wheel::new(name, version).with_metadata(metadata(name, version, &lines)).build();
    File::new(format!("{name}-{version}-py3-none-any.whl"), built)
}

/// A wheel that takes a while: noise, which does not compress.
pub fn big(name: &str, version: &str, size: usize) -> File {
    let mut state = 0x9e37_79b9_u32;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as u8
    })
    .take(size)
    .collect();
    let built = Wheel::new(name, version).with(&format!("{name}/noise.bin"), noise).build();
    File::new(format!("{name}-{version}-py3-none-any.whl"), built)
}

/// A wheel with these tags, its content otherwise as [`wheel`] makes it.
pub fn tagged(name: &str, version: &str, tags: &str) -> File {
    let wheel = Wheel::new(name, version);
    let (tag, build) = match tags.split_once('-') {
        Some((first, rest)) if first.starts_with(|c: char| c.is_ascii_digit()) => (rest, Some(first)),
        _ => (tags, None),
    };
    let mut text = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: false\n".to_owned();
    if let Some(build) = build {
        writeln!(text, "Build: {build}").unwrap();
    }
    let parts: Vec<&str> = tag.split('-').collect();
    for python in parts[0].split('.') {
        for abi in parts[1].split('.') {
            for platform in parts[2].split('.') {
                writeln!(text, "Tag: {python}-{abi}-{platform}").unwrap();
            }
        }
    }
    let path = format!("{}/WHEEL", wheel.dist_info);
    File::new(format!("{name}-{version}-{tags}.whl"), wheel.with(&path, text).build())
}

/// A source distribution with static metadata.
pub fn sdist(name: &str, version: &str) -> File {
    sdist_with(name, version, "2.2", "")
}

/// A source distribution with metadata of this version of the format, and further fields.
pub fn sdist_with(name: &str, version: &str, format: &str, more: &str) -> File {
    let root = format!("{name}-{version}");
    let info = format!("Metadata-Version: {format}\nName: {name}\nVersion: {version}\n{more}");
    let files =
        [(format!("{root}/PKG-INFO"), info.into_bytes()), (format!("{root}/pyproject.toml"), Vec::new())];
    File::new(format!("{name}-{version}.tar.gz"), tar_gz(&files))
}

impl Index {
    pub async fn json() -> Self {
        Self::start(Style::Json).await
    }

    pub async fn html() -> Self {
        Self::start(Style::Html).await
    }

    async fn start(style: Style) -> Self {
        Self { upstream: Upstream::start().await, style, projects: Mutex::default() }
    }

    /// The index with these files, each in the project of its name.
    pub async fn of(style: Style, files: impl IntoIterator<Item = File>) -> Self {
        let index = Self::start(style).await;
        for file in files {
            let project = file.name.split('-').next().unwrap().replace(['_', '.'], "-").to_lowercase();
            index.add(&project, file);
        }
        index
    }

    pub fn base(&self) -> String {
        self.upstream.url("").to_string().trim_end_matches('/').to_owned()
    }

    pub fn add(&self, project: &str, file: File) {
        self.change(project, |project| project.files.push(file));
    }

    /// Changes a project and serves it so.
    pub fn change(&self, project: &str, change: impl FnOnce(&mut Project)) {
        let mut projects = self.lock();
        let row = projects.entry(project.to_owned()).or_default();
        change(row);
        for file in &row.files {
            if file.url.is_none() {
                self.upstream.route(file.path(), Reply::ok(file.bytes.clone()).etag("\"1\""));
                if let Some(sidecar) = &file.sidecar {
                    self.upstream.route(format!("{}.metadata", file.path()), Reply::ok(sidecar.clone()));
                }
            }
        }
        let reply = match self.style {
            Style::Json => self.json_page(project, row),
            Style::Html => self.html_page(row),
        };
        self.upstream.route(page_path(project), reply);
    }

    fn json_page(&self, name: &str, project: &Project) -> Reply {
        let base = self.base();
        let files: Vec<Value> = project.files.iter().map(|file| file.json(&base)).collect();
        let mut page =
            json!({ "meta": { "api-version": "1.4" }, "name": name, "files": files, "versions": [] });
        if let Some((status, reason)) = project.status {
            page["project-status"] = json!({ "status": status, "reason": reason });
        }
        let text = page.to_string();
        let etag = format!("\"{}\"", Sha256Digest::of(text.as_bytes()));
        let reply = Reply::ok(text).content_type("application/vnd.pypi.simple.v1+json").etag(&etag);
        match project.serial {
            Some(serial) => reply.header("x-pypi-last-serial", serial.to_string()),
            None => reply,
        }
    }

    fn html_page(&self, project: &Project) -> Reply {
        let base = self.base();
        let mut page = "<!DOCTYPE html>\n<html><body>\n".to_owned();
        for file in &project.files {
            page += &file.html(&base);
        }
        Reply::ok(page + "</body></html>\n").content_type("text/html")
    }

    /// How often something below a path was asked for.
    pub fn count(&self, prefix: &str) -> usize {
        self.upstream.requests().iter().filter(|request| request.target.starts_with(prefix)).count()
    }

    /// A configuration: this registry, one repository `python` with these packages and further lines.
    pub fn mirror(&self, packages: &[&str], more: &str) -> String {
        format!(
            "[[registry]]\nname = \"index\"\necosystem = \"pypi\"\nurl = \"{}/simple/\"\n\n\
             [[repository]]\nname = \"python\"\necosystem = \"pypi\"\nregistry = \"index\"\n\
             packages = {packages:?}\n{more}\n",
            self.base(),
        )
    }

    /// A configuration: this registry, and a cache `python` of it with further lines.
    pub fn cache(&self, more: &str) -> String {
        self.mirror(&[], &format!("mode = \"cache\"\n{more}"))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Project>> {
        self.projects.lock().unwrap()
    }
}

pub fn page_path(project: &str) -> String {
    format!("/simple/{project}/")
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
