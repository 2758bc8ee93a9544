//! Signed records: small objects that are written once, under a key that nobody else takes.

use std::sync::Arc;

use bytes::Bytes;

use super::ObjectBlobs;
use crate::{
    blocking,
    error::{Error, Result},
    store::{RecordKey, keys, upload},
};

/// The largest record, in bytes.
const MAX_RECORD: u64 = 1024 * 1024;

impl ObjectBlobs {
    /// See [`Store::put_record`](crate::store::Store::put_record).
    pub(super) async fn write_record(&self, key: RecordKey, bytes: Bytes) -> Result<()> {
        if bytes.len() as u64 > MAX_RECORD {
            let limit = format!("{MAX_RECORD} bytes");
            return Err(Error::LimitExceeded {
                what: format!("record {} of {}", key.number, key.line),
                limit,
            });
        }
        let path = keys::record(key);
        let created = if let Some(disk) = &self.disk {
            let (disk, bytes) = (Arc::clone(disk), bytes.clone());
            blocking::run(move || disk.place_new(&bytes, &path)).await?
        } else if self.capability.conditional_put {
            upload::put_new(&*self.objects, &path, bytes.clone()).await?
        } else {
            match self.fetch_record(key).await {
                Ok(_) => false,
                Err(Error::NotFound { .. }) => {
                    upload::put_bytes(&*self.objects, &path, vec![bytes.clone()]).await?;
                    true
                }
                Err(error) => return Err(error),
            }
        };
        if !created && self.fetch_record(key).await? != bytes {
            return Err(Error::Conflict {
                what: format!("record {} of {}", key.number, key.line),
                detail: format!("other bytes were written with the same fencing token {}", key.fence),
            });
        }
        Ok(())
    }

    /// See [`Store::read_record`](crate::store::Store::read_record).
    pub(super) async fn fetch_record(&self, key: RecordKey) -> Result<Bytes> {
        let name = format!("{}/{}-{}", key.line, key.number, key.fence);
        self.fetch(&keys::record(key), "record", name, MAX_RECORD).await
    }
}
