//! Files that a command line names, read within limits.

use std::{
    fs::{self, File},
    io::Read as _,
    path::Path,
};

use reservoir_core::{Error, Result};

/// Opens what a person names: a file, or a pipe such as `/dev/stdin`, which is waited for.
pub(crate) fn open(path: &Path) -> Result<File> {
    File::open(path).map_err(Error::io(format!("read `{}`", path.display())))
}

/// Reads at most `limit` bytes of text that a person names.
pub(crate) fn read_text(path: &Path, limit: u64) -> Result<String> {
    text(path, read(path, open(path)?, limit)?)
}

/// Reads at most `limit` bytes of what was carried here. A pipe or a device on a medium is not waited for.
pub(crate) fn read_carried(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let failed = Error::io(format!("read `{}`", path.display()));
    // First, as opening a pipe waits for somebody who writes into it.
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err(Error::invalid(format!("`{}`", path.display()), "is not a regular file"));
    }
    read(path, open(path)?, limit)
}

/// The same, for text.
pub(crate) fn read_carried_text(path: &Path, limit: u64) -> Result<String> {
    text(path, read_carried(path, limit)?)
}

fn read(path: &Path, file: File, limit: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let failed = Error::io(format!("read `{}`", path.display()));
    file.take(limit + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > limit {
        let what = format!("`{}`", path.display());
        return Err(Error::LimitExceeded { what, limit: format!("{limit} bytes") });
    }
    Ok(bytes)
}

fn text(path: &Path, bytes: Vec<u8>) -> Result<String> {
    let not_text = |_| Error::invalid(format!("`{}`", path.display()), "is not UTF-8 text");
    String::from_utf8(bytes).map_err(not_text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_as_far_as_it_may_be_long() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "12345678").unwrap();
        assert_eq!(read_text(&file, 8).unwrap(), "12345678");
        assert!(matches!(read_text(&file, 7).unwrap_err(), Error::LimitExceeded { .. }));
        assert!(matches!(read_text(Path::new("/dev/zero"), 7).unwrap_err(), Error::LimitExceeded { .. }));
        fs::write(&file, [0xff]).unwrap();
        assert!(matches!(read_text(&file, 8).unwrap_err(), Error::Invalid { .. }));
        assert!(matches!(read_text(&folder.path().join("absent"), 8).unwrap_err(), Error::Io { .. }));
    }

    #[test]
    fn a_pipe_is_waited_for_where_a_person_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let into = pipe.clone();
        let writer = std::thread::spawn(move || fs::write(into, "it came").unwrap());
        assert_eq!(read_text(&pipe, 8).unwrap(), "it came");
        writer.join().unwrap();
        for path in [&*pipe, Path::new("/dev/zero"), folder.path()] {
            let error = read_carried(path, 8).unwrap_err();
            assert!(error.to_string().contains("is not a regular file"), "{error}");
        }
    }
}
