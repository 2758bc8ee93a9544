//! The ledger of what arrives, put back when a lost catalog is rebuilt, and asked for the repositories it fills.

use std::collections::BTreeSet;

use serde_json::json as object;
use uuid::Uuid;

use super::{
    ArrivingStream, Catalog, RepositoryId,
    rows::{Columns as _, json, plain, sql},
};
use crate::{
    clock::Timestamp,
    digest::Sha256Digest,
    error::Result,
    name::{Actor, RepositoryName},
};

/// A bundle that was applied before the catalog was lost.
#[derive(Debug, Clone)]
pub(crate) struct RestoredBundle {
    pub(crate) sequence: u64,
    pub(crate) header: Sha256Digest,
    pub(crate) document: String,
    pub(crate) signature: String,
    pub(crate) records: Sha256Digest,
    pub(crate) loaded_at: Timestamp,
}

impl Catalog {
    /// The names of the repositories that a stream fills.
    pub(crate) async fn filled_by(&self, stream: Uuid) -> Result<BTreeSet<RepositoryName>> {
        let query =
            sql("SELECT p.name AS name FROM stream_repository s JOIN repository p ON p.id = s.repository \
                         WHERE s.stream = $1");
        let rows = self.all("list what a stream fills", query.bind(stream.to_string())).await?;
        rows.iter().map(|row| row.parsed("name")).collect()
    }

    /// Puts back which repositories a stream fills and, as far as its bundles are known, where it stands.
    pub(crate) async fn restore_arriving(
        &self,
        stream: Uuid,
        repositories: &[RepositoryId],
        stands: Option<(&ArrivingStream, &[RestoredBundle])>,
        actor: &Actor,
    ) -> Result<()> {
        let mut write = self.write("restore a stream").await?;
        let name = stream.to_string();
        for repository in repositories {
            let put = sql("INSERT INTO stream_repository (repository, stream) VALUES ($1, $2) \
                           ON CONFLICT (repository) DO NOTHING");
            write.execute(put.bind(repository.0).bind(name.as_str())).await?;
        }
        if let Some((stands, bundles)) = stands {
            let put = sql("INSERT INTO stream_in (stream, site, public, sequence, header, refs) \
                           VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (stream) DO NOTHING");
            let put = put.bind(name.as_str()).bind(plain(&stands.site)).bind(stands.public.to_string());
            let put = put.bind(stands.sequence as i64).bind(stands.header.to_string());
            write.execute(put.bind(json(&stands.refs)?)).await?;
            for bundle in bundles {
                let put =
                    sql("INSERT INTO bundle_in (stream, sequence, header, document, signature, records, \
                               loaded_at) VALUES ($1, $2, $3, $4, $5, $6, $7) \
                               ON CONFLICT (stream, sequence) DO NOTHING");
                let put =
                    put.bind(name.as_str()).bind(bundle.sequence as i64).bind(bundle.header.to_string());
                let put = put.bind(bundle.document.as_str()).bind(bundle.signature.as_str());
                write
                    .execute(put.bind(bundle.records.to_string()).bind(bundle.loaded_at.as_micros()))
                    .await?;
            }
        }
        let sequence = stands.map(|(stands, _)| stands.sequence);
        let detail = object!({ "repositories": repositories, "sequence": sequence });
        write.audit(actor, "stream.restore", &name, &detail).await?;
        write.commit().await
    }
}
