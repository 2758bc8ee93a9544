//! The audit chain.

#![expect(clippy::missing_panics_doc, clippy::unwrap_used, reason = "tests report by panicking")]

use super::fixture::{Fixture, found};
use crate::error::Error;

/// Every decision is one record, numbered without gaps, and the chain holds.
pub async fn decisions_are_in_the_audit_chain(url: &str) {
    let fixture = Fixture::open(url).await;
    fixture.discover(&found("six", &["1.0"])).await;
    fixture.serve("six", "1.0").await;
    let records = fixture.catalog.audit(0, 100).await.unwrap();
    let actions: Vec<_> = records.iter().map(|record| record.action.as_str()).collect();
    let expected = ["registry.put", "repository.put", "artifact.discover", "revision.admit"];
    assert_eq!(actions[..4], expected);
    assert_eq!(actions[4..], ["revision.transition"; 4]);
    assert_eq!(records.last().unwrap().detail["reason"], "test wants AVAILABLE");
    for (record, next) in records.iter().zip(&records[1..]) {
        assert_eq!((record.seq + 1, record.hash), (next.seq, next.previous));
    }
    assert_eq!(fixture.catalog.verify_audit().await.unwrap(), records.len() as u64);
    assert_eq!(fixture.catalog.audit(6, 100).await.unwrap(), records[6..]);
}

/// A record changed, removed (first, middle or last) or moved is found.
pub async fn tampering_with_the_audit_log_is_found(url: &str) {
    let fixture = Fixture::open(url).await;
    fixture.discover(&found("six", &["1.0"])).await;
    fixture.serve("six", "1.0").await;
    assert_eq!(fixture.catalog.verify_audit().await.unwrap(), 8);
    let columns = "seq, at, actor, action, subject, detail, previous, hash";
    fixture.tamper(&format!("CREATE TABLE saved AS SELECT {columns} FROM audit")).await;
    let tampers = [
        "UPDATE audit SET actor = 'mallory' WHERE seq = 3",
        "UPDATE audit SET at = at + 1 WHERE seq = 1",
        "UPDATE audit SET detail = '{}' WHERE seq = 8",
        "UPDATE audit SET hash = previous WHERE seq = 5",
        "DELETE FROM audit WHERE seq = 1",
        "DELETE FROM audit WHERE seq = 4",
        "DELETE FROM audit WHERE seq = 8",
        "DELETE FROM audit",
        "UPDATE audit SET seq = 99 WHERE seq = 5; UPDATE audit SET seq = 5 WHERE seq = 6; \
         UPDATE audit SET seq = 6 WHERE seq = 99",
    ];
    for tamper in tampers {
        fixture.tamper(tamper).await;
        let found = fixture.catalog.verify_audit().await;
        assert!(matches!(found, Err(Error::Integrity { .. })), "{tamper}: {found:?}");
        fixture
            .tamper(&format!("DELETE FROM audit; INSERT INTO audit ({columns}) SELECT {columns} FROM saved"))
            .await;
        assert_eq!(fixture.catalog.verify_audit().await.unwrap(), 8, "{tamper}");
    }
}
