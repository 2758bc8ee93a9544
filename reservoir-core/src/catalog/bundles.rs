//! The ledger of bundles: keys that are trusted, what each stream has sent, and what each has brought.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use serde_json::json as object;
use sqlx::any::AnyRow;
use uuid::Uuid;

use super::{
    Catalog, Fence, NewSnapshot, RepositoryId,
    rows::{Columns as _, json, plain, sql},
};
use crate::{
    bundle::{BundleKey, CarriedRef, Kind},
    clock::Timestamp,
    digest::Sha256Digest,
    error::{Error, Result},
    name::{Actor, RefName},
};

/// What is asked of the content that a trusted key brings, beside its signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Accept {
    /// Nothing: its verdicts and approvals count as if they were given here.
    #[default]
    Evidence,
    /// The scanners here look at every new file themselves.
    Scanners,
    /// A person here decides on every new revision.
    Person,
}

impl fmt::Display for Accept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Evidence => "evidence",
            Self::Scanners => "scanners",
            Self::Person => "person",
        })
    }
}

impl FromStr for Accept {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        [Self::Evidence, Self::Scanners, Self::Person]
            .into_iter()
            .find(|accept| accept.to_string() == text)
            .ok_or_else(|| {
                Error::invalid("`accept`", format!("`{text}` is none of evidence, scanners, person"))
            })
    }
}

/// A key whose bundles are believed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TrustedKey {
    /// The key.
    pub public: BundleKey,
    /// Whose it is, for people.
    pub comment: String,
    /// What else is asked of what it brings.
    pub accept: Accept,
    /// The key that it takes the place of, which signed it.
    pub predecessor: Option<BundleKey>,
    /// Since when it is trusted.
    pub added_at: Timestamp,
}

/// A ref that a stream has sent, and up to when the destination was told of its repository. A bundle may name some
/// repositories only: those of the others stand as the bundle before left them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentRef {
    /// Where it points.
    #[serde(flatten)]
    pub carried: CarriedRef,
    /// When the bundle was made that last told of the repository; `None` where a ledger does not say, and all has to be
    /// told again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told_at: Option<Timestamp>,
    /// The last record of the audit log at that time; `None` in ledgers of before, which know the time only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told_seq: Option<i64>,
}

/// A ref that a stream has brought.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArrivedRef {
    /// Where it points on the other side.
    #[serde(flatten)]
    pub carried: CarriedRef,
    /// The snapshot here that it was pointed at, for a ref beside `main`; `None` where a ref of that name was made here,
    /// and stays what it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placed: Option<u64>,
}

/// A ref that is to point at another snapshot, or to go.
#[derive(Debug, Clone)]
pub(crate) struct RefMove {
    pub(crate) repository: RepositoryId,
    pub(crate) name: RefName,
    /// Where it points now.
    pub(crate) from: Option<u64>,
    pub(crate) to: Option<u64>,
}

/// One bundle that was made here.
#[derive(Debug, Clone, PartialEq)]
pub struct SentBundle {
    /// Its stream.
    pub stream: Uuid,
    /// Its place in it.
    pub sequence: u64,
    /// The digest of its header.
    pub header: Sha256Digest,
    /// Full or delta.
    pub kind: Kind,
    /// Where the refs of the whole stream point after it.
    pub refs: Vec<SentRef>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Whether it was written to its end.
    pub finished: bool,
    /// Whether it is unfinished and went down a stream: it may have arrived whole all the same, and its number is not given
    /// again.
    pub streamed: bool,
}

/// A stream that arrives here, after its last bundle.
#[derive(Debug, Clone, PartialEq)]
pub struct ArrivingStream {
    /// Its id.
    pub stream: Uuid,
    /// What the sender calls this place.
    pub site: String,
    /// The key it is bound to.
    pub public: BundleKey,
    /// The place of the last bundle that was applied.
    pub sequence: u64,
    /// The digest of its header.
    pub header: Sha256Digest,
    /// Its refs.
    pub refs: Vec<ArrivedRef>,
}

/// What applying a bundle adds to the ledger.
#[derive(Debug, Clone)]
pub(crate) struct LoadedBundle {
    pub(crate) after: ArrivingStream,
    /// The place and the digest of the bundle it follows on this side; `None` for the first.
    pub(crate) before: Option<(u64, Sha256Digest)>,
    pub(crate) document: String,
    pub(crate) signature: String,
    pub(crate) records: Sha256Digest,
}

/// What is said of a bundle that was sent: being written into a folder, going down a stream, written to its end.
const WRITING: &str = "writing";
const STREAMING: &str = "streaming";
const DONE: &str = "done";

/// Whether a stream is known here.
const KNOWN_STREAM: &str = "SELECT site FROM stream_out WHERE stream = $1";
/// Whether something was sent to a destination.
const SENT_TO: &str = "SELECT s.stream FROM stream_out s JOIN bundle_out b ON b.stream = s.stream \
                       WHERE s.site = $1 AND b.state = 'done' LIMIT 1";

impl Catalog {
    /// Trusts a key, or changes what is asked of what it brings.
    pub async fn trust_key(&self, key: &TrustedKey, actor: &Actor) -> Result<()> {
        let mut write = self.write("trust a key").await?;
        let put = sql("INSERT INTO trusted_key (public, comment, accept, predecessor, added_at) \
                       VALUES ($1, $2, $3, $4, $5) ON CONFLICT (public) DO UPDATE SET \
                       comment = excluded.comment, accept = excluded.accept, \
                       predecessor = COALESCE(excluded.predecessor, trusted_key.predecessor)");
        let put = put.bind(key.public.to_string()).bind(plain(&key.comment)).bind(key.accept.to_string());
        let put = put.bind(key.predecessor.map(|key| key.to_string())).bind(key.added_at.as_micros());
        write.execute(put).await?;
        let detail = object!({ "accept": key.accept, "predecessor": key.predecessor });
        write.audit(actor, "key.trust", &key.public.to_string(), &detail).await?;
        write.commit().await
    }

    /// Stops trusting a key; `false` when it was not trusted.
    pub async fn distrust_key(&self, key: &BundleKey, actor: &Actor) -> Result<bool> {
        let mut write = self.write("distrust a key").await?;
        let gone =
            write.execute(sql("DELETE FROM trusted_key WHERE public = $1").bind(key.to_string())).await?;
        if gone > 0 {
            write.audit(actor, "key.distrust", &key.to_string(), &object!({})).await?;
        }
        write.commit().await?;
        Ok(gone > 0)
    }

    /// All trusted keys, the oldest first.
    pub async fn trusted_keys(&self) -> Result<Vec<TrustedKey>> {
        let query = sql("SELECT public, comment, accept, predecessor, added_at FROM trusted_key \
                         ORDER BY added_at, public");
        let rows = self.all("list trusted keys", query).await?;
        rows.iter()
            .map(|row| {
                Ok(TrustedKey {
                    public: row.parsed("public")?,
                    comment: row.text("comment")?,
                    accept: row.parsed("accept")?,
                    predecessor: row.parsed_or_none("predecessor")?,
                    added_at: row.time("added_at")?,
                })
            })
            .collect()
    }

    /// The stream to a destination, made when it is new.
    pub async fn stream_to(&self, site: &str, actor: &Actor) -> Result<Uuid> {
        let find = || sql("SELECT stream FROM stream_out WHERE site = $1").bind(site.to_owned());
        if let Some(row) = self.optional("read a stream", find()).await? {
            return row.parsed("stream");
        }
        let mut write = self.write("make a stream").await?;
        if let Some(row) = write.optional(find()).await? {
            return row.parsed("stream");
        }
        let stream = Uuid::new_v4();
        let insert = sql("INSERT INTO stream_out (site, stream) VALUES ($1, $2)");
        write.execute(insert.bind(site.to_owned()).bind(stream.to_string())).await?;
        write.audit(actor, "stream.make", site, &object!({ "stream": stream })).await?;
        write.commit().await?;
        Ok(stream)
    }

    /// The stream to a destination, if it has one.
    pub(crate) async fn sent_stream(&self, site: &str) -> Result<Option<Uuid>> {
        let find = sql("SELECT stream FROM stream_out WHERE site = $1").bind(site.to_owned());
        self.optional("read a stream", find).await?.map(|row| row.parsed("stream")).transpose()
    }

    /// [`stream_to`](Self::stream_to) a destination that says which stream it has: what was sent to it when this ledger was
    /// another one, since lost. It is taken up again, unless it is known here by another name, or something was sent to that
    /// destination by another stream.
    pub(crate) async fn stream_again(&self, site: &str, theirs: Uuid, actor: &Actor) -> Result<Uuid> {
        let mut write = self.write("take a stream up again").await?;
        if write.optional(sql(KNOWN_STREAM).bind(theirs.to_string())).await?.is_none()
            && write.optional(sql(SENT_TO).bind(site.to_owned())).await?.is_none()
        {
            let begun =
                sql("DELETE FROM bundle_out WHERE stream IN (SELECT stream FROM stream_out WHERE site = $1)");
            write.execute(begun.bind(site.to_owned())).await?;
            let put = sql("INSERT INTO stream_out (site, stream) VALUES ($1, $2) \
                           ON CONFLICT (site) DO UPDATE SET stream = excluded.stream");
            write.execute(put.bind(site.to_owned()).bind(theirs.to_string())).await?;
            write.audit(actor, "stream.again", site, &object!({ "stream": theirs })).await?;
            write.commit().await?;
            return Ok(theirs);
        }
        drop(write);
        self.stream_to(site, actor).await
    }

    /// The stream that [`stream_again`](Self::stream_again) would give; `None` for a new one. Changes nothing.
    pub(crate) async fn stream_ahead(&self, site: &str, theirs: Option<Uuid>) -> Result<Option<Uuid>> {
        if let Some(theirs) = theirs {
            let known = self.optional("ask for a stream", sql(KNOWN_STREAM).bind(theirs.to_string())).await?;
            let sent = self.optional("ask for a stream", sql(SENT_TO).bind(site.to_owned())).await?;
            if known.is_none() && sent.is_none() {
                return Ok(Some(theirs));
            }
        }
        self.sent_stream(site).await
    }

    /// The bundles a stream has sent, the newest first; an unfinished one is the first.
    pub async fn sent_bundles(&self, stream: Uuid, limit: u32) -> Result<Vec<SentBundle>> {
        let query = sql("SELECT stream, sequence, header, kind, refs, created_at, state FROM bundle_out \
                         WHERE stream = $1 ORDER BY sequence DESC LIMIT $2");
        let rows =
            self.all("list sent bundles", query.bind(stream.to_string()).bind(i64::from(limit))).await?;
        rows.iter().map(sent).collect()
    }

    /// One bundle that was sent.
    pub async fn sent_bundle(&self, stream: Uuid, sequence: u64) -> Result<Option<SentBundle>> {
        let query = sql("SELECT stream, sequence, header, kind, refs, created_at, state FROM bundle_out \
                         WHERE stream = $1 AND sequence = $2");
        let query = query.bind(stream.to_string()).bind(sequence as i64);
        self.optional("read a sent bundle", query).await?.as_ref().map(sent).transpose()
    }

    /// Notes a bundle that is about to be written, in the place of an unfinished one.
    pub(crate) async fn begin_bundle(&self, bundle: &SentBundle, actor: &Actor) -> Result<()> {
        let mut write = self.write("begin a bundle").await?;
        let drop = sql("DELETE FROM bundle_out WHERE stream = $1 AND sequence <> $2 AND state <> 'done'");
        write.execute(drop.bind(bundle.stream.to_string()).bind(bundle.sequence as i64)).await?;
        let put = sql("INSERT INTO bundle_out (stream, sequence, header, kind, refs, created_at, state) \
                       VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (stream, sequence) DO UPDATE SET \
                       header = excluded.header, kind = excluded.kind, refs = excluded.refs, \
                       created_at = excluded.created_at, state = excluded.state WHERE bundle_out.state <> 'done'");
        let put = put.bind(bundle.stream.to_string()).bind(bundle.sequence as i64);
        let put = put.bind(bundle.header.to_string()).bind(kind_text(bundle.kind)).bind(json(&bundle.refs)?);
        let put = put.bind(bundle.created_at.as_micros());
        if write.execute(put.bind(if bundle.streamed { STREAMING } else { WRITING })).await? != 1 {
            return Err(Error::Conflict {
                what: format!("bundle {} of stream {}", bundle.sequence, bundle.stream),
                detail: "another process has finished it".into(),
            });
        }
        let detail = object!({ "sequence": bundle.sequence, "header": bundle.header, "kind": bundle.kind });
        write.audit(actor, "bundle.begin", &bundle.stream.to_string(), &detail).await?;
        write.commit().await
    }

    /// Notes that a bundle is written to its end.
    pub(crate) async fn finish_bundle(
        &self,
        stream: Uuid,
        sequence: u64,
        header: Sha256Digest,
        actor: &Actor,
    ) -> Result<()> {
        let mut write = self.write("finish a bundle").await?;
        let update =
            sql("UPDATE bundle_out SET state = 'done' WHERE stream = $1 AND sequence = $2 AND header = $3");
        let update = update.bind(stream.to_string()).bind(sequence as i64).bind(header.to_string());
        if write.execute(update).await? != 1 {
            return Err(Error::Conflict {
                what: format!("bundle {sequence} of stream {stream}"),
                detail: "another export has taken its place".into(),
            });
        }
        let detail = object!({ "sequence": sequence, "header": header });
        write.audit(actor, "bundle.send", &stream.to_string(), &detail).await?;
        write.commit().await
    }

    /// The streams that arrive here.
    pub async fn arriving_streams(&self) -> Result<Vec<ArrivingStream>> {
        let query = sql("SELECT stream, site, public, sequence, header, refs FROM stream_in ORDER BY stream");
        self.all("list streams", query).await?.iter().map(arriving).collect()
    }

    /// One stream that arrives here.
    pub async fn arriving_stream(&self, stream: Uuid) -> Result<Option<ArrivingStream>> {
        let query =
            sql("SELECT stream, site, public, sequence, header, refs FROM stream_in WHERE stream = $1");
        let row = self.optional("read a stream", query.bind(stream.to_string())).await?;
        row.as_ref().map(arriving).transpose()
    }

    /// The header of a bundle that was applied here.
    pub async fn loaded_bundle(&self, stream: Uuid, sequence: u64) -> Result<Option<Sha256Digest>> {
        let query = sql("SELECT header FROM bundle_in WHERE stream = $1 AND sequence = $2");
        let query = query.bind(stream.to_string()).bind(sequence as i64);
        self.optional("read a loaded bundle", query).await?.map(|row| row.parsed("header")).transpose()
    }

    /// The stream that fills a repository, if one does.
    pub async fn stream_of(&self, repository: RepositoryId) -> Result<Option<Uuid>> {
        let query = sql("SELECT stream FROM stream_repository WHERE repository = $1").bind(repository.0);
        self.optional("ask for the stream of a repository", query)
            .await?
            .map(|row| row.parsed("stream"))
            .transpose()
    }

    /// Says which stream fills a repository, before its first snapshot is made.
    pub(crate) async fn bind_repository(&self, repository: RepositoryId, stream: Uuid) -> Result<()> {
        let mut write = self.write("bind a repository to a stream").await?;
        let put = sql("INSERT INTO stream_repository (repository, stream) VALUES ($1, $2) \
                       ON CONFLICT (repository) DO NOTHING");
        write.execute(put.bind(repository.0).bind(stream.to_string())).await?;
        write.commit().await
    }

    /// Content roots that a bundle in progress, or the next delta of a stream, needs: roots of garbage collection.
    pub(crate) async fn bundle_roots(&self) -> Result<Vec<Sha256Digest>> {
        let query = sql("SELECT refs FROM stream_in UNION ALL \
                         SELECT refs FROM bundle_out b WHERE state <> 'done' OR sequence = \
                         (SELECT MAX(sequence) FROM bundle_out c WHERE c.stream = b.stream AND c.state = 'done')");
        let mut roots = Vec::new();
        for row in self.all("list what bundles need", query).await? {
            let refs: Vec<CarriedRef> = row.decoded("refs")?;
            roots.extend(refs.into_iter().map(|carried| carried.snapshot));
        }
        roots.sort_unstable();
        roots.dedup();
        Ok(roots)
    }

    /// Moves the refs of a bundle and enters it into the ledger, all or nothing.
    ///
    /// # Errors
    /// [`Error::Conflict`] when a ref has moved or another bundle of the stream was applied meanwhile.
    pub(crate) async fn commit_load(
        &self,
        snapshots: &[(NewSnapshot, Fence)],
        moves: &[(RefMove, Fence)],
        loaded: &LoadedBundle,
        actor: &Actor,
    ) -> Result<()> {
        let mut write = self.write("apply a bundle").await?;
        for (new, fence) in snapshots {
            write.check(fence).await?;
            write.put_next_snapshot(new).await?;
        }
        for (change, fence) in moves {
            write.check(fence).await?;
            write.move_ref(change, actor).await?;
        }
        let after = &loaded.after;
        let (stream, header) = (after.stream.to_string(), after.header.to_string());
        let known = sql("SELECT sequence, header FROM stream_in WHERE stream = $1").bind(stream.as_str());
        let known = match write.optional(known).await? {
            Some(row) => Some((row.count("sequence")?, row.parsed("header")?)),
            None => None,
        };
        if known != loaded.before {
            return Err(Error::Conflict {
                what: format!("stream {stream}"),
                detail: "another process has applied a bundle of it meanwhile".into(),
            });
        }
        let put = sql("INSERT INTO stream_in (stream, site, public, sequence, header, refs) \
                       VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (stream) DO UPDATE SET \
                       site = excluded.site, public = excluded.public, sequence = excluded.sequence, \
                       header = excluded.header, refs = excluded.refs");
        let put = put.bind(stream.as_str()).bind(plain(&after.site)).bind(after.public.to_string());
        let put = put.bind(after.sequence as i64).bind(header.as_str()).bind(json(&after.refs)?);
        write.execute(put).await?;
        let insert = sql("INSERT INTO bundle_in (stream, sequence, header, document, signature, records, \
                          loaded_at) VALUES ($1, $2, $3, $4, $5, $6, $7)");
        let insert = insert.bind(stream.as_str()).bind(after.sequence as i64).bind(header.as_str());
        let insert = insert.bind(loaded.document.as_str()).bind(loaded.signature.as_str());
        let now = write.now().as_micros();
        write.execute(insert.bind(loaded.records.to_string()).bind(now)).await?;
        let detail = object!({
            "sequence": after.sequence,
            "header": after.header,
            "key": after.public,
            "refs": snapshots.len() + moves.len(),
        });
        write.audit(actor, "bundle.load", &stream, &detail).await?;
        write.commit().await
    }
}

fn kind_text(kind: Kind) -> &'static str {
    match kind {
        Kind::Full => "full",
        Kind::Delta => "delta",
    }
}

fn sent(row: &AnyRow) -> Result<SentBundle> {
    Ok(SentBundle {
        stream: row.parsed("stream")?,
        sequence: row.count("sequence")?,
        header: row.parsed("header")?,
        kind: if row.text("kind")? == "full" { Kind::Full } else { Kind::Delta },
        refs: row.decoded("refs")?,
        created_at: row.time("created_at")?,
        finished: row.text("state")? == DONE,
        streamed: row.text("state")? == STREAMING,
    })
}

fn arriving(row: &AnyRow) -> Result<ArrivingStream> {
    Ok(ArrivingStream {
        stream: row.parsed("stream")?,
        site: row.text("site")?,
        public: row.parsed("public")?,
        sequence: row.count("sequence")?,
        header: row.parsed("header")?,
        refs: row.decoded("refs")?,
    })
}
