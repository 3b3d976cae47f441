//! What is cut short leaves nothing, on either side.

use std::time::Duration;

use runner::transport::ConnectError;

use crate::rig::{host, on_hosts, rig, until_there, works};

#[test]
fn an_install_that_is_cut_short_or_finds_no_space_leaves_nothing() {
    on_hosts(async |bed| {
        bed.run(&["limit", "h9", "4mbit"]);
        let rig = rig(bed);
        let spec = host("h9");
        let files = "ls -A ~/.cache/runner/* 2>/dev/null || true";
        tokio::select! {
            _ = rig.transport.connect(&spec) => panic!("so much cannot have gone through"),
            () = until_there(bed, "h9", files) => {}
        }
        bed.run(&["limit", "h9", "off"]);
        bed.wait_until_idle("h9");
        assert_eq!(bed.sh("h9", files), "", "an unfinished file is left");
        rig.wait_until_no_ssh();
        bed.run(&["fill", "h9", "2000"]);
        let error = rig.transport.connect(&spec).await.expect_err("does not fit");
        assert_eq!(error, ConnectError::DiskFull { folder: "/home/worker/.cache/runner".into() });
        assert_eq!(bed.sh("h9", files), "", "an unfinished file is left");
        bed.run(&["drain", "h9"]);
        rig.close().await;
        works(bed, "h9").await;
    });
}

#[test]
fn a_connect_that_nobody_waits_for_leaves_nothing() {
    on_hosts(async |bed| {
        let rig = rig(bed);
        let spec = host("h10");
        for wait_ms in [0, 5, 10, 20, 40, 60, 80, 100, 150, 200, 300] {
            let limit = Duration::from_millis(wait_ms);
            let _whether = tokio::time::timeout(limit, rig.transport.connect(&spec)).await;
        }
        rig.wait_until_no_ssh();
        bed.wait_until_idle("h10");
        rig.close().await;
    });
}

#[test]
fn a_command_ends_with_its_connection() {
    on_hosts(async |bed| {
        let rig = rig(bed);
        let spec = host("h11");
        let command = "(sleep 4242 &) ; sleep 4343";
        tokio::select! {
            end = rig.transport.exec(&spec, command) => panic!("{end:?}"),
            () = until_there(bed, "h11", "pgrep -f 'sleep 4343$' || true") => {}
        }
        bed.wait_until_idle("h11");
        let done = rig.transport.exec(&spec, "echo said; echo wrong >&2; exit 127").await.expect("runs");
        assert_eq!((done.code, done.stdout.as_slice(), done.stderr.as_str()), (127, &b"said\n"[..], "wrong"));
        rig.close().await;
        bed.wait_until_idle("h11");
    });
}
