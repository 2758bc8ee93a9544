//! XML-RPC at `/pypi`: what changed since when. bandersnatch asks this unless it is told otherwise, then reads
//! `/pypi/NAME/json`. Serials are those of the list of projects.

use std::{fmt::Write as _, future};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use http::{HeaderValue, Method, StatusCode, header};
use quick_xml::escape::escape;
use reservoir_core::{
    Result,
    serve::{Body, Request, Response, View},
};

use super::call;
use crate::index;

/// Bytes of a call, at most.
const LIMIT: usize = 64 << 10;
/// Projects that are written at a time.
const ROWS: usize = 500;

const XML: HeaderValue = HeaderValue::from_static("text/xml; charset=utf-8");
const HEAD: &str = "<?xml version='1.0'?>\n<methodResponse><params><param><value>";
const TAIL: &str = "</value></param></params></methodResponse>\n";

/// What the specification of fault codes has for a call that cannot be read, and for a method that nobody knows.
const UNREADABLE: i32 = -32_700;
const UNKNOWN: i32 = -32_601;

/// Whether a request is a call: a `POST` that changes nothing.
pub(crate) fn is_call(request: &Request) -> bool {
    request.method == Method::POST && matches!(request.path.as_str(), "pypi" | "pypi/")
}

/// Answers a call. What is wrong with it is a fault, as clients of XML-RPC expect.
pub(super) async fn answer(view: &View, request: &Request) -> Result<Response> {
    let body = request.body.read(LIMIT).await?;
    let call = match call::read(&body) {
        Ok(call) => call,
        Err(error) => return Ok(fault(UNREADABLE, &error.to_string())),
    };
    match (call.method.as_str(), &*call.numbers) {
        ("list_packages_with_serial", []) => {
            let row = |project: &str, serial| {
                format!("<member><name>{project}</name><value>{}</value></member>", int(serial))
            };
            Ok(listed(view, 0, ("<struct>", "</struct>"), row))
        }
        ("changelog_since_serial", [since]) => {
            // What changed within a snapshot is not told apart: the project did, when it was made or before.
            let at = view.snapshot.created_at.as_micros().div_euclid(1_000_000);
            let at = int(u64::try_from(at).unwrap_or_default());
            let row = move |project: &str, serial| {
                format!(
                    "<value><array><data><value><string>{project}</string></value><value><nil/></value>\
                     <value>{at}</value><value><string>update</string></value><value>{}</value></data></array>\
                     </value>",
                    int(serial)
                )
            };
            Ok(listed(view, *since, ("<array><data>", "</data></array>"), row))
        }
        ("changelog_last_serial", []) => {
            let text = format!("{HEAD}{}{TAIL}", int(view.snapshot.number));
            Ok(Response::ok(text, XML))
        }
        (method, _) => {
            let words = format!(
                "there is no `{method}` with these parameters; there are list_packages_with_serial, \
                 changelog_since_serial and changelog_last_serial"
            );
            Ok(fault(UNKNOWN, &words))
        }
    }
}

/// A row for each project that changed after a serial, written as they are read.
fn listed<R>(view: &View, since: u64, (begin, end): (&str, &str), row: R) -> Response
where
    R: Fn(&str, u64) -> String + Send + 'static,
{
    let piece = |text: String| stream::once(future::ready(Ok(Bytes::from(text))));
    let rows = index::projects(view).try_filter_map(move |(project, serial)| {
        let serial = serial.unwrap_or_default();
        // Names of projects have no character that XML minds.
        future::ready(Ok((serial > since).then(|| row(&project, serial))))
    });
    let rows = rows.try_chunks(ROWS).map_ok(|rows| Bytes::from(rows.concat())).map_err(|error| error.1);
    let body = piece(format!("{HEAD}{begin}")).chain(rows).chain(piece(format!("{end}{TAIL}")));
    Response::new(StatusCode::OK).header(header::CONTENT_TYPE, XML).body(Body::Stream(body.boxed()))
}

/// A number; what does not fit 32 bits is written as clients write it.
fn int(number: u64) -> String {
    match i32::try_from(number) {
        Ok(number) => format!("<int>{number}</int>"),
        Err(_) => format!("<double>{number}</double>"),
    }
}

fn fault(code: i32, words: &str) -> Response {
    let mut text = String::from("<?xml version='1.0'?>\n<methodResponse><fault><value><struct>");
    let _ = write!(text, "<member><name>faultCode</name><value><int>{code}</int></value></member>");
    let words = escape(words);
    let _ = write!(text, "<member><name>faultString</name><value><string>{words}</string></value></member>");
    text.push_str("</struct></value></fault></methodResponse>\n");
    Response::ok(text, XML)
}
