//! Odd hosts that must work, all the same.

use futures::future::{join_all, try_join_all};
use runner::fleet::{HostSpec, Place};
use runner::protocol::control::Role;
use runner::transport::{ConnectError, Link};

use crate::rig::{RUNNER, error_of, greet, host, on_hosts, processes, rig, rig_with, run, works, works_as};
use crate::testbed::{Testbed, wait_until};

#[test]
fn a_worker_is_installed_once_and_answers_on_two_connections() {
    on_hosts(async |bed| {
        works(bed, "h1").await;
        let first = bed.sh("h1", "stat -c %i,%Y ~/.cache/runner/*/runner");
        works(bed, "h1").await;
        assert_eq!(bed.sh("h1", "stat -c %i,%Y ~/.cache/runner/*/runner"), first, "it was installed again");
        assert_eq!(bed.sh("h1", "ls -A ~/.cache/runner ~/.cache/runner/* | grep -c '^\\.' || true"), "0");
    });
}

#[test]
fn login_shells_of_all_kinds_and_rc_files_that_print() {
    on_hosts(async |bed| {
        let noise = "echo Welcome to h2; echo; echo 'it is late'";
        bed.sh("h2", &format!("mkdir -p ~/.config/fish; for f in .bashrc .cshrc .profile .config/fish/config.fish; do echo \"{noise}\" >~/$f; done"));
        for shell in ["/bin/sh", "/bin/ash", "/bin/tcsh", "/usr/bin/fish", "/bin/bash"] {
            bed.run(&["shell", "h2", shell]);
            bed.sh("h2", "rm -rf ~/.cache/runner");
            works(bed, "h2").await;
        }
    });
}

#[test]
fn a_host_with_nothing_but_busybox() {
    on_hosts(async |bed| {
        let names = "sh uname id df sed grep mkdir chmod rm rmdir cat touch mv find ls";
        bed.sh("h3", &format!("mkdir bare && for name in {names}; do ln -s $(command -v busybox) bare/$name; done"));
        bed.run(&["sshd", "h3", "SetEnv PATH=/home/worker/bare"]);
        works(bed, "h3").await;
        bed.run(&["sshd", "h3"]);
    });
}

#[test]
fn few_sessions_and_few_logins_at_once() {
    on_hosts(async |bed| {
        bed.run(&["sshd", "h4", "MaxSessions 2"]);
        works(bed, "h4").await;
        bed.run(&["sshd", "h4", "MaxSessions 1"]);
        works(bed, "h4").await;
        bed.run(&["sshd", "h4", "MaxStartups 3:50:10"]);
        let rig = rig(bed);
        let spec = host("h4");
        let links = try_join_all((0..8).map(|_| rig.transport.connect(&spec))).await.expect("all get in");
        let id = &links[0].machine().machine_id;
        assert!(links.iter().all(|link| link.machine().machine_id == *id), "two workers on one host are known as such");
        join_all(links.into_iter().map(Link::close)).await;
        rig.close().await;
        bed.run(&["sshd", "h4", "MaxSessions 0"]);
        assert_eq!(error_of(bed, "", &spec).await, ConnectError::SessionRefused);
        bed.run(&["sshd", "h4"]);
    });
}

#[test]
fn folders_that_forbid_execution_or_are_not_ours_are_passed_over() {
    on_hosts(async |bed| {
        bed.run(&["noexec", "h5", "home"]);
        bed.sh_as_root("h5", "mkdir -m 777 /var/tmp/runner-7700");
        works(bed, "h5").await;
        assert!(bed.sh("h5", "ls /tmp/runner-7700").contains("testbuild"));
        bed.run(&["noexec", "h5", "/tmp"]);
        let error = error_of(bed, "", &host("h5")).await;
        let ConnectError::NoFolder { refused } = &error else { panic!("{error:?}") };
        assert!(refused[0].contains("/home/worker/.cache/runner") && refused[0].contains("noexec"), "{refused:?}");
        assert!(refused[1].contains("somebody else"), "{refused:?}");
        assert!(refused[2].contains("noexec"), "{refused:?}");
    });
}

#[test]
fn another_port_and_a_jump_host() {
    on_hosts(async |bed| {
        bed.run(&["sshd", "h6", "Port 2222"]);
        works_as(bed, "h6", &HostSpec { port: Some(2222), ..host("h6") }).await;
        assert_eq!(
            error_of(bed, "", &HostSpec { port: Some(22), ..host("h6") }).await,
            ConnectError::Refused { port: 22 }
        );
        bed.run(&["sshd", "h6"]);
        bed.run(&["jump", "h6", "h7"]);
        works_as(bed, "h6", &host("h6-via-h7")).await;
        bed.wait_until_idle("h7");
        let jump = |error| ConnectError::Jump { name: "h7".into(), error: Box::new(error) };
        let unknown = "Host h7\n UserKnownHostsFile /nowhere";
        assert_eq!(error_of(bed, unknown, &host("h6-via-h7")).await, jump(ConnectError::HostKeyUnknown));
        let refused = "Host h7\n Port 9";
        assert_eq!(error_of(bed, refused, &host("h6-via-h7")).await, jump(ConnectError::Refused { port: 22 }));
        let behind = HostSpec { port: Some(9), ..host("h6-via-h7") };
        assert_eq!(error_of(bed, "", &behind).await, ConnectError::Refused { port: 9 });
    });
}

#[test]
fn workers_that_share_a_home_share_the_binary() {
    let Some(bed) = Testbed::up("transport-shared", 2) else { return };
    run(async {
        bed.run(&["share-home"]);
        let rig = rig(&bed);
        let (first, second) = (host("h1"), host("h2"));
        let both = tokio::try_join!(rig.transport.connect(&first), rig.transport.connect(&second));
        let (first, second) = both.expect("both install at once");
        assert_ne!(first.machine().machine_id, second.machine().machine_id);
        greet(&first, Role::Control).await;
        greet(&second, Role::Bulk).await;
        tokio::join!(first.close(), second.close());
        rig.close().await;
        assert_eq!(bed.sh("h2", "ls -A ~/.cache/runner/*"), "runner");
    });
}

#[test]
fn this_machine_needs_no_ssh() {
    run(async {
        let scratch = tempfile::TempDir::new().expect("a folder");
        let rig = rig_with("/nowhere/config".into(), RUNNER);
        let spec = HostSpec { scratch: Some(scratch.path().to_owned()), ..HostSpec::new(Place::ThisMachine, "local") };
        let link = rig.transport.connect(&spec).await.expect("a link");
        greet(&link, Role::Control).await;
        greet(&link, Role::Bulk).await;
        link.close().await;
        rig.close().await;
        let folder = scratch.path().display().to_string();
        wait_until("the worker has ended", || workers_in(&folder).is_empty());
    });
}

fn workers_in(folder: &str) -> Vec<String> {
    processes(|line| line.contains("worker serve") && line.contains(folder))
}
