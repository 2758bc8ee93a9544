//! The transition table: data, one function, and a test that prints it.

use super::Status::{
    self, Available, Blocked, Failed, NeedsApproval, Pulled, Pulling, Rejected, Scanned, Verifying,
};

/// Every allowed change of status.
pub const TRANSITIONS: &[(Status, Status)] = &[
    (Scanned, Pulling),
    (Pulling, Pulled),
    (Pulling, Failed),
    (Pulling, Scanned),
    (Pulled, Verifying),
    (Pulled, Failed),
    (Pulled, Rejected),
    (Pulled, Scanned),
    (Verifying, Available),
    (Verifying, NeedsApproval),
    (Verifying, Rejected),
    (Verifying, Failed),
    (Verifying, Pulled),
    (NeedsApproval, Available),
    (NeedsApproval, Rejected),
    (NeedsApproval, Verifying),
    (NeedsApproval, Scanned),
    (Available, Blocked),
    (Available, Rejected),
    (Available, Verifying),
    (Available, Scanned),
    (Blocked, Verifying),
    (Blocked, Available),
    (Blocked, Rejected),
    (Blocked, Scanned),
    (Rejected, NeedsApproval),
    (Rejected, Scanned),
    (Failed, Pulling),
    (Failed, Scanned),
];

/// Whether the table has this change.
#[must_use]
pub fn is_allowed(from: Status, to: Status) -> bool {
    TRANSITIONS.contains(&(from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_becomes_available_without_being_judged() {
        for status in Status::ALL {
            let judged = matches!(status, Verifying | NeedsApproval | Blocked);
            assert_eq!(is_allowed(status, Available), judged, "{status}");
        }
    }

    #[test]
    fn the_table() {
        let lines: Vec<String> = TRANSITIONS.iter().map(|(from, to)| format!("{from} -> {to}")).collect();
        insta::assert_snapshot!(lines.join("\n"));
    }
}
