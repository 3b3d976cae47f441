//! Hosts that are loaded, short of something, lent to others or marked by an earlier job, as scripts: see
//! `tests/scheduler.rs`.

mod script;

use script::check;

#[test]
fn limits_and_want_of_memory_are_the_tasks_fault_and_mark_no_host() {
    check(
        "job 1 0",
        "join a 1; join b 1; join c 1; complete -> start map-0.0 w0
         fail map-0.0 w0 limit -> retry map-0 3; start map-0.1 w1
         fail map-0.1 w1 oom   -> retry map-0 2; start map-0.2 w2
         fail map-0.2 w2 limit -> retry map-0 1; start map-0.3 w0
         fail map-0.3 w0 limit -> give up map-0; end failed; conclude failed",
    );
}

#[test]
fn a_host_that_others_load_gets_nothing_until_that_is_over() {
    check(
        "job 3 0",
        "join a 1; join b 1   -> start map-0.0 w0; start map-1.0 w1; start map-2.0 w0
         start map-0.0 w0; start map-1.0 w1 ->
         load w0 400 999 999  ->
         load w0 401 999 999  -> held w0; drop map-2.0 moved; kill map-2.0 w0; start map-2.1 w1
         fail map-1.0 w1 exit -> retry map-1 3
         finish map-0.0 w0    -> commit map-0.0 w0
         load w0 390 999 999  ->
         load w0 300 999 999  -> eased w0; start map-1.1 w0",
    );
}

/// That it is not barred any more is said at once: the end of its shortage says nothing of that.
#[test]
fn one_that_is_let_back_in_while_it_is_short_is_told_of_both() {
    check(
        "job 9 0; ahead 0",
        "join a 3; join b 1; join c 1 -> start map-0.0 w0; start map-1.0 w1; start map-2.0 w2; start map-3.0 w0; start map-4.0 w0
         fail map-0.0 w0 disk         -> retry map-0 3; start map-5.0 w0
         fail map-3.0 w0 disk         -> retry map-3 3; start map-6.0 w0
         fail map-4.0 w0 disk         -> retry map-4 3; barred w0; drop map-5.0 moved; kill map-5.0 w0; drop map-6.0 moved; kill map-6.0 w0
         load w0 401 999 999          -> held w0
         lose w1                      -> lost w1; drop map-1.0 worker lost; back w0
         load w0 300 999 999          -> eased w0; start map-1.1 w0; start map-5.1 w0; start map-6.1 w0",
    );
}

#[test]
fn a_host_short_of_memory_or_disk_gets_nothing() {
    for short in ["0 63 999", "0 999 63"] {
        check(
            "job 1 0",
            &format!(
                "load w0 {short}      -> stale
                 join a 1; join b 1; load w0 {short} -> held w0; start map-0.0 w1
                 suspect w1           -> suspect w1
                 lose w1              -> lost w1; drop map-0.0 worker lost
                 join a 1             -> held w2
                 load w2 0 64 64      ->
                 load w2 0 80 80      -> eased w0; eased w2; start map-0.1 w0"
            ),
        );
    }
}

#[test]
fn what_waits_for_slots_that_other_jobs_have_moves_to_free_ones_and_says_so() {
    let scheduler = check(
        "job 3 0; ahead 0",
        "join a 2; join b 1   -> start map-0.0 w0; start map-1.0 w1; start map-2.0 w0
         start map-0.0 w0; start map-1.0 w1 ->
         load w0 lent 1 sort-7 ->",
    );
    let task = runner::ids::TaskId::map(2);
    assert_eq!(scheduler.explain(task), "map-2.0 was sent to a 0ms ago and awaits a slot there, which sort-7 has");
    let line = "a: 1 of 2 slots taken, 1 sent ahead, load 0.0 (0.0 by others), 1 wait for slots that sort-7 has";
    assert!(scheduler.overview().iter().any(|text| text.starts_with(line)), "{:?}", scheduler.overview());
    check(
        "job 3 0; ahead 0",
        "join a 2; join b 1   -> start map-0.0 w0; start map-1.0 w1; start map-2.0 w0
         start map-0.0 w0; start map-1.0 w1 ->
         load w0 lent 1 sort-7 ->
         finish map-1.0 w1    -> commit map-1.0 w1; drop map-2.0 moved; kill map-2.0 w0; start map-2.1 w1
         load w0 lent 0       ->
         fail map-2.1 w1 exit -> retry map-2 3; start map-2.2 w0",
    );
}

#[test]
fn marks_of_an_earlier_job_hold_until_they_are_over_or_disproved() {
    check(
        "job 9 0; slow 0 50; ahead 0",
        "join a 4; join b 1; join c 1 -> remembered w0 50; start map-0.0 w0; start map-1.0 w1; start map-2.0 w2; start map-3.0 w0
         @599s wait                   ->
         @601s wait                   -> cleared w0; start map-4.0 w0; start map-5.0 w0",
    );
    check(
        "job 3 0; barred 0; ahead 0",
        "join a 1; join b 1; join c 1 -> remembered w0 0; start map-0.0 w1; start map-1.0 w2
         @601s wait                   -> cleared w0; start map-2.0 w0",
    );
    check(
        "job 6 0; slow 0 50; ahead 0",
        "join a 2; join b 1; join c 1 -> remembered w0 50; start map-0.0 w0; start map-1.0 w1; start map-2.0 w2
         start map-0.0 w0; start map-1.0 w1; start map-2.0 w2 ->
         @9s finish map-1.0 w1; finish map-2.0 w2 -> commit map-1.0 w1; commit map-2.0 w2; start map-3.0 w1; start map-4.0 w2
         @10s finish map-0.0 w0       -> cleared w0; commit map-0.0 w0; start map-5.0 w0",
    );
}

#[test]
fn never_more_than_a_third_of_the_fleet_is_held_to_what_it_did_before() {
    check(
        "job 9 0; slow 1 50; slow 0 0; barred 2; ahead 0",
        "join a 1; join b 1; join c 1 -> remembered w2 0; start map-0.0 w0; start map-1.0 w1
         start map-0.0 w0             ->
         join d 1; join e 1           -> start map-2.0 w3; start map-3.0 w4
         join f 1                     -> remembered w0 0; start map-4.0 w5
         lose w5                      -> lost w5; drop map-4.0 worker lost; cleared w0
         finish map-0.0 w0            -> commit map-0.0 w0; start map-4.1 w0",
    );
    check("job 1 0; barred 0", "join a 1; complete -> start map-0.0 w0");
}
