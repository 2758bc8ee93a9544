//! JSON, and refusals in the Hub's own form.

use http::{HeaderName, HeaderValue, StatusCode, header};
use reservoir_core::{Error, serve::Response};
use serde_json::{Value, json};

use crate::name::ObjectId;

/// The headers that browsers may read.
const EXPOSED: &str = "X-Repo-Commit,X-Request-Id,X-Error-Code,X-Error-Message,ETag,Link,Accept-Ranges,\
                       Content-Range,X-Linked-Size,X-Linked-ETag";

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The client is told, in the Hub's words.
    Refused(Refusal),
    /// Something broke here.
    Failed(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// What a client is told.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    code: Option<&'static str>,
    message: String,
    commit: Option<ObjectId>,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, code: None, message: message.into(), commit: None }
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(crate) fn repo(repo: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("repository `{repo}` is not here")).code("RepoNotFound")
    }

    pub(crate) fn revision(rev: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("revision `{rev}` is not here")).code("RevisionNotFound")
    }

    /// Clients remember for this commit that there is no such file.
    pub(crate) fn entry(path: &str, commit: ObjectId) -> Self {
        let message = format!("`{path}` is not in this commit, or its bytes are not kept here");
        Self::new(StatusCode::NOT_FOUND, message).code("EntryNotFound").commit(commit)
    }

    /// Forbidden by a person or by policy. Clients show the message with this code, and no other.
    pub(crate) fn denied(what: impl std::fmt::Display, reason: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, format!("{what} is not allowed: {reason}")).code("GatedRepo")
    }

    fn code(self, code: &'static str) -> Self {
        Self { code: Some(code), ..self }
    }

    pub(crate) fn commit(self, commit: ObjectId) -> Self {
        Self { commit: Some(commit), ..self }
    }

    pub(crate) fn response(self) -> Response {
        let message: String = self.message.chars().filter(|c| !c.is_control()).take(1000).collect();
        let mut response = json_with(self.status, &json!({ "error": message }));
        let mut set = |name: &'static str, value: &str| {
            if let Ok(value) = HeaderValue::from_str(value) {
                response.headers.insert(HeaderName::from_static(name), value);
            }
        };
        if let Some(code) = self.code {
            set("x-error-code", code);
        }
        // Header values are ASCII.
        let ascii: String = message.chars().map(|c| if c.is_ascii() { c } else { '?' }).collect();
        set("x-error-message", &ascii);
        set("x-request-id", &uuid::Uuid::new_v4().to_string());
        if let Some(commit) = self.commit {
            set("x-repo-commit", &commit.to_string());
        }
        response
    }
}

/// 200 with JSON.
pub(crate) fn json(value: &Value) -> Response {
    json_with(StatusCode::OK, value)
}

fn json_with(status: StatusCode, value: &Value) -> Response {
    let bytes = value.to_string().into();
    expose(Response::with_bytes(status, bytes, json_type()).header(header::CACHE_CONTROL, no_cache()))
}

/// What every answer has.
pub(crate) fn expose(response: Response) -> Response {
    response.header(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED))
}

pub(crate) fn json_type() -> HeaderValue {
    HeaderValue::from_static("application/json; charset=utf-8")
}

pub(crate) fn no_cache() -> HeaderValue {
    HeaderValue::from_static("no-cache")
}
