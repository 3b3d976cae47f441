//! A bit that flips on a host's disk while a job runs: it is found by its checksum, and what it was in is made again.

use crate::fleets::words;
use crate::testbed::wait_until;
use crate::with_fleet;

/// Flips the lowest bit in the middle of a file.
const FLIP: &str = "at=$(($(wc -c <\"$1\") / 2)); byte=$(dd if=\"$1\" bs=1 skip=$at count=1 2>/dev/null | od -An -tu1); \
                    printf \"\\\\$(printf %o $((byte ^ 1)))\" | dd of=\"$1\" bs=1 seek=$at conv=notrunc 2>/dev/null";

#[test]
fn a_flipped_bit_in_a_segment_costs_no_byte() {
    with_fleet(|fleet| {
        fleet.desk.write("in/words.txt", words());
        // The last map waits for us, so that no reduce reads before the bit is flipped.
        let map = "[ \"$mapreduce_task_partition\" != 0 ] || while [ ! -e /tmp/go ]; do sleep 0.1; done; cat";
        let job = ["--reduces", "2", "--split-size", "300K", "in"];
        let expected = fleet.desk.job(&[&["--map", "cat"], &job[..]].concat());
        fleet.install(&["h1", "h2"]);
        let mut running = fleet.start("1/h1,1/h2", &[&["--map", map], &job[..], &["out"]].concat());
        running.wait_for(|fact| fact["fact"] == "attempt_started");
        // All others have ended when only one attempt is without a segment.
        let segments =
            |host: &str| fleet.bed.sh(host, "ls /var/tmp/runner-*/jobs/*/attempts/*/segment 2>/dev/null; true");
        let maps = running.facts[0]["split_bytes"].as_array().expect("splits").len();
        let count = || ["h1", "h2"].iter().map(|host| segments(host).lines().count()).sum::<usize>();
        wait_until("all maps but one have ended", || count() + 1 == maps);
        let (host, segment) = ["h1", "h2"]
            .iter()
            .find_map(|host| segments(host).lines().next().map(|segment| (*host, segment.to_owned())))
            .expect("a segment");
        let before = fleet.bed.sh(host, &format!("cksum <{segment}"));
        fleet.bed.sh(host, &format!("set -- {segment}; {FLIP}"));
        assert_ne!(fleet.bed.sh(host, &format!("cksum <{segment}")), before, "a bit has flipped");
        ["h1", "h2"].iter().for_each(|host| _ = fleet.bed.sh(host, "touch /tmp/go"));
        let (facts, outcome) = running.end();
        ["h1", "h2"].iter().for_each(|host| _ = fleet.bed.sh(host, "rm -f /tmp/go"));
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        assert!(facts.iter().any(|fact| fact["fact"] == "output_lost"), "nobody has noticed: {}", outcome.stderr);
        assert_eq!(fleet.take_output(), expected);
        ["h1", "h2"].iter().for_each(|host| fleet.wait_until_bare(host));
    });
}
