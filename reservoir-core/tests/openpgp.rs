//! Our signing key against the real `gpg` and `gpgv`, which apt uses.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::{fs, path::Path, process::Command};

use reservoir_core::{
    ErrorKind,
    clock::Timestamp,
    openpgp::{Signer, SigningKey},
};

const USER_ID: &str = "Reservoir Test <test@example.com>";

/// Runs a command to its end. `GNUPGHOME` is a folder of the test's own.
fn run(home: &Path, program: &str, arguments: &[&str]) -> (bool, String) {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(home)
        .env("GNUPGHOME", home)
        .output()
        .unwrap_or_else(|error| {
            panic!("cannot run `{program}` ({error}); run scripts/test, which installs it")
        });
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

fn home() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    fs::set_permissions(home.path(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    home
}

#[test]
fn gpg_imports_the_public_key() {
    let home = home();
    let key = SigningKey::generate(USER_ID).unwrap();
    fs::write(home.path().join("key.asc"), key.armored_public().unwrap()).unwrap();
    let (ok, text) = run(home.path(), "gpg", &["--batch", "--no-autostart", "--import", "key.asc"]);
    assert!(ok, "{text}");
    let (ok, text) = run(home.path(), "gpg", &["--batch", "--no-autostart", "--with-colons", "--list-keys"]);
    assert!(ok, "{text}");
    assert!(text.contains(&format!(":{}:", key.fingerprint())), "{text}");
    assert!(text.contains(USER_ID), "{text}");
    // Field 4 is the algorithm (22, EdDSA), field 12 what it may be used for.
    let public = text.lines().find(|line| line.starts_with("pub:")).unwrap();
    let fields: Vec<_> = public.split(':').collect();
    assert_eq!((fields[3], fields[11]), ("22", "scSC"), "{public}");
}

#[test]
fn gpgv_accepts_the_signature_and_nothing_else() {
    let home = home();
    let key = SigningKey::generate(USER_ID).unwrap();
    let other = SigningKey::generate(USER_ID).unwrap();
    let signer = Signer::from(SigningKey::load(saved(home.path(), &key)).unwrap());
    for (name, armored) in [
        ("key.asc", key.armored_public().unwrap()),
        ("other.asc", other.armored_public().unwrap()),
        ("text.asc", signer.sign_detached(b"Origin: Reservoir\n", Timestamp::now()).unwrap()),
    ] {
        fs::write(home.path().join(name), armored).unwrap();
    }
    for name in ["key", "other"] {
        let arguments = ["--batch", "--dearmor", "-o", &format!("{name}.gpg"), &format!("{name}.asc")];
        let (ok, text) = run(home.path(), "gpg", &arguments);
        assert!(ok, "{text}");
    }
    fs::write(home.path().join("text"), "Origin: Reservoir\n").unwrap();
    fs::write(home.path().join("forged"), "Origin: reservoir\n").unwrap();

    let verify =
        |keyring: &str, file: &str| run(home.path(), "gpgv", &["--keyring", keyring, "text.asc", file]);
    let (ok, text) = verify("./key.gpg", "text");
    assert!(ok, "{text}");
    assert!(text.contains("Good signature"), "{text}");
    assert!(!verify("./key.gpg", "forged").0);
    assert!(!verify("./other.gpg", "text").0);
}

/// A copy of a key, by way of the disk.
fn saved(home: &Path, key: &SigningKey) -> std::path::PathBuf {
    let path = home.join(format!("{}.key", key.fingerprint()));
    key.save(&path).unwrap();
    path
}

#[test]
fn clients_that_know_one_of_two_keys_accept_what_both_signed() {
    let home = home();
    let (old, new) = (SigningKey::generate(USER_ID).unwrap(), SigningKey::generate(USER_ID).unwrap());
    let copy = |key: &SigningKey| SigningKey::load(saved(home.path(), key)).unwrap();
    let both = Signer::new(vec![copy(&new), copy(&old)]).unwrap();
    let at = Timestamp::now();
    let text = "Origin: Reservoir\n- a dash\nSHA256:\n abc 1 Packages\n";
    let clear = both.clearsign(text, at).unwrap();
    assert_eq!(clear, both.clearsign(text, at).unwrap(), "nothing random goes in");
    assert!(clear.contains("\n- - a dash\n"), "{clear}");
    let file = |name: &str, bytes: &[u8]| fs::write(home.path().join(name), bytes).unwrap();
    file("InRelease", clear.as_bytes());
    file("forged", clear.replace("abc", "abd").as_bytes());
    file("Release", text.as_bytes());
    file("Release.gpg", both.sign_detached(text.as_bytes(), at).unwrap().as_bytes());
    let other = Signer::from(SigningKey::generate(USER_ID).unwrap());
    for (name, signer) in
        [("old.gpg", &Signer::from(old)), ("new.gpg", &Signer::from(new)), ("both.gpg", &both)]
    {
        file(name, &signer.binary_public().unwrap());
        let verify = |files: &[&str]| {
            let keyring = format!("./{name}");
            run(home.path(), "gpgv", &[&["--keyring", keyring.as_str()], files].concat())
        };
        // gpgv wants every signature good and says 2 where it lacks a key; apt reads its status lines.
        let good = |files: &[&str]| verify(files).1.contains("Good signature");
        assert!(good(&["InRelease"]) && good(&["Release.gpg", "Release"]), "{:?}", verify(&["InRelease"]));
        assert!(!good(&["forged"]));
    }
    file("other.gpg", &other.binary_public().unwrap());
    assert!(
        !run(home.path(), "gpgv", &["--keyring", "./other.gpg", "InRelease"]).1.contains("Good signature")
    );
    file("both.asc", both.armored_public().unwrap().as_bytes());
    let (ok, shown) = run(home.path(), "gpg", &["--batch", "--no-autostart", "--show-keys", "both.asc"]);
    assert!(ok && shown.matches("pub ").count() == 2, "{shown}");
    assert_eq!(Signer::new(Vec::new()).unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn keys_survive_the_disk() {
    let home = home();
    let path = home.path().join("signing.key");
    let key = SigningKey::generate(USER_ID).unwrap();
    key.save(&path).unwrap();
    let loaded = SigningKey::load(&path).unwrap();
    assert_eq!(loaded.fingerprint(), key.fingerprint());
    assert_eq!(loaded.armored_public().unwrap(), key.armored_public().unwrap());
    assert_eq!(key.save(&path).unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(key.fingerprint().len(), 40);
    assert!(!format!("{key:?}").contains("PRIVATE"));
}

#[test]
fn what_is_no_secret_key_is_refused() {
    let home = home();
    let key = SigningKey::generate(USER_ID).unwrap();
    let path = home.path().join("bad.key");
    for bytes in [String::new(), "no key".to_owned(), key.armored_public().unwrap()] {
        fs::write(&path, bytes).unwrap();
        assert_eq!(SigningKey::load(&path).unwrap_err().kind(), ErrorKind::Malformed);
    }
    for user_id in ["", " ", "two\nlines"] {
        assert_eq!(SigningKey::generate(user_id).unwrap_err().kind(), ErrorKind::Invalid);
    }
}
