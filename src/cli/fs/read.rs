//! `runner fs get`, `cat`, `head` and `tail`.

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use super::show::while_shown;
use super::{Desk, patterns};
use crate::dataset::Pattern;
use crate::datasets::{self, End, Selected};
use crate::error::{Fault, Kind};

/// Fetch a dataset, or some of its parts, to this machine
#[derive(Debug, clap::Args)]
#[command(after_help = super::PATTERNS)]
pub struct GetArgs {
    /// The dataset, or NAME/PATTERN for some of its parts
    name: String,
    /// A folder for the parts, which is made; with --merge a file; - for stdout
    out: String,
    /// One file, the parts one behind the other
    #[arg(long)]
    merge: bool,
}

/// What `fs cat` takes.
#[derive(Debug, clap::Args)]
pub struct CatArgs {
    /// Names of datasets, or patterns; NAME/PATTERN for parts
    #[arg(value_name = "PATTERN", required = true)]
    pub(super) patterns: Vec<String>,
}

/// What `fs head` and `fs tail` take.
#[derive(Debug, clap::Args)]
pub struct EndArgs {
    /// So many lines
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10)]
    lines: u64,
    /// So many bytes instead
    #[arg(short = 'c', long, value_name = "N", conflicts_with = "lines")]
    bytes: Option<u64>,
    /// Names of datasets, or patterns; NAME/PATTERN for parts
    #[arg(value_name = "PATTERN", required = true)]
    patterns: Vec<String>,
}

/// What is to be fetched.
pub(super) struct Get {
    pattern: Vec<Pattern>,
    out: Out,
}

enum Out {
    Stdout,
    Folder(PathBuf),
    File(PathBuf),
}

/// Which end of what.
pub(super) struct Ends {
    patterns: Vec<Pattern>,
    end: End,
}

impl GetArgs {
    pub(super) fn check(self) -> Result<Get, Fault> {
        let out = match self.out.as_str() {
            "-" => Out::Stdout,
            path if self.merge => Out::File(path.into()),
            path => Out::Folder(path.into()),
        };
        if let Out::Folder(path) | Out::File(path) = &out
            && fs_err::symlink_metadata(path).is_ok()
        {
            return Err(Fault::new(Kind::OutputExists, format!("{} exists", path.display())));
        }
        Ok(Get { pattern: patterns(&[self.name])?, out })
    }
}

impl EndArgs {
    pub(super) fn check(self) -> Result<Ends, Fault> {
        let end = self.bytes.map_or(End::Lines(self.lines), End::Bytes);
        Ok(Ends { patterns: patterns(&self.patterns)?, end })
    }
}

impl Get {
    pub(super) async fn run(self, desk: &Desk<'_>) -> anyhow::Result<()> {
        let (_, selected) = desk.select(&self.pattern).await?;
        let [one] = selected.as_slice() else {
            let names: Vec<String> = selected.iter().map(|one| one.dataset.name.to_string()).collect();
            return Err(Fault::usage(format!("one dataset at a time: that is {}", names.join(", "))).into());
        };
        desk.watch.total.store(one.bytes(), Ordering::Relaxed);
        let what = format!("getting {}", one.dataset.name);
        let (stations, watch) = (&desk.stations, &desk.watch);
        match &self.out {
            Out::Stdout => write_out(desk, &selected).await,
            Out::Folder(folder) => Ok(while_shown(desk, &what, datasets::get(stations, one, folder, watch)).await?),
            Out::File(file) => Ok(while_shown(desk, &what, datasets::merge(stations, one, file, watch)).await?),
        }
    }
}

/// Writes all of it.
pub(super) async fn cat(desk: &Desk<'_>, patterns: &[Pattern]) -> anyhow::Result<()> {
    let (_, selected) = desk.select(patterns).await?;
    write_out(desk, &selected).await
}

async fn write_out(desk: &Desk<'_>, selected: &[Selected]) -> anyhow::Result<()> {
    let mut out = Stdout::default();
    for one in selected {
        let cat = datasets::cat(&desk.stations, one, &mut out, &desk.watch);
        let done = while_shown(desk, "reading", cat).await;
        if out.is_closed {
            return Ok(());
        }
        done?;
    }
    out.end()
}

/// Writes the first lines or bytes of all together.
pub(super) async fn head(desk: &Desk<'_>, ends: &Ends) -> anyhow::Result<()> {
    let (_, selected) = desk.select(&ends.patterns).await?;
    let mut out = Stdout::default();
    for one in &selected {
        let head = datasets::head(&desk.stations, one, ends.end, &mut out, &desk.watch);
        let done = while_shown(desk, "reading", head).await;
        if out.is_closed {
            return Ok(());
        }
        done?;
    }
    out.end()
}

/// Writes the last lines or bytes of each.
pub(super) async fn tail(desk: &Desk<'_>, ends: &Ends) -> anyhow::Result<()> {
    let (_, selected) = desk.select(&ends.patterns).await?;
    let mut out = Stdout::default();
    for one in &selected {
        let tail = datasets::tail(&desk.stations, one, ends.end, &mut out, &desk.watch);
        let done = while_shown(desk, "reading", tail).await;
        if out.is_closed {
            return Ok(());
        }
        done?;
    }
    out.end()
}

/// Stdout; knows when its reader has seen enough, which is no error.
struct Stdout {
    out: BufWriter<io::Stdout>,
    is_closed: bool,
}

impl Default for Stdout {
    fn default() -> Self {
        Stdout { out: BufWriter::with_capacity(256 << 10, io::stdout()), is_closed: false }
    }
}

impl Stdout {
    fn end(mut self) -> anyhow::Result<()> {
        match self.flush() {
            Err(_) if self.is_closed => Ok(()),
            done => Ok(done?),
        }
    }

    fn noted<T>(&mut self, done: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &done {
            self.is_closed |= error.kind() == io::ErrorKind::BrokenPipe;
        }
        done
    }
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes);
        self.noted(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.out.flush();
        self.noted(flushed)
    }
}
