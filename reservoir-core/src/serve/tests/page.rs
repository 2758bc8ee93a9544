use std::io::Write as _;

use http::StatusCode;

use super::*;
use crate::{
    error::Error,
    serve::{
        Body, FileOptions, PageCache,
        coding::Coding,
        page::{self, Page},
    },
};

const TEXT: &str = "<!DOCTYPE html><a href=\"../../packages/six-1.0.tar.gz\">six-1.0.tar.gz</a>";

fn gzip(bytes: &[u8]) -> Bytes {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap().into()
}

fn zstd(bytes: &[u8]) -> Bytes {
    zstd::encode_all(bytes, 1).unwrap().into()
}

struct Fixture {
    store: MemoryStore,
    cache: PageCache,
    entry: Entry,
    stored: Coding,
}

impl Fixture {
    async fn new(stored: Coding, bytes: &[u8]) -> Self {
        let store = MemoryStore::new();
        let bytes = if stored == Coding::Gzip { gzip(bytes) } else { zstd(bytes) };
        let entry = put(&store, "simple/six/index.html.zst", bytes).await;
        Self { store, cache: PageCache::default(), entry, stored }
    }

    async fn get(&self, sent: Coding, request: &Request, options: FileOptions) -> Result<Response> {
        let page = Page { entry: &self.entry, stored: self.stored, sent };
        page::respond(&self.store, &self.cache, request, &page, options, MODIFIED).await
    }

    async fn plain(&self, sent: Coding) -> Result<Response> {
        self.get(sent, &request(Method::GET, &[]), FileOptions::default()).await
    }
}

#[tokio::test]
async fn a_page_is_sent_as_kept_or_decoded() {
    for stored in [Coding::Zstd, Coding::Gzip] {
        let fixture = Fixture::new(stored, TEXT.as_bytes()).await;
        let kept = fixture.plain(stored).await.unwrap();
        assert_eq!(header(&kept, "content-encoding"), Some(stored.name()));
        assert_eq!(header(&kept, "vary"), Some("Accept, Accept-Encoding"));
        assert_eq!(header(&kept, "last-modified"), Some(MODIFIED_TEXT));
        assert_eq!(header(&kept, "accept-ranges"), None);
        let length = header(&kept, "content-length").unwrap().parse::<u64>().unwrap();
        assert_eq!(length, fixture.entry.blob.size);

        let decoded = fixture.plain(Coding::Identity).await.unwrap();
        assert_eq!(header(&decoded, "content-encoding"), None);
        assert_ne!(header(&decoded, "etag"), header(&kept, "etag"));
        let length = header(&decoded, "content-length").unwrap().parse::<usize>().unwrap();
        assert_eq!(length, TEXT.len());
        assert_eq!(read(decoded).await.unwrap(), TEXT.as_bytes());
        assert_eq!(read(kept).await.unwrap().len() as u64, fixture.entry.blob.size);
    }
}

#[tokio::test]
async fn pages_come_from_memory_after_the_first_time() {
    let fixture = Fixture::new(Coding::Zstd, TEXT.as_bytes()).await;
    for sent in [Coding::Zstd, Coding::Identity] {
        fixture.plain(sent).await.unwrap();
    }
    let reads = fixture.store.reads();
    for _ in 0..100 {
        let response = fixture.plain(Coding::Identity).await.unwrap();
        assert!(matches!(response.body, Body::Bytes(_)));
        fixture.plain(Coding::Zstd).await.unwrap();
    }
    assert_eq!(fixture.store.reads(), reads);
}

#[tokio::test]
async fn a_crowd_on_a_cold_page_reads_it_once() {
    let fixture = Fixture::new(Coding::Zstd, TEXT.as_bytes()).await;
    let crowd = (0..50).map(|_| fixture.plain(Coding::Identity));
    for response in futures::future::join_all(crowd).await {
        assert_eq!(read(response.unwrap()).await.unwrap(), TEXT.as_bytes());
    }
    assert_eq!(fixture.store.reads(), 1);
}

#[tokio::test]
async fn head_is_get_without_the_bytes() {
    let large = vec![b'x'; 9 << 20];
    for bytes in [TEXT.as_bytes(), b"", &large] {
        let fixture = Fixture::new(Coding::Zstd, bytes).await;
        for sent in [Coding::Zstd, Coding::Identity] {
            for lines in [vec![], vec![("range", "bytes=0-1")], vec![("if-none-match", "*")]] {
                let options = FileOptions::immutable;
                let get = fixture.get(sent, &request(Method::GET, &lines), options()).await.unwrap();
                let head = fixture.get(sent, &request(Method::HEAD, &lines), options()).await.unwrap();
                assert_eq!((head.status, &head.headers), (get.status, &get.headers), "{sent:?} {lines:?}");
                assert!(head.body.is_empty());
                assert_ne!(get.status, StatusCode::PARTIAL_CONTENT);
            }
        }
    }
}

#[tokio::test]
async fn large_pages_are_streamed_and_not_kept() {
    let large: Vec<u8> = noise(1 << 20).repeat(9);
    for stored in [Coding::Zstd, Coding::Gzip] {
        let fixture = Fixture::new(stored, &large).await;
        for _ in 0..2 {
            let response = fixture.plain(Coding::Identity).await.unwrap();
            assert_eq!(header(&response, "content-length"), None);
            assert!(matches!(response.body, Body::Stream(_)));
            assert!(read(response).await.unwrap() == large);
        }
        assert!(format!("{:?}", fixture.cache).contains("pages: 1"), "only that it is too large");
    }
    // Too large even as it is kept.
    let fixture = Fixture::new(Coding::Zstd, &noise(9 << 20)).await;
    let response = fixture.plain(Coding::Zstd).await.unwrap();
    let length = header(&response, "content-length").unwrap().parse::<u64>().unwrap();
    assert_eq!(length, fixture.entry.blob.size);
    assert!(matches!(response.body, Body::Stream(_)));
    assert_eq!(read(response).await.unwrap().len() as u64, length);
}

#[tokio::test]
async fn a_bomb_stays_within_its_limit() {
    // 256 MiB of nothing in a few kilobytes: the first pieces come, and memory does not grow.
    let fixture = Fixture::new(Coding::Zstd, &vec![0; 256 << 20]).await;
    let response = fixture.plain(Coding::Identity).await.unwrap();
    let mut body = response.body.into_stream();
    for _ in 0..100 {
        assert!(body.try_next().await.unwrap().unwrap().len() <= 64 << 10);
    }
    assert!(format!("{:?}", fixture.cache).contains("bytes: 128"));
}

#[tokio::test]
async fn the_cache_holds_no_more_than_its_capacity() {
    let store = MemoryStore::new();
    let cache = PageCache::new(32 << 20);
    for page in 0..40 {
        let entry = put(&store, "page.zst", zstd(&[noise(1 << 20).as_ref(), &[page]].concat())).await;
        let page = Page { entry: &entry, stored: Coding::Zstd, sent: Coding::Identity };
        let asked = request(Method::GET, &[]);
        page::respond(&store, &cache, &asked, &page, FileOptions::default(), MODIFIED).await.unwrap();
    }
    let text = format!("{cache:?}");
    let held: u64 = text.trim_end_matches(" }").rsplit(' ').next().unwrap().parse().unwrap();
    assert!(held <= 32 << 20 && held > 16 << 20, "{text}");
}

#[tokio::test]
async fn damage_is_an_error_before_any_response() {
    for sent in [Coding::Zstd, Coding::Identity] {
        let fixture = Fixture::new(Coding::Zstd, TEXT.as_bytes()).await;
        fixture.store.damage(&fixture.entry.blob.sha256, 9);
        for method in [Method::GET, Method::HEAD] {
            let asked = request(method, &[]);
            let error = fixture.get(sent, &asked, FileOptions::default()).await.unwrap_err();
            assert!(matches!(error, Error::Integrity { .. }), "{error:?}");
        }
    }
    // In a streamed page, after it began.
    let fixture = Fixture::new(Coding::Zstd, &noise(9 << 20)).await;
    fixture.store.damage(&fixture.entry.blob.sha256, 5 << 20);
    let error = read(fixture.plain(Coding::Identity).await.unwrap()).await.unwrap_err();
    assert!(matches!(error, Error::Integrity { .. }), "{error:?}");
}

#[tokio::test]
async fn what_is_not_zstd_or_is_cut_short_is_an_error() {
    let whole = zstd(TEXT.as_bytes());
    for bytes in [Bytes::from_static(b"not zstd at all"), whole.slice(..whole.len() - 3)] {
        let store = MemoryStore::new();
        let entry = put(&store, "page.zst", bytes).await;
        let page = Page { entry: &entry, stored: Coding::Zstd, sent: Coding::Identity };
        let asked = request(Method::GET, &[]);
        let cache = PageCache::default();
        let answer = page::respond(&store, &cache, &asked, &page, FileOptions::default(), MODIFIED).await;
        assert!(matches!(answer, Err(Error::Io { .. })), "{answer:?}");
    }
}

#[tokio::test]
async fn a_tag_is_for_one_coding_and_saves_the_bytes() {
    let options = || FileOptions { etag: Some("7".into()), ..FileOptions::default() };
    let (zstd, identity) = ("\"7-zstd\"", "\"7-identity\"");
    for (sent, same, other) in [(Coding::Zstd, zstd, identity), (Coding::Identity, identity, zstd)] {
        let fixture = Fixture::new(Coding::Zstd, TEXT.as_bytes()).await;
        let asked = request(Method::GET, &[("if-none-match", same)]);
        let response = fixture.get(sent, &asked, options()).await.unwrap();
        assert_eq!(response.status, StatusCode::NOT_MODIFIED);
        assert_eq!(header(&response, "vary"), Some("Accept, Accept-Encoding"));
        assert_eq!(header(&response, "content-encoding"), None);
        assert_eq!(fixture.store.reads(), 0);
        let asked = request(Method::GET, &[("if-none-match", other)]);
        let response = fixture.get(sent, &asked, options()).await.unwrap();
        assert_eq!((response.status, header(&response, "etag")), (StatusCode::OK, Some(same)));
    }
}

#[test]
fn vary_is_merged() {
    for (has, merged) in [
        ("", "Accept, Accept-Encoding"),
        ("accept", "Accept, Accept-Encoding"),
        ("Cookie, ACCEPT-ENCODING,, ", "Accept, Accept-Encoding, Cookie"),
        ("*", "Accept, Accept-Encoding, *"),
    ] {
        let mut headers = HeaderMap::new();
        headers.append("vary", HeaderValue::from_static(has));
        page::vary(&mut headers);
        assert_eq!(headers.get_all("vary").iter().collect::<Vec<_>>(), [merged], "{has:?}");
    }
}
