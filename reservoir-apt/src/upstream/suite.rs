//! Fetching and verifying what signs a suite.

use std::sync::Arc;

use bytes::Bytes;
use reservoir_core::{
    Error, Result, blocking,
    clock::Timestamp,
    digest::Sha256Digest,
    fetch::{DisplayUrl, Fetcher, Page, PageOptions, PageOutcome, Validators},
    openpgp::{Keyring, Trust, Verified},
};
use url::Url;

use super::{
    filename,
    release::{LIMIT, Release},
};
use crate::name::Suite;

/// Most bytes of the detached signatures.
const SIGNATURE_LIMIT: u64 = 1 << 20;

/// Where a suite is read and whom it must be signed by.
#[derive(Debug, Clone)]
pub(super) struct Site<'a> {
    pub(super) fetcher: &'a Fetcher,
    pub(super) base: &'a Url,
    pub(super) suite: &'a Suite,
    pub(super) keyring: Arc<Keyring>,
    pub(super) pins: Arc<[String]>,
    /// Whether the detached signature is read although there is an `InRelease`: tools that mirror ask for it.
    pub(super) whole: bool,
}

/// What asking for a suite gave.
#[derive(Debug)]
pub(super) enum Answer {
    /// The same as before.
    Unchanged,
    /// There is no such suite.
    Missing,
    /// A suite whose signature holds.
    Signed(Box<Signed>),
}

/// A suite whose signature holds.
#[derive(Debug)]
pub(super) struct Signed {
    pub(super) release: Release,
    pub(super) verified: Verified,
    /// The signed files as upstream has them, by their names.
    pub(super) files: Vec<(&'static str, Bytes)>,
    pub(super) validators: Validators,
    pub(super) sha256: Sha256Digest,
}

impl Site<'_> {
    /// The address of a file of the suite.
    pub(super) fn address(&self, file: &str) -> Url {
        let folder = self.suite.folder();
        let path = if folder.is_empty() { file.to_owned() } else { format!("{folder}/{file}") };
        filename::address(self.base, &path)
    }

    /// Asks for `InRelease`, then for `Release` and `Release.gpg`, as apt does. `known` is what was read before.
    ///
    /// # Errors
    /// [`Error::Untrusted`], [`Error::Malformed`], and what the fetcher reports.
    pub(super) async fn read(&self, known: Option<(&Validators, &str)>) -> Result<Answer> {
        let unchanged = |page: &Page| known.is_some_and(|(_, sha256)| sha256 == page.sha256.to_string());
        let conditional = known.map(|(validators, _)| validators);
        let url = self.address("InRelease");
        match self.page(&url, conditional, LIMIT as u64).await? {
            PageOutcome::NotModified => return Ok(Answer::Unchanged),
            PageOutcome::Page(page) if unchanged(&page) => return Ok(Answer::Unchanged),
            PageOutcome::Page(page) => {
                let what = DisplayUrl(&url).to_string();
                let body = page.body.clone();
                let verified = self.verify(move |trust| trust.cleartext(&what, &body)).await?;
                let mut signed =
                    signed(&url, verified, vec![("InRelease", page.body.clone())], &page).await?;
                if self.whole {
                    let detached = self.detached(&signed.release).await?;
                    signed.files.extend(detached);
                }
                return Ok(Answer::Signed(Box::new(signed)));
            }
            PageOutcome::Missing => {}
        }
        let url = self.address("Release");
        let page = match self.page(&url, conditional, LIMIT as u64).await? {
            PageOutcome::NotModified => return Ok(Answer::Unchanged),
            PageOutcome::Page(page) if unchanged(&page) => return Ok(Answer::Unchanged),
            PageOutcome::Page(page) => page,
            PageOutcome::Missing => return Ok(Answer::Missing),
        };
        let gpg = self.address("Release.gpg");
        let PageOutcome::Page(signature) = self.page(&gpg, None, SIGNATURE_LIMIT).await? else {
            return Err(Error::Untrusted {
                what: DisplayUrl(&url).to_string(),
                reason: "it is not signed".into(),
            });
        };
        let what = DisplayUrl(&url).to_string();
        let (text, armored) = (page.body.clone(), signature.body.clone());
        let verified = self.verify(move |trust| trust.detached(&what, text, &armored)).await?;
        let files = vec![("Release", page.body.clone()), ("Release.gpg", signature.body)];
        signed(&url, verified, files, &page).await.map(Box::new).map(Answer::Signed)
    }

    /// `Release` and `Release.gpg`, where they say what `InRelease` says. Clients are content without them.
    async fn detached(&self, release: &Release) -> Result<Vec<(&'static str, Bytes)>> {
        let url = self.address("Release");
        let PageOutcome::Page(page) = self.page(&url, None, LIMIT as u64).await? else {
            return Ok(Vec::new());
        };
        let gpg = self.page(&self.address("Release.gpg"), None, SIGNATURE_LIMIT).await?;
        let PageOutcome::Page(signature) = gpg else { return Ok(Vec::new()) };
        let what = DisplayUrl(&url).to_string();
        let (text, armored) = (page.body.clone(), signature.body.clone());
        let verified = match self.verify(move |trust| trust.detached(&what, text, &armored)).await {
            Err(Error::Untrusted { .. } | Error::Malformed { .. }) => return Ok(Vec::new()),
            verified => verified?,
        };
        let files = vec![("Release", page.body.clone()), ("Release.gpg", signature.body)];
        match signed(&url, verified, files, &page).await {
            Ok(signed) if signed.release == *release => Ok(signed.files),
            // Of another state, or no Release: the archive is in the middle of a change.
            Ok(_) | Err(Error::Malformed { .. } | Error::LimitExceeded { .. }) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    async fn page(&self, url: &Url, conditional: Option<&Validators>, limit: u64) -> Result<PageOutcome> {
        let options =
            PageOptions { accept: "text/*, */*;q=0.5", conditional, limit, ..PageOptions::default() };
        self.fetcher.get_page(url, options).await
    }

    async fn verify(
        &self,
        work: impl FnOnce(Trust<'_>) -> Result<Verified> + Send + 'static,
    ) -> Result<Verified> {
        let (keyring, pins) = (Arc::clone(&self.keyring), Arc::clone(&self.pins));
        blocking::run(move || work(Trust { keyring: &keyring, pins: &pins, now: Timestamp::now() })).await
    }
}

async fn signed(
    url: &Url,
    verified: Verified,
    files: Vec<(&'static str, Bytes)>,
    page: &Page,
) -> Result<Signed> {
    let what = DisplayUrl(url).to_string();
    let (release, verified) =
        blocking::run(move || Ok((Release::parse(&what, &verified)?, verified))).await?;
    let (validators, sha256) = (page.validators.clone(), page.sha256);
    Ok(Signed { release, verified, files, validators, sha256 })
}
