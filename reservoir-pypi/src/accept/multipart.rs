//! `multipart/form-data` (RFC 7578), read part by part as it arrives.
//!
//! Never more is held than one piece of the body and the head of one part. Libraries for this buffer a head
//! without end, or whatever the connection has ready, both of which a client decides.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use memchr::memmem;
use reservoir_core::{Error, Result, store::ByteStream};
use tokio::sync::Mutex;

/// Bytes of the head of a part.
const HEAD: usize = 16 << 10;
/// Parts of a form; what is uploaded has some hundred.
const PARTS: usize = 20_000;
/// Letters of a boundary (RFC 2046).
const BOUNDARY: usize = 70;

/// A form. Parts come in the order in which they are sent.
pub(super) struct Multipart(Arc<Mutex<Reader>>);

/// The head of a part.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Head {
    /// The field.
    pub(super) name: String,
    /// The file's name, where it is one.
    pub(super) file_name: Option<String>,
}

struct Reader {
    body: ByteStream,
    held: BytesMut,
    /// What ends a part: the line break before a boundary, and the boundary.
    delimiter: Vec<u8>,
    /// Within a part whose end was not seen.
    inside: bool,
    parts: usize,
}

impl Multipart {
    /// A form with the boundary that its `Content-Type` names.
    pub(super) fn new(body: ByteStream, content_type: &str) -> Result<Self> {
        let boundary =
            boundary(content_type).ok_or_else(|| malformed("is no `multipart/form-data` with a boundary"))?;
        let delimiter = format!("\r\n--{boundary}").into_bytes();
        // As if the first boundary, too, stood on a line of its own after another.
        let held = BytesMut::from(&b"\r\n"[..]);
        Ok(Self(Arc::new(Mutex::new(Reader { body, held, delimiter, inside: true, parts: 0 }))))
    }

    /// The head of the next part, after what is left of the one before; `None` at the end.
    pub(super) async fn next(&self) -> Result<Option<Head>> {
        let mut reader = self.0.lock().await;
        while reader.piece().await?.is_some() {}
        reader.head().await
    }

    /// The bytes of the part, as they arrive.
    pub(super) fn bytes(&self) -> ByteStream {
        let reader = Arc::clone(&self.0);
        stream::try_unfold(reader, |reader| async move {
            let piece = reader.lock().await.piece().await?;
            Ok(piece.map(|piece| (piece, reader)))
        })
        .boxed()
    }

    /// All of a small part, as text.
    pub(super) async fn text(&self, field: &str, limit: usize) -> Result<String> {
        let mut bytes = self.bytes();
        let mut text = Vec::new();
        while let Some(piece) = bytes.try_next().await? {
            if text.len() + piece.len() > limit {
                return Err(malformed(format!("has a field `{field}` of more than {limit} bytes")));
            }
            text.extend_from_slice(&piece);
        }
        String::from_utf8(text).map_err(|_| malformed(format!("has a field `{field}` that is not UTF-8")))
    }
}

impl Reader {
    /// More of the body; an error at its end, because a form says where it ends.
    async fn more(&mut self) -> Result<()> {
        match self.body.try_next().await? {
            Some(piece) => self.held.extend_from_slice(&piece),
            None => return Err(malformed("breaks off before its end")),
        }
        Ok(())
    }

    /// The next piece of the part; `None` once its end was seen.
    async fn piece(&mut self) -> Result<Option<Bytes>> {
        if !self.inside {
            return Ok(None);
        }
        loop {
            if let Some(at) = memmem::find(&self.held, &self.delimiter) {
                let piece = self.held.split_to(at).freeze();
                if piece.is_empty() {
                    let _ = self.held.split_to(self.delimiter.len());
                    self.inside = false;
                    return Ok(None);
                }
                return Ok(Some(piece));
            }
            // What may be the beginning of a delimiter waits for what follows.
            let sure = (self.held.len() + 1).saturating_sub(self.delimiter.len());
            if sure > 0 {
                return Ok(Some(self.held.split_to(sure).freeze()));
            }
            self.more().await?;
        }
    }

    /// What follows a delimiter: the head of a part, or the end.
    async fn head(&mut self) -> Result<Option<Head>> {
        while self.held.len() < 2 {
            self.more().await?;
        }
        if self.held.starts_with(b"--") {
            return Ok(None);
        }
        self.parts += 1;
        if self.parts > PARTS {
            return Err(malformed(format!("has more than {PARTS} parts")));
        }
        let end = loop {
            if let Some(end) = memmem::find(&self.held, b"\r\n\r\n") {
                break end;
            }
            if self.held.len() > HEAD {
                return Err(malformed(format!("has a part whose head is longer than {HEAD} bytes")));
            }
            self.more().await?;
        };
        let head = self.held.split_to(end + 4);
        // The line break stays: an empty part ends with the delimiter at once.
        self.inside = true;
        let head =
            std::str::from_utf8(&head[..end]).map_err(|_| malformed("has a head that is not UTF-8"))?;
        // Spaces may stand after a boundary.
        let (rest, head) = head.split_once("\r\n").unwrap_or((head, ""));
        if !rest.trim_matches([' ', '\t']).is_empty() {
            return Err(malformed("has a boundary that does not end its line"));
        }
        disposition(head).map(Some)
    }
}

fn malformed(detail: impl Into<String>) -> Error {
    Error::malformed("the form", "upload-form", detail)
}

/// The boundary that a `Content-Type` names.
fn boundary(content_type: &str) -> Option<String> {
    let (kind, parameters) = content_type.split_once(';')?;
    let boundary = parameter(parameters, "boundary")?;
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&byte);
    let is_boundary = (1..=BOUNDARY).contains(&boundary.len())
        && boundary.bytes().all(is_letter)
        && !boundary.ends_with(' ');
    (kind.trim().eq_ignore_ascii_case("multipart/form-data") && is_boundary).then_some(boundary)
}

/// What `Content-Disposition` says among the headers of a part.
fn disposition(head: &str) -> Result<Head> {
    let value = head.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim().eq_ignore_ascii_case("content-disposition").then_some(value)
    });
    let parameters = value.and_then(|value| value.split_once(';')).map(|(_, parameters)| parameters);
    let Some(name) = parameters.and_then(|parameters| parameter(parameters, "name")) else {
        return Err(malformed("has a part without a name"));
    };
    Ok(Head { name, file_name: parameters.and_then(|parameters| parameter(parameters, "filename")) })
}

/// One of `a=b; c="d;e"`; within quotes a backslash takes the next letter as it is.
fn parameter(parameters: &str, wanted: &str) -> Option<String> {
    let mut rest = parameters;
    loop {
        let (name, value) = rest.split_once('=')?;
        let name = name.trim_matches([' ', '\t', ';']);
        let (value, after) = if let Some(quoted) = value.trim_start().strip_prefix('"') {
            let mut text = String::new();
            let mut letters = quoted.char_indices();
            let end = loop {
                match letters.next()? {
                    (at, '"') => break at + 1,
                    (_, '\\') => text.push(letters.next()?.1),
                    (_, letter) => text.push(letter),
                }
            };
            (text, &quoted[end..])
        } else {
            let end = value.find(';').unwrap_or(value.len());
            (value[..end].trim().to_owned(), &value[end..])
        };
        if name.eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TYPE: &str = "multipart/form-data; boundary=XyZ";

    fn form(bytes: &[u8], cut: usize) -> Multipart {
        let pieces: Vec<_> = bytes.chunks(cut).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        Multipart::new(stream::iter(pieces).boxed(), TYPE).unwrap()
    }

    async fn read(bytes: &[u8], cut: usize) -> Result<Vec<(Head, String)>> {
        let form = form(bytes, cut);
        let mut parts = Vec::new();
        while let Some(head) = form.next().await? {
            let text = form.text(&head.name, 1 << 20).await?;
            parts.push((head, text));
        }
        Ok(parts)
    }

    fn head(name: &str, file_name: Option<&str>) -> Head {
        Head { name: name.into(), file_name: file_name.map(str::to_owned) }
    }

    const FORM: &str = "--XyZ\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\none\r\n--XyZ \r\ncontent-type: \
        application/octet-stream\r\ncontent-disposition: form-data; name=content; \
        filename=\"a;\\\"b-1.0+x.whl\"\r\n\r\ntwo\r\n-\r\n--Xy\r\n--XyZ\r\nContent-Disposition: form-data; \
        name=\"empty\"\r\n\r\n\r\n--XyZ--\r\nwhat follows";

    #[tokio::test]
    async fn parts_are_read_however_they_are_cut() {
        let expected = [
            (head("a", None), "one".to_owned()),
            (head("content", Some("a;\"b-1.0+x.whl")), "two\r\n-\r\n--Xy".to_owned()),
            (head("empty", None), String::new()),
        ];
        for cut in 1..=FORM.len() {
            assert_eq!(read(FORM.as_bytes(), cut).await.unwrap(), expected, "cut at {cut}");
        }
        // What nobody reads is passed over.
        let form = form(FORM.as_bytes(), 5);
        let mut names = Vec::new();
        while let Some(head) = form.next().await.unwrap() {
            names.push(head.name);
        }
        assert_eq!(names, ["a", "content", "empty"]);
    }

    #[tokio::test]
    async fn what_is_no_form_is_refused() {
        for wrong in [
            "",
            "--XyZ",
            "--XyZ\r\n",
            "--XyZ\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\none",
            "--XyZ\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\none\r\n--XyZ",
            "--XyZ\r\nContent-Disposition: form-data\r\n\r\none\r\n--XyZ--",
            "--XyZ\r\n\r\none\r\n--XyZ--",
            "--XyZz\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\none\r\n--XyZ--",
            &format!("--XyZ\r\n{}", "x".repeat(HEAD + 10)),
        ] {
            assert!(read(wrong.as_bytes(), 7).await.is_err(), "{wrong:.60}");
        }
        for wrong in
            ["", "multipart/form-data", "text/plain; boundary=a", "multipart/form-data; boundary=\"\""]
        {
            assert_eq!(boundary(wrong), None, "{wrong}");
        }
        assert_eq!(boundary("Multipart/Form-Data; charset=x; boundary=\"a b\"").as_deref(), Some("a b"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300), cut in 1..40_usize) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let _ = runtime.block_on(read(&bytes, cut));
            let _ = runtime.block_on(read(&[&FORM.as_bytes()[..bytes.len().min(FORM.len())], &bytes].concat(), cut));
        }
    }
}
