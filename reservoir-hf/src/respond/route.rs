//! What the path of a request asks for. Read undecoded: the names of revisions have slashes in them, and clients
//! escape those (`refs%2Fpr%2F1`).

use percent_encoding::percent_decode_str;

use super::answer::Refusal;
use crate::name::{Label, RepoId, RepoKind};

/// Words that stand behind the id of a repository in the API.
const VERBS: [&str; 10] = [
    "revision",
    "tree",
    "paths-info",
    "refs",
    "commits",
    "auth-check",
    "xet-read-token",
    "xet-write-token",
    "resolve",
    "settings",
];

/// The address, below `api`, that tells clients what to do without Xet.
pub(super) const NO_XET: [&str; 2] = ["there-is-no-xet-storage-here", "set-HF_HUB_DISABLE_XET=1"];

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// `api/models`
    List(RepoKind),
    /// `api/models/ID`, `api/models/ID/revision/REV`
    Info { repo: RepoId, rev: Label },
    /// `api/models/ID/tree/REV[/PATH]`
    Tree { repo: RepoId, rev: Label, path: String },
    /// `api/models/ID/paths-info/REV`
    PathsInfo { repo: RepoId, rev: Label },
    /// `api/models/ID/refs`
    Refs(RepoId),
    /// `api/models/ID/commits/REV`
    Commits { repo: RepoId, rev: Label },
    /// `ID/resolve/REV/PATH`, `datasets/ID/resolve/REV/PATH`
    Resolve { repo: RepoId, rev: Label, path: String },
    /// `v2/ID/manifests/TAG`
    Manifest { repo: RepoId, tag: String },
    /// `api/models/ID/auth-check`
    AuthCheck(RepoId),
    /// `api/whoami-v2`
    WhoAmI,
    /// `api/validate-yaml`
    ValidateYaml,
    /// A token for storage that is not here.
    Xet,
    /// Where those who ask for one are sent.
    NoXet,
    /// Anything else.
    Unknown,
}

impl Route {
    /// Reads the path below the repository, as sent.
    pub(crate) fn parse(raw: &str) -> Result<Self, Refusal> {
        let segments = raw.split('/').map(decode).collect::<Result<Vec<_>, _>>()?;
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        match segments.as_slice() {
            ["api", "whoami-v2"] => Ok(Self::WhoAmI),
            ["api", "validate-yaml"] => Ok(Self::ValidateYaml),
            ["api", rest @ ..] if *rest == NO_XET => Ok(Self::NoXet),
            ["api", kind] => Ok(RepoKind::from_plural(kind).map_or(Self::Unknown, Self::List)),
            ["api", kind, rest @ ..] => match RepoKind::from_plural(kind) {
                Some(kind) => api(kind, rest),
                None => Ok(Self::Unknown),
            },
            ["v2", id @ .., "manifests", tag] if matches!(id.len(), 1 | 2) => {
                Ok(Self::Manifest { repo: repository(RepoKind::Model, id)?, tag: (*tag).to_owned() })
            }
            ["datasets", rest @ ..] => resolve(RepoKind::Dataset, rest),
            rest => resolve(RepoKind::Model, rest),
        }
    }
}

/// What stands behind `api/models/`.
fn api(kind: RepoKind, segments: &[&str]) -> Result<Route, Refusal> {
    let is_verb = |at: usize| segments.get(at).is_some_and(|word| VERBS.contains(word));
    let parts =
        if is_verb(2) || segments.len() == 1 { segments.len().min(2) } else { 1 + usize::from(!is_verb(1)) };
    let (id, rest) = segments.split_at(parts);
    let repo = repository(kind, id)?;
    Ok(match rest {
        [] => Route::Info { repo, rev: Label::default() },
        ["revision", rev @ ..] if !rev.is_empty() => Route::Info { repo, rev: whole(rev)? },
        ["paths-info", rev @ ..] if !rev.is_empty() => Route::PathsInfo { repo, rev: whole(rev)? },
        ["commits", rev @ ..] if !rev.is_empty() => Route::Commits { repo, rev: whole(rev)? },
        ["tree", rest @ ..] if !rest.is_empty() => {
            let (rev, path) = revision(rest)?;
            Route::Tree { repo, rev, path: path.join("/") }
        }
        ["resolve", rest @ ..] if rest.len() > 1 => file(repo, rest)?,
        ["refs"] => Route::Refs(repo),
        ["auth-check"] => Route::AuthCheck(repo),
        ["xet-read-token" | "xet-write-token", ..] => Route::Xet,
        _ => Route::Unknown,
    })
}

fn resolve(kind: RepoKind, segments: &[&str]) -> Result<Route, Refusal> {
    match segments {
        [org, name, "resolve", rest @ ..] if rest.len() > 1 => file(repository(kind, &[org, name])?, rest),
        [name, "resolve", rest @ ..] if rest.len() > 1 => file(repository(kind, &[name])?, rest),
        _ => Ok(Route::Unknown),
    }
}

fn file(repo: RepoId, rest: &[&str]) -> Result<Route, Refusal> {
    let (rev, path) = revision(rest)?;
    Ok(Route::Resolve { repo, rev, path: path.join("/") })
}

pub(crate) fn repository(kind: RepoKind, parts: &[&str]) -> Result<RepoId, Refusal> {
    let id = parts.join("/");
    RepoId::new(kind, &id).map_err(|_| Refusal::repo(&id))
}

/// The revision and what follows it. Some clients leave the slashes of `refs/pr/1` as they are.
fn revision<'s, 'r>(segments: &'s [&'r str]) -> Result<(Label, &'s [&'r str]), Refusal> {
    let count = match segments {
        ["refs", _, _, ..] => 3,
        _ => 1,
    };
    let (rev, path) = segments.split_at(count);
    Ok((whole(rev)?, path))
}

fn whole(segments: &[&str]) -> Result<Label, Refusal> {
    let text = segments.join("/");
    text.parse().map_err(|_| Refusal::revision(&text))
}

/// One segment, decoded once; the router has checked its escapes.
pub(crate) fn decode(segment: &str) -> Result<String, Refusal> {
    let decoded = percent_decode_str(segment).decode_utf8();
    decoded.map(Into::into).map_err(|_| Refusal::bad_request("the path is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn route(raw: &str) -> Route {
        Route::parse(raw).unwrap()
    }

    fn repo(text: &str) -> RepoId {
        text.parse().unwrap()
    }

    fn rev(text: &str) -> Label {
        text.parse().unwrap()
    }

    #[test]
    fn paths_are_the_hubs() {
        let info = |id: &str, label: &str| Route::Info { repo: repo(id), rev: rev(label) };
        for (raw, expected) in [
            ("api/models", Route::List(RepoKind::Model)),
            ("api/models/gpt2", info("gpt2", "main")),
            ("api/models/org/m", info("org/m", "main")),
            ("api/models/gpt2/revision/main", info("gpt2", "main")),
            ("api/models/org/m/revision/refs%2Fpr%2F1", info("org/m", "refs/pr/1")),
            ("api/models/org/m/revision/dev/x", info("org/m", "dev/x")),
            ("api/datasets/org/d/refs", Route::Refs(repo("datasets/org/d"))),
            ("api/models/gpt2/refs", Route::Refs(repo("gpt2"))),
            (
                "api/models/org/m/tree/dev%2Fx/a%20b/c",
                Route::Tree { repo: repo("org/m"), rev: rev("dev/x"), path: "a b/c".into() },
            ),
            (
                "api/models/org/tree/tree/main",
                Route::Tree { repo: repo("org/tree"), rev: rev("main"), path: String::new() },
            ),
            (
                "org/m/resolve/refs%2Fpr%2F1/a/b.json",
                Route::Resolve { repo: repo("org/m"), rev: rev("refs/pr/1"), path: "a/b.json".into() },
            ),
            (
                "datasets/org/d/resolve/refs/convert/parquet/x.parquet",
                Route::Resolve {
                    repo: repo("datasets/org/d"),
                    rev: rev("refs/convert/parquet"),
                    path: "x.parquet".into(),
                },
            ),
            (
                "gpt2/resolve/main/x",
                Route::Resolve { repo: repo("gpt2"), rev: rev("main"), path: "x".into() },
            ),
            ("v2/org/m/manifests/Q4_K_M", Route::Manifest { repo: repo("org/m"), tag: "Q4_K_M".into() }),
            ("api/models/org/m/xet-read-token/main", Route::Xet),
            ("api/agent-harnesses", Route::Unknown),
            ("", Route::Unknown),
        ] {
            assert_eq!(route(raw), expected, "{raw}");
        }
        assert!(Route::parse("api/models/-org/m").is_err());
    }

    proptest! {
        #[test]
        fn any_path_is_routed_or_refused(raw in "(api/)?(models/|datasets/)?[a-z0-9/%.-]{0,60}") {
            let _ = Route::parse(&raw);
        }
    }
}
