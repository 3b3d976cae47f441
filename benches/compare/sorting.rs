//! Sorting records of 100 bytes on this machine.

use crate::contest::{Contest, Run, Wanted};
use crate::data::Data;
use crate::measure::{Sample, digest_of_bytes, parts, runner, shell, time};

const BYTES: u64 = 1_000_000_000;
const FILES: u64 = 8;

/// Beside GNU sort: with two threads, and the better way, two sorts side by side and a merge.
///
/// # Errors
/// When the data cannot be made.
pub fn here(data: &Data) -> anyhow::Result<Option<Contest>> {
    let files = data.records("records", FILES, BYTES)?;
    let files: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    let out = data.path("sorted-by-theirs");
    let (first, second) = files.split_at(files.len() / 2);
    let half = |name: &str, files: &[String]| {
        let part = data.path(name);
        (format!("sort -S 2G {} > {}", files.join(" "), part.display()), part.display().to_string())
    };
    let ((left, left_out), (right, right_out)) = (half("left", first), half("right", second));
    let whole = format!("sort --parallel=2 -S 4G {} > {}", files.join(" "), out.display());
    let halves = format!(
        "{left} & {right} && wait $! && sort -m {left_out} {right_out} > {} && rm {left_out} {right_out}",
        out.display()
    );
    let theirs = |line: String| -> Run {
        let out = out.clone();
        Box::new(move || {
            let sample = time(&mut shell(&line))?;
            Ok(Sample { answer: digest_of_bytes(std::slice::from_ref(&out))?, ..sample })
        })
    };
    let contest = Contest::new(ours(data)).beside("2 x sort, sort -m", Wanted::Speed(1.3), theirs(halves));
    Ok(Some(contest.beside("sort --parallel=2", Wanted::Speed(1.3), theirs(whole))))
}

fn ours(data: &Data) -> Run {
    let data = data.clone();
    Box::new(move || {
        let out = data.fresh("sorted")?;
        let mut command = runner(&data.path("state"));
        command.args(["--quiet", "--local", "--set", "worker.slots=2", "mapreduce", "sort"]);
        let sample = time(command.arg(data.path("records")).arg(&out))?;
        let answer = digest_of_bytes(&parts(&out)?)?;
        fs_err::remove_dir_all(&out)?;
        Ok(Sample { answer, ..sample })
    })
}
