//! Refusals that a person can read: `application/problem+json` (RFC 9457).
//!
//! uv shows `title` and `detail` to its user, and does so for exactly this content type.

use http::{HeaderValue, StatusCode, header};
use serde_json::json;

use super::Response;
use crate::error::{Error, ErrorKind, chain};

/// How long a client is asked to wait where the error itself does not say, in seconds.
const RETRY_AFTER: u64 = 30;

/// The response that tells a client about an error, with `Retry-After` where waiting may help.
///
/// What a client did wrong, or what policy forbids, is told as it is. What went wrong in here (a backend, a
/// damaged blob, a full disk) or at a registry is logged in full under an id, and the client is told the id:
/// paths, addresses and credentials stay inside.
#[must_use]
pub fn problem(error: &Error) -> Response {
    let status = error.http_status();
    let response = match error.kind() {
        ErrorKind::Backend | ErrorKind::Integrity | ErrorKind::TooNew => {
            refusal(status, &logged("the server failed to answer", error))
        }
        ErrorKind::Upstream => refusal(status, &logged(&upstream(error), error)),
        ErrorKind::Quota if matches!(error, Error::NoSpace { .. }) => {
            refusal(status, &logged("no space is left on the server", error))
        }
        ErrorKind::Cancelled => refusal(status, "the request was cancelled on the server; try again"),
        _ => refusal(status, &error.to_string()),
    };
    match retry_after(error) {
        Some(seconds) => response.header(header::RETRY_AFTER, HeaderValue::from(seconds)),
        None => response,
    }
}

/// A refusal that is no [`Error`], in the same form. `detail` is shown to the client as it is.
#[must_use]
pub fn refusal(status: StatusCode, detail: &str) -> Response {
    let title = status.canonical_reason().unwrap_or("Refused");
    let problem =
        json!({ "type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail });
    Response::with_bytes(
        status,
        problem.to_string().into(),
        HeaderValue::from_static("application/problem+json"),
    )
    .header(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))
}

fn upstream(error: &Error) -> String {
    match error {
        Error::Upstream { status, .. } => format!("the upstream registry answered {status}"),
        Error::ForbiddenAddress { .. } => "the upstream registry points to a forbidden address".into(),
        _ => "the upstream registry could not be reached".into(),
    }
}

fn retry_after(error: &Error) -> Option<u64> {
    match error {
        Error::Upstream { retry_after: Some(wait), .. } => {
            Some(wait.as_secs() + u64::from(wait.subsec_nanos() > 0))
        }
        Error::Upstream { .. } | Error::Unreachable { .. } if error.is_retryable() => Some(RETRY_AFTER),
        Error::Cancelled => Some(1),
        _ => None,
    }
}

/// Logs the error with all its causes and returns what the client is told instead.
fn logged(told: &str, error: &Error) -> String {
    let id = uuid::Uuid::new_v4();
    tracing::error!(%id, error = %chain(error), "a request failed");
    format!("{told}; the server's log says more under {id}")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::serve::Body;

    fn told(error: &Error) -> (Response, serde_json::Value) {
        let response = problem(error);
        let Body::Bytes(bytes) = &response.body else { panic!("a problem has a body") };
        assert_eq!(response.headers[header::CONTENT_LENGTH], bytes.len().to_string().as_str());
        assert_eq!(response.headers[header::CONTENT_TYPE], "application/problem+json");
        let json: serde_json::Value = serde_json::from_slice(bytes).unwrap();
        let mut keys: Vec<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
        keys.sort_unstable();
        assert_eq!(keys, ["detail", "status", "title", "type"]);
        assert_eq!(json["status"], response.status.as_u16());
        (response, json)
    }

    #[test]
    fn policy_is_told_in_words() {
        let error = Error::Denied { what: "`six`".into(), reason: "CVE-2024-0001".into() };
        let (response, json) = told(&error);
        assert_eq!(response.status, StatusCode::FORBIDDEN);
        assert_eq!(json["detail"], "`six` is not allowed: CVE-2024-0001");
    }

    #[test]
    fn what_is_inside_stays_inside() {
        let secret = "/srv/secret?password=hunter2";
        let boxed = || std::io::Error::other(secret);
        let errors = [
            Error::Catalog { operation: secret.into(), source: Box::new(boxed()) },
            Error::Store { operation: secret.into(), source: Box::new(boxed()) },
            Error::Io { operation: secret.into(), source: boxed() },
            Error::NoSpace { what: secret.into() },
            Error::Integrity { what: secret.into(), expected: secret.into(), actual: secret.into() },
            Error::TooNew { what: secret.into(), found: "2".into(), known: "1".into() },
            Error::Upstream { url: secret.into(), status: 500, retry_after: None },
            Error::Unreachable { url: secret.into(), detail: secret.into() },
            Error::ForbiddenAddress { url: secret.into(), reason: secret.into() },
        ];
        for error in errors {
            let (response, json) = told(&error);
            assert!(response.status.is_server_error(), "{error:?}");
            let text = json.to_string();
            assert!(!text.contains("secret") && !text.contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn waiting_is_asked_for_where_it_may_help() {
        let wait = |retry_after| {
            let error = Error::Upstream { url: "u".into(), status: 503, retry_after };
            told(&error).0.headers.get(header::RETRY_AFTER).map(|v| v.to_str().unwrap().to_owned())
        };
        assert_eq!(wait(Some(Duration::from_millis(1500))).as_deref(), Some("2"));
        assert_eq!(wait(None).as_deref(), Some("30"));
        let gone = Error::Upstream { url: "u".into(), status: 410, retry_after: None };
        assert!(told(&gone).0.headers.get(header::RETRY_AFTER).is_none());
        assert!(told(&Error::not_found("file", "a")).0.headers.get(header::RETRY_AFTER).is_none());
    }

    #[test]
    fn hostile_text_stays_json() {
        let name = "\"}\r\n<script>\u{0}\u{202e}".to_owned();
        let (_, json) = told(&Error::not_found("file", &name));
        assert_eq!(json["detail"], format!("no file `{name}`"));
    }
}
