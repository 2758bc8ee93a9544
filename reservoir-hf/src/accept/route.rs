//! What a request wants to change.

use http::{Method, StatusCode};
use reservoir_core::digest::Sha256Digest;

use crate::{
    name::{Label, RepoId, RepoKind},
    respond::{
        answer::Refusal,
        route::{decode, repository},
    },
};

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// `POST api/repos/create`
    CreateRepo,
    /// `DELETE api/repos/delete`
    DeleteRepo,
    /// `POST api/repos/move`
    MoveRepo,
    /// `PUT api/models/ID/settings`
    Settings,
    /// `POST api/models/ID/preupload/REV`
    Preupload { repo: RepoId, rev: Label },
    /// `POST ID.git/info/lfs/objects/batch`
    Batch(RepoId),
    /// `PUT ID.git/info/lfs/objects/OID`
    PutObject(Sha256Digest),
    /// `PUT ID.git/info/lfs/objects/OID/parts/NUMBER`
    PutPart,
    /// `POST ID.git/info/lfs/objects/OID/parts`
    JoinParts(Sha256Digest),
    /// `POST ID.git/info/lfs/objects/verify`
    VerifyObject,
    /// `POST api/models/ID/commit/REV`
    Commit { repo: RepoId, rev: Label },
    /// `POST api/models/ID/branch/REV`
    CreateBranch { repo: RepoId, rev: Label },
    /// `DELETE api/models/ID/branch/REV`
    DeleteBranch { repo: RepoId, rev: Label },
    /// `POST api/models/ID/tag/REV`
    CreateTag { repo: RepoId, rev: Label },
    /// `DELETE api/models/ID/tag/REV`
    DeleteTag { repo: RepoId, rev: Label },
}

impl Route {
    /// Reads the path below the repository, as sent.
    pub(super) fn parse(method: &Method, raw: &str) -> Result<Self, Refusal> {
        let unknown =
            || Refusal::new(StatusCode::NOT_FOUND, "this server does not have that part of the Hub's API");
        let segments = raw.split('/').map(decode).collect::<Result<Vec<_>, _>>()?;
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let route = match (method, segments.as_slice()) {
            (&Method::POST, ["api", "repos", "create"]) => Self::CreateRepo,
            (&Method::DELETE, ["api", "repos", "delete"]) => Self::DeleteRepo,
            (&Method::POST, ["api", "repos", "move"]) => Self::MoveRepo,
            (method, ["api", kind, rest @ ..]) => {
                let kind = RepoKind::from_plural(kind).ok_or_else(unknown)?;
                api(method, kind, rest)?.ok_or_else(unknown)?
            }
            (method, ["datasets", rest @ ..]) => lfs(method, RepoKind::Dataset, rest)?.ok_or_else(unknown)?,
            (method, rest) => lfs(method, RepoKind::Model, rest)?.ok_or_else(unknown)?,
        };
        Ok(route)
    }
}

fn api(method: &Method, kind: RepoKind, segments: &[&str]) -> Result<Option<Route>, Refusal> {
    const VERBS: [&str; 5] = ["preupload", "commit", "branch", "tag", "settings"];
    let is_verb = |at: usize| segments.get(at).is_some_and(|word| VERBS.contains(word));
    let (id, rest) = segments.split_at(if is_verb(1) && !is_verb(2) { 1 } else { segments.len().min(2) });
    let repo = repository(kind, id)?;
    let rev = || {
        let text = rest[1..].join("/");
        text.parse::<Label>().map_err(|_| Refusal::bad_request(format!("`{text}` is no name of a revision")))
    };
    Ok(Some(match (method, rest) {
        (&Method::PUT, ["settings"]) => Route::Settings,
        (&Method::POST, ["preupload", _, ..]) => Route::Preupload { repo, rev: rev()? },
        (&Method::POST, ["commit", _, ..]) => Route::Commit { repo, rev: rev()? },
        (&Method::POST, ["branch", _, ..]) => Route::CreateBranch { repo, rev: rev()? },
        (&Method::DELETE, ["branch", _, ..]) => Route::DeleteBranch { repo, rev: rev()? },
        (&Method::POST, ["tag", _, ..]) => Route::CreateTag { repo, rev: rev()? },
        (&Method::DELETE, ["tag", _, ..]) => Route::DeleteTag { repo, rev: rev()? },
        _ => return Ok(None),
    }))
}

fn lfs(method: &Method, kind: RepoKind, segments: &[&str]) -> Result<Option<Route>, Refusal> {
    let Some(at) = segments.iter().position(|part| part.strip_suffix(".git").is_some()) else {
        return Ok(None);
    };
    let (id, rest) = segments.split_at(at + 1);
    let mut id: Vec<&str> = id.to_vec();
    if let Some(last) = id.last_mut() {
        *last = last.strip_suffix(".git").unwrap_or(last);
    }
    let repo = repository(kind, &id)?;
    Ok(match (method, rest) {
        (&Method::POST, ["info", "lfs", "objects", "batch"]) => Some(Route::Batch(repo)),
        (&Method::POST, ["info", "lfs", "objects", "verify"]) => Some(Route::VerifyObject),
        (&Method::PUT, ["info", "lfs", "objects", oid]) => Some(Route::PutObject(digest(oid)?)),
        (&Method::PUT, ["info", "lfs", "objects", oid, "parts", number])
            if number.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            digest(oid)?;
            Some(Route::PutPart)
        }
        (&Method::POST, ["info", "lfs", "objects", oid, "parts"]) => Some(Route::JoinParts(digest(oid)?)),
        _ => None,
    })
}

fn digest(oid: &str) -> Result<Sha256Digest, Refusal> {
    oid.parse().map_err(|_| Refusal::bad_request("the name of the object is no SHA-256"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_the_hubs() {
        let (repo, rev): (RepoId, Label) = ("org/m".parse().unwrap(), "b/x".parse().unwrap());
        let route = |method, raw: &str| Route::parse(&method, raw).unwrap();
        assert_eq!(
            route(Method::POST, "api/models/org/m/commit/b%2Fx"),
            Route::Commit { repo: repo.clone(), rev: rev.clone() }
        );
        assert_eq!(
            route(Method::DELETE, "api/models/org/m/tag/b%2Fx"),
            Route::DeleteTag { repo: repo.clone(), rev }
        );
        assert_eq!(route(Method::POST, "org/m.git/info/lfs/objects/batch"), Route::Batch(repo));
        let oid = Sha256Digest::of(b"x");
        assert_eq!(
            route(Method::PUT, &format!("datasets/org/m.git/info/lfs/objects/{oid}")),
            Route::PutObject(oid)
        );
        let parts = format!("org/m.git/info/lfs/objects/{oid}/parts");
        assert_eq!(route(Method::POST, &parts), Route::JoinParts(oid));
        assert_eq!(route(Method::PUT, &format!("{parts}/00002")), Route::PutPart);
        for raw in
            ["api/models/org/m", "org/m.git/info/lfs/objects/../x", "x", "api/spaces/org/m/commit/main"]
        {
            assert!(Route::parse(&Method::PUT, raw).is_err(), "{raw}");
        }
    }
}
