//! What backends say went wrong, in the engine's words.

use std::{error::Error as _, io};

use crate::error::Error;

/// For `map_err`: the object `name` (of kind `what`) could not be used for `operation`.
pub(super) fn backend<'a>(
    operation: &'a str,
    what: &'static str,
    name: impl ToString + 'a,
) -> impl FnOnce(object_store::Error) -> Error + 'a {
    move |error| match error {
        object_store::Error::NotFound { .. } => Error::not_found(what, name),
        error if is_full(&error) => Error::NoSpace { what: format!("{what} `{}`", name.to_string()) },
        error => Error::Store {
            operation: format!("{operation} {what} `{}`", name.to_string()),
            source: Box::new(error),
        },
    }
}

/// Whether anything in the chain of causes is a full disk or quota.
fn is_full(error: &object_store::Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>()
            && matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
        {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_apart() {
        let failed = |kind: io::ErrorKind| {
            let source = Box::new(io::Error::from(kind));
            backend("write", "object", "x")(object_store::Error::Generic { store: "test", source })
        };
        for kind in [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded] {
            assert!(matches!(failed(kind), Error::NoSpace { .. }), "{kind:?}");
        }
        assert!(matches!(failed(io::ErrorKind::BrokenPipe), Error::Store { .. }));
    }

    #[test]
    fn what_is_absent_is_named() {
        let source = "no such key".into();
        let error =
            backend("read", "blob", "x")(object_store::Error::NotFound { path: "a/b".into(), source });
        assert_eq!(error.to_string(), "no blob `x`");
    }
}
