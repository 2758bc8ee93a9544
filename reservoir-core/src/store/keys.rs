//! The names of objects: digests, ids and numbers, nothing else.

use object_store::path::Path;

use super::RecordKey;
use crate::digest::Sha256Digest;

/// Where blobs lie.
pub(super) const BLOBS: &str = "sha256";
/// Where signed records lie.
pub(super) const RECORDS: &str = "records";

pub(crate) fn blob(sha256: &Sha256Digest) -> Path {
    sharded(BLOBS, sha256)
}

pub(crate) fn tree(sha256: &Sha256Digest) -> Path {
    sharded("tree", sha256)
}

fn sharded(kind: &str, sha256: &Sha256Digest) -> Path {
    let hex = sha256.to_string();
    Path::from(format!("{kind}/{}/{}/{hex}", &hex[..2], &hex[2..4]))
}

pub(super) fn record(key: RecordKey) -> Path {
    let RecordKey { line, number, fence } = key;
    Path::from(format!("{RECORDS}/{}/{number:020}-{fence:020}", line.hyphenated()))
}

/// The digest a key names; `None` for every key that [`blob`] would not make.
pub(super) fn parse_blob(path: &Path) -> Option<Sha256Digest> {
    let digest = path.filename()?.parse().ok()?;
    (blob(&digest) == *path).then_some(digest)
}

/// The record a key names; `None` for every key that [`record`] would not make.
pub(super) fn parse_record(path: &Path) -> Option<RecordKey> {
    let mut parts = path.as_ref().split('/').skip(1);
    let line = parts.next()?.parse().ok()?;
    let (number, fence) = parts.next()?.split_once('-')?;
    let key = RecordKey { line, number: number.parse().ok()?, fence: fence.parse().ok()? };
    (record(key) == *path).then_some(key)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn keys_round_trip(bytes: [u8; 32], line: u128, number: u64, fence: u64) {
            let digest = Sha256Digest::from_bytes(bytes);
            prop_assert_eq!(parse_blob(&blob(&digest)), Some(digest));
            prop_assert_eq!(parse_blob(&tree(&digest)), None);
            let key = RecordKey { line: uuid::Uuid::from_u128(line), number, fence };
            prop_assert_eq!(parse_record(&record(key)), Some(key));
        }

        #[test]
        fn foreign_keys_are_nothing(text in "[a-z0-9/.-]{0,90}") {
            let path = Path::from(text);
            prop_assert_eq!(parse_blob(&path), None);
            prop_assert_eq!(parse_record(&path), None);
        }
    }

    #[test]
    fn records_sort_as_numbers() {
        let key = |number| record(RecordKey { line: uuid::Uuid::nil(), number, fence: 1 });
        assert!(key(9).as_ref() < key(10).as_ref());
    }
}
