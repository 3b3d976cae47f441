//! Where splits lie decides who runs them, as long as nothing has to wait long for it.

mod script;

use runner::ids::TaskId;
use script::check;

#[test]
fn maps_go_where_their_splits_lie() {
    // Elsewhere only to a slot that would stay free, when hosts have had the time to join.
    check(
        "job 3 0; homes 1 1 0",
        "join a 1; join b 1  -> start map-2.0 w0; start map-0.0 w1; start map-1.0 w1
         start map-0.0 w1    ->
         finish map-2.0 w0   -> commit map-2.0 w0
         @3s wait            -> drop map-1.0 moved; kill map-1.0 w1; start map-1.1 w0",
    );
    check(
        "job 3 0; homes 1 1 1",
        "join a 1           ->
         join b 1           -> start map-0.0 w1; start map-1.0 w1
         start map-0.0 w1   ->
         finish map-0.0 w1  -> commit map-0.0 w1; start map-2.0 w1",
    );
    let waiting = check("job 1 0; homes 1", "join a 1 ->").explain(TaskId::map(0));
    assert!(waiting.contains("where its split lies"), "{waiting}");
    // Nobody waits for a host that does not join; then nothing is sent ahead.
    check(
        "job 3 0; homes 1 1 1",
        "join a 1           ->
         @3s wait           -> start map-0.0 w0
         finish map-0.0 w0  -> commit map-0.0 w0; start map-1.0 w0
         join b 1           -> start map-2.0 w1",
    );
    check(
        "job 1 0; homes 1",
        "join a 1           ->
         complete           -> start map-0.0 w0",
    );
    // And to any other host than one that failed it.
    check(
        "job 1 0; homes 1",
        "join a 1; join b 1; complete -> start map-0.0 w1
         fail map-0.0 w1 exit         -> retry map-0 3; start map-0.1 w0",
    );
}
