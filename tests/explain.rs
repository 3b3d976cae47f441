//! Why a task is not running, why a host gets nothing, and where the job stands: in words.

mod script;

use script::check;

#[test]
fn the_scheduler_says_why_a_task_is_not_running() {
    let explain = |job: &str, script: &str, task: &str, words: &str| {
        let text = check(job, script).explain(task.parse().expect("a task"));
        assert!(text.contains(words), "{task}: {text}");
    };
    let one = "join a 1 -> start map-0.0 w0; start map-1.0 w0";
    explain("job 1 0", "", "map-7", "there is no map-7 in this job");
    explain("job 1 0", "", "map-0", "no worker has joined");
    explain("job 1 0", "refuse a ->", "map-0", "no worker has joined");
    explain("job 1 1", "", "reduce-0", "it waits for the maps, of which 1 are to go");
    explain("job 3 0", one, "map-2", "every place is taken (usable hosts: 1, tasks before it: 0)");
    explain("job 3 0", &format!("{one}\nstart map-0.0 w0 ->"), "map-1", "awaits a slot there");
    explain("job 3 0", &format!("{one}\nstart map-0.0 w0 ->"), "map-0", "map-0.0 runs on a for 0ms");
    explain("job 3 0", &format!("{one}\nsuspect w0 -> suspect w0"), "map-0", "was sent to a, which is silent");
    explain("job 3 0", &format!("{one}\nsuspect w0 -> suspect w0"), "map-2", "no host can be used: 1 silent, 0 barred");
    explain(
        "job 3 0",
        &format!("{one}\nfinish map-0.0 w0 -> commit map-0.0 w0; start map-2.0 w0"),
        "map-0",
        "on its way from a",
    );
    let failed = "join a 1; join b 1; suspect w1 -> suspect w1; start map-0.0 w0
                  fail map-0.0 w0 exit; suspect w0; back w1 -> retry map-0 3; suspect w0; back w1; start map-0.1 w1";
    explain("job 1 0", failed, "map-0", "(failures so far: 1 of 4)");
}

#[test]
fn the_whole_job_is_told_stage_by_stage_and_host_by_host() {
    let overview =
        |job: &str, script: &str, lines: &[&str]| assert_eq!(check(job, script).overview(), lines, "{script}");
    overview(
        "job 3 1",
        "join a 1; join b 2; suspect w1 -> suspect w1; start map-0.0 w0; start map-1.0 w0\nstart map-0.0 w0 ->",
        &[
            "map: 0 of 3 done, 1 run, 1 wait, 1 sent ahead",
            "reduce: 0 of 1 done, 0 run, 1 wait",
            "1 map tasks wait for a place on 1 usable hosts: `runner explain JOB TASK` says why one does",
            "a: 1 of 1 slots taken, 1 sent ahead",
            "b: 0 of 2 slots taken; gets nothing: it does not answer",
        ],
    );
    overview(
        "job 1 1",
        "join a 1; join b 1 -> start map-0.0 w0\nlose w0 -> lost w0; drop map-0.0 worker lost; start map-0.1 w1",
        &[
            "map: 0 of 1 done, 0 run, 0 wait, 1 sent ahead",
            "reduce: 0 of 1 done, 0 run, 1 wait",
            "no map waits for a place: those that are left run, or are on their way",
            "b: 0 of 1 slots taken, 1 sent ahead; gets nothing: no map waits for a place, and the reduces wait for the 1 maps that are left",
            "a: no answer (takes no part)",
        ],
    );
    overview(
        "job 1 0",
        "refuse a ->",
        &[
            "map: 0 of 1 done, 0 run, 1 wait",
            "nothing can be started: no worker has joined",
            "a: no answer (takes no part)",
        ],
    );
}
