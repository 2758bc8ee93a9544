//! `reservoir apply`: registries and repositories as a file says.

mod document;

use reservoir_core::{
    Engine, Result,
    name::{Actor, RegistryName, RepositoryName},
};

pub(crate) use self::document::{Document, parse};
use crate::output::{ApplyChange, ApplyOutput, ChangeKind};

/// Makes the catalog say what the document says. Idempotent; removes only with `prune`.
pub(crate) async fn apply(
    engine: &Engine,
    document: &Document,
    prune: bool,
    actor: &Actor,
) -> Result<ApplyOutput> {
    let catalog = engine.catalog();
    let mut output = ApplyOutput::default();
    let registries: Vec<RegistryName> = catalog.registries().await?.into_iter().map(|r| r.name).collect();
    let repositories: Vec<RepositoryName> =
        catalog.repositories().await?.into_iter().map(|r| r.config.name).collect();

    for registry in &document.registries {
        let known = registries.contains(&registry.name);
        let changed = engine.configure_registry(registry, actor).await?;
        output.push("registry", registry.name.as_str(), ChangeKind::of(known, changed));
    }
    for repository in &document.repositories {
        let known = repositories.contains(&repository.name);
        let changed = engine.configure(repository, actor).await?;
        output.push("repository", repository.name.as_str(), ChangeKind::of(known, changed));
    }
    if prune {
        for name in repositories {
            if !document.repositories.iter().any(|repository| repository.name == name) {
                engine.remove_repository(&name, actor).await?;
                output.push("repository", name.as_str(), ChangeKind::Removed);
            }
        }
        for name in registries {
            if !document.registries.iter().any(|registry| registry.name == name) {
                catalog.remove_registry(&name, actor).await?;
                output.push("registry", name.as_str(), ChangeKind::Removed);
            }
        }
    }
    Ok(output)
}

impl ApplyOutput {
    fn push(&mut self, kind: &'static str, name: &str, change: ChangeKind) {
        self.changes.push(ApplyChange { kind: kind.to_owned(), name: name.to_owned(), change });
    }
}
