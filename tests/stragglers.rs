//! Stragglers and their copies, as scripts: see `tests/scheduler.rs`.

mod script;

use script::check;

/// Three hosts, of which the first reads at a twentieth of the others' rate.
const STRAGGLER: &str = "join a 1; join b 1; join c 1 -> start map-0.0 w0; start map-1.0 w1; start map-2.0 w2
    start map-0.0 w0; start map-1.0 w1; start map-2.0 w2 ->
    @9s progress map-0.0 w0 40 1000; progress map-1.0 w1 800 1000; progress map-2.0 w2 1000 1000 ->
    @11s progress map-0.0 w0 50 1000; progress map-1.0 w1 990 1000; finish map-2.0 w2 -> publish map-2.0 w2; copy map-0.0 left 209 or 12; start map-0.1 w2";

#[test]
fn a_straggler_is_copied_and_the_host_that_was_overtaken_gets_less_for_a_while() {
    check(
        "job 3 1; ahead 0",
        &format!(
            "{STRAGGLER}
             start map-0.1 w2 ->
             @23s progress map-0.1 w2 1000 1000; finish map-0.1 w2; finish map-1.0 w1 -> marked w0 50; drop map-0.0 beaten; kill map-0.0 w0; publish map-0.1 w2; publish map-1.0 w1; finished map; start reduce-0.0 w0
             finish map-0.0 w0 -> stale
             @622s wait        ->
             @624s wait        -> cleared w0"
        ),
    );
}

#[test]
fn a_straggler_that_ends_first_wins_and_nobody_is_marked() {
    check(
        "job 3 1; ahead 0",
        &format!(
            "{STRAGGLER}
             start map-0.1 w2 ->
             finish map-0.0 w0 -> drop map-0.1 beaten; kill map-0.1 w2; publish map-0.0 w0"
        ),
    );
}

#[test]
fn a_straggler_whose_host_is_lost_is_covered_by_its_copy() {
    check(
        "job 3 1; ahead 0",
        &format!(
            "{STRAGGLER}
             lose w0           -> lost w0; drop map-0.0 worker lost
             fail map-0.1 w2 exit -> retry map-0 3"
        ),
    );
}

#[test]
fn more_data_or_late_input_makes_no_straggler() {
    check(
        "job 3 0; sizes 1000 1000 9000; ahead 0",
        "join a 1; join b 1; join c 1 -> start map-2.0 w0; start map-0.0 w1; start map-1.0 w2
         start map-2.0 w0; start map-0.0 w1; start map-1.0 w2 ->
         @11s progress map-2.0 w0 900 9000; progress map-0.0 w1 1000 1000; progress map-1.0 w2 100 1000 10; finish map-0.0 w1 -> commit map-0.0 w1
         @30s progress map-2.0 w0 2600 9000; progress map-1.0 w2 200 1000 28 ->
         @90s progress map-2.0 w0 8000 9000; progress map-1.0 w2 900 1000 79 ->",
    );
}

#[test]
fn what_reads_nothing_is_measured_by_how_long_others_took_and_each_copy_doubles_the_patience() {
    check(
        "job 3 0; sizes 0 0 0; ahead 0",
        "join a 1; join b 1; join c 1 -> start map-0.0 w0; start map-1.0 w1; start map-2.0 w2
         start map-0.0 w0; start map-1.0 w1; start map-2.0 w2 ->
         @11s finish map-0.0 w0       -> commit map-0.0 w0
         @20s wait                    ->
         @23s wait                    -> copy map-1.0 after 22, usual 10; start map-1.1 w0
         fail map-1.1 w0 exit         -> covered map-1
         @25s wait                    -> copy map-2.0 after 24, usual 10; start map-2.1 w0
         start map-2.1 w0             ->
         @50s finish map-2.0 w2       -> commit map-2.0 w2
         committed map-2.0            -> drop map-2.1 beaten; kill map-2.1 w0; part map-2.0",
    );
}

#[test]
fn a_program_that_hangs_marks_no_host_that_does_other_tasks_well() {
    check(
        "job 5 0; ahead 0",
        "join a 2; join b 2; join c 2 -> start map-0.0 w0; start map-1.0 w1; start map-2.0 w2; start map-3.0 w0; start map-4.0 w1
         start map-0.0 w0; start map-1.0 w1; start map-2.0 w2; start map-3.0 w0; start map-4.0 w1 ->
         @9s progress map-0.0 w0 10 1000; progress map-1.0 w1 1000 1000; progress map-2.0 w2 1000 1000; progress map-3.0 w0 1000 1000; progress map-4.0 w1 1000 1000 ->
         @11s finish map-1.0 w1; finish map-2.0 w2; finish map-3.0 w0 -> commit map-1.0 w1; commit map-2.0 w2; commit map-3.0 w0; copy map-0.0 left 1089 or 12; start map-0.1 w2
         start map-0.1 w2 ->
         @23s progress map-0.1 w2 1000 1000; finish map-0.1 w2; finish map-4.0 w1 -> commit map-0.1 w2; commit map-4.0 w1",
    );
}

#[test]
fn one_of_two_hosts_is_never_marked() {
    check(
        "job 2 0; ahead 0",
        "join a 1; join b 1 -> start map-0.0 w0; start map-1.0 w1
         start map-0.0 w0; start map-1.0 w1 ->
         @9s progress map-0.0 w0 50 1000; progress map-1.0 w1 1000 1000 ->
         @11s finish map-1.0 w1 -> commit map-1.0 w1; copy map-0.0 left 209 or 12; start map-0.1 w1
         start map-0.1 w1 ->
         @23s progress map-0.1 w1 1000 1000; finish map-0.1 w1 -> commit map-0.1 w1",
    );
}
