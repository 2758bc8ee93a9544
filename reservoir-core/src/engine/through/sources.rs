//! The registries of a cache, resolved now and then instead of for each request.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::Through;
use crate::{
    ecosystem::RepositoryConfig,
    error::Result,
    sync::{self, Source},
};

/// How soon a change of a registry is seen.
const NAMED: Duration = Duration::from_secs(30);
/// How soon a change of this machine's own client is: asking it takes a while.
const SYSTEM: Duration = Duration::from_mins(10);

/// The registries as they were resolved.
#[derive(Debug)]
pub(super) struct Sources {
    at: Instant,
    config: RepositoryConfig,
    resolved: Arc<Vec<Source>>,
    good_for: Duration,
}

impl Through {
    pub(super) async fn sources(&self) -> Result<Arc<Vec<Source>>> {
        let mut known = self.shared().sources.lock().await;
        let config = &self.repository.config;
        if let Some(known) = known.get(&self.repository.id)
            && known.config == *config
            && known.at.elapsed() < known.good_for
        {
            return Ok(Arc::clone(&known.resolved));
        }
        let inner = &self.engine.inner;
        let mut good_for = NAMED;
        for name in &config.registries {
            if inner.catalog.registry(name).await?.url.is_none() {
                good_for = SYSTEM;
            }
        }
        let names = &config.registries;
        let sources = sync::sources(&inner.catalog, &*self.ecosystem, &inner.fetcher, names).await?;
        let (at, config, resolved) = (Instant::now(), config.clone(), Arc::new(sources));
        let sources = Sources { at, config, resolved: Arc::clone(&resolved), good_for };
        known.insert(self.repository.id, sources);
        Ok(resolved)
    }
}
