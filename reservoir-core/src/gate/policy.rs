//! From verdicts to a decision.

use serde::{Deserialize, Serialize};

use super::Verdict;
use crate::ecosystem::Approval;

/// What the gate says of a revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "decision", rename_all = "snake_case")]
pub enum Decision {
    /// Let in.
    Admit {
        /// Why, for the history.
        reason: String,
    },
    /// A person decides.
    Ask {
        /// Why, for the person.
        reason: String,
    },
}

/// One scanner's opinion, as the gate sees it.
#[derive(Debug, Clone)]
pub struct Opinion {
    /// The scanner.
    pub scanner: String,
    /// What it said.
    pub verdict: Verdict,
}

/// Decides. Everything that is not [`Verdict::Clean`] asks a person: a finding is never let in by rule, and
/// an incomplete look is never a clean one. Without any opinion nothing is let in.
#[must_use]
pub fn decide(approval: Approval, opinions: &[Opinion]) -> Decision {
    if opinions.is_empty() {
        return Decision::Ask { reason: "no scanner has looked at it".into() };
    }
    let doubts: Vec<String> = opinions
        .iter()
        .filter_map(|opinion| match &opinion.verdict {
            Verdict::Clean => None,
            Verdict::Finding { rule, detail } => Some(format!("{} found {rule}: {detail}", opinion.scanner)),
            Verdict::Incomplete { reason } => Some(format!("{} is incomplete: {reason}", opinion.scanner)),
        })
        .collect();
    if !doubts.is_empty() {
        return Decision::Ask { reason: doubts.join("; ") };
    }
    match approval {
        Approval::Automatic => {
            let mut scanners: Vec<&str> = opinions.iter().map(|opinion| opinion.scanner.as_str()).collect();
            scanners.sort_unstable();
            scanners.dedup();
            Decision::Admit { reason: format!("clean by {}", scanners.join(", ")) }
        }
        Approval::Manual => Decision::Ask { reason: "the repository asks for approval by a person".into() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opinion(verdict: Verdict) -> Opinion {
        Opinion { scanner: "test".into(), verdict }
    }

    #[test]
    fn only_clean_and_automatic_is_admitted() {
        let clean = || opinion(Verdict::Clean);
        let finding = || opinion(Verdict::Finding { rule: "r".into(), detail: "d".into() });
        let incomplete = || opinion(Verdict::Incomplete { reason: "timed out".into() });
        let admits =
            |approval, opinions: &[Opinion]| matches!(decide(approval, opinions), Decision::Admit { .. });

        assert!(admits(Approval::Automatic, &[clean()]));
        assert!(!admits(Approval::Automatic, &[]));
        assert!(!admits(Approval::Automatic, &[clean(), finding()]));
        assert!(!admits(Approval::Automatic, &[clean(), incomplete()]));
        assert!(!admits(Approval::Manual, &[clean()]));
    }
}
