//! Which signatures are believed. Keys and signatures were made by `gpg` (`scripts/openpgp-fixtures`); those that it
//! refuses to make, here.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::{path::PathBuf, time::Instant};

use bytes::Bytes;
use pgp::{
    composed::{
        ArmorOptions, DetachedSignature, KeyType, SecretKeyParamsBuilder, SignedPublicKey, SignedSecretKey,
        SubkeyParamsBuilder,
    },
    crypto::hash::HashAlgorithm,
    types::{KeyDetails as _, Password},
};
use rand_core::OsRng;
use reservoir_core::{
    Error, ErrorKind, Result,
    clock::Timestamp,
    openpgp::{Keyring, Trust, Verified},
};

const TEXT: &str = "Origin: Example\nSuite: stable\n- a dash\n";

fn file(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/openpgp").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn keyring(name: &str) -> Keyring {
    Keyring::parse(name, &file(name)).unwrap()
}

fn on(day: &str) -> Timestamp {
    Timestamp::from_micros(format!("{day}T12:00:00Z").parse::<jiff::Timestamp>().unwrap().as_microsecond())
}

fn cleartext(name: &str, day: &str, pins: &[String]) -> Result<Verified> {
    let keyring = keyring(&format!("{name}.asc"));
    Trust { keyring: &keyring, pins, now: on(day) }
        .cleartext("InRelease", &file(&format!("{name}.InRelease")))
}

fn detached(name: &str, day: &str) -> Result<Verified> {
    let keyring = keyring(&format!("{name}.asc"));
    let signature = file(&format!("{name}.gpg.asc"));
    Trust { keyring: &keyring, pins: &[], now: on(day) }.detached("Release", Bytes::from(TEXT), &signature)
}

fn reason(outcome: Result<Verified>) -> String {
    match outcome {
        Err(Error::Untrusted { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn good_keys_are_believed_inline_and_detached() {
    for name in ["ed25519", "rsa2048", "nistp256", "subkey", "expiring", "expiring-subkey"] {
        let verified = cleartext(name, "2026-01-05", &[]).unwrap();
        assert_eq!(verified.text(), TEXT.trim_end(), "{name}");
        let certificate = keyring(&format!("{name}.asc")).fingerprints().next().unwrap().to_owned();
        assert_eq!(verified.signers()[0].certificate, certificate);
        assert_eq!(verified.signers()[0].key != certificate, name.contains("subkey"), "{name}");
        assert_eq!(detached(name, "2026-01-05").unwrap().text(), TEXT, "{name}");
    }
}

#[test]
fn what_policy_refuses_is_told_with_its_reason() {
    for (name, day, expected) in [
        ("rsa1024", "2026-01-05", "is RSA with 1024 bits"),
        ("dsa2048", "2026-01-05", "is DSA"),
        ("revoked", "2026-01-05", "is revoked"),
        ("revoked-subkey", "2026-01-05", "is revoked"),
        ("expiring", "2026-01-12", "expired at 2026-01-11"),
        ("expiring-subkey", "2026-01-12", "expired at 2026-01-11"),
        ("sha1", "2026-01-05", "uses Sha1"),
        ("short-lived", "2026-01-05", "has expired"),
        ("early", "2026-01-05", "is younger than the signature"),
        ("ed25519", "2025-12-01", "self-signature"),
    ] {
        for outcome in [cleartext(name, day, &[]), detached(name, day)] {
            let reason = reason(outcome);
            assert!(reason.contains(expected), "{name}: {reason}");
        }
    }
}

#[test]
fn other_text_and_other_keys_are_refused() {
    let keyring = keyring("ed25519.asc");
    let trust = Trust { keyring: &keyring, pins: &[], now: on("2026-01-05") };
    let forged =
        String::from_utf8(file("ed25519.InRelease")).unwrap().replace("Suite: stable", "Suite: steble");
    assert!(reason(trust.cleartext("InRelease", forged.as_bytes())).contains("does not fit the text"));
    let other = trust.cleartext("InRelease", &file("rsa2048.InRelease"));
    assert!(reason(other).contains("is not in the keyring"));
    let forged = trust.detached("Release", Bytes::from(TEXT.replace('O', "o")), &file("ed25519.gpg.asc"));
    assert!(reason(forged).contains("does not fit the text"));
}

#[test]
fn one_good_signature_suffices_and_unknown_ones_count_for_nothing() {
    let message = file("two.InRelease");
    for (name, signers) in [("ed25519.asc", 1), ("rsa2048.asc", 1), ("both.gpg", 2)] {
        let keyring = keyring(name);
        let trust = Trust { keyring: &keyring, pins: &[], now: on("2026-01-05") };
        assert_eq!(trust.cleartext("InRelease", &message).unwrap().signers().len(), signers, "{name}");
    }
    let keyring = keyring("subkey.asc");
    let trust = Trust { keyring: &keyring, pins: &[], now: on("2026-01-05") };
    assert!(reason(trust.cleartext("InRelease", &message)).contains("is not in the keyring"));
}

#[test]
fn pins_name_certificates_or_subkeys() {
    let verified = cleartext("subkey", "2026-01-05", &[]).unwrap();
    let signer = verified.signers()[0].clone();
    for pin in [signer.certificate, signer.key] {
        assert!(cleartext("subkey", "2026-01-05", &[pin]).is_ok());
    }
    let other = keyring("ed25519.asc").fingerprints().next().unwrap().to_owned();
    assert!(reason(cleartext("subkey", "2026-01-05", &[other])).contains("pinned"));
}

#[test]
fn binary_signatures_and_junk_are_no_release_gpg() {
    let keyring = keyring("ed25519.asc");
    let trust = Trust { keyring: &keyring, pins: &[], now: on("2026-01-05") };
    let detached = |signature: &[u8]| trust.detached("Release", Bytes::from(TEXT), signature);
    let good = file("ed25519.gpg.asc");
    assert!(detached(&good).is_ok());
    for bad in [
        file("binary.gpg"),
        Vec::new(),
        b"nothing".to_vec(),
        [b"junk\n".to_vec(), good.clone()].concat(),
        [good.clone(), b"junk\n".to_vec()].concat(),
        [good.clone(), good.clone()].concat(),
        file("ed25519.InRelease"),
    ] {
        assert_eq!(detached(&bad).unwrap_err().kind(), ErrorKind::Malformed, "{bad:?}");
    }
}

#[test]
fn a_huge_message_is_refused_at_once_and_a_large_one_is_read_in_linear_time() {
    let keyring = keyring("ed25519.asc");
    let trust = Trust { keyring: &keyring, pins: &[], now: on("2026-01-05") };
    let message = String::from_utf8(file("ed25519.InRelease")).unwrap();
    let grown = |bytes: usize| {
        let line = format!("Suite: stable\n{}", " x 0123456789 0123456789\n".repeat(bytes / 25));
        message.replace("Suite: stable\n", &line)
    };
    let start = Instant::now();
    let error = trust.cleartext("InRelease", grown(20 << 20).as_bytes()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Quota);
    assert!(start.elapsed().as_secs() < 1, "{:?}", start.elapsed());
    let start = Instant::now();
    let outcome = trust.cleartext("InRelease", grown(7 << 20).as_bytes());
    assert!(reason(outcome).contains("does not fit the text"));
    assert!(start.elapsed().as_secs() < 10, "{:?}", start.elapsed());
}

/// A certificate whose subkey may do what `configure` says, and whose primary key only certifies.
fn made(sign: bool, encrypt: bool) -> SignedSecretKey {
    let mut subkey = SubkeyParamsBuilder::default();
    subkey.key_type(KeyType::Rsa(2048)).can_sign(sign);
    if encrypt {
        subkey.can_encrypt(pgp::composed::EncryptionCaps::All);
    }
    let parameters = SecretKeyParamsBuilder::default()
        .key_type(KeyType::Ed25519Legacy)
        .can_certify(true)
        .can_sign(false)
        .primary_user_id("made <made@example.com>".into())
        .preferred_hash_algorithms([HashAlgorithm::Sha256].into_iter().collect())
        .subkey(subkey.build().unwrap())
        .build()
        .unwrap();
    parameters.generate(OsRng).unwrap()
}

fn verify_made(public: &SignedPublicKey, signature: &DetachedSignature) -> Result<Verified> {
    let armored = public.to_armored_bytes(ArmorOptions::default()).unwrap();
    let keyring = Keyring::parse("made", &armored).unwrap();
    let signature = signature.to_armored_bytes(ArmorOptions::default()).unwrap();
    Trust { keyring: &keyring, pins: &[], now: Timestamp::now() }.detached(
        "Release",
        Bytes::from(TEXT),
        &signature,
    )
}

#[test]
fn keys_sign_only_when_they_are_meant_to() {
    let sign = |key: &SignedSecretKey| {
        let subkey = &key.secret_subkeys[0].key;
        DetachedSignature::sign_binary_data(
            OsRng,
            subkey,
            &Password::empty(),
            HashAlgorithm::Sha256,
            TEXT.as_bytes(),
        )
        .unwrap()
    };
    let good = made(true, false);
    assert!(verify_made(&good.to_public_key(), &sign(&good)).is_ok());

    let encrypts = made(false, true);
    assert!(reason(verify_made(&encrypts.to_public_key(), &sign(&encrypts))).contains("is not for signing"));

    let primary = DetachedSignature::sign_binary_data(
        OsRng,
        &good.primary_key,
        &Password::empty(),
        HashAlgorithm::Sha256,
        TEXT.as_bytes(),
    );
    assert!(reason(verify_made(&good.to_public_key(), &primary.unwrap())).contains("is not for signing"));

    // A stranger takes the subkey of another over, with the bindings it has.
    let mut thief = made(true, false).to_public_key();
    thief.public_subkeys = good.to_public_key().public_subkeys;
    assert!(reason(verify_made(&thief, &sign(&good))).contains("is not bound to its certificate"));

    // A subkey without any binding.
    let mut naked = good.to_public_key();
    naked.public_subkeys[0].signatures.clear();
    let refused = verify_made(&naked, &sign(&good)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Untrusted, "{refused}");
    assert_eq!(format!("{:X}", good.primary_key.fingerprint()).len(), 40);
}

/// The certificates that this machine's apt trusts: those of a real distribution, many with subkeys, some expired.
#[test]
fn real_keyrings_are_read() {
    let folder = std::fs::read_dir("/usr/share/keyrings").expect("a Debian or Ubuntu machine has keyrings");
    let keyrings: Vec<Keyring> = folder
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "gpg"))
        .map(|path| Keyring::load(path).unwrap())
        .collect();
    assert!(keyrings.iter().any(|keyring| keyring.fingerprints().count() > 1));
}
