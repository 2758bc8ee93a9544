//! What the formats of the inside have to say of a bundle, before anything of it is let in.

use std::path::Path;

use async_trait::async_trait;
use reservoir_core::{
    Engine, Error, ErrorKind, Result,
    catalog::{Accept, Catalog, CatalogOptions},
    depends::Dependencies,
    ecosystem::{
        Candidate, Chosen, ClientSetup, Discover, DiscoverySink, Ecosystem, Inspection, Mode, OptionSpec,
        PulledFile, RepositoryConfig, Requirement, SystemRegistry,
    },
    name::EcosystemId,
    snapshot::{Contents, Entry, IndexWriter, InstanceKey},
    testing::toy::Toy,
};
use url::Url;

use super::{
    gap::{Gap, Inside},
    world::{ann, config, over, sqlite, store, tools},
};

/// A format like the toy's, of another name, or that cannot write some entries.
#[derive(Debug)]
struct Like {
    id: &'static str,
    refuses: &'static str,
}

#[async_trait]
impl Ecosystem for Like {
    fn id(&self) -> EcosystemId {
        self.id.parse().unwrap()
    }

    fn modes(&self) -> &'static [Mode] {
        Toy.modes()
    }

    fn repository_options(&self) -> &'static [OptionSpec] {
        Toy.repository_options()
    }

    fn configure(&self, repository: &RepositoryConfig) -> Result<()> {
        Toy.configure(repository)
    }

    async fn system_registry(&self) -> Result<SystemRegistry> {
        Toy.system_registry().await
    }

    async fn discover(&self, request: Discover<'_>, found: &mut dyn DiscoverySink) -> Result<()> {
        Toy.discover(request, found).await
    }

    fn roots(&self, repository: &RepositoryConfig, specs: &[String]) -> Result<Vec<Requirement>> {
        Toy.roots(repository, specs)
    }

    fn choose(
        &self,
        repository: &RepositoryConfig,
        requirement: &Requirement,
        candidates: &[Candidate],
    ) -> Result<Vec<Chosen>> {
        Toy.choose(repository, requirement, candidates)
    }

    async fn inspect(&self, file: &PulledFile<'_>) -> Result<Inspection> {
        Toy.inspect(file).await
    }

    fn dependencies(&self) -> Option<&dyn Dependencies> {
        None
    }

    async fn index(&self, contents: &Contents<'_>, out: &mut IndexWriter<'_>) -> Result<()> {
        Toy.index(contents, out).await
    }

    fn check_entry(&self, entry: &Entry) -> Result<()> {
        if entry.path.as_str().contains(self.refuses) {
            return Err(Error::malformed(format!("`{}`", entry.path), "toy-entry", "cannot be written"));
        }
        Ok(())
    }

    fn client_setup(&self, repository: &RepositoryConfig, base: &Url) -> ClientSetup {
        Toy.client_setup(repository, base)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn content_that_no_index_could_be_written_of_leaves_the_store_as_it_was() {
    async fn picky(folder: &Path) -> Engine {
        let catalog = Catalog::open(&sqlite(folder), CatalogOptions::default()).await.unwrap();
        Engine::builder()
            .catalog(catalog)
            .store(store(folder).await)
            .ecosystem(Like { id: "toy", refuses: "hammer-2.0" })
            .key(InstanceKey::load(folder.join("key.json")).unwrap())
            .scratch(folder.join("scratch"))
            .build()
            .unwrap()
    }
    let gap = Gap::new().await;
    gap.ledger("1").await;
    let mut inside = Inside::new().await;
    inside.engine = picky(inside.folder.path()).await;
    inside.trust(&gap.stream_key(), Accept::Evidence).await;
    let before = inside.state().await;
    let error = inside.load(&[gap.path("1")]).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Malformed && error.to_string().contains("hammer-2.0"), "{error}");
    assert!(inside.state().await == before);
    inside.engine = super::gap::engine(inside.folder.path(), store(inside.folder.path()).await).await;
    assert!(inside.load(&[gap.path("1")]).await.unwrap()[0].applied);
}

/// A repository of the stream's name that was made here, of another format.
#[tokio::test(flavor = "multi_thread")]
async fn a_repository_of_another_format_leaves_the_store_as_it_was() {
    let gap = Gap::new().await;
    gap.ledger("1").await;
    let mut inside = Inside::new().await;
    let catalog = Catalog::open(&sqlite(inside.folder.path()), CatalogOptions::default()).await.unwrap();
    let built = over(inside.folder.path(), catalog, store(inside.folder.path()).await);
    inside.engine = built.ecosystem(Like { id: "other", refuses: "//" }).build().unwrap();
    inside.trust(&gap.stream_key(), Accept::Evidence).await;
    let mut other = config("tools");
    other.registries.clear();
    other.ecosystem = "other".parse().unwrap();
    inside.engine.catalog().put_repository(&other, &ann()).await.unwrap();
    let before = inside.state().await;
    let error = inside.load(&[gap.path("1")]).await.unwrap_err();
    let said = error.to_string();
    assert!(
        error.kind() == ErrorKind::Conflict && said.contains("`other`") && said.contains("remove"),
        "{said}"
    );
    assert!(inside.state().await == before);
    inside.engine.remove_repository(&tools(), &ann()).await.unwrap();
    assert!(inside.load(&[gap.path("1")]).await.unwrap()[0].applied);
}
