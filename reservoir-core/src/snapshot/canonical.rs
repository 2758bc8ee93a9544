//! Recognises the one spelling of an entry at the speed of reading it.
//!
//! To know that a line is canonical one can parse it, write the entry out again and compare; for a page of a thousand
//! entries that takes ten milliseconds. [`recognise`] says in one pass that the same would come out. It may say
//! "perhaps not" of a line that is canonical after all, and never "yes" of one that is not: whoever asks takes the long
//! way then, which also knows the reason.

use memchr::memchr2;

use crate::{
    name::{ArtifactName, RevisionName},
    path::ContentPath,
};

/// Arrays and objects within each other; the parser gives up at 128.
const DEPTH: u32 = 64;

/// What a page keeps of a line, parsed.
pub(super) struct Recognised {
    pub(super) path: ContentPath,
    pub(super) size: u64,
}

/// Path and size of an entry whose canonical JSON is `line`; `None` for any other line, and for rare ones.
pub(super) fn recognise(line: &str) -> Option<Recognised> {
    // Counted, not searched: the compiler makes this fast.
    if line.bytes().map(|byte| usize::from(byte < b' ')).sum::<usize>() > 0 {
        return None;
    }
    let mut cursor = Cursor { text: line, at: 0 };
    cursor.skip("{")?;
    if cursor.skip("\"artifact\":").is_some() {
        cursor.plain_string()?.parse::<ArtifactName>().ok()?;
        cursor.skip(",")?;
    }
    if cursor.skip("\"attributes\":").is_some() {
        // None are written as nothing.
        let has_some = cursor.byte_at(cursor.at + 1)? != b'}';
        has_some.then_some(())?;
        cursor.object(DEPTH)?;
        cursor.skip(",")?;
    }
    cursor.skip("\"blake3\":")?;
    cursor.digest()?;
    cursor.skip(",\"path\":")?;
    let path = cursor.plain_string()?.parse().ok()?;
    cursor.skip(",")?;
    if cursor.skip("\"revision\":").is_some() {
        cursor.plain_string()?.parse::<RevisionName>().ok()?;
        cursor.skip(",")?;
    }
    cursor.skip("\"sha256\":")?;
    cursor.digest()?;
    cursor.skip(",\"size\":")?;
    let size = cursor.digits()?.parse().ok()?;
    cursor.skip("}")?;
    (cursor.at == line.len()).then_some(Recognised { path, size })
}

struct Cursor<'l> {
    text: &'l str,
    at: usize,
}

impl<'l> Cursor<'l> {
    fn byte_at(&self, at: usize) -> Option<u8> {
        self.text.as_bytes().get(at).copied()
    }

    fn skip(&mut self, expected: &str) -> Option<()> {
        let rest = self.text.as_bytes().get(self.at..)?;
        rest.starts_with(expected.as_bytes()).then(|| self.at += expected.len())
    }

    /// A string with nothing escaped in it: what it says.
    fn plain_string(&mut self) -> Option<&'l str> {
        let start = self.at + 1;
        self.string()?;
        let inside = &self.text[start..self.at - 1];
        (!inside.contains('\\')).then_some(inside)
    }

    /// A string, with as few escapes as it can have, in the spelling of `serde_json`.
    fn string(&mut self) -> Option<()> {
        self.skip("\"")?;
        loop {
            self.at += memchr2(b'"', b'\\', self.text.as_bytes().get(self.at..)?)?;
            if self.byte_at(self.at)? == b'"' {
                self.at += 1;
                return Some(());
            }
            match self.byte_at(self.at + 1)? {
                b'"' | b'\\' | b'b' | b'f' | b'n' | b'r' | b't' => self.at += 2,
                // Control characters without a letter; rare enough.
                _ => return None,
            }
        }
    }

    fn digest(&mut self) -> Option<()> {
        let text = self.plain_string()?;
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        (text.len() == 64 && text.bytes().all(is_digit)).then_some(())
    }

    /// A whole number that is not negative, of few enough digits to fit.
    fn digits(&mut self) -> Option<&'l str> {
        let rest = self.text.as_bytes().get(self.at..)?;
        let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let is_plain = (1..19).contains(&count) && (count == 1 || rest[0] != b'0');
        let digits = is_plain.then(|| &self.text[self.at..self.at + count])?;
        self.at += count;
        Some(digits)
    }

    fn value(&mut self, depth: u32) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        match self.byte_at(self.at)? {
            b'"' => self.string(),
            b'{' => self.object(depth),
            b'[' => self.array(depth),
            b't' => self.skip("true"),
            b'f' => self.skip("false"),
            b'n' => self.skip("null"),
            b'0'..=b'9' => self.digits().map(drop),
            // Negative numbers, and what is none.
            _ => None,
        }
    }

    fn array(&mut self, depth: u32) -> Option<()> {
        self.skip("[")?;
        if self.skip("]").is_some() {
            return Some(());
        }
        loop {
            self.value(depth)?;
            if self.skip(",").is_none() {
                return self.skip("]");
            }
        }
    }

    /// An object whose keys rise.
    fn object(&mut self, depth: u32) -> Option<()> {
        self.skip("{")?;
        if self.skip("}").is_some() {
            return Some(());
        }
        let mut before: Option<&str> = None;
        loop {
            let key = self.plain_string()?;
            before.is_none_or(|before| before < key).then_some(())?;
            before = Some(key);
            self.skip(":")?;
            self.value(depth)?;
            if self.skip(",").is_none() {
                return self.skip("}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        digest::{Blake3Digest, Sha256Digest},
        snapshot::Entry,
        store::Blob,
    };

    fn entry(attributes: BTreeMap<String, Value>, size: u64) -> Entry {
        Entry {
            path: "pool/main/h/hello_2.10-3_amd64.deb".parse().unwrap(),
            blob: Blob { sha256: Sha256Digest::of(b"a"), blake3: Blake3Digest::from_bytes([171; 32]), size },
            artifact: Some("hello".parse().unwrap()),
            revision: Some("1:2.10-3:amd64".parse().unwrap()),
            attributes,
        }
    }

    /// The long way.
    fn is_canonical(line: &str) -> Option<Entry> {
        let entry: Entry = serde_json::from_str(line).ok()?;
        let mut again = Vec::new();
        entry.encode(&mut again).ok()?;
        (again == line.as_bytes()).then_some(entry)
    }

    fn check(line: &str) -> bool {
        let found = recognise(line);
        if let Some(found) = &found {
            let entry = is_canonical(line).unwrap_or_else(|| panic!("not canonical: {line}"));
            assert_eq!((&found.path, found.size), (&entry.path, entry.blob.size), "{line}");
        }
        found.is_some()
    }

    fn value() -> impl Strategy<Value = Value> {
        let plain = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
            "[a-z\"\\\\\n\t\u{1}é]{0,12}".prop_map(Value::from),
        ];
        plain.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map("[a-c\"\\\\é]{0,3}", inner, 0..5)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    #[test]
    fn ordinary_lines_take_the_short_way() {
        let stanza = "Package: hello\nDescription: \"quoted\"\n\tand \\ more, é";
        let facts = [
            ("requirements".to_owned(), json!(["Depends: libc6 (>= 2.34)"])),
            ("stanzas".to_owned(), json!({ "bookworm/main": stanza, "bookworm/contrib": stanza })),
            ("wheel".to_owned(), json!({ "tags": [], "yanked": false, "size": 12, "none": null })),
        ];
        for attributes in [BTreeMap::new(), facts.into()] {
            let mut line = Vec::new();
            entry(attributes.clone(), 53_104).encode(&mut line).unwrap();
            assert!(check(std::str::from_utf8(&line).unwrap()));
            let mut published = entry(attributes, 0);
            (published.artifact, published.revision) = (None, None);
            line.clear();
            published.encode(&mut line).unwrap();
            assert!(check(std::str::from_utf8(&line).unwrap()));
        }
    }

    #[test]
    fn other_spellings_are_not_recognised() {
        let mut line = Vec::new();
        let facts = [("a".to_owned(), json!({ "b": [1, "x\n"], "c": {} })), ("d".to_owned(), json!(7))];
        entry(facts.into(), 70).encode(&mut line).unwrap();
        let line = String::from_utf8(line).unwrap();
        assert!(check(&line));
        let others = [
            (":70}", ":070}"),
            (":70}", ":7e1}"),
            (":70}", ":-70}"),
            (":70}", ": 70}"),
            (":70}", ":70} "),
            (":70}", ":70}{}"),
            (":70}", ":70"),
            (":70}", ":70,\"x\":1}"),
            ("[1,", "[01,"),
            ("[1,", "[1.0,"),
            ("[1,", "[-0,"),
            ("[1,", "[1,,"),
            ("x\\n", "x\\u000a"),
            ("x\\n", "\\u0078\\n"),
            ("x\\n", "\\/"),
            ("x\\n", "x\n"),
            ("\"c\":{}", "\"b\":{}"),
            ("\"c\":{}", "\"a\":{}"),
            ("\"d\":7", "\"a\":7"),
            ("\"attributes\":{", "\"attributes\":{ "),
            (",\"attributes\"", ",\"attributes\":{},\"attributes\""),
            ("\"artifact\":\"hello\"", "\"artifact\":null"),
            ("\"artifact\":\"hello\"", "\"artifact\":\"..\""),
            ("\"artifact\":\"hello\",", "\"artifact\":\"hello\",\"artifact\":\"hello\","),
            ("abab", "ABab"),
            ("abab", "ab"),
            ("pool/", "pool//"),
            ("pool/", "../"),
        ];
        for (from, to) in others {
            let other = line.replacen(from, to, 1);
            assert_ne!(other, line, "{from}");
            assert!(!check(&other), "{other}");
        }
    }

    proptest! {
        #[test]
        fn what_is_recognised_is_canonical(
            attributes in prop::collection::btree_map("[a-z]{0,4}", value(), 0..4),
            size: u64,
            at: prop::sample::Index,
            with in prop_oneof![Just(None), any::<char>().prop_map(Some)],
        ) {
            let mut line = Vec::new();
            // A fraction is refused.
            if entry(attributes, size).encode(&mut line).is_ok() {
                let mut line = String::from_utf8(line).unwrap();
                check(&line);
                let places: Vec<usize> = line.char_indices().map(|(at, _)| at).collect();
                let at = places[at.index(places.len())];
                line.remove(at);
                check(&line);
                if let Some(with) = with {
                    line.insert(at, with);
                    check(&line);
                }
            }
        }
    }
}
