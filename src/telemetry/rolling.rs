//! A log in files of a bounded size and number: `mubroker.log` is written, `mubroker.1.log` is the one before, and so on.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The file that is written, and those before it.
#[derive(Debug)]
pub(super) struct RollingFile {
    dir: PathBuf,
    file: File,
    /// What is in it.
    bytes: u64,
    max_bytes: u64,
    max_files: u32,
}

impl RollingFile {
    /// Goes on with what is in the folder. Each file has at most `max_bytes`, but one line at least; there are at most
    /// `max_files`, the one that is written among them.
    pub(super) fn open(dir: &Path, max_bytes: u64, max_files: u32) -> io::Result<Self> {
        let file = append_to(&path(dir, 0))?;
        let bytes = file.metadata()?.len();
        Ok(Self { dir: dir.to_owned(), file, bytes, max_bytes, max_files: max_files.max(1) })
    }

    /// Each file takes the next one's name, the oldest goes, and a new one is begun. Where that can't be done, the same
    /// file goes on: it is cut off first, so that the bound is kept.
    fn roll(&mut self) -> io::Result<()> {
        let mut is_moved = false;
        let renamed = (0..self.max_files - 1).rev().try_for_each(|number| {
            match fs::rename(path(&self.dir, number), path(&self.dir, number + 1)) {
                Ok(()) => is_moved = number == 0,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            Ok(())
        });
        let begun = renamed.and_then(|()| append_to(&path(&self.dir, 0)));
        let is_new = begun.is_ok();
        if let Ok(file) = begun {
            self.file = file;
        }
        // What was moved and has no successor yet goes on, once more as long; what couldn't be moved is emptied.
        if is_new || !is_moved {
            self.file.set_len(0)?;
        }
        self.bytes = 0;
        Ok(())
    }
}

impl Write for RollingFile {
    /// A line, as the log gives it; it is in one file whole.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let length = line.len() as u64;
        if self.bytes > 0 && self.bytes.saturating_add(length) > self.max_bytes {
            self.roll()?;
        }
        self.file.write_all(line)?;
        self.bytes = self.bytes.saturating_add(length);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn path(dir: &Path, number: u32) -> PathBuf {
    match number {
        0 => dir.join("mubroker.log"),
        number => dir.join(format!("mubroker.{number}.log")),
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn texts(dir: &Path) -> Vec<String> {
        let texts = (0..9).map(|number| fs::read_to_string(path(dir, number)));
        texts.map_while(Result::ok).collect()
    }

    #[test]
    fn neither_size_nor_number_goes_beyond_and_the_newest_stays() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = RollingFile::open(folder.path(), 10, 3).unwrap();
        for n in 0..9 {
            writeln!(log, "line {n}").unwrap();
        }
        assert_eq!(texts(folder.path()), ["line 8\n", "line 7\n", "line 6\n"]);
        drop(log);
        let mut log = RollingFile::open(folder.path(), 20, 2).unwrap();
        writeln!(log, "line 9").unwrap();
        assert_eq!(texts(folder.path())[0], "line 8\nline 9\n", "it goes on where it was");
        log.write_all(&[b'x'; 100]).unwrap();
        assert_eq!(texts(folder.path())[0].len(), 100, "a long line is one, too");
        assert_eq!(texts(folder.path())[1], "line 8\nline 9\n");
    }

    #[test]
    fn a_single_file_begins_anew_when_it_is_full() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = RollingFile::open(folder.path(), 10, 1).unwrap();
        for n in 0..3 {
            writeln!(log, "line {n}").unwrap();
        }
        assert_eq!(texts(folder.path()), ["line 2\n"]);
    }

    #[test]
    fn a_log_without_a_successor_keeps_its_bound() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = RollingFile::open(folder.path(), 10, 2).unwrap();
        fs::remove_dir_all(folder.path()).unwrap();
        for n in 0..5 {
            writeln!(log, "line {n}").unwrap();
        }
        assert_eq!(log.file.metadata().unwrap().len(), 7);
    }

    #[test]
    fn a_log_that_cannot_be_moved_keeps_its_bound() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = RollingFile::open(folder.path(), 10, 2).unwrap();
        // A folder in the way can't be replaced by a file.
        fs::create_dir(path(folder.path(), 1)).unwrap();
        fs::set_permissions(path(folder.path(), 1), fs::Permissions::from_mode(0o700)).unwrap();
        for n in 0..3 {
            writeln!(log, "line {n}").unwrap();
        }
        assert_eq!(fs::read_to_string(path(folder.path(), 0)).unwrap(), "line 2\n");
    }
}
