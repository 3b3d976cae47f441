//! A mapper and a reducer in Python: what a streaming job costs beyond its programs.

use crate::contest::{Contest, Wanted};
use crate::data::Data;
use crate::measure::{Sample, digest_of_lines, has, parts, runner, shell, time};

const BYTES: u64 = 100_000_000;
const FILES: u64 = 4;

/// Beside the bare programs' own processor time, halved, since two slots run them. Two of them run at once, as they do in
/// the job: what one takes hangs on what the other one does with the caches and the memory that they share.
///
/// # Errors
/// When the data cannot be made.
pub fn python(data: &Data) -> anyhow::Result<Option<Contest>> {
    if !has("python3") {
        return Ok(None);
    }
    data.text("little-text", FILES, BYTES)?;
    let python = interpreter()?;
    let jobs = concat!(env!("CARGO_MANIFEST_DIR"), "/config/jobs");
    let ours = {
        let (data, python) = (data.clone(), python.clone());
        move || {
            let out = data.fresh("python-counts")?;
            let mut command = runner(&data.path("state"));
            command.args(["--quiet", "--local", "--set", "worker.slots=2", "mapreduce"]);
            command.args(["--map", &format!("{python} wordcount_map.py")]);
            command.args(["--reduce", &format!("{python} wordcount_reduce.py")]);
            // Each file is a split, since an interpreter takes a while to start; with more parts than slots these end together.
            command.args(["--set", "job.split_size=64MiB", "--reduces", "6"]);
            command.args(["--file", &format!("{jobs}/wordcount_map.py")]);
            command.args(["--file", &format!("{jobs}/wordcount_reduce.py")]);
            let sample = time(command.arg(data.path("little-text")).arg(&out))?;
            Ok(Sample { answer: digest_of_lines(&parts(&out)?)?, ..sample })
        }
    };
    let theirs = {
        let data = data.clone();
        move || {
            let [mapped, sorted, reduced] = ["mapped", "sorted", "reduced"].map(|name| data.path(name));
            let [mapped, sorted, reduced] = [&mapped, &sorted, &reduced].map(|path| path.display());
            let input = data.path("little-text");
            let input = input.display();
            let map =
                |files: &str| format!("cat {input}/{files} | {python} {jobs}/wordcount_map.py > {mapped}-{files}");
            // Half of the text's words are before this letter.
            let sort = format!("sort {mapped}-* | awk '{{ print > ($0 < \"j\" ? \"{sorted}-0\" : \"{sorted}-1\") }}'");
            let reduce = |half: u8| format!("{python} {jobs}/wordcount_reduce.py < {sorted}-{half} > {reduced}-{half}");
            let map = time(&mut shell(&both(&map("0[01]"), &map("0[23]"))))?;
            time(&mut shell(&sort))?;
            let reduce = time(&mut shell(&both(&reduce(0), &reduce(1))))?;
            let cpu = map.cpu + reduce.cpu;
            let answer = digest_of_lines(&[0, 1].map(|half| data.path(&format!("reduced-{half}"))))?;
            Ok(Sample { seconds: cpu / 2.0, cpu, answer })
        }
    };
    let contest = Contest::new(Box::new(ours));
    Ok(Some(contest.beside("the programs' cpu / 2", Wanted::Time(1.15), Box::new(theirs))))
}

/// A line of sh that runs two others at once.
fn both(one: &str, other: &str) -> String {
    format!("{{ {one}; }} & {other} && wait $!")
}

/// The interpreter itself: what `python3` names may be a script that looks for one, which would be measured too.
fn interpreter() -> anyhow::Result<String> {
    let output = shell("python3 -c 'import sys; print(sys.executable)'").output()?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
