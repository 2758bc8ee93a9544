//! The archive that this machine's own apt is configured with (`url = "system"`), and whom apt trusts for it.
//!
//! Read from apt's own files, in both of their formats, so that no address of a public archive stands in this program.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use reservoir_core::{Error, Result, blocking, ecosystem::SystemRegistry, openpgp::Keyring};
use tokio::process::Command;
use url::Url;

use crate::auth;

/// Where apt keeps its configuration.
const APT: &str = "/etc/apt";
/// Where apt finds keyrings that are named by fingerprint or not at all.
const KEYRINGS: [&str; 2] = ["trusted.gpg", "trusted.gpg.d"];
/// Most bytes of one configuration file.
const LIMIT: u64 = 1 << 20;
/// How long `apt-config` may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// One archive that apt is configured with.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Source {
    url: Url,
    signed_by: SignedBy,
}

/// Whom apt believes of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
enum SignedBy {
    /// The keys in these files, or all that apt trusts where there are none; of these the ones with these
    /// fingerprints, where there are any.
    Keys { files: Vec<PathBuf>, fingerprints: Vec<String> },
    /// These certificates, written in the configuration.
    Block(String),
}

/// What apt would use on this machine: the first archive of binary packages.
///
/// # Errors
/// [`Error::Invalid`] when apt has no archive over HTTP; [`Error::Io`] for files that cannot be read.
pub(crate) async fn system_registry() -> Result<SystemRegistry> {
    let sources = sources(APT.into()).await?;
    let Some(first) = sources.into_iter().next() else {
        let detail = "apt is not configured with an archive over http or https; write its address as `url`";
        return Err(Error::invalid("url = \"system\"", detail));
    };
    let proxy = proxy(first.url.scheme()).await;
    let url = blocking::run(move || with_credentials(Path::new(APT), first.url)).await?;
    Ok(SystemRegistry { url, ca_bundle: None, proxy })
}

/// An address with what apt would identify itself by. The fetcher keeps that to itself.
fn with_credentials(apt: &Path, mut url: Url) -> Result<Url> {
    if !url.username().is_empty() || url.password().is_some() {
        return Ok(url);
    }
    let mut files = Vec::new();
    let (own, folder) = (apt.join("auth.conf"), apt.join("auth.conf.d"));
    if own.exists() {
        files.push(own);
    }
    if folder.is_dir() {
        files.extend(listed(&folder, &["conf"])?);
    }
    let texts = files.iter().map(|file| text(file)).collect::<Result<Vec<String>>>()?;
    if let Some((name, secret)) = auth::find(texts.iter().map(String::as_str), &url) {
        // Both fail only for addresses without a host.
        let _ = url.set_username(&name);
        let _ = url.set_password(Some(&secret));
    }
    Ok(url)
}

impl SignedBy {
    /// Any key that apt trusts.
    const ANYBODY: Self = Self::Keys { files: Vec::new(), fingerprints: Vec::new() };
}

/// The certificates that this machine's apt believes of an archive, and the fingerprints of the only ones of them that
/// may sign for it, if it is narrowed so; `None` when it does not know the archive.
///
/// # Errors
/// What [`Keyring::load`] gives.
pub(crate) async fn keyring(url: &Url) -> Result<Option<(Keyring, Vec<String>)>> {
    let known = sources(APT.into()).await?;
    let Some(source) = known.into_iter().find(|source| is_same(&source.url, url)) else { return Ok(None) };
    blocking::run(move || read_keyring(Path::new(APT), &source.signed_by)).await.map(Some)
}

fn is_same(one: &Url, two: &Url) -> bool {
    let plain = |url: &Url| {
        let (host, path) = (url.host_str().unwrap_or_default(), url.path().trim_end_matches('/'));
        (host.to_owned(), url.port_or_known_default(), path.to_owned())
    };
    plain(one) == plain(two)
}

fn read_keyring(apt: &Path, signed_by: &SignedBy) -> Result<(Keyring, Vec<String>)> {
    let (files, fingerprints) = match signed_by {
        SignedBy::Block(block) => {
            let keyring = Keyring::parse("Signed-By of apt's configuration", block.as_bytes())?;
            return Ok((keyring, Vec::new()));
        }
        SignedBy::Keys { files, fingerprints } => (files, fingerprints.clone()),
    };
    let mut keyring = Keyring::default();
    for file in files {
        keyring.merge(Keyring::load(file)?);
    }
    if files.is_empty() {
        for place in KEYRINGS {
            let place = apt.join(place);
            for file in if place.is_dir() { listed(&place, &["gpg", "asc"])? } else { vec![place] } {
                // apt skips what it cannot read, too.
                if let Ok(more) = Keyring::load(&file) {
                    keyring.merge(more);
                }
            }
        }
    }
    Ok((keyring, fingerprints))
}

/// Every enabled archive of binary packages, in the order that apt reads them.
async fn sources(apt: PathBuf) -> Result<Vec<Source>> {
    blocking::run(move || read_sources(&apt)).await
}

fn read_sources(apt: &Path) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    let list = apt.join("sources.list");
    if list.exists() {
        sources.extend(one_line(&text(&list)?));
    }
    let folder = apt.join("sources.list.d");
    if folder.is_dir() {
        for file in listed(&folder, &["list", "sources"])? {
            let text = text(&file)?;
            if file.extension().is_some_and(|ending| ending == "sources") {
                sources.extend(deb822(&file, &text)?);
            } else {
                sources.extend(one_line(&text));
            }
        }
    }
    Ok(sources)
}

fn text(file: &Path) -> Result<String> {
    let what = || format!("read `{}`", file.display());
    let size = std::fs::metadata(file).map_err(Error::io(what()))?.len();
    if size > LIMIT {
        return Err(Error::LimitExceeded { what: what(), limit: format!("{LIMIT} bytes") });
    }
    let bytes = std::fs::read(file).map_err(Error::io(what()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The files of a folder with one of these endings, in the order of their names.
fn listed(folder: &Path, endings: &[&str]) -> Result<Vec<PathBuf>> {
    let what = || format!("list `{}`", folder.display());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(Error::io(what()))? {
        let path = entry.map_err(Error::io(what()))?.path();
        if path.extension().is_some_and(|ending| endings.iter().any(|known| ending == *known)) {
            files.push(path);
        }
    }
    files.sort_unstable();
    Ok(files)
}

/// `deb [option=value …] URI suite component…`
fn one_line(text: &str) -> Vec<Source> {
    text.lines().filter_map(source_of_line).collect()
}

fn source_of_line(line: &str) -> Option<Source> {
    let rest = line.trim().strip_prefix("deb")?;
    let mut rest = rest.strip_prefix([' ', '\t'])?.trim_start();
    let mut signed_by = SignedBy::ANYBODY;
    if let Some(options) = rest.strip_prefix('[') {
        let (options, after) = options.split_once(']')?;
        rest = after.trim_start();
        let value = options.split_ascii_whitespace().find_map(|option| option.strip_prefix("signed-by="));
        if let Some(value) = value {
            signed_by = signers(value.split(','));
        }
    }
    Some(Source { url: address(rest.split_ascii_whitespace().next()?)?, signed_by })
}

/// Stanzas of `Types`, `URIs`, `Signed-By`.
fn deb822(file: &Path, text: &str) -> Result<Vec<Source>> {
    let document: deb822_fast::Deb822 = text
        .parse()
        .map_err(|error| Error::malformed(format!("`{}`", file.display()), "sources", format!("{error}")))?;
    let mut sources = Vec::new();
    for stanza in document.iter() {
        let get = |name: &str| {
            stanza.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
        };
        let enabled = get("Enabled").is_none_or(|value| !value.eq_ignore_ascii_case("no"));
        let binary =
            get("Types").is_some_and(|value| value.split_ascii_whitespace().any(|kind| kind == "deb"));
        if !enabled || !binary {
            continue;
        }
        let signed_by = match get("Signed-By") {
            None | Some("") => SignedBy::ANYBODY,
            Some(value) if value.contains("-----BEGIN") => SignedBy::Block(unfold(value)),
            Some(value) => signers(value.split([',', ' ', '\t', '\n'])),
        };
        for uri in get("URIs").unwrap_or_default().split_ascii_whitespace() {
            if let Some(url) = address(uri) {
                sources.push(Source { url, signed_by: signed_by.clone() });
            }
        }
    }
    Ok(sources)
}

/// An embedded certificate: its lines are indented, empty ones written as a dot.
fn unfold(value: &str) -> String {
    let lines = value.lines().map(|line| match line.trim() {
        "." => "",
        line => line,
    });
    lines.collect::<Vec<_>>().join("\n") + "\n"
}

/// Paths of keyrings, and fingerprints among them or among all that apt trusts. A word that is neither is taken for a
/// fingerprint that nobody has: apt would believe nobody either.
fn signers<'a>(values: impl Iterator<Item = &'a str>) -> SignedBy {
    let (files, fingerprints): (Vec<&str>, Vec<&str>) =
        values.filter(|value| !value.is_empty()).partition(|value| value.starts_with('/'));
    // With `!` at its end that key alone is meant, not others of its certificate.
    let fingerprint = |text: &str| text.trim_end_matches('!').to_ascii_uppercase();
    SignedBy::Keys {
        files: files.into_iter().map(PathBuf::from).collect(),
        fingerprints: fingerprints.into_iter().map(fingerprint).collect(),
    }
}

fn address(text: &str) -> Option<Url> {
    let url: Url = text.parse().ok()?;
    (matches!(url.scheme(), "http" | "https") && url.has_host()).then_some(url)
}

/// The proxy that apt is told to use, if it is.
async fn proxy(scheme: &str) -> Option<Url> {
    let mut command = Command::new("apt-config");
    let key = format!("Acquire::{scheme}::Proxy");
    command.args(["dump", "--format", "%v%n", &key]).stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(TIMEOUT, command.output()).await.ok()?.ok()?;
    String::from_utf8_lossy(&output.stdout).lines().find_map(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let apt = folder.path();
        std::fs::create_dir(apt.join("sources.list.d")).unwrap();
        std::fs::write(
            apt.join("sources.list"),
            "# a comment\ndeb-src http://a.example.com/debian x main\n\
             deb [arch=amd64 signed-by=/k/a.gpg,/k/b.asc] http://b.example.com/debian bookworm main\n\
             deb cdrom:[x]/ y main\n  deb\thttps://c.example.com/ ./\n",
        )
        .unwrap();
        std::fs::write(
            apt.join("sources.list.d/d.sources"),
            "# first\nTypes: deb deb-src\nURIs: http://d.example.com/debian http://e.example.com/debian\n\
             Suites: bookworm\nComponents: main\nsigned-by: /k/d.gpg\n\n\
             Types: deb\nEnabled: no\nURIs: http://f.example.com/\nSuites: /\n\n\
             Types: deb\nURIs: http://g.example.com/\nSuites: /\nSigned-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n \
             .\n AAAA\n -----END PGP PUBLIC KEY BLOCK-----\n",
        )
        .unwrap();
        std::fs::write(apt.join("sources.list.d/z.list.disabled"), "deb http://z.example.com/ x y\n")
            .unwrap();
        let sources = read_sources(apt).unwrap();
        let hosts: Vec<_> = sources.iter().map(|source| source.url.host_str().unwrap()).collect();
        assert_eq!(
            hosts,
            ["b.example.com", "c.example.com", "d.example.com", "e.example.com", "g.example.com"]
        );
        let files = |files: &[&str]| SignedBy::Keys {
            files: files.iter().map(PathBuf::from).collect(),
            fingerprints: Vec::new(),
        };
        assert_eq!(sources[0].signed_by, files(&["/k/a.gpg", "/k/b.asc"]));
        assert_eq!(sources[1].signed_by, SignedBy::ANYBODY);
        assert_eq!(sources[3].signed_by, files(&["/k/d.gpg"]));
        let SignedBy::Block(block) = &sources[4].signed_by else { panic!("{sources:?}") };
        assert!(block.starts_with("-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nAAAA\n"), "{block}");
        assert!(is_same(&sources[0].url, &"http://b.example.com:80/debian/".parse().unwrap()));
    }

    #[test]
    fn credentials_are_apts_and_those_of_the_address_come_first() {
        let folder = tempfile::tempdir().unwrap();
        let apt = folder.path();
        std::fs::create_dir(apt.join("auth.conf.d")).unwrap();
        std::fs::write(apt.join("auth.conf"), "machine a.example.com login ann password o:n/e\n").unwrap();
        std::fs::write(apt.join("auth.conf.d/b.conf"), "machine http://b.example.com login b password 2")
            .unwrap();
        let of = |url: &str| with_credentials(apt, url.parse().unwrap()).unwrap();
        let found = of("https://a.example.com/debian");
        assert_eq!((found.username(), found.password()), ("ann", Some("o%3An%2Fe")));
        assert_eq!(of("http://b.example.com/x").password(), Some("2"));
        assert_eq!(of("http://a.example.com/x").password(), None, "not in the clear");
        assert_eq!(of("https://me:own@a.example.com/x").password(), Some("own"));
    }

    /// A fingerprint narrows whom apt believes; it never means anybody.
    #[test]
    fn a_fingerprint_is_a_pin() {
        let (ours, other) = ("0123456789abcdef0123456789ABCDEF01234567", "F".repeat(40));
        let line = format!("deb [signed-by={ours}!,/k/a.gpg] http://a.example.com/ x main");
        let SignedBy::Keys { files, fingerprints } = &one_line(&line)[0].signed_by else { panic!("{line}") };
        assert_eq!(files, &[PathBuf::from("/k/a.gpg")]);
        assert_eq!(fingerprints, &[ours.to_ascii_uppercase()]);

        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.sources");
        let text =
            format!("Types: deb\nURIs: http://a.example.com/\nSuites: /\nSigned-By: {ours}\n {other}\n");
        let signed_by = deb822(&file, &text).unwrap().remove(0).signed_by;
        let (_, pins) = read_keyring(folder.path(), &signed_by).unwrap();
        assert_eq!(pins, [ours.to_ascii_uppercase(), other]);
        // What is no fingerprint narrows to nobody.
        let signed_by = one_line("deb [signed-by=me] http://a.example.com/ x main").remove(0).signed_by;
        assert_eq!(read_keyring(folder.path(), &signed_by).unwrap().1, ["ME"]);
    }

    /// The machine's own apt, whatever it is configured with.
    #[tokio::test]
    async fn a_real_apt_has_an_archive_and_trusts_somebody() {
        let found = system_registry().await.expect("a Debian or Ubuntu machine with an archive is needed");
        assert!(keyring(&found.url).await.unwrap().is_some_and(|(keyring, _)| !keyring.is_empty()));
    }
}
