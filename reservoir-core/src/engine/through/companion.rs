//! Small files that a registry keeps beside others and announces by their digest, such as a wheel's METADATA.

use std::sync::Arc;

use futures::future::BoxFuture;

use super::{FileKey, Through, Work, actor, lease};
use crate::{
    catalog::{Fence, FileRow},
    digest::Sha256Digest,
    ecosystem::DiscoveredFile,
    error::{Error, Result},
    fetch::{PageOptions, PageOutcome},
    lifecycle::ArtifactLifecycle as _,
    name::ArtifactName,
    path::ContentPath,
    serve::{
        FileOptions, Request, Response,
        arriving::{Arrival, End},
    },
    snapshot::Entry,
    store::{Blob, BlobSink as _},
};

impl Through {
    /// Answers with the small file that the registry keeps at the address of `owner` with `suffix` added, once it
    /// has the digest that the index announced. It is metadata: it may be read before `owner` is here or approved.
    /// Once `owner` is, what it has inside is served instead; if that differs, an alarm says so.
    ///
    /// # Errors
    /// [`Error::Denied`] for what is denied; what fetching reports is a response.
    pub async fn companion(
        &self,
        request: &Request,
        artifact: &ArtifactName,
        owner: &FileRow,
        suffix: &str,
        expected: Sha256Digest,
        options: FileOptions,
    ) -> Result<Response> {
        let path: ContentPath = format!("{}{suffix}", owner.path).parse()?;
        if let Some(reason) = self.denials.digests.get(&expected) {
            let what = format!("`{}`", path.file_name());
            return Err(Error::Denied { what, reason: reason.clone() });
        }
        let status = self.engine.inner.catalog.revision(owner.revision).await?.status;
        if status.is_refused() {
            let reason = format!("its revision is {status}");
            return Err(Error::Denied { what: format!("`{}`", path.file_name()), reason });
        }
        let key = (self.repository.id, path);
        if let Some(entry) = self.shared().overlay.get(&key).filter(|entry| entry.blob.sha256 == expected) {
            return self.here(request, &entry, options).await;
        }
        if let Some(entry) = self.kept(&key, artifact, owner, expected).await? {
            return self.here(request, &entry, options).await;
        }
        let arrival = self.shared().companions.join(key.clone(), || {
            let arrival = Arc::new(Arrival::new());
            let (through, running) = (self.clone(), Arc::clone(&arrival));
            let (artifact, owner, suffix) = (artifact.clone(), owner.clone(), suffix.to_owned());
            let work: BoxFuture<'static, ()> = Box::pin(async move {
                match through.fetch(&key, &artifact, &owner, &suffix, expected).await {
                    Ok(entry) => running.end(End::Here(entry)),
                    Err(error) => through.give_up(&key, &running, error),
                }
            });
            (arrival, work)
        });
        self.answer(request, None, &arrival, options).await
    }

    /// What was fetched by another process, or before this one began.
    async fn kept(
        &self,
        key: &FileKey,
        artifact: &ArtifactName,
        owner: &FileRow,
        expected: Sha256Digest,
    ) -> Result<Option<Arc<Entry>>> {
        let inner = &self.engine.inner;
        let known = inner.catalog.announced(owner.id).await?;
        let known = known.into_iter().find(|(path, blob)| *path == key.1 && blob.sha256 == expected);
        let Some((_, blob)) = known else { return Ok(None) };
        if inner.store.stat(&blob.sha256).await?.is_none() {
            return Ok(None);
        }
        Ok(Some(self.keep(key, artifact, blob)))
    }

    async fn fetch(
        &self,
        key: &FileKey,
        artifact: &ArtifactName,
        owner: &FileRow,
        suffix: &str,
        expected: Sha256Digest,
    ) -> Result<Arc<Entry>> {
        // Nothing that is written here needs a fence: it is the same whoever writes it.
        let fence = Fence { lease: format!("{}{suffix}", lease(owner.id)), token: 0 };
        let work = Work::new(self, fence).await?;
        let source = work.sources.iter().find(|source| source.registry.name == owner.registry);
        let source =
            source.ok_or_else(|| Error::not_found("registry of this repository", &owner.registry))?;
        let mut url = owner.url.clone();
        url.set_path(&format!("{}{suffix}", owner.url.path()));
        let limit = DiscoveredFile::OPTIONAL_LIMIT;
        let options = PageOptions { limit, accept: "*/*", ..PageOptions::default() };
        let page = match source.fetcher.hasty().get_page(&url, options).await? {
            PageOutcome::Page(page) => page,
            PageOutcome::NotModified | PageOutcome::Missing => {
                return Err(Error::not_found("file", key.1.as_str()));
            }
        };
        let inner = &self.engine.inner;
        if page.sha256 != expected {
            let detail = format!("its digest was announced as `{expected}`, it is `{}`", page.sha256);
            let (rule, path) = ("companion-digest", Some(&key.1));
            inner.catalog.record_alarm(key.0, artifact, path, rule, &detail, &actor()).await?;
            return Err(Error::Integrity {
                what: format!("`{}`", key.1),
                expected: expected.to_string(),
                actual: page.sha256.to_string(),
            });
        }
        let store = work.store();
        let blob = store.put_bytes(page.body).await?;
        inner.catalog.put_announced(owner.id, &key.1, &blob).await?;
        store.unpin().await?;
        Ok(self.keep(key, artifact, blob))
    }

    fn keep(&self, key: &FileKey, artifact: &ArtifactName, blob: Blob) -> Arc<Entry> {
        let entry = Arc::new(Entry {
            path: key.1.clone(),
            blob,
            artifact: Some(artifact.clone()),
            revision: None,
            attributes: std::collections::BTreeMap::new(),
        });
        self.shared().overlay.insert(key.clone(), Arc::clone(&entry));
        entry
    }
}
