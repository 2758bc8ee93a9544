//! What left a repository lately stays in its publication for a while, so that clients that read an older index
//! find what it listed, however often the repository publishes meanwhile.
//!
//! An entry that a snapshot's content has no more becomes an entry `.departed/PATH` of its publication, which later
//! publications take over like every other. So looking such a path up costs one page, writing costs what changed,
//! and garbage collection and `rebuild` know of it without being told: bytes are kept while a retained publication
//! has them.

use std::time::Duration;

use futures::{
    StreamExt as _, TryStreamExt as _,
    stream::{self, BoxStream},
};
use serde_json::{Value, json};

use super::{Change, Edit, Entry, Manifest, Pages};
use crate::{clock::Timestamp, digest::Sha256Digest, error::Result, path::ContentPath, store::BlobSink};

/// What clients which read an older index are promised at least: the files of so many snapshots before `main`…
pub(crate) const LEAST_GENERATIONS: u64 = 3;
/// …and all that was there so long ago.
pub(crate) const LEAST_AGE: Duration = Duration::from_hours(24);

/// Before the path, in the publication. Nothing below it is reachable by that address.
pub(crate) const PREFIX: &str = ".departed/";
/// The attribute that says in which snapshot it was missing first, and since when.
const SINCE: &str = "departed";
/// How often a publish looks for what need not be kept any longer.
const SWEEP: i64 = 3600 * 1_000_000;

/// The snapshot being made, or being read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    pub(crate) number: u64,
    pub(crate) at: Timestamp,
}

/// The edits of a publication by which what has just left the content is kept, and what came back is not; by path.
pub(crate) async fn edits(
    pages: &Pages,
    parent: (&Manifest, &Manifest),
    content: &Manifest,
    now: Now,
) -> Result<BoxStream<'static, Result<Edit>>> {
    let (before, publication) = parent;
    let had_some = publication.scan(PREFIX).try_next().await?.is_some();
    let edits = pages.diff(Some(before), content).try_filter_map(move |change| async move {
        Ok(match change {
            Change::Removed(entry) => depart(*entry, now),
            Change::Added(entry) if had_some => path_of(&entry.path).map(Edit::Remove),
            _ => None,
        })
    });
    Ok(edits.boxed())
}

/// Both, by path.
pub(crate) fn merge<'a>(
    left: BoxStream<'a, Result<Edit>>,
    right: BoxStream<'a, Result<Edit>>,
) -> BoxStream<'a, Result<Edit>> {
    let heads = (Box::pin(left.peekable()), Box::pin(right.peekable()));
    let merged = stream::unfold(heads, |(mut left, mut right)| async move {
        let from_left = match (left.as_mut().peek().await, right.as_mut().peek().await) {
            (Some(Ok(a)), Some(Ok(b))) => a.path() <= b.path(),
            (left, _) => left.is_some(),
        };
        let next = if from_left { left.next().await } else { right.next().await };
        next.map(|edit| (edit, (left, right)))
    });
    merged.boxed()
}

/// Takes out of a publication what was kept long enough, about once an hour; returns its root. `last_look` is when
/// the snapshot [`LEAST_GENERATIONS`] before this one was made: what was too new a generation then is looked at
/// once more.
pub(crate) async fn sweep(
    pages: &Pages,
    publication: Sha256Digest,
    last_look: Timestamp,
    now: Now,
    sink: &dyn BlobSink,
) -> Result<Sha256Digest> {
    if last_look.as_micros() / SWEEP == now.at.as_micros() / SWEEP {
        return Ok(publication);
    }
    let publication = pages.open(publication).await?;
    Ok(pages.write(Some(&publication), overdue(&publication, now), sink).await?.root)
}

/// Finds what left lately. `None` for what was never there or was kept long enough.
pub(crate) async fn find(publication: &Manifest, path: &str, now: Now) -> Result<Option<Entry>> {
    let Some(mut entry) = publication.get(&format!("{PREFIX}{path}")).await? else { return Ok(None) };
    if is_over(&entry, now) {
        return Ok(None);
    }
    entry.path = path.parse()?;
    entry.attributes.remove(SINCE);
    Ok(Some(entry))
}

/// What a format retired from the publication, kept in the same way; by path.
pub(crate) fn retired(entries: Vec<Entry>, now: Now) -> BoxStream<'static, Result<Edit>> {
    let mut edits: Vec<Edit> = entries.into_iter().filter_map(|entry| depart(entry, now)).collect();
    edits.sort_unstable_by(|a, b| a.path().cmp(b.path()));
    stream::iter(edits.into_iter().map(Ok)).boxed()
}

/// The entry as a publication keeps it; `None` for a path so long that it has no room for the prefix.
fn depart(mut entry: Entry, now: Now) -> Option<Edit> {
    entry.path = path_of(&entry.path)?;
    entry.attributes.insert(SINCE.to_owned(), json!({ "at": now.at.as_micros(), "number": now.number }));
    Some(Edit::Put(Box::new(entry)))
}

fn path_of(path: &ContentPath) -> Option<ContentPath> {
    format!("{PREFIX}{path}").parse().ok()
}

fn overdue(publication: &Manifest, now: Now) -> BoxStream<'static, Result<Edit>> {
    let over = publication.scan(PREFIX).try_filter_map(move |entry| async move {
        Ok(is_over(&entry, now).then_some(Edit::Remove(entry.path)))
    });
    over.boxed()
}

fn is_over(entry: &Entry, now: Now) -> bool {
    let since = |key: &str| entry.attributes.get(SINCE).and_then(|since| since.get(key));
    let number = since("number").and_then(Value::as_u64).unwrap_or_default();
    let at = since("at").and_then(Value::as_i64).map(Timestamp::from_micros);
    // The snapshot before `number` had it.
    now.number >= number.saturating_add(LEAST_GENERATIONS)
        && at.is_none_or(|at| now.at.since(at) >= LEAST_AGE)
}
