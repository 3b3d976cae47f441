//! `runner fs put`.

use std::os::unix::fs::MetadataExt;

use xxhash_rust::xxh3::Xxh3;

use super::show::{ways, while_shown};
use super::{Desk, name};
use crate::cli::context::say;
use crate::dataset::{Form, Name, Outline, PutId};
use crate::datasets::{self, Cutting, Planned, Put};
use crate::error::Fault;
use crate::input::InputFile;
use crate::input::list::list;
use crate::job::document::Amount;
use crate::progress::Style;
use crate::report::count_of;
use crate::units::Bytes;

/// Parts of a stream, of which nobody knows how long it will be.
const STREAM_PART: Bytes = Bytes::mebi(64);

const EXAMPLES: &str = "\
Examples:
  runner fs put books/ books
  runner fs put 'logs/2024-*.gz' logs/2024 --copies 3
  runner fs put --whole pictures/ pictures
  zcat big.gz | runner fs put - big

Lines are cut at line ends into parts of equal size, compressed input is decompressed. Nothing is
visible under NAME until all of it is there. A put that was stopped goes on when it is typed again.";

/// Put files onto the workers' disks, cut into parts
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, override_usage = "runner fs put [OPTIONS] SRC... NAME")]
pub struct Args {
    /// Files, folders, patterns, or - for stdin; and the dataset's name
    #[arg(required = true, num_args = 2.., value_name = "SRC... NAME")]
    words: Vec<String>,
    /// How many parts; as many as there are slots where nothing is said
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), conflicts_with = "part_size")]
    parts: Option<u32>,
    /// About how large a part is, such as 64M
    #[arg(long, value_name = "SIZE", value_parser = size)]
    part_size: Option<Bytes>,
    /// How many copies of each part, on different hosts; 2 where there are two workers
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    copies: Option<u32>,
    /// Keep every file whole, as it is: pictures, archives
    #[arg(long, conflicts_with_all = ["parts", "part_size"])]
    whole: bool,
    /// Replace the dataset if there is one, once the new one is complete
    #[arg(long)]
    overwrite: bool,
}

fn size(text: &str) -> Result<Bytes, String> {
    let size: Bytes = text.parse()?;
    if size.is_zero() { Err("0 makes no sense here: more is expected".to_owned()) } else { Ok(size) }
}

/// What is to be put.
pub(super) struct Checked {
    name: Name,
    sources: Sources,
    args: Args,
}

enum Sources {
    Stdin,
    Lines(Vec<InputFile>),
    Whole(Vec<Planned>),
}

impl Args {
    pub(super) fn check(self) -> Result<Checked, Fault> {
        let (typed, words) = self.words.split_last().ok_or_else(|| Fault::usage("SRC... NAME is expected"))?;
        let name = name(typed)?;
        let sources = match words {
            [word] if word == "-" && self.whole => {
                return Err(Fault::usage("stdin is no file that could stay --whole"));
            }
            [word] if word == "-" && self.parts.is_some() => {
                return Err(Fault::usage("nobody knows how long stdin is: --part-size instead of --parts"));
            }
            [word] if word == "-" => Sources::Stdin,
            words if self.whole => {
                let files = words.iter().map(|word| Ok((word.clone(), list(std::slice::from_ref(word))?)));
                Sources::Whole(datasets::whole(&files.collect::<Result<Vec<_>, Fault>>()?)?)
            }
            words => Sources::Lines(list(words)?),
        };
        Ok(Checked { name, sources, args: self })
    }
}

impl Checked {
    pub(super) async fn run(self, desk: &Desk<'_>) -> anyhow::Result<()> {
        let Checked { name, sources, args } = self;
        let form = if args.whole { Form::Whole } else { Form::Lines };
        let request = |id| Put { name: name.clone(), copies: args.copies, overwrite: args.overwrite, form, id };
        let what = format!("putting {name}");
        let outline = match sources {
            Sources::Stdin => {
                let bytes = args.part_size.unwrap_or(STREAM_PART).0;
                let request = request(None);
                let put = datasets::put_stream(&desk.stations, &request, std::io::stdin(), bytes, &desk.watch);
                while_shown(desk, &what, put).await?
            }
            Sources::Whole(planned) => put_parts(desk, &what, &request, planned).await?,
            Sources::Lines(files) => {
                let cutting = cutting(desk, &args).await;
                put_parts(desk, &what, &request, datasets::cut(&files, cutting)).await?
            }
        };
        if desk.context.style != Style::Quiet {
            let said = [summary(&name, &outline), ways(desk)];
            say(&said.into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join("; "));
        }
        Ok(())
    }
}

async fn put_parts(
    desk: &Desk<'_>,
    what: &str,
    request: &impl Fn(Option<PutId>) -> Put,
    planned: Vec<Planned>,
) -> anyhow::Result<Outline> {
    let request = request(Some(id_of(&planned)?));
    Ok(while_shown(desk, what, datasets::put(&desk.stations, &request, planned, &desk.watch)).await?)
}

/// As many parts as there are slots, unless something else was said.
async fn cutting(desk: &Desk<'_>, args: &Args) -> Cutting {
    match (args.parts, args.part_size) {
        (Some(parts), _) => Cutting::Parts(parts),
        (None, Some(size)) => Cutting::Size(size.0),
        (None, None) => {
            // Nothing is called so: it is the hosts that are asked.
            let nothing: Vec<_> = super::pattern("-").into_iter().collect();
            let view = desk.stations.look(&nothing).await;
            let slots = desk.stations.list.iter().zip(&view.hosts).filter_map(|(station, host)| {
                let facts = host.facts.as_ref().ok()?;
                Some(station.host.slots.or(desk.context.settings.worker.slots).unwrap_or(facts.cores))
            });
            Cutting::Slots(slots.sum::<u32>().max(1))
        }
    }
}

/// Equal for the same files, unchanged, in the same parts.
fn id_of(planned: &[Planned]) -> anyhow::Result<PutId> {
    let mut hash = Xxh3::new();
    for part in planned {
        match &part.source {
            datasets::Source::Lines(split) => {
                for piece in &split.pieces {
                    add(&mut hash, &piece.path, (piece.start, piece.end))?;
                }
            }
            datasets::Source::Whole(path) => add(&mut hash, path, (0, part.bytes))?,
            datasets::Source::Spool(_) => {}
        }
        hash.update(b"\0part\0");
    }
    Ok(PutId(hash.digest()))
}

fn add(hash: &mut Xxh3, path: &std::path::Path, range: (u64, u64)) -> anyhow::Result<()> {
    let about = fs_err::metadata(path)?;
    hash.update(path.as_os_str().as_encoded_bytes());
    for number in [range.0, range.1, about.len(), about.mtime() as u64, about.mtime_nsec() as u64, about.ino()] {
        hash.update(&number.to_le_bytes());
    }
    Ok(())
}

fn summary(name: &Name, outline: &Outline) -> String {
    let mut hosts: Vec<u32> = outline.parts.iter().flat_map(|part| part.places.clone()).collect();
    hosts.sort_unstable();
    hosts.dedup();
    let copies = outline.parts.iter().map(|part| part.places.len()).min().unwrap_or(0) as u64;
    format!(
        "{name}: {}, {}, {} on {}",
        count_of(outline.parts.len() as u64, "part"),
        Bytes(outline.bytes()),
        if copies == 1 { "1 copy".to_owned() } else { format!("{copies} copies") },
        count_of(hosts.len() as u64, "worker")
    )
}
