//! What another Reservoir is given over HTTP: a bundle of one repository, worked out when it asks, read blob by blob.
//!
//! ```text
//! /api/v1/bundles/plan/REPO?have=…&signature=…      {"stream": …, "bundle": …}; both null when there is nothing new
//! /api/v1/bundles/get/STREAM/BUNDLE/bundle.json     the signed header; its signature, records and list of blobs beside it
//! /api/v1/bundles/get/STREAM/BUNDLE/SHA256          a blob of that bundle, with ranges
//! ```
//!
//! Who asks shows its own signed inventory, so only those whose key was trusted here are answered; what they get is
//! signed by the key of this side, which they must trust. A bundle's digest is told to nobody else.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};
use serde_json::json;
use url::form_urlencoded;
use uuid::Uuid;

use super::{
    Base, Engine, ExportOptions, Incoming,
    export::check_site,
    run::{keep_alive, wait_for_lease},
};
use crate::{
    blocking,
    bundle::{BundleKey, HEADER, HEADER_SIGNATURE, Shelf, inventory::Inventory},
    catalog::{Repository, SentBundle},
    clock::Timestamp,
    digest::Sha256Digest,
    error::{Error, Result},
    name::{Actor, RepositoryName},
    serve::{FileOptions, Request, RequestBody, Response, file, problem},
    snapshot::Entry,
};

/// Where a host mounts [`Engine::share`].
pub const SHARE: &str = "/api/v1/bundles/";

/// How old an inventory may be that is shown to ask for content.
const FRESH: Duration = Duration::from_hours(1);
/// How long a bundle that nobody has taken in is handed out before a new one is worked out.
const STALE: Duration = Duration::from_hours(24);
/// How long a request waits for another of the same asker.
const PATIENCE: Duration = Duration::from_mins(1);

impl Engine {
    /// Answers another Reservoir that has this one as a registry. A host that does not want to be one leaves the
    /// route away. Paths are those below [`SHARE`].
    ///
    /// Nobody is answered whose key is not trusted here, and what is denied by now is not handed out.
    pub async fn share(&self, incoming: Incoming) -> Response {
        let method = incoming.method.clone();
        let response = match self.try_share(incoming).await {
            Ok(response) => response,
            Err(error) => problem(&error),
        };
        response.for_method(&method)
    }

    async fn try_share(&self, incoming: Incoming) -> Result<Response> {
        let path = incoming.uri.path();
        let path = path.strip_prefix(SHARE).ok_or_else(|| Error::not_found("page", path))?;
        if !matches!(incoming.method, Method::GET | Method::HEAD) {
            return Ok(Response::method_not_allowed(file::READ_METHODS));
        }
        if let Some(name) = path.strip_prefix("plan/") {
            return self.share_plan(&name.parse()?, incoming.uri.query().unwrap_or_default()).await;
        }
        let missing = || Error::not_found("page", path);
        let parts: Vec<&str> = path.split('/').collect();
        let ["get", stream, bundle, name] = parts[..] else { return Err(missing()) };
        let stream: Uuid = stream.parse().map_err(|_| missing())?;
        let bundle: Sha256Digest = bundle.parse().map_err(|_| missing())?;
        let shared = Shelf::open(self.shelf_folder(stream, bundle)).ok_or_else(missing)?;
        if let Some(path) = shared.file(name) {
            return whole_file(&path).await;
        }
        let sha256: Sha256Digest = name.parse().map_err(|_| missing())?;
        let (shared, found) = blocking::run(move || {
            let found = shared.find(&sha256)?;
            Ok((shared, found))
        })
        .await?;
        let blob = found.ok_or_else(missing)?;
        for carried in &shared.header()?.refs {
            if let Some(reason) = self.denied_now(&carried.repository, &sha256).await? {
                return Err(Error::Denied { what: format!("blob `{sha256}`"), reason });
            }
        }
        let entry = Entry {
            path: sha256.to_string().parse()?,
            blob,
            artifact: None,
            revision: None,
            attributes: std::collections::BTreeMap::new(),
        };
        let request = request(&incoming, name);
        file::respond(
            &*self.inner.store,
            &request,
            &entry,
            FileOptions::immutable(),
            Timestamp::from_micros(0),
        )
        .await
    }

    /// Works out what an asker lacks, or finds what was worked out for it before.
    async fn share_plan(&self, name: &RepositoryName, query: &str) -> Result<Response> {
        let (document, signature) = shown(query)?;
        let keys: Vec<BundleKey> =
            self.inner.catalog.trusted_keys().await?.into_iter().map(|key| key.public).collect();
        let signer = BundleKey::verify_any(&keys, "the inventory", &document, &signature)?;
        let inventory = Inventory::decode(&document)?;
        let now = self.inner.catalog.clock().now();
        if now.since(inventory.created) > FRESH || inventory.created.since(now) > FRESH {
            let reason = "it was not made within the hour; are both clocks right?".into();
            return Err(Error::Untrusted { what: "the inventory".into(), reason });
        }
        let actor: Actor = format!("reservoir/{}", signer.name()).parse()?;
        let (repository, _) = self.repository(name).await?;
        let (site, stream) = self.stream_of_asker(signer, name, &inventory, &actor).await?;
        let fence = wait_for_lease(&self.inner.catalog, &format!("export/{stream}"), PATIENCE).await?;
        let alive = keep_alive(self.inner.catalog.clone(), fence.clone(), String::new());
        let asked = Asked { inventory, site, stream };
        let planned = Box::pin(self.plan_or_find(&repository, asked, &actor)).await;
        drop(alive);
        self.inner.catalog.release(&fence).await?;
        let bundle = planned?;
        let answer = json!({ "stream": bundle.map(|_| stream), "bundle": bundle });
        let json = HeaderValue::from_static("application/json");
        Ok(Response::ok(Bytes::from(answer.to_string()), json))
    }

    /// The site of an asker's repository and its stream: by the name of the key that it first asked with, as those that
    /// took the place of that key go on with its stream.
    async fn stream_of_asker(
        &self,
        signer: BundleKey,
        repository: &RepositoryName,
        inventory: &Inventory,
        actor: &Actor,
    ) -> Result<(String, Uuid)> {
        let catalog = &self.inner.catalog;
        let keys = catalog.trusted_keys().await?;
        let has = |stream: Uuid| inventory.streams.iter().any(|theirs| theirs.stream == stream);
        let before = |key: &BundleKey| keys.iter().find(|known| known.public == *key)?.predecessor;
        let (mut named, mut known) = (None, None);
        for key in std::iter::successors(Some(signer), before).take(keys.len() + 1) {
            let site = format!("{}.{}", key.name(), repository.as_str().replace('/', "."));
            check_site(&site)?;
            if let Some(stream) = catalog.sent_stream(&site).await? {
                if has(stream) {
                    return Ok((site, stream));
                }
                known.get_or_insert_with(|| site.clone());
            }
            named.get_or_insert(site);
        }
        let site = known.or(named).ok_or_else(|| Error::not_found("trusted key", signer))?;
        let stream = match inventory.streams[..] {
            [ref theirs] if theirs.key == Some(self.bundle_key()?.public()) => {
                catalog.stream_again(&site, theirs.stream, actor).await?
            }
            _ => catalog.stream_to(&site, actor).await?,
        };
        Ok((site, stream))
    }

    async fn plan_or_find(
        &self,
        repository: &Repository,
        asked: Asked,
        actor: &Actor,
    ) -> Result<Option<Sha256Digest>> {
        let (catalog, stream) = (&self.inner.catalog, asked.stream);
        let theirs = asked.inventory.streams.iter().find(|theirs| theirs.stream == stream);
        let theirs = theirs.map(|theirs| (theirs.sequence, theirs.header));
        let last = catalog.sent_bundles(stream, 1).await?.into_iter().next();
        if let Some(open) = last.filter(|last| !last.finished) {
            if theirs == Some((open.sequence, open.header)) {
                // They have taken it in: from here on it is what they have.
                catalog.finish_bundle(stream, open.sequence, open.header, actor).await?;
                let _ = std::fs::remove_dir_all(self.shelf_folder(stream, open.header));
            } else if self.still_stands(repository, &open, theirs).await? {
                return Ok(Some(open.header));
            }
        }
        let folder = self.inner.scratch.join("share").join(stream.to_string());
        // Whatever else was handed out to them is out of date now.
        let _ = std::fs::remove_dir_all(&folder);
        let options = ExportOptions {
            repositories: vec![repository.config.name.clone()],
            site: asked.site,
            base: Base::Inventory(Vec::new(), String::new()),
            // Each blob is fetched by itself.
            whole_blobs: true,
            ..ExportOptions::default()
        };
        let Ok(plan) = self.plan(&options, Some(asked.inventory), stream, folder.join("plan")).await? else {
            return Ok(None);
        };
        let bundle = SentBundle {
            stream,
            sequence: plan.header.sequence,
            header: Sha256Digest::of(&plan.header.encode()?),
            kind: plan.header.kind,
            refs: plan.refs,
            created_at: plan.header.created,
            finished: false,
        };
        // Before it is told, so that what it needs is not collected.
        catalog.begin_bundle(&bundle, actor).await?;
        let (engine, target) = (self.clone(), self.shelf_folder(stream, bundle.header));
        blocking::run(move || {
            let (records, objects) = (plan.folder.join("records"), plan.folder.join("objects"));
            Shelf::put(target, &plan.header, engine.bundle_key()?, (&records, &objects))?;
            let _ = std::fs::remove_dir_all(&plan.folder);
            Ok(())
        })
        .await?;
        Ok(Some(bundle.header))
    }

    /// Whether a bundle that was handed out is still what would be handed out now.
    async fn still_stands(
        &self,
        repository: &Repository,
        open: &SentBundle,
        theirs: Option<(u64, Sha256Digest)>,
    ) -> Result<bool> {
        let Some(shared) = Shelf::open(self.shelf_folder(open.stream, open.header)) else { return Ok(false) };
        let Ok(header) = shared.header() else { return Ok(false) };
        let age = self.inner.catalog.clock().now().since(header.created);
        let follows = header.follows.zip(header.previous);
        if age >= STALE || follows != theirs {
            return Ok(false);
        }
        let catalog = &self.inner.catalog;
        let mut told: Vec<_> = header.all_refs().map(|one| (one.reference.clone(), one.snapshot)).collect();
        let mut now = Vec::with_capacity(told.len());
        for (name, number) in catalog.refs(repository.id).await? {
            now.push((name, catalog.snapshot(repository.id, number).await?.content));
        }
        told.sort_unstable();
        now.sort_unstable();
        Ok(told == now)
    }

    fn shelf_folder(&self, stream: Uuid, bundle: Sha256Digest) -> std::path::PathBuf {
        self.inner.scratch.join("share").join(stream.to_string()).join(bundle.to_string())
    }
}

/// Who asks, and what it has.
struct Asked {
    inventory: Inventory,
    site: String,
    stream: Uuid,
}

/// The inventory in a query and its signature.
fn shown(query: &str) -> Result<(Vec<u8>, String)> {
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    let mut find = |name: &str| pairs.find_map(|(key, value)| (key == name).then(|| value.into_owned()));
    match (find("have"), find("signature")) {
        (Some(document), Some(signature)) => Ok((document.into_bytes(), signature)),
        _ => Err(Error::Untrusted {
            what: "the request".into(),
            reason: "it shows no inventory with a signature".into(),
        }),
    }
}

fn request(incoming: &Incoming, name: &str) -> Request {
    Request {
        method: incoming.method.clone(),
        path: name.to_owned(),
        raw_path: name.to_owned(),
        query: None,
        headers: incoming.headers.clone(),
        base: String::new(),
        origin: String::new(),
        body: RequestBody::default(),
    }
}

async fn whole_file(path: &std::path::Path) -> Result<Response> {
    let failed = || Error::io("read a shared bundle");
    let file = tokio::fs::File::open(path).await.map_err(failed())?;
    let size = file.metadata().await.map_err(failed())?.len();
    let bytes =
        futures::TryStreamExt::map_err(tokio_util::io::ReaderStream::new(file), move |error| failed()(error));
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(size));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    Ok(Response { status: http::StatusCode::OK, headers, body: crate::serve::Body::Stream(Box::pin(bytes)) })
}

/// Names of the two files that are read first.
pub(super) const FIRST: [&str; 2] = [HEADER, HEADER_SIGNATURE];
