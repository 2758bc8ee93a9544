//! What clients are told of a run that failed.
//!
//! What a registry did wrong is no mistake of the client's, and never a 404: that would send it to its next index.

use http::{HeaderValue, StatusCode, header};

use crate::{
    error::{Error, ErrorKind},
    serve::{Response, problem, refusal},
};

/// How soon to come again, in seconds.
const COME_AGAIN: u64 = 5;

/// 503: come again soon.
pub(super) fn not_yet(what: &str) -> Response {
    let detail = format!("{what} is on its way; ask again in {COME_AGAIN} seconds");
    refusal(StatusCode::SERVICE_UNAVAILABLE, &detail)
        .header(header::RETRY_AFTER, HeaderValue::from(COME_AGAIN))
}

/// The failure of a run, for one of those who waited for `what`. Where a registry gave something else than it should,
/// or nothing, it could not be read.
pub(super) fn told(error: &Error, what: &str) -> Error {
    use ErrorKind as K;
    match error.kind() {
        K::Quota if matches!(error, Error::NoSpace { .. }) => error.shared(),
        K::Denied | K::Upstream | K::Cancelled | K::TooNew | K::Backend => error.shared(),
        K::NotFound
        | K::Conflict
        | K::InvalidState
        | K::Integrity
        | K::Untrusted
        | K::Malformed
        | K::Quota
        | K::Unsupported
        | K::Invalid => Error::Unreachable { url: what.to_owned(), detail: error.to_string() },
    }
}

/// The answer to a request for a file that could not be brought.
pub(super) fn failed(error: &Error) -> Response {
    match error.kind() {
        ErrorKind::Integrity | ErrorKind::Malformed | ErrorKind::Quota | ErrorKind::Untrusted
            if !matches!(error, Error::NoSpace { .. }) =>
        {
            refusal(StatusCode::BAD_GATEWAY, "what the registry sent is not what its index announced")
        }
        ErrorKind::NotFound => {
            refusal(StatusCode::BAD_GATEWAY, "the registry does not have this file any more")
        }
        ErrorKind::Conflict | ErrorKind::InvalidState => not_yet("the file"),
        _ => problem(&told(error, "the file")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::Status;

    fn text() -> String {
        "x".to_owned()
    }

    /// One of each variant, the variant that waiters get, and the statuses that clients get for a page and for a file.
    fn table() -> Vec<(Error, ErrorKind, u16, u16)> {
        use ErrorKind as K;
        let (url, what, detail, reason) = (text, text, text, text);
        let io = |kind: std::io::ErrorKind| Error::Io { operation: text(), source: kind.into() };
        vec![
            (Error::not_found("file", "x"), K::Upstream, 502, 502),
            (Error::Conflict { what: what(), detail: detail() }, K::Upstream, 502, 503),
            (Error::Fenced { lease: text() }, K::Upstream, 502, 503),
            (
                Error::InvalidState { subject: text(), from: Status::Pulling, to: Status::Scanned },
                K::Upstream,
                502,
                503,
            ),
            (Error::Denied { what: what(), reason: reason() }, K::Denied, 403, 403),
            (Error::Integrity { what: what(), expected: text(), actual: text() }, K::Upstream, 502, 502),
            (Error::Untrusted { what: what(), reason: reason() }, K::Upstream, 502, 502),
            (Error::malformed("x", "rule", "x"), K::Upstream, 502, 502),
            (Error::malformed("x", Error::BODY_SIZE, "x"), K::Upstream, 502, 502),
            (Error::LimitExceeded { what: what(), limit: text() }, K::Upstream, 502, 502),
            (Error::Upstream { url: url(), status: 404, retry_after: None }, K::Upstream, 502, 502),
            (Error::Unreachable { url: url(), detail: detail() }, K::Upstream, 502, 502),
            (Error::ForbiddenAddress { url: url(), reason: reason() }, K::Upstream, 502, 502),
            (Error::Unsupported { what: what(), detail: detail() }, K::Upstream, 502, 502),
            (Error::invalid("x", "x"), K::Upstream, 502, 502),
            (Error::Cancelled, K::Cancelled, 503, 503),
            (Error::NoSpace { what: what() }, K::Quota, 507, 507),
            (Error::TooNew { what: what(), found: text(), known: text() }, K::TooNew, 500, 500),
            (Error::Catalog { operation: text(), source: "x".into() }, K::Backend, 500, 500),
            (Error::Store { operation: text(), source: "x".into() }, K::Backend, 500, 500),
            (io(std::io::ErrorKind::PermissionDenied), K::Backend, 500, 500),
        ]
    }

    #[test]
    fn what_a_registry_did_wrong_is_no_mistake_of_the_clients_and_never_a_404() {
        for (error, kind, page, file) in table() {
            let told = told(&error, "hammer");
            assert_eq!((told.kind(), told.http_status().as_u16()), (kind, page), "{error:?}");
            assert_eq!(failed(&error).status.as_u16(), file, "{error:?}");
        }
    }

    #[test]
    fn what_failed_here_is_told_as_it_is() {
        for (error, ..) in table() {
            let shared = error.shared();
            assert_eq!(std::mem::discriminant(&shared), std::mem::discriminant(&error));
            assert_eq!(shared.to_string(), error.to_string());
            let told = told(&error, "hammer");
            if told.kind() == error.kind() {
                assert_eq!(told.to_string(), error.to_string());
            } else {
                assert_eq!(told.to_string(), format!("`hammer` could not be read: {error}"));
            }
        }
    }
}
