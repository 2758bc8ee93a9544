//! One connection of the test server: requests in, bytes out, to the letter.

use std::{fmt::Write as _, io, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    time::sleep,
};

use super::{
    Recorded, Reply, State,
    reply::{Fault, Framing},
};

/// No request of a test is longer.
const HEAD_LIMIT: u64 = 64 << 10;
/// How long a stalled connection is kept open, should nobody hang up.
const STALL: Duration = Duration::from_mins(1);

/// Serves requests until either side closes. A client that goes away is no error.
pub(super) async fn serve(stream: TcpStream, state: Arc<State>) {
    let _ = stream.set_nodelay(true);
    let mut stream = BufReader::new(stream);
    while let Ok(Some(request)) = read_request(&mut stream).await {
        let reply = state.answer(request.clone());
        sleep(reply.delay).await;
        if !matches!(write_reply(stream.get_mut(), &request, reply).await, Ok(true)) {
            return;
        }
    }
}

async fn read_request(stream: &mut BufReader<TcpStream>) -> io::Result<Option<Recorded>> {
    let mut head = stream.take(HEAD_LIMIT);
    let mut line = String::new();
    head.read_line(&mut line).await?;
    let mut words = line.split_ascii_whitespace();
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        return Ok(None);
    };
    let method: Method = method.parse().map_err(io::Error::other)?;
    let target = target.to_owned();
    let mut headers = HeaderMap::new();
    loop {
        line.clear();
        if head.read_line(&mut line).await? == 0 {
            return Ok(None);
        }
        let Some((name, value)) = line.trim_end().split_once(':') else {
            return Ok(Some(Recorded { method, target, headers }));
        };
        let name: HeaderName = name.parse().map_err(io::Error::other)?;
        headers.append(name, HeaderValue::from_str(value.trim()).map_err(io::Error::other)?);
    }
}

/// Writes the answer; whether the connection can be used again.
async fn write_reply(stream: &mut TcpStream, request: &Recorded, reply: Reply) -> io::Result<bool> {
    let (reply, content_range) = narrow(request, reply);
    let close = reply.fault.is_some() || !matches!(reply.framing, Framing::Length | Framing::Chunked);
    let mut head = format!("HTTP/1.1 {} Test\r\n", reply.status);
    for (name, value) in &reply.headers {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    if let Some(range) = content_range {
        let _ = write!(head, "content-range: {range}\r\n");
    }
    if reply.ranges && reply.status < 300 {
        head.push_str("accept-ranges: bytes\r\n");
    }
    match reply.framing {
        _ if reply.status == 304 => {}
        Framing::Length => {
            let _ = write!(head, "content-length: {}\r\n", reply.body.len());
        }
        Framing::WrongLength(length) => {
            let _ = write!(head, "content-length: {length}\r\n");
        }
        Framing::Chunked => head.push_str("transfer-encoding: chunked\r\n"),
        Framing::UntilClose => {}
    }
    if close {
        head.push_str("connection: close\r\n");
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).await?;
    if request.method != Method::HEAD && reply.status != 304 {
        write_body(stream, &reply).await?;
    }
    stream.flush().await?;
    Ok(!close)
}

async fn write_body(stream: &mut TcpStream, reply: &Reply) -> io::Result<()> {
    let chunked = reply.framing == Framing::Chunked;
    let body = &reply.body;
    match reply.fault {
        None => write_piece(stream, body, chunked).await?,
        Some(Fault::Cut(after)) => return write_piece(stream, &body[..after.min(body.len())], chunked).await,
        Some(Fault::Reset(after)) => {
            write_piece(stream, &body[..after.min(body.len())], chunked).await?;
            // What was sent before the reset should arrive before it.
            sleep(Duration::from_millis(5)).await;
            return stream.set_zero_linger();
        }
        Some(Fault::Stall(after)) => {
            write_piece(stream, &body[..after.min(body.len())], chunked).await?;
            sleep(STALL).await;
            return Ok(());
        }
        // An error ends it: nobody listens any more.
        Some(Fault::Endless { every }) => loop {
            write_piece(stream, body, chunked).await?;
            sleep(every).await;
        },
        Some(Fault::Drip { bytes, every }) => {
            for piece in body.chunks(bytes) {
                write_piece(stream, piece, chunked).await?;
                sleep(every).await;
            }
        }
    }
    if chunked {
        stream.write_all(b"0\r\n\r\n").await?;
    }
    Ok(())
}

async fn write_piece(stream: &mut TcpStream, bytes: &[u8], chunked: bool) -> io::Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    if chunked {
        stream.write_all(format!("{:x}\r\n", bytes.len()).as_bytes()).await?;
        stream.write_all(bytes).await?;
        return stream.write_all(b"\r\n").await;
    }
    stream.write_all(bytes).await
}

/// Answers conditional and range requests (RFC 9110 §13, §14), for plain 200 replies.
fn narrow(request: &Recorded, mut reply: Reply) -> (Reply, Option<String>) {
    if reply.status != 200 {
        return (reply, None);
    }
    let known = |name: &str, value: &str| !value.is_empty() && reply.value(name) == Some(value);
    let none_match = request.header("if-none-match");
    let unmodified = if none_match.is_empty() {
        known("last-modified", request.header("if-modified-since"))
    } else {
        known("etag", none_match)
    };
    if unmodified {
        reply.status = 304;
        reply.body = Bytes::new();
        return (reply, None);
    }
    let if_range = request.header("if-range");
    let same = if_range.is_empty() || known("etag", if_range) || known("last-modified", if_range);
    let length = reply.body.len();
    let Some(asked) = request.header("range").strip_prefix("bytes=").filter(|_| reply.ranges && same) else {
        return (reply, None);
    };
    let bounds = match asked.split_once('-') {
        Some(("", suffix)) => suffix.parse().ok().map(|count: usize| (length.saturating_sub(count), length)),
        Some((start, "")) => start.parse().ok().map(|start| (start, length)),
        Some((start, end)) => start
            .parse()
            .ok()
            .zip(end.parse().ok())
            .map(|(start, end): (usize, usize)| (start, end.saturating_add(1).min(length))),
        None => None,
    };
    match bounds {
        Some((start, end)) if start < end => {
            reply.status = 206;
            reply.body = reply.body.slice(start..end);
            let range = format!("bytes {start}-{}/{length}", end - 1);
            (reply, Some(range))
        }
        _ => {
            reply.status = 416;
            reply.body = Bytes::new();
            (reply, Some(format!("bytes */{length}")))
        }
    }
}
