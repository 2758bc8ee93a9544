//! Opening: new, known, newer, and at the same time.

#![expect(clippy::missing_panics_doc, clippy::unwrap_used, reason = "tests report by panicking")]

use super::fixture::Fixture;
use crate::{
    catalog::{Catalog, CatalogOptions},
    error::Error,
};

/// Processes that open an empty database together all find the schema.
pub async fn processes_open_at_the_same_time(url: &str) {
    let opening = (0..6).map(|_| {
        let url = url.to_owned();
        tokio::spawn(async move { Catalog::open(&url, CatalogOptions::default()).await })
    });
    for opened in futures::future::join_all(opening).await {
        assert_eq!(opened.unwrap().unwrap().epoch().await.unwrap(), 0);
    }
}

/// What a newer program wrote is refused and left alone; what this one wrote is still there.
pub async fn a_newer_schema_is_refused(url: &str) {
    let fixture = Fixture::open(url).await;
    let again = fixture.another().await;
    assert_eq!(again.repositories().await.unwrap(), std::slice::from_ref(&fixture.repository));
    fixture.tamper("INSERT INTO schema (version) VALUES (4711)").await;
    let newer = Catalog::open(url, CatalogOptions::default()).await.unwrap_err();
    assert!(matches!(&newer, Error::TooNew { found, .. } if found == "4711"), "{newer:?}");
}
