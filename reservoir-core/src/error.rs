//! One error for the whole engine, with variants that a caller can act on.
//!
//! Messages are lowercase, values stand in backticks, and say what, where and what to do.
//! A URL in a message never carries credentials: build it from [`DisplayUrl`](crate::fetch::DisplayUrl).

use std::time::Duration;

use crate::lifecycle::Status;

/// What went wrong, as far as a caller can act on it.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A boxed cause, kept for the chain of `source()`.
pub type Cause = Box<dyn std::error::Error + Send + Sync + 'static>;

/// Everything the engine reports.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nothing has that name.
    #[error("no {what} `{name}`")]
    NotFound {
        /// The kind of thing: `repository`, `snapshot`, `blob`…
        what: &'static str,
        /// The name that was asked for.
        name: String,
    },

    /// Somebody else changed the same thing first; read again and retry.
    #[error("conflict on {what}: {detail}")]
    Conflict {
        /// What two parties changed.
        what: String,
        /// Who has it, or what changed.
        detail: String,
    },

    /// The caller's lease was taken over by another process; its work is discarded.
    #[error("the lease `{lease}` was taken over by another process; nothing was published")]
    Fenced {
        /// The lease.
        lease: String,
    },

    /// A lifecycle transition that the table does not allow.
    #[error("`{subject}` cannot go from {from} to {to}")]
    InvalidState {
        /// The revision.
        subject: String,
        /// Its status now.
        from: Status,
        /// The status asked for.
        to: Status,
    },

    /// The caller may not do this, or the thing is blocked.
    #[error("{what} is not allowed: {reason}")]
    Denied {
        /// What was asked for.
        what: String,
        /// Why not, in words for the person who asked.
        reason: String,
    },

    /// Bytes differ from what their digest promises.
    #[error("{what} does not match its digest: expected `{expected}`, found `{actual}`")]
    Integrity {
        /// The file or blob.
        what: String,
        /// The digest (or size) promised.
        expected: String,
        /// The digest (or size) found.
        actual: String,
    },

    /// Signed metadata, a key or a signature that policy refuses.
    #[error("{what} is not trusted: {reason}")]
    Untrusted {
        /// What was refused.
        what: String,
        /// The rule it broke.
        reason: String,
    },

    /// Input that breaks the rules of its format. Nothing of it was stored.
    #[error("{what} is refused ({rule}): {detail}")]
    Malformed {
        /// The file, page or field.
        what: String,
        /// A short stable name of the rule, such as `zip-duplicate-entry`.
        rule: &'static str,
        /// What was found and where.
        detail: String,
    },

    /// A configured limit was reached.
    #[error("{what} is over the limit of {limit}")]
    LimitExceeded {
        /// What was counted.
        what: String,
        /// The limit, with its unit.
        limit: String,
    },

    /// A registry answered, but not with what was asked for.
    #[error("`{url}` answered {status}")]
    Upstream {
        /// The address, without credentials.
        url: String,
        /// The HTTP status.
        status: u16,
        /// How long the registry asked us to wait.
        retry_after: Option<Duration>,
    },

    /// A registry could not be reached, or broke off, after all retries; or what it has cannot be believed.
    #[error("`{url}` could not be read: {detail}")]
    Unreachable {
        /// The address, without credentials; in a cache, what was wanted.
        url: String,
        /// What happened.
        detail: String,
    },

    /// An address that policy forbids connecting to.
    #[error("`{url}` is a forbidden address: {reason}")]
    ForbiddenAddress {
        /// The address, without credentials.
        url: String,
        /// The rule.
        reason: String,
    },

    /// The implementation cannot do this.
    #[error("{what} is not supported: {detail}")]
    Unsupported {
        /// What was asked for.
        what: String,
        /// Why, and what to use instead.
        detail: String,
    },

    /// A configuration or argument that makes no sense.
    #[error("{what}: {detail}")]
    Invalid {
        /// The field or argument.
        what: String,
        /// What is wrong and what would be right.
        detail: String,
    },

    /// The task was cancelled.
    #[error("cancelled")]
    Cancelled,

    /// No room left on the disk or in the quota. The last state keeps being served.
    #[error("no space left while writing {what}")]
    NoSpace {
        /// What was being written.
        what: String,
    },

    /// Data at rest was written by a newer program.
    #[error("{what} has format {found}, this program knows up to {known}; use a newer reservoir")]
    TooNew {
        /// The catalog, home or record.
        what: String,
        /// The format found.
        found: String,
        /// The newest format known here.
        known: String,
    },

    /// The catalog (SQL) failed.
    #[error("the catalog failed to {operation}")]
    Catalog {
        /// What was being done.
        operation: String,
        /// The database's own words.
        #[source]
        source: Cause,
    },

    /// The object store failed.
    #[error("the store failed to {operation}")]
    Store {
        /// What was being done.
        operation: String,
        /// The backend's own words.
        #[source]
        source: Cause,
    },

    /// A local file or socket failed.
    #[error("cannot {operation}")]
    Io {
        /// What was being done, with the path.
        operation: String,
        /// The operating system's own words.
        #[source]
        source: std::io::Error,
    },
}

/// The class of an [`Error`], stable across releases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// See [`Error::NotFound`].
    NotFound,
    /// See [`Error::Conflict`] and [`Error::Fenced`].
    Conflict,
    /// See [`Error::InvalidState`].
    InvalidState,
    /// See [`Error::Denied`].
    Denied,
    /// See [`Error::Integrity`].
    Integrity,
    /// See [`Error::Untrusted`].
    Untrusted,
    /// See [`Error::Malformed`].
    Malformed,
    /// See [`Error::LimitExceeded`] and [`Error::NoSpace`].
    Quota,
    /// See [`Error::Upstream`], [`Error::Unreachable`] and [`Error::ForbiddenAddress`].
    Upstream,
    /// See [`Error::Unsupported`].
    Unsupported,
    /// See [`Error::Invalid`].
    Invalid,
    /// See [`Error::Cancelled`].
    Cancelled,
    /// See [`Error::TooNew`].
    TooNew,
    /// See [`Error::Catalog`], [`Error::Store`] and [`Error::Io`].
    Backend,
}

impl Error {
    /// The rule that a client's own body breaks when it is too large.
    pub(crate) const BODY_SIZE: &'static str = "body-size";

    /// The class of this error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::Conflict { .. } | Self::Fenced { .. } => ErrorKind::Conflict,
            Self::InvalidState { .. } => ErrorKind::InvalidState,
            Self::Denied { .. } => ErrorKind::Denied,
            Self::Integrity { .. } => ErrorKind::Integrity,
            Self::Untrusted { .. } => ErrorKind::Untrusted,
            Self::Malformed { .. } => ErrorKind::Malformed,
            Self::LimitExceeded { .. } | Self::NoSpace { .. } => ErrorKind::Quota,
            Self::Upstream { .. } | Self::Unreachable { .. } | Self::ForbiddenAddress { .. } => {
                ErrorKind::Upstream
            }
            Self::Unsupported { .. } => ErrorKind::Unsupported,
            Self::Invalid { .. } => ErrorKind::Invalid,
            Self::Cancelled => ErrorKind::Cancelled,
            Self::TooNew { .. } => ErrorKind::TooNew,
            Self::Catalog { .. } | Self::Store { .. } | Self::Io { .. } => ErrorKind::Backend,
        }
    }

    /// Whether the same call may succeed later without anybody changing anything.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Conflict { .. } | Self::Unreachable { .. } | Self::Catalog { .. } | Self::Store { .. } => {
                true
            }
            Self::Upstream { status, .. } => matches!(status, 408 | 425 | 429 | 500..=599),
            _ => false,
        }
    }

    /// The HTTP status a client is told.
    #[must_use]
    pub fn http_status(&self) -> http::StatusCode {
        use http::StatusCode as S;
        match self.kind() {
            ErrorKind::Malformed if matches!(self, Self::Malformed { rule: Self::BODY_SIZE, .. }) => {
                S::PAYLOAD_TOO_LARGE
            }
            ErrorKind::NotFound => S::NOT_FOUND,
            ErrorKind::Conflict | ErrorKind::InvalidState => S::CONFLICT,
            ErrorKind::Denied | ErrorKind::Untrusted => S::FORBIDDEN,
            ErrorKind::Malformed | ErrorKind::Invalid => S::BAD_REQUEST,
            ErrorKind::Quota => S::INSUFFICIENT_STORAGE,
            ErrorKind::Upstream => S::BAD_GATEWAY,
            ErrorKind::Unsupported => S::NOT_IMPLEMENTED,
            ErrorKind::Cancelled => S::SERVICE_UNAVAILABLE,
            ErrorKind::Integrity | ErrorKind::TooNew | ErrorKind::Backend => S::INTERNAL_SERVER_ERROR,
        }
    }

    /// The same failure, for another of those who wait for one piece of work. Its cause is text from there on.
    pub(crate) fn shared(&self) -> Self {
        match self {
            Self::NotFound { what, name } => Self::NotFound { what, name: name.clone() },
            Self::Conflict { what, detail } => Self::Conflict { what: what.clone(), detail: detail.clone() },
            Self::Fenced { lease } => Self::Fenced { lease: lease.clone() },
            Self::InvalidState { subject, from, to } => {
                Self::InvalidState { subject: subject.clone(), from: *from, to: *to }
            }
            Self::Denied { what, reason } => Self::Denied { what: what.clone(), reason: reason.clone() },
            Self::Integrity { what, expected, actual } => {
                Self::Integrity { what: what.clone(), expected: expected.clone(), actual: actual.clone() }
            }
            Self::Untrusted { what, reason } => {
                Self::Untrusted { what: what.clone(), reason: reason.clone() }
            }
            Self::Malformed { what, rule, detail } => {
                Self::Malformed { what: what.clone(), rule, detail: detail.clone() }
            }
            Self::LimitExceeded { what, limit } => {
                Self::LimitExceeded { what: what.clone(), limit: limit.clone() }
            }
            Self::Upstream { url, status, retry_after } => {
                Self::Upstream { url: url.clone(), status: *status, retry_after: *retry_after }
            }
            Self::Unreachable { url, detail } => {
                Self::Unreachable { url: url.clone(), detail: detail.clone() }
            }
            Self::ForbiddenAddress { url, reason } => {
                Self::ForbiddenAddress { url: url.clone(), reason: reason.clone() }
            }
            Self::Unsupported { what, detail } => {
                Self::Unsupported { what: what.clone(), detail: detail.clone() }
            }
            Self::Invalid { what, detail } => Self::Invalid { what: what.clone(), detail: detail.clone() },
            Self::Cancelled => Self::Cancelled,
            Self::NoSpace { what } => Self::NoSpace { what: what.clone() },
            Self::TooNew { what, found, known } => {
                Self::TooNew { what: what.clone(), found: found.clone(), known: known.clone() }
            }
            Self::Catalog { operation, source } => {
                Self::Catalog { operation: operation.clone(), source: chain(&**source).into() }
            }
            Self::Store { operation, source } => {
                Self::Store { operation: operation.clone(), source: chain(&**source).into() }
            }
            Self::Io { operation, source } => Self::Io {
                operation: operation.clone(),
                source: std::io::Error::new(source.kind(), chain(source)),
            },
        }
    }

    /// For `map_err` on file operations: `Error::io(format!("read `{path}`"))`.
    /// A full disk or quota becomes [`Error::NoSpace`].
    pub fn io(operation: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let operation = operation.into();
        move |source| match source.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                Self::NoSpace { what: operation }
            }
            _ => Self::Io { operation, source },
        }
    }

    /// For what a person gave, such as a specification or a lock file: what its reader calls malformed is for that
    /// person to correct.
    pub(crate) fn of_the_caller(self) -> Self {
        match self {
            Self::Malformed { what, detail, .. } => Self::Invalid { what, detail },
            other => other,
        }
    }

    /// A [`Error::Malformed`] in one line.
    pub fn malformed(what: impl Into<String>, rule: &'static str, detail: impl Into<String>) -> Self {
        Self::Malformed { what: what.into(), rule, detail: detail.into() }
    }

    /// A [`Error::Invalid`] in one line.
    pub fn invalid(what: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::Invalid { what: what.into(), detail: detail.into() }
    }

    /// A [`Error::NotFound`] in one line.
    #[expect(clippy::needless_pass_by_value, reason = "callers have names, references and text alike")]
    pub fn not_found(what: &'static str, name: impl ToString) -> Self {
        Self::NotFound { what, name: name.to_string() }
    }
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
