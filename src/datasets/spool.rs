//! A stream that is put, cut into files: a part must be there again where its host is lost.

use std::io::{self, Read, Write};
use std::sync::Arc;

use tokio::sync::mpsc;

use super::cut::{Planned, Source};

/// Cuts a stream at line ends into files that are removed when the last one lets go of them; there is at least one.
pub fn spool(mut input: impl Read, part_bytes: u64, parts: &mpsc::Sender<Planned>) -> io::Result<()> {
    let mut buffer = vec![0; 256 << 10];
    let mut file = tempfile::NamedTempFile::new()?;
    let (mut bytes, mut count, mut last) = (0, 0, b'\n');
    loop {
        let length = match input.read(&mut buffer) {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let mut rest = &buffer[..length];
        if length == 0 && last != b'\n' {
            rest = b"\n";
        }
        last = rest.last().copied().unwrap_or(last);
        while bytes + rest.len() as u64 >= part_bytes.max(1) {
            let Some(end) = memchr::memrchr(b'\n', rest) else { break };
            let (now, later) = rest.split_at(end + 1);
            file.write_all(now)?;
            let full = std::mem::replace(&mut file, tempfile::NamedTempFile::new()?);
            send(full, bytes + now.len() as u64, parts)?;
            (bytes, count, rest) = (0, count + 1, later);
        }
        file.write_all(rest)?;
        bytes += rest.len() as u64;
        if length == 0 {
            return if bytes > 0 || count == 0 { send(file, bytes, parts) } else { Ok(()) };
        }
    }
}

fn send(file: tempfile::NamedTempFile, bytes: u64, parts: &mpsc::Sender<Planned>) -> io::Result<()> {
    let part = Planned { source: Source::Spool(Arc::new(file)), bytes, label: None };
    parts.blocking_send(part).map_err(|_| io::Error::other("nobody takes the parts any more"))
}
