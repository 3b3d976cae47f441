//! A mapper and a reducer in Python: what a streaming job costs beyond its programs.

use crate::contest::{Contest, Wanted};
use crate::data::Data;
use crate::measure::{Sample, digest_of_lines, has, parts, runner, shell, time};

const BYTES: u64 = 100_000_000;
const FILES: u64 = 4;

/// Beside the bare programs' own processor time, halved, since two slots run them.
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
            // Each file is a split; with more parts than slots these end together.
            command.args(["--reduces", "4"]);
            command.args(["--file", &format!("{jobs}/wordcount_map.py")]);
            command.args(["--file", &format!("{jobs}/wordcount_reduce.py")]);
            let sample = time(command.arg(data.path("little-text")).arg(&out))?;
            Ok(Sample { answer: digest_of_lines(&parts(&out)?)?, ..sample })
        }
    };
    let theirs = {
        let data = data.clone();
        move || {
            let (mapped, sorted, reduced) = (data.path("mapped"), data.path("mapped-sorted"), data.path("reduced"));
            let (mapped, sorted, reduced_) = (mapped.display(), sorted.display(), reduced.display());
            let input = data.path("little-text");
            let map = shell(&format!("cat {}/* | {python} {jobs}/wordcount_map.py > {mapped}", input.display()));
            let sort = shell(&format!("sort {mapped} > {sorted}"));
            let reduce = shell(&format!("{python} {jobs}/wordcount_reduce.py < {sorted} > {reduced_}"));
            let [map, _, reduce] = [map, sort, reduce].map(|mut command| time(&mut command));
            let cpu = map?.cpu + reduce?.cpu;
            Ok(Sample { seconds: cpu / 2.0, cpu, answer: digest_of_lines(std::slice::from_ref(&reduced))? })
        }
    };
    let contest = Contest::new(Box::new(ours));
    Ok(Some(contest.beside("the programs' cpu / 2", Wanted::Time(1.15), Box::new(theirs))))
}

/// The interpreter itself: what `python3` names may be a script that looks for one, which would be measured too.
fn interpreter() -> anyhow::Result<String> {
    let output = shell("python3 -c 'import sys; print(sys.executable)'").output()?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
