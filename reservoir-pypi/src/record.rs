//! `RECORD`: the list of a wheel's files with their digests, checked against the files themselves.
//!
//! A CSV file of `path,algorithm=digest,size` ([binary distribution format][spec]). Neither pip nor uv checks
//! it before installing, and installers delete by it later, so it is checked here.
//!
//! [spec]: https://packaging.python.org/en/latest/specifications/binary-distribution-format/

use std::collections::BTreeMap;

use reservoir_core::{Error, Result, digest::Sha256Digest};

/// Bytes of a `RECORD`: 100,000 entries of 300 bytes.
pub(crate) const LIMIT: u64 = 32 << 20;

/// What the archive holds: size and digest by path.
pub(crate) type Files = BTreeMap<String, (u64, Sha256Digest)>;

/// One line.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    path: String,
    hash: String,
    size: String,
}

/// Checks every file of a wheel against its `RECORD` and every line of `RECORD` against the files.
///
/// `dist_info` is the name of the `*.dist-info` folder. `RECORD` itself and its signatures carry no digest.
///
/// # Errors
/// [`Error::Malformed`] with rule `record-encoding`, `record-syntax`, `record-path`, `record-duplicate`,
/// `record-missing-hash`, `record-weak-hash`, `record-hash`, `record-size`, `record-extra-line` or
/// `record-unlisted-file`.
pub(crate) fn verify(what: &str, dist_info: &str, record: &[u8], files: &Files) -> Result<()> {
    let refuse = |rule, detail| Err(Error::malformed(format!("RECORD of {what}"), rule, detail));
    let Ok(text) = std::str::from_utf8(record) else {
        return refuse("record-encoding", "is not UTF-8".to_owned());
    };
    let unhashed = ["RECORD", "RECORD.jws", "RECORD.p7s"].map(|name| format!("{dist_info}/{name}"));
    let mut listed: BTreeMap<String, Line> = BTreeMap::new();
    for (number, line) in Lines::new(text).enumerate() {
        let Some(line) = line else {
            return refuse("record-syntax", format!("row {} is not `path,hash,size`", number + 1));
        };
        let path = &line.path;
        if !is_clean(path) {
            return refuse("record-path", format!("{path:?} leaves the wheel or is not a plain path"));
        }
        if let Some(before) = listed.get(path) {
            // Some build tools wrote a line twice; harmless as long as both say the same.
            if *before == line {
                continue;
            }
            return refuse("record-duplicate", format!("`{path}` is listed twice, differently"));
        }
        if !unhashed.contains(path)
            && let Err((rule, detail)) = check(&line, files)
        {
            return refuse(rule, detail);
        }
        listed.insert(line.path.clone(), line);
    }
    match files.keys().find(|path| !listed.contains_key(*path) && !unhashed.contains(path)) {
        Some(path) => refuse("record-unlisted-file", format!("`{path}` is in the wheel and not listed")),
        None => Ok(()),
    }
}

fn check(line: &Line, files: &Files) -> Result<(), (&'static str, String)> {
    let Line { path, hash, size } = line;
    let Some((actual_size, actual)) = files.get(path) else {
        return Err(("record-extra-line", format!("`{path}` is listed and not in the wheel")));
    };
    let Some((algorithm, digest)) = hash.split_once('=') else {
        return Err(("record-missing-hash", format!("`{path}` has no `algorithm=digest`")));
    };
    if !algorithm.eq_ignore_ascii_case("sha256") {
        return Err(("record-weak-hash", format!("`{path}` is hashed with `{algorithm}`, not `sha256`")));
    }
    let expected = encode(actual.as_bytes());
    if digest.trim_end_matches('=') != expected {
        return Err(("record-hash", format!("`{path}` has `{expected}`, RECORD says `{digest}`")));
    }
    if !size.is_empty() && size.parse() != Ok(*actual_size) {
        return Err(("record-size", format!("`{path}` has {actual_size} bytes, RECORD says `{size}`")));
    }
    Ok(())
}

fn is_clean(path: &str) -> bool {
    !path.contains(['\\', '\0', '\n', '\r'])
        && path.as_bytes().get(1) != Some(&b':')
        && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

/// URL-safe base 64 without padding (RFC 4648 §5), as `RECORD` writes digests.
pub(crate) fn encode(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::with_capacity(bytes.len() * 4 / 3 + 3);
    for chunk in bytes.chunks(3) {
        let word =
            chunk.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for sextet in 0..=chunk.len() {
            text.push(char::from(ALPHABET[(word >> (18 - 6 * sextet) & 63) as usize]));
        }
    }
    text
}

/// Rows of CSV as Python's `csv` module reads them: quotes doubled inside quotes, any line ending.
/// `None` for a row that has not three fields or whose quotes do not close.
struct Lines<'a> {
    rest: &'a str,
}

impl<'a> Lines<'a> {
    fn new(text: &'a str) -> Self {
        Self { rest: text }
    }

    /// One field and what ended it: `,`, a line ending or the end (`\n` for both).
    fn field(&mut self) -> Option<(String, char)> {
        let Some(quoted) = self.rest.strip_prefix('"') else {
            let end = self.rest.find([',', '\n', '\r', '"']).unwrap_or(self.rest.len());
            let value = self.rest[..end].to_owned();
            self.rest = &self.rest[end..];
            return Some((value, self.ending()?));
        };
        self.rest = quoted;
        let mut value = String::new();
        loop {
            let end = self.rest.find('"')?;
            value.push_str(&self.rest[..end]);
            self.rest = &self.rest[end + 1..];
            match self.rest.strip_prefix('"') {
                Some(rest) => self.rest = rest,
                None => return Some((value, self.ending()?)),
            }
            value.push('"');
        }
    }

    fn ending(&mut self) -> Option<char> {
        for (ending, meaning) in [("\r\n", '\n'), ("\n", '\n'), ("\r", '\n'), (",", ',')] {
            if let Some(rest) = self.rest.strip_prefix(ending) {
                self.rest = rest;
                return Some(meaning);
            }
        }
        self.rest.is_empty().then_some('\n')
    }

    fn row(&mut self) -> Option<Line> {
        let (path, after_path) = self.field()?;
        let (hash, after_hash) = (after_path == ',').then(|| self.field())??;
        let (size, after_size) = (after_hash == ',').then(|| self.field())??;
        (after_size == '\n').then_some(Line { path, hash, size })
    }
}

impl Iterator for Lines<'_> {
    type Item = Option<Line>;

    fn next(&mut self) -> Option<Self::Item> {
        self.rest = self.rest.trim_start_matches(['\n', '\r']);
        if self.rest.is_empty() {
            return None;
        }
        let row = self.row();
        if row.is_none() {
            self.rest = "";
        }
        Some(row)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sha2::{Digest as _, Sha256};

    use super::*;

    fn files(contents: &[(&str, &str)]) -> Files {
        contents
            .iter()
            .map(|(path, text)| {
                let digest = Sha256Digest::from_bytes(Sha256::digest(text).into());
                ((*path).to_owned(), (text.len() as u64, digest))
            })
            .collect()
    }

    fn hash(text: &str) -> String {
        format!("sha256={}", encode(&Sha256::digest(text)))
    }

    const DIST_INFO: &str = "a-1.dist-info";

    fn rule(record: &str) -> Result<(), &'static str> {
        let files = files(&[("a.py", "one"), ("b,\"c.py", ""), ("a-1.dist-info/RECORD", record)]);
        match verify("a-1.whl", DIST_INFO, record.as_bytes(), &files) {
            Ok(()) => Ok(()),
            Err(Error::Malformed { rule, .. }) => Err(rule),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (bytes, text) in [("", ""), ("f", "Zg"), ("fo", "Zm8"), ("foo", "Zm9v"), ("foob", "Zm9vYg")] {
            assert_eq!(encode(bytes.as_bytes()), text);
        }
        assert_eq!(encode(&[0xfb, 0xff]), "-_8");
    }

    #[test]
    fn a_record_that_agrees_is_accepted() {
        let (one, none) = (hash("one"), hash(""));
        let rows = [
            format!("a.py,{one},3\n\"b,\"\"c.py\",{none},0\na-1.dist-info/RECORD,,\n"),
            format!("a.py,{one},\r\n\"b,\"\"c.py\",{none}=,0\r\na-1.dist-info/RECORD,,"),
            format!("a.py,{one},3\na.py,{one},3\n\n\"b,\"\"c.py\",{none},0\n"),
            format!("a.py,{one},3\n\"b,\"\"c.py\",{none},0\na-1.dist-info/RECORD.jws,,\n"),
        ];
        for row in rows {
            assert_eq!(rule(&row), Ok(()), "{row}");
        }
    }

    #[test]
    fn each_disagreement_has_its_rule() {
        let (one, none) = (hash("one"), hash(""));
        let rest = format!("\"b,\"\"c.py\",{none},0\na-1.dist-info/RECORD,,\n");
        for (row, expected) in [
            (String::new(), "record-unlisted-file"),
            (format!("a.py,{one},4\n"), "record-size"),
            (format!("a.py,{one},x\n"), "record-size"),
            (format!("a.py,{none},3\n"), "record-hash"),
            (format!("a.py,{},3\n", one.to_uppercase()), "record-hash"),
            ("a.py,,3\n".into(), "record-missing-hash"),
            ("a.py,md5=+XVfCuPrpqhYlFQJlPqVEA,3\n".into(), "record-weak-hash"),
            ("a.py,sha1=+XVfCuPrpqhYlFQJlPqVEA,3\n".into(), "record-weak-hash"),
            (format!("a.py,{one},3\na.py,{one},\n"), "record-duplicate"),
            (format!("a.py,{one},3\nno.py,{one},3\n"), "record-extra-line"),
            (format!("../a.py,{one},3\n"), "record-path"),
            (format!("/a.py,{one},3\n"), "record-path"),
            (format!("x/./a.py,{one},3\n"), "record-path"),
            (format!("x\\a.py,{one},3\n"), "record-path"),
            (format!("C:a.py,{one},3\n"), "record-path"),
            ("a.py\n".into(), "record-syntax"),
            (format!("a.py,{one},3,4\n"), "record-syntax"),
            ("\"a.py,x,3\n".into(), "record-syntax"),
            (format!("\"a.py\"x,{one},3\n"), "record-syntax"),
        ] {
            assert_eq!(rule(&format!("{row}{rest}")), Err(expected), "{row}");
        }
    }

    proptest! {
        #[test]
        fn any_record_is_checked_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = verify("a-1.whl", DIST_INFO, &bytes, &Files::new());
        }

        #[test]
        fn any_rows_are_checked_or_refused(text in "[a-c/.,\"=\r\n0-9]{0,80}") {
            let _ = verify("a-1.whl", DIST_INFO, text.as_bytes(), &files(&[("a", "1")]));
        }
    }
}
