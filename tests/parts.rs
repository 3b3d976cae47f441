//! Parts that stay on workers and go with them, as scripts: see `tests/script`.

mod script;

use script::check;

#[test]
fn a_part_that_went_with_its_host_is_made_again_and_so_are_the_maps_that_it_needs() {
    let until_all_is_committed = "join a 1; join b 1; complete -> start map-0.0 w0; start map-1.0 w1
         finish map-0.0 w0 7  -> publish map-0.0 w0
         finish map-1.0 w1 8  -> publish map-1.0 w1; finished map; start reduce-0.0 w0; start reduce-1.0 w1
         finish reduce-0.0 w0 -> commit reduce-0.0 w0
         finish reduce-1.0 w1 -> commit reduce-1.0 w1
         committed reduce-0.0 -> part reduce-0.0
         committed reduce-1.0 -> part reduce-1.0; finished reduce; complete
         lose w1              -> lost w1
         gone reduce-1        -> output lost reduce-1.0; output lost map-1.0; withdraw map-1; start map-1.1 w0
         completed            -> stale";
    let again = "
         finish map-1.1 w0 8  -> publish map-1.1 w0; finished map; start reduce-1.1 w0
         gone reduce-1        -> stale
         finish reduce-1.1 w0 -> commit reduce-1.1 w0
         committed reduce-1.1 -> part reduce-1.1; finished reduce; complete
         interrupt            -> stale
         completed            -> end done; conclude done";
    check("job 2 2; ahead 0; held", &(until_all_is_committed.to_owned() + again));
    // The other part was made from the first segment: outputs are never mixed.
    let otherwise = "
         finish map-1.1 w0 9  -> publish map-1.1 w0; end failed; conclude failed";
    check("job 2 2; ahead 0; held", &(until_all_is_committed.to_owned() + otherwise));
}

#[test]
fn without_reduces_a_lost_part_is_the_map_of_it_again() {
    check(
        "job 1 0; held",
        "join a 1; join b 1; complete -> start map-0.0 w0
         finish map-0.0 w0    -> commit map-0.0 w0
         committed map-0.0    -> part map-0.0; finished map; complete
         lose w0; gone map-0  -> lost w0; output lost map-0.0; start map-0.1 w1
         lose w1              -> lost w1; drop map-0.1 worker lost; end failed; conclude failed",
    );
}
