//! Files that hold a secret: made once, whole, for their owner only.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    path::Path,
};

use crate::error::{Error, Result};

/// Nothing that is a key is longer.
const LIMIT: u64 = 64 << 10;

/// Writes a new file, mode 0600, durable before `Ok`. [`Error::Conflict`] when there is one already: of two
/// processes that start at once, one makes the key and the other reads it.
pub(crate) fn write_new(path: &Path, bytes: &[u8]) -> Result<()> {
    let name = path.file_name().ok_or_else(|| Error::invalid("key file", "the path names no file"))?;
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let temporary = folder.join(format!(".{}.{}.tmp", name.to_string_lossy(), uuid::Uuid::new_v4()));
    let written = write_private(&temporary, bytes).and_then(|()| fs::hard_link(&temporary, path));
    // Whatever happened, the temporary name goes; a linked file stays under its own.
    let removed = fs::remove_file(&temporary);
    match written {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(Error::Conflict {
            what: format!("key file `{}`", path.display()),
            detail: "it exists already and is never overwritten".to_owned(),
        }),
        written => written
            .and(removed)
            .and_then(|()| File::open(folder)?.sync_all())
            .map_err(Error::io(format!("write the key file `{}`", path.display()))),
    }
}

fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Reads such a file. [`Error::NotFound`] when there is none.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(Error::not_found("key file", path.display()));
        }
        opened => opened,
    };
    let mut bytes = Vec::new();
    file.and_then(|file| file.take(LIMIT + 1).read_to_end(&mut bytes))
        .map_err(Error::io(format!("read the key file `{}`", path.display())))?;
    if bytes.len() as u64 > LIMIT {
        let what = format!("key file `{}`", path.display());
        return Err(Error::LimitExceeded { what, limit: format!("{LIMIT} bytes") });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn files_are_private_whole_and_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        assert_eq!(read(&path).unwrap_err().kind(), ErrorKind::NotFound);
        write_new(&path, b"first").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(write_new(&path, b"second").unwrap_err().kind(), ErrorKind::Conflict);
        assert_eq!(read(&path).unwrap(), b"first");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn huge_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        fs::write(&path, vec![b'a'; LIMIT as usize + 1]).unwrap();
        assert_eq!(read(&path).unwrap_err().kind(), ErrorKind::Quota);
    }
}
