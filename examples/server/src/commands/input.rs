//! Files that a command line names. A pipe or a device is none: it could keep a command waiting for ever.

use std::{
    fs::{self, File},
    io::Read as _,
    path::Path,
};

use reservoir_core::{Error, Result};

/// Opens a regular file.
pub(crate) fn open(path: &Path) -> Result<File> {
    let failed = || Error::io(format!("open `{}`", path.display()));
    // First, as opening a pipe waits for somebody who writes into it.
    if !fs::metadata(path).map_err(failed())?.is_file() {
        return Err(Error::invalid(format!("`{}`", path.display()), "is not a regular file"));
    }
    File::open(path).map_err(failed())
}

/// Reads a regular file of at most `limit` bytes.
pub(crate) fn read(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut file = open(path)?.take(limit + 1);
    file.read_to_end(&mut bytes).map_err(Error::io(format!("read `{}`", path.display())))?;
    if bytes.len() as u64 > limit {
        let what = format!("`{}`", path.display());
        return Err(Error::LimitExceeded { what, limit: format!("{limit} bytes") });
    }
    Ok(bytes)
}

/// The same, for text.
pub(crate) fn read_text(path: &Path, limit: u64) -> Result<String> {
    let not_text = |_| Error::invalid(format!("`{}`", path.display()), "is not UTF-8 text");
    String::from_utf8(read(path, limit)?).map_err(not_text)
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
        assert!(matches!(read(&file, 7).unwrap_err(), Error::LimitExceeded { .. }));
        fs::write(&file, [0xff]).unwrap();
        assert!(matches!(read_text(&file, 8).unwrap_err(), Error::Invalid { .. }));
        assert!(matches!(read(&folder.path().join("absent"), 8).unwrap_err(), Error::Io { .. }));
    }

    #[test]
    fn a_pipe_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        for path in [&*pipe, Path::new("/dev/zero"), folder.path()] {
            let error = read(path, 8).unwrap_err();
            assert!(error.to_string().contains("is not a regular file"), "{error}");
        }
    }
}
