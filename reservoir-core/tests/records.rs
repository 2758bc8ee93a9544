//! Signed records: nothing forged is opened, and the committed history is the one that is chosen.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::{fs, path::PathBuf};

use proptest::prelude::*;
use reservoir_core::{
    Error, ErrorKind, Result,
    clock::Timestamp,
    digest::Sha256Digest,
    snapshot::{
        InstanceKey, Record, Snapshot,
        record::{choose_line, open_record, sign_record},
    },
    store::RecordKey,
};
use uuid::Uuid;

const LINE: Uuid = Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001);

fn record(number: u64, fence: u64, previous: Option<Sha256Digest>) -> Record {
    let repository = serde_json::json!({
        "name": "ns/python", "ecosystem": "pypi", "registries": ["index"],
        "options": {"packages": ["six==1.17.0"]},
    });
    Record {
        line: LINE,
        number,
        fence,
        previous,
        repository: serde_json::from_value(repository).unwrap(),
        reference: "main".parse().unwrap(),
        snapshot: Snapshot {
            number,
            content: Sha256Digest::of(b"content"),
            publication: Sha256Digest::of(b"publication"),
            parent: number.checked_sub(2).map(|parent| parent + 1),
            author: "alice".parse().unwrap(),
            created_at: Timestamp::from_micros(1_700_000_000_000_000),
            message: "nightly \u{fc}".to_owned(),
        },
        created_at: Timestamp::from_micros(1_700_000_000_250_000),
        bundle: None,
    }
}

fn fixture(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests/fixtures/record-v1", name].iter().collect()
}

#[test]
fn format_1_is_read() {
    let key = InstanceKey::load(fixture("instance.key")).unwrap();
    let bytes = fs::read(fixture("record.json")).unwrap();
    let expected = record(2, 7, Some(Sha256Digest::of(b"previous")));
    assert_eq!(open_record(&bytes, &[key.public()]).unwrap(), expected);
}

#[test]
fn every_flipped_bit_is_refused() {
    let key = InstanceKey::generate().unwrap();
    let bytes = sign_record(&record(1, 1, None), &key).unwrap();
    let trusted = [key.public()];
    assert!(open_record(&bytes, &trusted).is_ok());
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut changed = bytes.to_vec();
            changed[at] ^= 1 << bit;
            let kind = open_record(&changed, &trusted).unwrap_err().kind();
            assert!(matches!(kind, ErrorKind::Malformed | ErrorKind::Untrusted), "byte {at}: {kind:?}");
        }
        assert!(open_record(&bytes[..at], &trusted).is_err(), "cut at {at}");
    }
    for (from, to) in [("{\"key\"", "{ \"key\""), ("\"}", "\"}\n"), ("\"}", "\",\"a\":1}")] {
        let changed = String::from_utf8(bytes.to_vec()).unwrap().replace(from, to);
        assert!(open_record(changed.as_bytes(), &trusted).is_err(), "{to:?}");
    }
}

#[test]
fn only_trusted_keys_count() {
    let [ours, theirs] = [InstanceKey::generate().unwrap(), InstanceKey::generate().unwrap()];
    let bytes = sign_record(&record(1, 1, None), &theirs).unwrap();
    for trusted in [&[ours.public()][..], &[]] {
        assert!(matches!(open_record(&bytes, trusted), Err(Error::Untrusted { .. })));
    }
    assert!(open_record(&bytes, &[ours.public(), theirs.public()]).is_ok());

    // Their signature under our name.
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    let changed = text.replace(&theirs.public().to_string(), &ours.public().to_string());
    let result = open_record(changed.as_bytes(), &[ours.public(), theirs.public()]);
    assert!(matches!(result, Err(Error::Untrusted { .. })));
}

#[test]
fn huge_records_are_refused() {
    let key = InstanceKey::generate().unwrap();
    let mut huge = record(1, 1, None);
    huge.snapshot.message = "x".repeat(1 << 20);
    assert_eq!(sign_record(&huge, &key).unwrap_err().kind(), ErrorKind::Quota);
    let error = open_record(&vec![b' '; (1 << 20) + 1], &[key.public()]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Malformed);
}

type Stored = (RecordKey, Record, Sha256Digest);

fn stored(number: u64, fence: u64, previous: Option<&Stored>) -> Stored {
    let record = record(number, fence, previous.map(|(.., digest)| *digest));
    let digest = Sha256Digest::of(&serde_json::to_vec(&record).unwrap());
    (record.key(), record, digest)
}

fn chosen(records: &[&Stored]) -> Result<Vec<(u64, u64)>> {
    // The order in which they are found means nothing.
    let mut found: Vec<Stored> = records.iter().copied().cloned().collect();
    let forwards = choose_line(found.clone())?;
    found.reverse();
    assert_eq!(choose_line(found)?, forwards);
    Ok(forwards.iter().map(|record| (record.number, record.fence)).collect())
}

#[test]
fn crashed_writers_lose() {
    let one = stored(1, 1, None);
    let crashed = stored(2, 9, Some(&one));
    let two = stored(2, 3, Some(&one));
    let three = stored(3, 10, Some(&two));
    assert_eq!(chosen(&[]).unwrap(), []);
    assert_eq!(chosen(&[&one]).unwrap(), [(1, 1)]);
    // At the tip the highest fence wins; further down, what later records chain to.
    assert_eq!(chosen(&[&one, &two, &crashed]).unwrap(), [(1, 1), (2, 9)]);
    assert_eq!(chosen(&[&one, &two, &crashed, &three]).unwrap(), [(1, 1), (2, 3), (3, 10)]);
    let first = stored(1, 0, None);
    assert_eq!(chosen(&[&first, &one, &two, &three]).unwrap(), [(1, 1), (2, 3), (3, 10)]);
}

#[test]
fn gaps_and_foreigners_are_told() {
    let one = stored(1, 1, None);
    let two = stored(2, 2, Some(&one));
    let three = stored(3, 3, Some(&two));
    let four = stored(4, 4, Some(&three));
    let kind = |records: &[&Stored]| chosen(records).unwrap_err().kind();
    assert_eq!(kind(&[&one, &three, &four]), ErrorKind::Integrity);
    assert_eq!(kind(&[&two, &three]), ErrorKind::Integrity);
    // Another record of that number does not fill the gap.
    assert_eq!(kind(&[&one, &stored(2, 9, Some(&one)), &three]), ErrorKind::Integrity);
    // Numbers that skip, a second beginning, a beginning with a past.
    assert_eq!(kind(&[&one, &stored(3, 3, Some(&one))]), ErrorKind::Malformed);
    assert_eq!(kind(&[&one, &stored(2, 2, None)]), ErrorKind::Malformed);
    assert_eq!(kind(&[&one, &stored(1, 2, Some(&one))]), ErrorKind::Malformed);
    assert_eq!(kind(&[&stored(0, 2, Some(&one))]), ErrorKind::Malformed);

    let mut elsewhere = two.clone();
    elsewhere.0.fence = 5;
    assert_eq!(kind(&[&one, &elsewhere]), ErrorKind::Malformed);
    let mut foreign = two.clone();
    foreign.0.line = Uuid::nil();
    foreign.1.line = Uuid::nil();
    assert_eq!(kind(&[&one, &foreign]), ErrorKind::Malformed);
}

proptest! {
    #[test]
    fn random_bytes_are_no_record(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let key = InstanceKey::load(fixture("instance.key")).unwrap();
        prop_assert!(open_record(&bytes, &[key.public()]).is_err());
    }

    /// However many writers crashed at each number, the chain they did not extend is found.
    #[test]
    fn the_committed_chain_is_found(crashes in prop::collection::vec(0..4_u64, 1..12)) {
        let mut records = Vec::new();
        let mut committed: Vec<Stored> = Vec::new();
        let mut fence = 0;
        for (index, crashes) in crashes.iter().enumerate() {
            for attempt in 0..=*crashes {
                fence += 1;
                let next = stored(index as u64 + 1, fence, committed.last());
                records.push(next.clone());
                if attempt == *crashes {
                    committed.push(next);
                }
            }
        }
        let chosen = choose_line(records).unwrap();
        prop_assert_eq!(chosen, committed.into_iter().map(|(_, record, _)| record).collect::<Vec<_>>());
    }
}
