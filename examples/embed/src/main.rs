//! A host that mirrors one Python package and serves it from its own process:
//! `cargo run -p reservoir-embed -- FOLDER PACKAGE [INDEX-URL]`. Without an index it asks the one pip uses here.
#![expect(clippy::print_stdout, reason = "a program tells its user where it listens")]

use std::{env, error::Error, path::PathBuf, sync::Arc};

use axum::{Router, body::Body as HttpBody, extract::Request, response::Response};
use reservoir_core::{
    Engine,
    catalog::{Catalog, CatalogOptions},
    serve::Body,
    snapshot::InstanceKey,
    store::{ObjectBlobs, ObjectStoreOptions, Store},
};
use reservoir_pypi::Pypi;
use serde_json::json;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let folder = PathBuf::from(arguments.next().ok_or("which FOLDER?")?);
    let package = arguments.next().ok_or("which PACKAGE?")?;
    let index = arguments.next();

    // An engine is a catalog, a store, a key that signs its history, and the ecosystems it speaks.
    let key = folder.join("instance.key");
    if !key.exists() {
        std::fs::create_dir_all(&folder)?;
        InstanceKey::generate()?.save(&key)?;
    }
    let scratch = folder.join("scratch");
    let options = ObjectStoreOptions { scratch: scratch.clone(), ..ObjectStoreOptions::default() };
    let store: Arc<dyn Store> = Arc::new(ObjectBlobs::local(folder.join("store"), options).await?);
    let catalog = format!("sqlite:{}", folder.join("catalog.sqlite").display());
    let engine = Engine::builder()
        .catalog(Catalog::open(&catalog, CatalogOptions::default()).await?)
        .store(store)
        .ecosystem(Pypi)
        .key(InstanceKey::load(&key)?)
        .scratch(scratch)
        .build()?;

    // Registries and repositories are plain data; a host keeps them wherever it keeps its settings.
    let me = "embedding-host".parse()?;
    let registry = json!({ "name": "index", "ecosystem": "pypi", "url": index });
    engine.configure_registry(&serde_json::from_value(registry)?, &me).await?;
    let repository = json!({ "name": "python", "ecosystem": "pypi", "registries": ["index"],
                             "dependencies": true, "options": { "packages": [package] } });
    engine.configure(&serde_json::from_value(repository)?, &me).await?;

    // The task belongs to the engine: were this future dropped, the import would still end well.
    let report = engine.sync(&"python".parse()?, me).await?.wait().await?;
    println!("{} files fetched, snapshot {:?}", report.fetched_files, report.published);

    // Any HTTP framework will do: the engine takes a method, a URI and headers.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("pip install --index-url http://{}/python/simple/ {package}", listener.local_addr()?);
    let fresh = engine.keep_serving_fresh();
    axum::serve(listener, Router::new().fallback(move |request| answer(engine.clone(), request))).await?;
    drop(fresh);
    Ok(())
}

async fn answer(engine: Engine, request: Request) -> Response {
    let answer = engine.respond(request.method(), request.uri(), request.headers()).await;
    let mut response = Response::new(match answer.body {
        Body::Empty => HttpBody::empty(),
        Body::Bytes(bytes) => HttpBody::from(bytes),
        Body::Stream(stream) => HttpBody::from_stream(stream),
    });
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers;
    response
}
