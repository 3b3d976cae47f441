//! The flags of `runner mapreduce`, as they are typed.

use std::path::PathBuf;

use crate::job::document::NICE_MAX;
use crate::units::{Bytes, Span};

const EXAMPLES: &str = "\
Examples:
  runner mapreduce --list
  runner mapreduce wordcount books/ counts
  runner mapreduce grep --pattern 'time(d)? out' 'logs/*.gz' found
  runner mapreduce join --with prices.tsv orders.tsv joined
  runner mapreduce config/jobs/wordcount.toml books/ counts
  runner mapreduce --map 'tr -s \" \" \"\\n\"' --reduce 'uniq -c' books/ counts
  runner mapreduce --map 'python3 m.py' --file m.py --reduces 0 books/ out

JOB is the name of a built-in job (--list) or a job file, NAME.toml. It is left out when --map or
--reduce is given. Behind a job file that names its input, one word is OUT; behind one that names
only its output, one word is IN; there may be none if it names both.

Commands run in `sh -c`. They read lines and write lines `key<TAB>value`, as for Hadoop Streaming:
a reducer gets its lines sorted by key. OUT gets part-00000 and so on, and _SUCCESS.";

/// Run a map-reduce job
#[derive(Debug, Default, clap::Args)]
#[command(after_help = EXAMPLES, override_usage = "runner mapreduce [OPTIONS] [JOB] IN... OUT")]
pub struct Args {
    /// What to run, on which files, folders or patterns, and the folder for the result
    #[arg(value_name = "JOB IN... OUT")]
    pub words: Vec<String>,
    /// List the built-in jobs
    #[arg(long)]
    pub list: bool,

    /// The command for each split of the input
    #[arg(long, value_name = "CMD", help_heading = "The job")]
    pub map: Option<String>,
    /// The command that folds a map's sorted output before it travels; must be associative
    #[arg(long, value_name = "CMD", help_heading = "The job")]
    pub combine: Option<String>,
    /// The command for each part of the output; left out: the sorted lines
    #[arg(long, value_name = "CMD", help_heading = "The job")]
    pub reduce: Option<String>,
    /// How many parts the output has; 0: a part for each split, nothing is sorted
    #[arg(long, value_name = "N", help_heading = "The job")]
    pub reduces: Option<u32>,
    /// grep: the regular expression
    #[arg(long, value_name = "REGEX", help_heading = "The job", allow_hyphen_values = true)]
    pub pattern: Option<String>,
    /// top: how many lines
    #[arg(long, value_name = "N", help_heading = "The job", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// join: the other input; may be given again
    #[arg(long, value_name = "INPUT", help_heading = "The job")]
    pub with: Vec<String>,
    /// What the job is called in `runner jobs`
    #[arg(long, help_heading = "The job")]
    pub name: Option<String>,
    /// Replace OUT, once the new result is complete
    #[arg(long, help_heading = "The job")]
    pub overwrite: bool,
    /// Copies of each part of an output fs:NAME, on different hosts; 2 where there are two workers
    #[arg(long, value_name = "N", help_heading = "The job", value_parser = clap::value_parser!(u32).range(1..))]
    pub copies: Option<u32>,

    /// About how much input a map task gets [default: a quarter of a slot's share, 1M to 64M]
    #[arg(long, value_name = "SIZE", help_heading = "Input and keys", value_parser = positive::<Bytes>)]
    pub split_size: Option<Bytes>,
    /// Give several small files to a map task; built-in jobs always do
    #[arg(long, help_heading = "Input and keys")]
    pub combine_files: bool,
    /// The character that ends a field of a line; a tab where nothing is said
    #[arg(long, value_name = "CHAR", help_heading = "Input and keys", value_parser = separator, allow_hyphen_values = true)]
    pub separator: Option<u8>,
    /// How many fields make the key; 1 where nothing is said
    #[arg(long, value_name = "N", help_heading = "Input and keys", value_parser = clap::value_parser!(u32).range(1..))]
    pub key_fields: Option<u32>,
    /// The key is the whole line
    #[arg(long, help_heading = "Input and keys", conflicts_with_all = ["separator", "key_fields"])]
    pub whole_line: bool,

    /// A file, folder or archive for the folder of every task; archives are unpacked; may be given again
    #[arg(long = "file", value_name = "FILE", help_heading = "On the workers")]
    pub files: Vec<PathBuf>,
    /// A command that is run once a host, beside the files, before the first task there
    #[arg(long, value_name = "CMD", help_heading = "On the workers")]
    pub setup: Option<String>,
    /// A variable for every command; may be given again
    #[arg(long, value_name = "NAME=VALUE", help_heading = "On the workers", value_parser = variable)]
    pub env: Vec<(String, String)>,
    /// End an attempt that neither reads, writes nor reports for so long, such as 10m
    #[arg(long, value_name = "TIME", help_heading = "On the workers", value_parser = positive::<Span>)]
    pub timeout: Option<Span>,
    /// Attempts of a task that may fail before the job fails
    #[arg(long, value_name = "N", help_heading = "On the workers", value_parser = clap::value_parser!(u32).range(1..))]
    pub attempts: Option<u32>,
    /// The memory of an attempt for sorting; what is more goes to disk
    #[arg(long, value_name = "SIZE", help_heading = "On the workers", value_parser = positive::<Bytes>)]
    pub sort_memory: Option<Bytes>,

    /// Memory that the commands of an attempt, and all that they start, may take together, such as 2G
    #[arg(long, value_name = "SIZE", help_heading = "Limits of an attempt", value_parser = positive::<Bytes>)]
    pub limit_memory: Option<Bytes>,
    /// Processor time that they may take together, such as 1h
    #[arg(long, value_name = "TIME", help_heading = "Limits of an attempt", value_parser = positive::<Span>)]
    pub limit_cpu: Option<Span>,
    /// How long an attempt may run, such as 2h
    #[arg(long, value_name = "TIME", help_heading = "Limits of an attempt", value_parser = positive::<Span>)]
    pub limit_time: Option<Span>,
    /// How many processes they may be at once
    #[arg(long, value_name = "N", help_heading = "Limits of an attempt", value_parser = clap::value_parser!(u32).range(1..))]
    pub limit_processes: Option<u32>,
    /// How much they step back behind others on their host: 0 to 19, as for nice(1)
    #[arg(long, value_name = "N", help_heading = "Limits of an attempt", value_parser = clap::value_parser!(u8).range(0..=i64::from(NICE_MAX)))]
    pub nice: Option<u8>,
}

fn positive<T>(text: &str) -> Result<T, String>
where
    T: std::str::FromStr<Err = String> + crate::job::document::Amount,
{
    let amount: T = text.parse()?;
    if amount.is_zero() { Err("0 makes no sense here: more is expected".to_owned()) } else { Ok(amount) }
}

/// Shells make it hard to type a tab, so `\t` is one.
fn separator(text: &str) -> Result<u8, String> {
    crate::job::format::separator(if text == r"\t" { "\t" } else { text })
}

fn variable(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("NAME=VALUE is expected")?;
    Ok((name.to_owned(), value.to_owned()))
}
