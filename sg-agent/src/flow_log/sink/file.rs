//! A file that begins with the names of its fields, as VPC flow logs in S3 do. A large file is put
//! aside: `flows.log` becomes `flows.log.1`, which is the newest. Older ones move up to the number
//! that is kept.
//!
//! Somebody else may put it aside, too. logrotate moves it and creates another (`create`), or copies it
//! and cuts it to nothing (`copytruncate`). Each write looks whether the path still names the open file.

use std::{
    fs::{self, OpenOptions},
    io::{self, BufWriter, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use super::style::Style;

#[derive(Debug)]
pub(super) struct File {
    path: PathBuf,
    header: String,
    max_bytes: u64,
    keep: u32,
    open: Option<fs::File>,
}

impl File {
    pub(super) fn open(path: PathBuf, style: &Style) -> io::Result<Self> {
        let mut file = Self {
            path,
            header: style.format.header(),
            max_bytes: style.max_bytes,
            keep: style.keep,
            open: None,
        };
        file.open = Some(file.append()?.0);
        Ok(file)
    }

    /// Lines that do not fit all into one file are spread over several.
    pub(super) fn write(&mut self, lines: &[String]) -> io::Result<()> {
        let mut rest = lines;
        while !rest.is_empty() {
            let (mut file, mut size) = self.current()?;
            let mut fits = 0;
            for line in rest {
                let len = line.len() as u64 + 1;
                // A line that is longer than a file may be has one of its own.
                if size + len > self.max_bytes && size > self.header.len() as u64 + 1 {
                    break;
                }
                (size, fits) = (size + len, fits + 1);
            }
            let mut writer = BufWriter::new(&mut file);
            rest[..fits].iter().try_for_each(|line| writeln!(writer, "{line}"))?;
            writer.flush()?;
            drop(writer);
            rest = &rest[fits..];
            if rest.is_empty() {
                self.open = Some(file);
            } else {
                drop(file);
                self.put_aside()?;
            }
        }
        Ok(())
    }

    /// The file that the path names now, and its size: the open one, unless it was moved or removed.
    fn current(&mut self) -> io::Result<(fs::File, u64)> {
        let Some(file) = self.open.take() else { return self.append() };
        let (open, named) = (file.metadata()?, fs::metadata(&self.path).ok());
        let is_named =
            named.is_some_and(|named| (named.dev(), named.ino()) == (open.dev(), open.ino()));
        if is_named { self.begun(file) } else { self.append() }
    }

    fn append(&self) -> io::Result<(fs::File, u64)> {
        self.begun(OpenOptions::new().create(true).append(true).mode(0o640).open(&self.path)?)
    }

    /// Writes the header where the file is empty.
    fn begun(&self, mut file: fs::File) -> io::Result<(fs::File, u64)> {
        let mut size = file.metadata()?.len();
        if size == 0 {
            let header = format!("{}\n", self.header);
            file.write_all(header.as_bytes())?;
            size = header.len() as u64;
        }
        Ok((file, size))
    }

    fn put_aside(&self) -> io::Result<()> {
        for number in (1..self.keep).rev() {
            rename(&self.aside(number), &self.aside(number + 1))?;
        }
        if self.keep == 0 {
            return fs::remove_file(&self.path);
        }
        rename(&self.path, &self.aside(1))
    }

    fn aside(&self, number: u32) -> PathBuf {
        let mut path = self.path.clone().into_os_string();
        path.push(format!(".{number}"));
        path.into()
    }
}

fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn style(max_bytes: u64, keep: u32) -> Style {
        let format = "${start} ${end}".parse().expect("a format");
        Style { format, account: "-".into(), max_bytes, keep }
    }

    fn lines(range: std::ops::Range<u32>) -> Vec<String> {
        range.map(|number| format!("line {number}")).collect()
    }

    #[test]
    fn files_are_put_aside_and_as_many_kept_as_are_to_be() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("flows.log");
        // Header of 10 bytes, two lines of 7.
        let mut file = File::open(path.clone(), &style(24, 2)).expect("a file");
        file.write(&lines(0..1)).expect("written");
        file.write(&lines(1..7)).expect("written");
        let read = |name: &str| fs::read_to_string(directory.path().join(name)).ok();
        assert_eq!(read("flows.log").as_deref(), Some("start end\nline 6\n"));
        assert_eq!(read("flows.log.1").as_deref(), Some("start end\nline 4\nline 5\n"));
        assert_eq!(read("flows.log.2").as_deref(), Some("start end\nline 2\nline 3\n"));
        assert_eq!(read("flows.log.3"), None);
    }

    #[test]
    fn a_file_is_gone_on_with_and_begun_anew_when_it_is_gone() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("flows.log");
        let open = || File::open(path.clone(), &style(1000, 0)).expect("a file");
        open().write(&lines(0..1)).expect("written");
        let mut file = open();
        file.write(&lines(1..2)).expect("written");
        assert_eq!(fs::read_to_string(&path).expect("a file"), "start end\nline 0\nline 1\n");
        fs::remove_file(&path).expect("removed");
        file.write(&lines(2..3)).expect("written");
        assert_eq!(fs::read_to_string(&path).expect("a file"), "start end\nline 2\n");
    }

    /// logrotate with `create` moves the file and leaves an empty one in its place.
    #[test]
    fn a_file_that_another_one_takes_the_place_of_is_left() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("flows.log");
        let moved = directory.path().join("flows.log-20261201");
        let mut file = File::open(path.clone(), &style(1000, 0)).expect("a file");
        file.write(&lines(0..1)).expect("written");
        fs::rename(&path, &moved).expect("moved");
        fs::write(&path, "").expect("created");
        file.write(&lines(1..2)).expect("written");
        file.write(&lines(2..3)).expect("written");
        let read = |path: &Path| fs::read_to_string(path).expect("a file");
        assert_eq!(read(&moved), "start end\nline 0\n");
        assert_eq!(read(&path), "start end\nline 1\nline 2\n");
    }

    /// logrotate with `copytruncate` empties the file, which stays the same one.
    #[test]
    fn a_file_that_is_cut_to_nothing_begins_with_the_header_again() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("flows.log");
        // Header of 10 bytes, two lines of 7.
        let mut file = File::open(path.clone(), &style(24, 1)).expect("a file");
        let truncate = || OpenOptions::new().write(true).truncate(true).open(&path);
        file.write(&lines(0..2)).expect("written");
        truncate().expect("cut");
        file.write(&lines(2..4)).expect("written");
        let read = || fs::read_to_string(&path).expect("a file");
        // Also its size counts anew, or it would have been put aside.
        assert_eq!(read(), "start end\nline 2\nline 3\n");
        assert!(!directory.path().join("flows.log.1").exists());
        truncate().expect("cut");
        file.write(&lines(4..5)).expect("written");
        assert_eq!(read(), "start end\nline 4\n");
    }

    #[test]
    fn a_place_that_cannot_be_written_is_an_error() {
        assert!(File::open("/nonexistent/flows.log".into(), &style(1000, 1)).is_err());
    }
}
