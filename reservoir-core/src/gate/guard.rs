//! What a scanner that hangs or panics is taken for: one that has not looked.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::FutureExt as _;

use super::{Scanner, Subject, Verdict};
use crate::{
    error::{Error, Result},
    name::EcosystemId,
    path::ContentPath,
};

/// How long a scanner may take for a file of no size, and to say which rules it has.
const PATIENCE: Duration = Duration::from_mins(10);
/// Bytes for which it may take a second more. Whoever is slower than that has hung.
const A_SECOND: u64 = 1 << 20;

/// A scanner of a host's. What it does not answer in time, and what makes it panic, is [`Verdict::Incomplete`]; one that
/// blocks its thread is waited for.
#[derive(Debug)]
pub(crate) struct Guarded {
    scanner: Arc<dyn Scanner>,
    patience: Duration,
}

impl Guarded {
    pub(crate) fn new(scanner: Arc<dyn Scanner>) -> Self {
        Self { scanner, patience: PATIENCE }
    }

    /// What the scanner answers, or why it has not.
    async fn within<T>(&self, patience: Duration, work: impl Future<Output = T>) -> Result<T, String> {
        match tokio::time::timeout(patience, AssertUnwindSafe(work).catch_unwind()).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(panic)) => {
                let said = panic.downcast_ref::<&str>().copied();
                let said = said.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
                Err(format!("it panicked: {}", said.unwrap_or("it did not say why")))
            }
            Err(_) => Err(format!("it did not answer within {} seconds", patience.as_secs())),
        }
    }
}

#[async_trait]
impl Scanner for Guarded {
    fn id(&self) -> &str {
        self.scanner.id()
    }

    async fn rules(&self) -> Result<String> {
        let answer = self.within(self.patience, self.scanner.rules()).await;
        let url = format!("scanner {}", self.id());
        answer.unwrap_or_else(|detail| Err(Error::Unreachable { url, detail }))
    }

    fn judges(&self, ecosystem: &EcosystemId) -> bool {
        self.scanner.judges(ecosystem)
    }

    fn lets_follow(&self, path: &ContentPath) -> bool {
        self.scanner.lets_follow(path)
    }

    async fn scan(&self, subject: &Subject<'_>) -> Result<Verdict> {
        let patience = self.patience + Duration::from_secs(subject.blob.size / A_SECOND);
        let answer = self.within(patience, self.scanner.scan(subject)).await;
        answer.unwrap_or_else(|reason| Ok(Verdict::Incomplete { reason }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ecosystem::Inspection, store::StoreExt as _, testing::memory::MemoryStore};

    #[derive(Debug)]
    enum Bad {
        Hangs,
        Panics,
    }

    #[async_trait]
    impl Scanner for Bad {
        fn id(&self) -> &'static str {
            "bad"
        }

        async fn rules(&self) -> Result<String> {
            match self {
                Self::Hangs => std::future::pending().await,
                Self::Panics => panic!("no rules"),
            }
        }

        async fn scan(&self, _: &Subject<'_>) -> Result<Verdict> {
            match self {
                Self::Hangs => std::future::pending().await,
                Self::Panics => panic!("at the first byte"),
            }
        }
    }

    #[tokio::test]
    async fn who_hangs_or_panics_has_not_looked() {
        let store = MemoryStore::new();
        let blob = store.put_bytes("bytes".into()).await.unwrap();
        let subject = Subject {
            ecosystem: &"toy".parse().unwrap(),
            artifact: &"a".parse().unwrap(),
            revision: &"1".parse().unwrap(),
            path: &"a/1".parse().unwrap(),
            blob: &blob,
            store: &store,
            inspection: &Inspection::default(),
        };
        for (bad, why) in [(Bad::Hangs, "within 0 seconds"), (Bad::Panics, "panicked: at the first byte")] {
            let guarded = Guarded { scanner: Arc::new(bad), patience: Duration::from_millis(20) };
            let Ok(Verdict::Incomplete { reason }) = guarded.scan(&subject).await else { panic!("{why}") };
            assert!(reason.contains(why), "{reason}");
            let refused = guarded.rules().await.unwrap_err();
            assert!(refused.to_string().contains("scanner bad"), "{refused}");
        }
    }
}
