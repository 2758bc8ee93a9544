//! The requests: addresses, documents within limits, links to the next page.

use http::{HeaderMap, header::LINK};
use reservoir_core::{
    Error, Result,
    fetch::{DisplayUrl, Fetcher, Page, PageOptions, PageOutcome},
};
use serde::{Deserialize, de::DeserializeOwned};
use url::Url;

use crate::{
    index::Commit,
    name::{Label, ObjectId, RepoId, RepoKind, is_ref_name},
};

/// Bytes of one document, decoded.
const PAGE_LIMIT: u64 = 64 << 20;
/// Refs of one repository.
const REF_LIMIT: usize = 100_000;
/// Bytes of the title or message of a commit, authors of one.
const TEXT_LIMIT: usize = 4096;
const AUTHOR_LIMIT: usize = 64;

/// One repository of one Hub.
#[derive(Debug)]
pub(super) struct Hub<'a> {
    pub(super) fetcher: &'a Fetcher,
    pub(super) root: &'a Url,
    pub(super) repo: &'a RepoId,
}

/// A full name of a ref and where it points.
pub(super) type RefTarget = (String, ObjectId);

impl Hub<'_> {
    /// Branches, tags and converted branches; `None` when the Hub does not know the repository.
    pub(super) async fn refs(&self) -> Result<Option<Vec<RefTarget>>> {
        #[derive(Deserialize)]
        struct Refs {
            #[serde(default)]
            branches: Vec<Target>,
            #[serde(default)]
            converts: Vec<Target>,
            #[serde(default)]
            tags: Vec<Target>,
        }
        #[derive(Deserialize)]
        struct Target {
            r#ref: String,
            #[serde(rename = "targetCommit")]
            target_commit: ObjectId,
        }

        let url = self.api(&["refs"])?;
        let Some(page) = self.page(&url).await? else { return Ok(None) };
        let found: Refs = parse(&page)?;
        let all: Vec<Target> = [found.branches, found.converts, found.tags].into_iter().flatten().collect();
        if all.len() > REF_LIMIT {
            let what = format!("the list of refs of `{}`", self.repo);
            return Err(Error::LimitExceeded { what, limit: format!("{REF_LIMIT} refs") });
        }
        let named = all.into_iter().filter(|one| one.r#ref.starts_with("refs/") && is_ref_name(&one.r#ref));
        Ok(Some(named.map(|one| (one.r#ref, one.target_commit)).collect()))
    }

    /// The commit that a label means now; `None` when the Hub does not know it.
    pub(super) async fn resolve(&self, label: &Label) -> Result<Option<ObjectId>> {
        #[derive(Deserialize)]
        struct Info {
            sha: ObjectId,
        }

        let url = self.api(&["revision", label.as_str()])?;
        let Some(page) = self.page(&url).await? else { return Ok(None) };
        let Info { sha } = parse(&page)?;
        match label.commit() {
            Some(asked) if asked != sha => {
                let detail = format!("commit `{asked}` was asked for, `{sha}` was answered");
                Err(Error::malformed(DisplayUrl(&url).to_string(), "hub-commit", detail))
            }
            _ => Ok(Some(sha)),
        }
    }

    /// Title, date, authors and parent of a commit, as far as the Hub tells.
    pub(super) async fn commit(&self, commit: ObjectId) -> Result<Commit> {
        #[derive(Deserialize)]
        struct Listed {
            id: ObjectId,
            #[serde(default)]
            title: String,
            #[serde(default)]
            message: String,
            #[serde(default)]
            date: String,
            #[serde(default)]
            authors: Vec<Author>,
        }
        #[derive(Deserialize)]
        struct Author {
            #[serde(default)]
            user: Option<String>,
        }

        let url = self.api(&["commits", &commit.to_string()])?;
        let Some(page) = self.page(&url).await? else { return Ok(Commit::default()) };
        let mut listed = parse::<Vec<Listed>>(&page)?.into_iter();
        let Some(own) = listed.next().filter(|own| own.id == commit) else { return Ok(Commit::default()) };
        let is_date = own.date.parse::<jiff::Timestamp>().is_ok() && own.date.len() <= 40;
        Ok(Commit {
            title: bounded(own.title),
            message: bounded(own.message),
            date: if is_date { own.date } else { String::new() },
            authors: own
                .authors
                .into_iter()
                .take(AUTHOR_LIMIT)
                .filter_map(|author| author.user)
                .map(bounded)
                .collect(),
            // The Hub's history is a line.
            parents: listed.next().map(|parent| parent.id.to_string()).into_iter().collect(),
        })
    }

    /// The address of a file of a commit.
    pub(super) fn file(&self, commit: ObjectId, path: &str) -> Result<Url> {
        let prefix = (self.repo.kind() == RepoKind::Dataset).then_some("datasets");
        let commit = commit.to_string();
        let segments = prefix.into_iter().chain(self.repo.segments()).chain(["resolve", &commit]);
        self.url(segments.chain(path.split('/')))
    }

    /// An address of the API below the repository's own.
    pub(super) fn api(&self, segments: &[&str]) -> Result<Url> {
        let own = ["api", self.repo.kind().plural()].into_iter().chain(self.repo.segments());
        self.url(own.chain(segments.iter().copied()))
    }

    fn url<'s>(&self, segments: impl Iterator<Item = &'s str>) -> Result<Url> {
        let mut url = self.root.clone();
        url.set_query(None);
        url.set_fragment(None);
        match url.path_segments_mut() {
            Ok(mut path) => path.pop_if_empty().extend(segments),
            Err(()) => return Err(Error::invalid("registry", "its address cannot have a path")),
        };
        Ok(url)
    }

    /// A document; `None` when there is none.
    pub(super) async fn page(&self, url: &Url) -> Result<Option<Page>> {
        let options = PageOptions { accept: "application/json", limit: PAGE_LIMIT, ..PageOptions::default() };
        match self.fetcher.get_page(url, options).await? {
            PageOutcome::Page(page) => Ok(Some(page)),
            PageOutcome::NotModified | PageOutcome::Missing => Ok(None),
        }
    }
}

/// Reads a document. The parser bounds its depth, [`PAGE_LIMIT`] everything else.
pub(super) fn parse<T: DeserializeOwned>(page: &Page) -> Result<T> {
    serde_json::from_slice(&page.body).map_err(|error| {
        Error::malformed(DisplayUrl(&page.final_url).to_string(), "hub-json", error.to_string())
    })
}

/// The next page, as `Link` names it: on the same origin and under the same path, or it is refused.
pub(super) fn next_page(headers: &HeaderMap, from: &Url) -> Result<Option<Url>> {
    let refuse = |detail: &str| Error::malformed(DisplayUrl(from).to_string(), "hub-link", detail.to_owned());
    let Some(link) = headers.get(LINK) else { return Ok(None) };
    let link = link.to_str().map_err(|_| refuse("`Link` is not printable ASCII"))?;
    let next = link.split(',').find_map(|one| {
        let (target, parameters) = one.split_once(';')?;
        let is_next = parameters.split(';').any(|part| matches!(part.trim(), "rel=\"next\"" | "rel=next"));
        is_next.then(|| target.trim().strip_prefix('<')?.strip_suffix('>')).flatten()
    });
    let Some(next) = next else { return Ok(None) };
    let url = from.join(next).map_err(|_| refuse("`Link` is not a URL"))?;
    if url.origin() != from.origin() || url.path() != from.path() {
        return Err(refuse("`Link` leads elsewhere"));
    }
    if url.query() == from.query() {
        return Err(refuse("`Link` leads to the page itself"));
    }
    Ok(Some(url))
}

fn bounded(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(TEXT_LIMIT));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(link: &str) -> Result<Option<String>> {
        let headers = HeaderMap::from_iter([(LINK, link.parse().unwrap())]);
        let from = "http://127.0.0.1:1/hub/api/models/a/b/tree/x?recursive=true".parse().unwrap();
        Ok(next_page(&headers, &from)?.map(String::from))
    }

    #[test]
    fn the_next_page_is_on_the_same_host_under_the_same_path() {
        let own = "http://127.0.0.1:1/hub/api/models/a/b/tree/x?recursive=true&cursor=1";
        assert_eq!(next(&format!("<{own}>; rel=\"next\"")).unwrap().as_deref(), Some(own));
        assert_eq!(next(&format!("<{own}>; rel=\"last\"")).unwrap(), None);
        for link in [
            "<http://127.0.0.2:1/hub/api/models/a/b/tree/x?cursor=1>; rel=\"next\"",
            "<https://127.0.0.1:1/hub/api/models/a/b/tree/x?cursor=1>; rel=\"next\"",
            "<http://127.0.0.1:1/elsewhere?cursor=1>; rel=\"next\"",
            "<http://127.0.0.1:1/hub/api/models/a/b/tree/x?recursive=true>; rel=\"next\"",
            "<file:///etc/passwd>; rel=\"next\"",
        ] {
            assert!(next(link).is_err(), "{link}");
        }
    }
}
