//! Branches and tags: facts on the records of commits.

use std::collections::BTreeMap;

use http::StatusCode;
use reservoir_core::{
    Intake,
    clock::Timestamp,
    lifecycle::Status,
    path::ContentPath,
    serve::{Request, Response},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{body, known::Known};
use crate::{
    attribute, layout,
    name::{Label, MAIN, RepoId, is_ref_name},
    respond::{
        answer::{Failure, Refusal, json},
        lookup,
    },
    select::refs_of,
};

/// `startingPoint` may be a branch, a tag or a commit; without it, `main`.
pub(super) async fn create_branch(
    intake: &Intake,
    request: &Request,
    repo: &RepoId,
    rev: &Label,
) -> Result<Response, Failure> {
    #[derive(Deserialize)]
    struct Body {
        #[serde(default, rename = "startingPoint")]
        starting_point: Option<String>,
    }

    let Body { starting_point } = body(request).await?;
    create(intake, repo, format!("refs/heads/{rev}"), starting_point.as_deref().unwrap_or(MAIN)).await
}

/// `{tag, message?}`, on a revision.
pub(super) async fn create_tag(
    intake: &Intake,
    request: &Request,
    repo: &RepoId,
    rev: &Label,
) -> Result<Response, Failure> {
    #[derive(Deserialize)]
    struct Body {
        tag: String,
    }

    let Body { tag } = body(request).await?;
    create(intake, repo, format!("refs/tags/{tag}"), rev.as_str()).await
}

async fn create(intake: &Intake, repo: &RepoId, name: String, at: &str) -> Result<Response, Failure> {
    let is_plain = name.splitn(3, '/').nth(2).is_some_and(|short| !short.starts_with("refs/"));
    if !is_ref_name(&name) || !is_plain {
        return Err(Refusal::bad_request(format!("`{name}` is no name of a branch or tag")).into());
    }
    let at: Label = at.parse().map_err(|_| Refusal::revision(at))?;
    let turn = intake.turn().await?;
    let info = lookup::published(turn.view(), repo).await?;
    let known = Known::of(&turn, repo).await?;
    if info.refs.contains_key(&name) || known.is_about_to_have(&name) {
        return Err(Refusal::new(StatusCode::CONFLICT, format!("`{name}` is there already")).into());
    }
    let commit = lookup::resolve(&info, &at)?;
    let attributes = known.let_in(commit).ok_or_else(|| Refusal::revision(&at))?;
    let mut refs = refs_of(attributes);
    refs.insert(name.clone(), known.later_than(Timestamp::now()));
    let facts = [(layout::record_path(repo, commit)?, with_refs(attributes.clone(), &refs))];
    turn.annotate(&facts, format!("{repo}: {name} at {commit}")).await?;
    Ok(json(&json!({})))
}

/// Takes a branch or tag away; its commits stay reachable by their ids.
pub(super) async fn delete(intake: &Intake, repo: &RepoId, name: &str) -> Result<Response, Failure> {
    if name == format!("refs/heads/{MAIN}") {
        return Err(Refusal::bad_request("`main` cannot be deleted").into());
    }
    let turn = intake.turn().await?;
    let known = Known::of(&turn, repo).await?;
    if known.head(name, Status::Available).is_none() {
        return Err(Refusal::revision(name).into());
    }
    let mut facts: Vec<(ContentPath, BTreeMap<String, Value>)> = Vec::new();
    let commits = known.standing(Status::Available).chain(known.standing(Status::NeedsApproval));
    for (commit, attributes) in commits {
        let mut refs = refs_of(attributes);
        if refs.remove(name).is_some() {
            facts.push((layout::record_path(repo, commit)?, with_refs(attributes.clone(), &refs)));
        }
    }
    turn.annotate(&facts, format!("{repo}: {name} deleted")).await?;
    Ok(json(&json!({})))
}

fn with_refs(
    mut attributes: BTreeMap<String, Value>,
    refs: &BTreeMap<String, i64>,
) -> BTreeMap<String, Value> {
    attributes.insert(attribute::REFS.to_owned(), json!(refs));
    attributes
}
