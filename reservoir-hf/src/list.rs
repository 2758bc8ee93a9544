//! Reading a list of models to select: a CSV file with a heading, of which `path` says where a model is.
//!
//! ```text
//! displayName,path,network_arch,is_backbone
//! A tiny one,hf_model://org/name,bert,True
//! ```
//!
//! `hf_model://org/name` is a model, `hf_dataset://org/name` a dataset; `@` and a branch, tag or commit may follow.
//! No row is dropped: what cannot be taken says why.

use std::io::{self, Read};

use reservoir_core::{Error, Result};

use crate::{
    name::{Label, RepoId, RepoKind},
    options::parse_spec,
};

/// Bytes of a list.
const LIST_LIMIT: u64 = 16 << 20;
/// Rows of a list.
const ROW_LIMIT: usize = 100_000;

/// A row of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The line it begins on; the heading is line 1.
    pub line: u64,
    /// What people call the model; may be empty.
    pub name: String,
    /// Where it is, as written.
    pub path: String,
    /// What to select, as `import` takes it: `org/name@main`; or why nothing can be.
    pub selected: Result<String, String>,
}

/// Reads a list.
///
/// # Errors
/// [`Error::Invalid`] for a file that is no such list; [`Error::LimitExceeded`] for one of more than 16 MiB or 100,000
/// rows. Rows that say nonsense are no errors.
pub fn read(list: impl Read) -> Result<Vec<Row>> {
    let refuse = |detail: String| Error::invalid("list of models", detail);
    let limit = || Error::LimitExceeded {
        what: "list of models".into(),
        limit: format!("{LIST_LIMIT} bytes and {ROW_LIMIT} rows"),
    };
    let mut text = Vec::new();
    list.take(LIST_LIMIT + 1).read_to_end(&mut text).map_err(Error::io("read a list of models"))?;
    if text.len() as u64 > LIST_LIMIT {
        return Err(limit());
    }
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&text);
    let mut reader =
        csv::ReaderBuilder::new().flexible(true).trim(csv::Trim::All).from_reader(io::Cursor::new(text));
    let heading = reader.headers().map_err(|error| refuse(error.to_string()))?.clone();
    let column = |name: &str| heading.iter().position(|title| title.eq_ignore_ascii_case(name));
    let path = column("path").ok_or_else(|| refuse("its first line names no column `path`".into()))?;
    let name = column("displayName");
    let mut lines = Lines { text, offset: 0, line: 1 };
    let mut rows = Vec::new();
    for record in reader.records() {
        if rows.len() == ROW_LIMIT {
            return Err(limit());
        }
        let row = match record {
            Ok(record) => {
                let field =
                    |at: Option<usize>| at.and_then(|at| record.get(at)).unwrap_or_default().to_owned();
                let (name, path) = (field(name), field(Some(path)));
                let (line, selected) = (lines.of(record.position()), select(&path));
                Row { line, name, path, selected }
            }
            Err(error) => {
                let line = lines.of(error.position());
                let (name, path, selected) = (String::new(), String::new(), Err(error.to_string()));
                Row { line, name, path, selected }
            }
        };
        rows.push(row);
    }
    Ok(rows)
}

/// Counts lines as people do: the reader's own count falls behind where lines end in two characters.
struct Lines<'t> {
    text: &'t [u8],
    offset: usize,
    line: u64,
}

impl Lines<'_> {
    /// The line of a record; they come in order.
    fn of(&mut self, position: Option<&csv::Position>) -> u64 {
        let begin = position.map_or(self.offset, |position| position.byte() as usize).min(self.text.len());
        // A record begins where the one before ended, which may be within the end of its line.
        let skipped = self.text[begin..].iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        let begin = (begin + skipped).max(self.offset);
        self.line += memchr::memchr_iter(b'\n', &self.text[self.offset..begin]).count() as u64;
        self.offset = begin;
        self.line
    }
}

fn select(path: &str) -> Result<String, String> {
    if path.is_empty() {
        return Err("has no path".into());
    }
    let Some((scheme, rest)) = path.split_once("://") else {
        return Err(format!("`{path}` is not `hf_model://ORG/NAME`"));
    };
    let kind = match scheme {
        "hf_model" => RepoKind::Model,
        "hf_dataset" => RepoKind::Dataset,
        _ => return Err(format!("`{scheme}://` is not served here; models are `hf_model://ORG/NAME`")),
    };
    let spec = match kind {
        RepoKind::Model => rest.to_owned(),
        RepoKind::Dataset => format!("datasets/{rest}"),
    };
    let parsed: Result<(RepoId, Label)> = parse_spec(&spec);
    match parsed {
        Ok((repo, label)) if repo.kind() == kind => Ok(format!("{repo}@{label}")),
        Ok(_) => Err(format!("`{path}` names another kind of repository")),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_row_is_selected_or_says_why_not() {
        let list = "\u{feff}displayName,path,network_arch,is_backbone\r\n\
                    Tiny,hf_model://org/tiny,bert,True\r\n\
                    \"Two\nlines, quoted\",hf_model://org/other@v1,vit,False\r\n\
                    Theirs,ngc://nvidia/tao/x:1,y,True\n\
                    ,,,\n\
                    Bad,hf_model://../x,y\n\
                    Data,hf_dataset://org/rows,,\n\
                    Sly,hf_model://datasets/org/rows,,\n";
        let rows = read(list.as_bytes()).unwrap();
        let seen: Vec<_> = rows.iter().map(|row| (row.line, row.selected.as_deref().ok())).collect();
        assert_eq!(
            seen,
            [
                (2, Some("org/tiny@main")),
                (3, Some("org/other@v1")),
                (5, None),
                (6, None),
                (7, None),
                (8, Some("datasets/org/rows@main")),
                (9, None),
            ]
        );
        assert_eq!(rows[1].name, "Two\nlines, quoted");
        assert!(rows[2].selected.as_ref().unwrap_err().contains("ngc://"));
    }

    #[test]
    fn what_is_no_list_is_refused() {
        assert!(read(&b"name,place\nx,y\n"[..]).is_err());
        assert!(read(&b""[..]).is_err());
        assert!(read(io::repeat(b'x')).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = read(&bytes[..]);
            let _ = read(&[b"path\n", &bytes[..]].concat()[..]);
        }
    }
}
