//! The scheduler's rules as scripts: each line is a batch of events, an arrow, and the actions that follow.
//!
//! The words are in `tests/script`. A seed of the simulation that found a fault is retold here, under a name.

mod script;

use runner::error::Kind;
use script::{check, kind_at_the_end};

#[test]
fn a_job_runs_maps_then_reduces_then_ends() {
    check(
        "job 2 1",
        "join a 1; join b 1; complete -> start map-0.0 w0; start map-1.0 w1
         finish map-0.0 w0           -> publish map-0.0 w0
         finish map-1.0 w1           -> publish map-1.0 w1; finished map; start reduce-0.0 w0
         finish reduce-0.0 w0        -> commit reduce-0.0 w0
         committed reduce-0.0        -> part reduce-0.0; finished reduce; end done; conclude done",
    );
}

#[test]
fn reduces_go_to_free_slots_while_the_last_maps_run() {
    check(
        "job 3 4; ahead 0; early",
        "join a 2; join b 1 -> start map-0.0 w0; start map-1.0 w1; start map-2.0 w0
         finish map-0.0 w0  -> publish map-0.0 w0; start reduce-0.0 w0
         finish map-1.0 w1  -> publish map-1.0 w1; start reduce-1.0 w1
         finish map-2.0 w0  -> publish map-2.0 w0; finished map; start reduce-2.0 w0",
    );
    // No worker gets more than its share, though it has slots.
    check(
        "job 2 2; early",
        "join a 2; join b 2 -> start map-0.0 w0; start map-1.0 w1; start reduce-0.0 w0; start reduce-1.0 w1
         finish map-0.0 w0  -> publish map-0.0 w0",
    );
}

#[test]
fn a_map_that_runs_again_finds_its_place_beside_reduces_that_wait_for_it() {
    check(
        "job 2 1; ahead 0; early",
        "join a 1; join b 1 -> start map-0.0 w0; start map-1.0 w1
         finish map-0.0 w0  -> publish map-0.0 w0; start reduce-0.0 w0
         lose w1            -> lost w1; drop map-1.0 worker lost; start map-1.1 w0
         finish map-1.1 w0  -> publish map-1.1 w0; finished map",
    );
}

#[test]
fn without_reduces_maps_write_the_parts() {
    check(
        "job 1 0",
        "join a 1            -> start map-0.0 w0
         finish map-0.0 w0   -> commit map-0.0 w0
         committed map-0.0   -> part map-0.0; finished map; end done; conclude done",
    );
}

#[test]
fn an_empty_job_ends_at_once_and_an_empty_input_still_makes_parts() {
    check("job 0 0", "join a 1 -> end done; conclude done");
    check("job 0 0", "complete -> end done; conclude done");
    check("job 0 2", "join a 2 -> start reduce-0.0 w0; start reduce-1.0 w0");
}

#[test]
fn slots_are_filled_breadth_first_and_then_the_places_ahead() {
    check(
        "job 8 0",
        "join a 2; join b 1 -> start map-0.0 w0; start map-1.0 w1; start map-2.0 w0; start map-3.0 w0; \
                               start map-4.0 w1; start map-5.0 w0
         finish map-0.0 w0  -> commit map-0.0 w0; start map-6.0 w0",
    );
}

#[test]
fn what_waits_behind_others_moves_to_a_free_slot() {
    check(
        "job 2 0",
        "join a 1              -> start map-0.0 w0; start map-1.0 w0
         start map-0.0 w0      ->
         join b 1              -> drop map-1.0 moved; kill map-1.0 w0; start map-1.1 w1
         start map-1.0 w0      -> stale
         finish map-1.0 w0     -> stale
         finish map-1.1 w1     -> commit map-1.1 w1",
    );
}

#[test]
fn a_task_avoids_hosts_that_failed_it_until_none_is_left() {
    check(
        "job 1 0",
        "join a 1; join b 1; complete -> start map-0.0 w0
         fail map-0.0 w0 exit -> retry map-0 3; start map-0.1 w1
         fail map-0.1 w1 exit -> retry map-0 2; start map-0.2 w0
         fail map-0.2 w0 exit -> retry map-0 1; start map-0.3 w0
         fail map-0.3 w0 exit -> give up map-0; end failed; conclude failed",
    );
}

#[test]
fn the_last_cause_tells_the_kind_of_end() {
    for (cause, kind) in [("exit", Kind::TaskFailed), ("disk", Kind::TaskFailed), ("input", Kind::Data)] {
        assert_eq!(kind_at_the_end(cause), kind, "{cause}");
    }
}

#[test]
fn a_task_that_failed_waits_for_the_hosts_that_may_still_join() {
    check(
        "job 1 0",
        "join a 1              -> start map-0.0 w0
         fail map-0.0 w0 disk  -> retry map-0 3
         join b 1              -> start map-0.1 w1
         fail map-0.1 w1 exit  -> retry map-0 2
         complete              -> start map-0.2 w0",
    );
}

#[test]
fn a_host_with_a_full_disk_is_barred_where_the_fleet_can_spare_it() {
    check(
        "job 9 0; ahead 0",
        "join a 3; join b 1; join c 1 -> start map-0.0 w0; start map-1.0 w1; start map-2.0 w2; start map-3.0 w0; start map-4.0 w0
         fail map-0.0 w0 disk         -> retry map-0 3; start map-5.0 w0
         fail map-3.0 w0 disk         -> retry map-3 3; start map-6.0 w0
         fail map-4.0 w0 disk         -> retry map-4 3; barred w0; drop map-5.0 moved; kill map-5.0 w0; drop map-6.0 moved; kill map-6.0 w0
         finish map-1.0 w1            -> commit map-1.0 w1; start map-0.1 w1
         lose w1                      -> lost w1; drop map-0.1 worker lost; output lost map-1.0; back w0; start map-1.1 w0; start map-5.1 w0; start map-6.1 w0",
    );
    check(
        "job 9 0; ahead 0",
        "join a 3; join b 1   -> start map-0.0 w0; start map-1.0 w1; start map-2.0 w0; start map-3.0 w0
         fail map-0.0 w0 disk -> retry map-0 3; start map-4.0 w0
         fail map-2.0 w0 disk -> retry map-2 3; start map-5.0 w0
         fail map-3.0 w0 disk -> retry map-3 3; start map-6.0 w0",
    );
}

#[test]
fn bad_user_code_condemns_no_host_and_a_contradicted_one_is_barred() {
    check(
        "job 6 0; ahead 0",
        "join a 3; join b 2; join c 2 -> start map-0.0 w0; start map-1.0 w1; start map-2.0 w2; start map-3.0 w0; start map-4.0 w1; start map-5.0 w2
         fail map-0.0 w0 exit         -> retry map-0 3
         finish map-1.0 w1            -> commit map-1.0 w1; start map-0.1 w1
         fail map-3.0 w0 exit         -> retry map-3 3
         finish map-2.0 w2            -> commit map-2.0 w2; start map-3.1 w2
         finish map-0.1 w1            -> commit map-0.1 w1
         finish map-3.1 w2            -> commit map-3.1 w2
         fail map-4.0 w1 exit         -> retry map-4 3; start map-4.1 w0
         fail map-4.1 w0 exit         -> retry map-4 2; start map-4.2 w2
         finish map-4.2 w2            -> barred w0; commit map-4.2 w2",
    );
}

#[test]
fn a_lost_worker_takes_its_segments_along() {
    check(
        "job 2 2; ahead 0",
        "join a 1; join b 1   -> start map-0.0 w0; start map-1.0 w1
         finish map-0.0 w0; finish map-1.0 w1 -> publish map-0.0 w0; publish map-1.0 w1; finished map; start reduce-0.0 w0; start reduce-1.0 w1
         start reduce-1.0 w1  ->
         lose w0              -> lost w0; drop reduce-0.0 worker lost; output lost map-0.0; withdraw map-0
         finish reduce-1.0 w1 -> commit reduce-1.0 w1; start map-0.1 w1
         finish map-0.1 w1    -> publish map-0.1 w1; finished map; start reduce-0.1 w1
         committed reduce-1.0 -> part reduce-1.0
         finish map-0.0 w0    -> stale",
    );
}

#[test]
fn what_nobody_needs_any_more_is_not_made_again() {
    check(
        "job 1 1; ahead 0",
        "join a 1             -> start map-0.0 w0
         finish map-0.0 w0    -> publish map-0.0 w0; finished map; start reduce-0.0 w0
         finish reduce-0.0 w0 -> commit reduce-0.0 w0
         committed reduce-0.0; lose w0; complete -> part reduce-0.0; lost w0; finished reduce; end done; conclude done",
    );
}

#[test]
fn fetching_reduces_leave_the_slot_to_a_lost_map() {
    check(
        "job 2 3; ahead 0",
        "join a 1; join b 1 -> start map-0.0 w0; start map-1.0 w1
         finish map-0.0 w0; finish map-1.0 w1 -> publish map-0.0 w0; publish map-1.0 w1; finished map; start reduce-0.0 w0; start reduce-1.0 w1
         lose w0            -> lost w0; drop reduce-0.0 worker lost; output lost map-0.0; withdraw map-0; start map-0.1 w1
         finish map-0.1 w1  -> publish map-0.1 w1; finished map",
    );
}

#[test]
fn a_segment_is_made_again_after_reports_from_two_hosts() {
    check(
        "job 1 2; ahead 0",
        "join a 1; join b 1; join c 1; finish map-0.0 w0 -> stale; start map-0.0 w0
         finish map-0.0 w0                -> publish map-0.0 w0; finished map; start reduce-0.0 w0; start reduce-1.0 w1
         fail reduce-1.0 w1 fetch map-0.0 -> retry reduce-1 4; start reduce-1.1 w2
         fail reduce-1.1 w2 fetch map-0.0 -> retry reduce-1 4; output lost map-0.0; withdraw map-0; start map-0.1 w1
         fail reduce-0.0 w0 fetch map-0.0 -> retry reduce-0 4
         finish map-0.1 w1                -> publish map-0.1 w1; finished map; start reduce-0.1 w0; start reduce-1.2 w1
         fail reduce-1.2 w1 fetch map-0.1 -> retry reduce-1 4; start reduce-1.3 w2
         fail reduce-0.1 w0 fetch map-0.0 -> retry reduce-0 4; start reduce-0.2 w0",
    );
}

#[test]
fn a_lone_host_that_cannot_read_its_segment_makes_it_again() {
    check(
        "job 1 1; ahead 0",
        "join a 1; complete -> start map-0.0 w0
         finish map-0.0 w0                -> publish map-0.0 w0; finished map; start reduce-0.0 w0
         fail reduce-0.0 w0 fetch map-0.0 -> retry reduce-0 4; start reduce-0.1 w0
         fail reduce-0.1 w0 fetch map-0.0 -> retry reduce-0 4; output lost map-0.0; withdraw map-0; start map-0.1 w0",
    );
}

#[test]
fn a_host_that_can_read_nothing_is_barred_and_the_sources_are_not() {
    check(
        "job 1 3; ahead 0",
        "join a 3; join b 3; join c 3     -> start map-0.0 w0
         finish map-0.0 w0                -> publish map-0.0 w0; finished map; start reduce-0.0 w0; start reduce-1.0 w1; start reduce-2.0 w2
         fail reduce-0.0 w0 fetch map-0.0 -> retry reduce-0 4; start reduce-0.1 w1
         finish reduce-0.1 w1             -> commit reduce-0.1 w1
         fail reduce-1.0 w1 exit          -> retry reduce-1 3; start reduce-1.1 w0
         fail reduce-1.1 w0 fetch map-0.0 -> retry reduce-1 3; start reduce-1.2 w2
         fail reduce-2.0 w2 exit          -> retry reduce-2 3; start reduce-2.1 w0
         fail reduce-2.1 w0 fetch map-0.0 -> retry reduce-2 3; start reduce-2.2 w1
         finish reduce-1.2 w2             -> commit reduce-1.2 w2
         finish reduce-2.2 w1             -> barred w0; commit reduce-2.2 w1",
    );
}

#[test]
fn a_silent_holder_of_an_unreadable_segment_is_as_good_as_lost() {
    check(
        "job 2 1; ahead 0",
        "join a 2                         -> start map-0.0 w0; start map-1.0 w0
         finish map-0.0 w0                -> publish map-0.0 w0
         join b 1; join c 1; suspect w0   -> suspect w0
         finish map-1.0 w0                -> publish map-1.0 w0; finished map; start reduce-0.0 w1
         fail reduce-0.0 w1 fetch map-1.0 -> retry reduce-0 4; start reduce-0.1 w2
         fail reduce-0.1 w2 fetch map-1.0 -> retry reduce-0 4; output lost map-0.0; withdraw map-0; output lost map-1.0; withdraw map-1; start map-0.1 w1; start map-1.1 w2",
    );
}

#[test]
fn a_map_that_writes_something_else_restarts_reduces_or_ends_the_job() {
    let begin = "join a 1; join b 2    -> start map-0.0 w0
                 finish map-0.0 w0 77  -> publish map-0.0 w0; finished map; start reduce-0.0 w0; start reduce-1.0 w1
                 start reduce-1.0 w1   ->
                 lose w0               -> lost w0; drop reduce-0.0 worker lost; output lost map-0.0; withdraw map-0; start map-0.1 w1";
    check(
        "job 1 2; ahead 0",
        &format!(
            "{begin}
             finish map-0.1 w1 78 -> drop reduce-1.0 input gone; kill reduce-1.0 w1; publish map-0.1 w1; finished map; start reduce-0.1 w1; start reduce-1.1 w1"
        ),
    );
    check(
        "job 1 2; ahead 0",
        &format!(
            "{begin}
             finish map-0.1 w1 77 -> publish map-0.1 w1; finished map; start reduce-0.1 w1"
        ),
    );
    // 0 is said where the content hangs on the host.
    check(
        "job 1 2; ahead 0",
        &format!(
            "{begin}
             finish reduce-1.0 w1 -> commit reduce-1.0 w1
             finish map-0.1 w1 0  -> publish map-0.1 w1; finished map; start reduce-0.1 w1"
        ),
    );
    check(
        "job 1 2; ahead 0",
        &begin
            .replace("map-0.0 w0 77", "map-0.0 w0 0")
            .lines()
            .chain(["finish map-0.1 w1 78 -> publish map-0.1 w1; finished map; start reduce-0.1 w1"])
            .collect::<Vec<_>>()
            .join("\n"),
    );
    check(
        "job 1 2; ahead 0",
        &format!(
            "{begin}
             finish reduce-1.0 w1 -> commit reduce-1.0 w1
             finish map-0.1 w1 78 -> publish map-0.1 w1; end failed; conclude failed"
        ),
    );
}

#[test]
fn a_failed_commit_runs_elsewhere_and_is_not_the_tasks_failure() {
    check(
        "job 1 0",
        "join a 1; join b 1   -> start map-0.0 w0
         finish map-0.0 w0    -> commit map-0.0 w0
         uncommit map-0.0     -> retry map-0 4; start map-0.1 w1
         uncommit map-0.0     -> stale
         committed map-0.0    -> stale
         finish map-0.1 w1    -> commit map-0.1 w1",
    );
}

#[test]
fn a_commit_in_doubt_beats_the_attempt_that_replaced_it() {
    check(
        "job 2 0",
        "join a 1; join b 1   -> start map-0.0 w0; start map-1.0 w1
         finish map-0.0 w0    -> commit map-0.0 w0
         lose w0              -> lost w0; output lost map-0.0; start map-0.1 w1
         committed map-0.0    -> drop map-0.1 beaten; kill map-0.1 w1; part map-0.0
         committed map-0.0    -> stale
         finish map-0.1 w1    -> stale",
    );
}

#[test]
fn a_task_that_takes_workers_down_fails_the_job() {
    check(
        "job 1 0",
        "join a 1; join b 1; join c 1; join d 1 -> start map-0.0 w0
         start map-0.0 w0; lose w0 -> lost w0; drop map-0.0 worker lost; start map-0.1 w1
         start map-0.1 w1; lose w1 -> lost w1; drop map-0.1 worker lost; start map-0.2 w2
         start map-0.2 w2; lose w2 -> lost w2; drop map-0.2 worker lost; end failed; conclude failed",
    );
    check(
        "job 1 0",
        "join a 1; join b 1; join c 1; join d 1 -> start map-0.0 w0
         lose w0 -> lost w0; drop map-0.0 worker lost; start map-0.1 w1
         lose w1 -> lost w1; drop map-0.1 worker lost; start map-0.2 w2
         lose w2 -> lost w2; drop map-0.2 worker lost; start map-0.3 w3",
    );
}

#[test]
fn losses_count_only_in_a_row() {
    check(
        "job 1 0",
        "join a 1; join b 1; join c 1; join d 1; complete -> start map-0.0 w0
         start map-0.0 w0; lose w0 -> lost w0; drop map-0.0 worker lost; start map-0.1 w1
         start map-0.1 w1; lose w1 -> lost w1; drop map-0.1 worker lost; start map-0.2 w2
         fail map-0.2 w2 exit      -> retry map-0 3; start map-0.3 w3
         start map-0.3 w3; lose w3 -> lost w3; drop map-0.3 worker lost; start map-0.4 w2",
    );
    check(
        "job 1 1; ahead 0",
        "join a 1; join b 1; join c 1; join d 1 -> start map-0.0 w0
         start map-0.0 w0; lose w0 -> lost w0; drop map-0.0 worker lost; start map-0.1 w1
         start map-0.1 w1; lose w1 -> lost w1; drop map-0.1 worker lost; start map-0.2 w2
         finish map-0.2 w2         -> publish map-0.2 w2; finished map; start reduce-0.0 w2
         lose w2                   -> lost w2; drop reduce-0.0 worker lost; output lost map-0.2; withdraw map-0; start map-0.3 w3
         join e 1; start map-0.3 w3; lose w3 -> lost w3; drop map-0.3 worker lost; start map-0.4 w4",
    );
}

#[test]
fn a_commit_that_failed_does_not_hold_maps_to_what_they_wrote() {
    check(
        "job 1 2; ahead 0",
        "join a 1; join b 2; complete -> start map-0.0 w0
         finish map-0.0 w0 77  -> publish map-0.0 w0; finished map; start reduce-0.0 w0; start reduce-1.0 w1
         finish reduce-1.0 w1  -> commit reduce-1.0 w1
         uncommit reduce-1.0   -> retry reduce-1 4
         lose w0               -> lost w0; drop reduce-0.0 worker lost; output lost map-0.0; withdraw map-0; start map-0.1 w1
         finish map-0.1 w1 78  -> publish map-0.1 w1; finished map; start reduce-0.1 w1; start reduce-1.1 w1",
    );
}

#[test]
fn a_silent_worker_keeps_what_it_runs_and_gets_nothing_new() {
    check(
        "job 3 0; ahead 0",
        "join a 1          -> start map-0.0 w0
         start map-0.0 w0; suspect w0 -> suspect w0
         finish map-0.0 w0 -> commit map-0.0 w0
         suspect w0        -> stale
         back w0           -> back w0; start map-1.0 w0
         back w0           -> stale",
    );
}

#[test]
fn a_job_without_workers_ends() {
    check("job 1 0", "refuse a; complete -> end failed; conclude failed");
    check("job 1 0", "refuse a ->");
    check(
        "job 1 0",
        "join a 1; complete -> start map-0.0 w0
         lose w0            -> lost w0; drop map-0.0 worker lost; end failed; conclude failed
         join b 1           -> ",
    );
}

#[test]
fn an_interrupt_and_a_cancel_end_everything() {
    check(
        "job 2 0",
        "join a 1         -> start map-0.0 w0; start map-1.0 w0
         start map-0.0 w0; interrupt; broken -> drop map-0.0 job ends; kill map-0.0 w0; drop map-1.0 job ends; kill map-1.0 w0; end interrupted; conclude interrupted
         finish map-0.0 w0; lose w0 -> ",
    );
    check(
        "job 1 0",
        "join a 1 -> start map-0.0 w0\n cancel -> drop map-0.0 job ends; kill map-0.0 w0; end cancelled; conclude cancelled",
    );
    check("job 1 0", "broken -> end failed; conclude failed");
}

#[test]
fn an_order_that_was_lost_with_a_connection_is_given_again() {
    check(
        "job 2 1",
        "join a 1; join b 1; complete -> start map-0.0 w0; start map-1.0 w1
         suspect w1                   -> suspect w1
         holds w1; back w1            -> drop map-1.0 never arrived; kill map-1.0 w1; back w1; start map-1.1 w1",
    );
}

#[test]
fn what_a_worker_should_not_have_any_more_is_ended() {
    check(
        "job 2 1",
        "join a 1; join b 1; complete       -> start map-0.0 w0; start map-1.0 w1
         suspect w1                         -> suspect w1
         holds w1 map-1.0 map-0.7; back w1  -> kill map-0.7 w1; back w1
         holds w7 map-1.0                   -> stale",
    );
}
