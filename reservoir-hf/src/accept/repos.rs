//! Repositories made, taken away, renamed.

use bytes::Bytes;
use http::StatusCode;
use reservoir_core::{
    Intake,
    lifecycle::Status,
    serve::{Request, Response},
};
use serde::Deserialize;
use serde_json::json;

use super::{
    body,
    change::{self, Draft, Words},
    known::Known,
};
use crate::{
    git::blob_id,
    name::{MAIN, RepoId, RepoKind},
    record::Item,
    respond::{
        answer::{Failure, Refusal, json, json_with},
        lookup,
    },
};

/// What a new repository begins with: which files git keeps pointers of.
const ATTRIBUTES: &str = "*.bin filter=lfs diff=lfs merge=lfs -text\n\
                          *.gguf filter=lfs diff=lfs merge=lfs -text\n\
                          *.onnx filter=lfs diff=lfs merge=lfs -text\n\
                          *.parquet filter=lfs diff=lfs merge=lfs -text\n\
                          *.safetensors filter=lfs diff=lfs merge=lfs -text\n";

#[derive(Deserialize)]
struct Named {
    name: String,
    #[serde(default)]
    organization: Option<String>,
    #[serde(default)]
    r#type: Option<String>,
}

impl Named {
    fn repo(&self) -> Result<RepoId, Failure> {
        let id = match &self.organization {
            Some(organization) if !self.name.contains('/') => format!("{organization}/{}", self.name),
            _ => self.name.clone(),
        };
        repo(self.r#type.as_deref(), &id)
    }
}

fn repo(kind: Option<&str>, id: &str) -> Result<RepoId, Failure> {
    let kind = match kind {
        None | Some("model") => RepoKind::Model,
        Some("dataset") => RepoKind::Dataset,
        Some(other) => {
            return Err(
                Refusal::bad_request(format!("repositories of type `{other}` are not hosted here")).into()
            );
        }
    };
    RepoId::new(kind, id).map_err(|_| Refusal::bad_request(format!("`{id}` is not ORG/NAME")).into())
}

/// Makes a repository with a first commit. Its address is told by its id alone: clients before 1.0 cannot read one
/// whose endpoint has a path.
pub(super) async fn create(intake: &Intake, request: &Request) -> Result<Response, Failure> {
    let repo = body::<Named>(request).await?.repo()?;
    let turn = intake.turn().await?;
    if lookup::document(turn.view(), &repo).await?.is_some() {
        let error = format!("`{repo}` is there already");
        return Ok(json_with(StatusCode::CONFLICT, &json!({ "error": error, "url": repo.to_string() })));
    }
    let known = Known::of(&turn, &repo).await?;
    if known.standing(Status::NeedsApproval).next().is_some() {
        let error = format!("`{repo}` is there already; its first commit waits for approval");
        return Ok(json_with(StatusCode::CONFLICT, &json!({ "error": error, "url": repo.to_string() })));
    }
    let bytes = Bytes::from_static(ATTRIBUTES.as_bytes());
    let oid = blob_id(&bytes);
    let blob = intake.put_bytes(bytes).await?;
    let mut draft = Draft::default();
    draft.put(Item { path: ".gitattributes".to_owned(), oid, size: Some(blob.size), lfs: None }, blob)?;
    let words = Words { author: intake.actor().as_str(), title: "initial commit", description: "" };
    let main = format!("refs/heads/{MAIN}");
    draft.commit(intake, &turn, (&repo, &known), &main, None, &words).await?;
    Ok(json(&json!({ "url": repo.to_string(), "name": repo.id(), "id": repo.id() })))
}

/// Drops the files of all commits of a repository; what is known of them stays in the catalog.
pub(super) async fn delete(intake: &Intake, request: &Request) -> Result<Response, Failure> {
    let repo = body::<Named>(request).await?.repo()?;
    let turn = intake.turn().await?;
    let waits = Known::of(&turn, &repo).await?.standing(Status::NeedsApproval).next().is_some();
    if !waits && lookup::document(turn.view(), &repo).await?.is_none() {
        return Err(Refusal::repo(&repo).into());
    }
    turn.remove(&repo.to_artifact()?, format!("{repo}: deleted")).await?;
    Ok(json(&json!({})))
}

/// Gives a repository another name. Commits keep their ids.
pub(super) async fn rename(intake: &Intake, request: &Request) -> Result<Response, Failure> {
    #[derive(Deserialize)]
    struct Body {
        #[serde(rename = "fromRepo")]
        from_repo: String,
        #[serde(rename = "toRepo")]
        to_repo: String,
        #[serde(default)]
        r#type: Option<String>,
    }

    let names: Body = body(request).await?;
    let from = repo(names.r#type.as_deref(), &names.from_repo)?;
    let to = repo(names.r#type.as_deref(), &names.to_repo)?;
    let turn = intake.turn().await?;
    if lookup::document(turn.view(), &from).await?.is_none() {
        return Err(Refusal::repo(&from).into());
    }
    let (known, there) = (Known::of(&turn, &from).await?, Known::of(&turn, &to).await?);
    if !there.is_part_of(&known) {
        return Err(Refusal::new(StatusCode::CONFLICT, format!("`{to}` is there already")).into());
    }
    change::rename(intake, &turn, (&from, &known), (&to, &there)).await?;
    Ok(json(&json!({})))
}
