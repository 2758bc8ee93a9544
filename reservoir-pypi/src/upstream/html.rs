//! Pages in HTML (PEP 503 and its successors).
//!
//! A scanner, not a parser: only `a`, `base` and `meta` tags matter, nothing nests, and nothing but the
//! current tag is held. So five million anchors or a hundred thousand open elements cost one linear pass.

use std::{borrow::Cow, collections::BTreeMap};

use reservoir_core::Result;

use super::page::{PageBuilder, RawFile, Yanked};

/// How a page ends.
const END: &str = "</html";
/// Most attributes of one tag.
const ATTRIBUTES: usize = 64;
/// Elements whose content is text, whatever it looks like.
const RAW_TEXT: [&str; 4] = ["script", "style", "textarea", "title"];

/// # Errors
/// [`Error::Malformed`] with the rule `html-cut` for a page that begins with `<html>` and does not end, and with
/// `html-no-index` for one that says nothing of an index: an index without files says so, a notice of an outage does not.
pub(super) fn read(text: &str, page: &mut PageBuilder<'_>) -> Result<()> {
    let mut scanner = Scanner { rest: text };
    let (mut based, mut begun, mut is_index) = (false, false, false);
    while let Some(tag) = scanner.next_tag() {
        match tag.name.as_str() {
            "html" => begun = true,
            "a" => {
                is_index = true;
                anchor(&tag, page)?;
            }
            "base" if !based => {
                if let Some(base) = tag.get("href").and_then(|href| page.base.join(href.trim()).ok()) {
                    page.base = base;
                    based = true;
                }
            }
            "meta" => {
                is_index |= tag.get("name").is_some_and(|name| name.starts_with("pypi:"));
                meta(&tag, page)?;
            }
            name if RAW_TEXT.contains(&name) => scanner.skip_raw(name),
            _ => {}
        }
    }
    if begun && !ends(text) {
        return Err(page.malformed("html-cut", "breaks off before `</html>`"));
    }
    if !is_index {
        return Err(page.malformed("html-no-index", "has neither a link nor a word of an index"));
    }
    Ok(())
}

/// Whether the page has its end tag.
fn ends(text: &str) -> bool {
    let is_end = |(at, _)| {
        let tag = text.as_bytes().get(at..at + END.len());
        tag.is_some_and(|tag| tag.eq_ignore_ascii_case(END.as_bytes()))
    };
    text.rmatch_indices('<').any(is_end)
}

fn meta(tag: &Tag<'_>, page: &mut PageBuilder<'_>) -> Result<()> {
    let (Some(name), Some(content)) = (tag.get("name"), tag.get("content")) else { return Ok(()) };
    match name.as_ref() {
        "pypi:repository-version" => page.repository_version(&content)?,
        "pypi:project-status" => page.status(Some(&content), None),
        "pypi:project-status-reason" => page.status(None, Some(&content)),
        "pypi:tracks" => page.tracks(&content),
        "pypi:alternate-locations" => page.alternate_location(&content),
        _ => {}
    }
    Ok(())
}

fn anchor(tag: &Tag<'_>, page: &mut PageBuilder<'_>) -> Result<()> {
    // An anchor without an address is a place to jump to.
    let Some(url) = tag.get("href") else { return Ok(()) };
    // One to a folder leads up, or to another page.
    if url.split(['#', '?']).next().is_some_and(|path| path.trim_end().ends_with('/')) {
        return Ok(());
    }
    let text = |key: &str| tag.get(key).map(Cow::into_owned);
    let core_metadata = tag.get("data-core-metadata").or_else(|| tag.get("data-dist-info-metadata"));
    page.file(RawFile {
        // Installers go by the address as well, not by the text.
        filename: None,
        url: url.into_owned(),
        hashes: BTreeMap::new(),
        size: tag.get("data-size").and_then(|size| size.trim().parse().ok()),
        requires_python: text("data-requires-python"),
        upload_time: text("data-upload-time"),
        yanked: text("data-yanked").map_or(Yanked::No, Yanked::Yes),
        core_metadata: core_metadata.filter(|value| !value.trim().eq_ignore_ascii_case("false")).map(
            |value| {
                let hash = value
                    .split_once('=')
                    .map(|(algorithm, digits)| (algorithm.to_owned(), digits.to_owned()));
                hash.into_iter().collect()
            },
        ),
        gpg_sig: tag.get("data-gpg-sig").and_then(|value| match value.trim() {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        }),
        provenance: text("data-provenance"),
    })
}

struct Scanner<'t> {
    rest: &'t str,
}

/// A start tag; attribute values are still escaped.
struct Tag<'t> {
    name: String,
    attributes: Vec<(&'t str, &'t str)>,
}

impl Tag<'_> {
    /// The first attribute of that name, unescaped; the empty text when it stands alone.
    fn get(&self, key: &str) -> Option<Cow<'_, str>> {
        self.attributes
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(key))
            .map(|(_, value)| unescape(value))
    }
}

impl<'t> Scanner<'t> {
    /// The next start tag that is complete.
    fn next_tag(&mut self) -> Option<Tag<'t>> {
        loop {
            let (_, after) = self.rest.split_once('<')?;
            self.rest = after;
            if let Some(comment) = after.strip_prefix("!--") {
                // An open comment runs to the end, as in browsers.
                self.rest = comment.split_once("-->")?.1;
            } else if after.starts_with(|c: char| c.is_ascii_alphabetic()) {
                return self.tag();
            } else if after.starts_with(['!', '/', '?']) {
                self.rest = after.split_once('>')?.1;
            }
        }
    }

    fn tag(&mut self) -> Option<Tag<'t>> {
        let name = self.take_until(|c| c.is_ascii_whitespace() || matches!(c, '>' | '/'));
        let mut tag = Tag { name: name.to_ascii_lowercase(), attributes: Vec::new() };
        loop {
            self.rest = self.rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '/');
            if let Some(after) = self.rest.strip_prefix('>') {
                self.rest = after;
                return Some(tag);
            }
            // A tag that the page breaks off in is no tag.
            self.rest.chars().next()?;
            // A leading `=` belongs to the name, or this would not move on.
            let start = self.rest;
            self.rest = start.strip_prefix('=').unwrap_or(start);
            self.take_until(|c| c.is_ascii_whitespace() || matches!(c, '>' | '/' | '='));
            let name = &start[..start.len() - self.rest.len()];
            let before = self.rest;
            self.rest = self.rest.trim_ascii_start();
            let value = if let Some(after) = self.rest.strip_prefix('=') {
                self.rest = after.trim_ascii_start();
                self.value()?
            } else {
                self.rest = before;
                ""
            };
            if tag.attributes.len() < ATTRIBUTES {
                tag.attributes.push((name, value));
            }
        }
    }

    fn value(&mut self) -> Option<&'t str> {
        match self.rest.chars().next()? {
            quote @ ('"' | '\'') => {
                let (value, after) = self.rest[1..].split_once(quote)?;
                self.rest = after;
                Some(value)
            }
            _ => Some(self.take_until(|c| c.is_ascii_whitespace() || c == '>')),
        }
    }

    fn take_until(&mut self, end: impl Fn(char) -> bool) -> &'t str {
        let at = self.rest.find(end).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(at);
        self.rest = rest;
        taken
    }

    /// Goes to the end tag of an element whose content is text.
    fn skip_raw(&mut self, name: &str) {
        while let Some((_, after)) = self.rest.split_once("</") {
            self.rest = after;
            if after.get(..name.len()).is_some_and(|found| found.eq_ignore_ascii_case(name)) {
                return;
            }
        }
        self.rest = "";
    }
}

/// Decodes the references that index pages are written with: numbers, and the five names of XML.
fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('&') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        out.push_str(before);
        // The longest reference that means anything is `&#x0010FFFF;`.
        let end = after.bytes().take(12).position(|byte| byte == b';');
        if let Some((end, c)) = end.and_then(|end| Some((end, decode(&after[..end])?))) {
            out.push(c);
            rest = &after[end + 1..];
        } else {
            out.push('&');
            rest = after;
        }
    }
    out.push_str(rest);
    Cow::Owned(out)
}

fn decode(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        "nbsp" => Some('\u{a0}'),
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(digits) => u32::from_str_radix(digits, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code).filter(|c| *c != '\0')
        }
    }
}
