//! Hosts that cannot be reached: what is said about each, and what helps.

use std::process::Command;

use runner::fleet::HostSpec;
use runner::transport::ConnectError;

use crate::rig::{RUNNER, error_of, host, on_hosts, rig_with, wrong_known_hosts};

#[test]
fn what_hinders_a_login_is_told_apart() {
    on_hosts(async |bed| {
        let spec = host("h8");
        assert_eq!(
            error_of(bed, "", &host("nosuch.invalid")).await,
            ConnectError::Unresolved { name: "nosuch.invalid".into() }
        );
        assert_eq!(
            error_of(bed, "", &HostSpec { port: Some(9), ..host("h8") }).await,
            ConnectError::Refused { port: 9 }
        );
        for strict in ["ask", "yes"] {
            let unknown = format!("UserKnownHostsFile /nowhere\nStrictHostKeyChecking {strict}");
            assert_eq!(error_of(bed, &unknown, &spec).await, ConnectError::HostKeyUnknown);
        }
        let changed = wrong_known_hosts(bed, "h8");
        let error = error_of(bed, &format!("UserKnownHostsFile {}", changed.path().display()), &spec).await;
        let ConnectError::HostKeyChanged { place: Some(place), .. } = &error else { panic!("{error:?}") };
        assert_eq!(*place, format!("{}:1", changed.path().display()));
        let denied = error_of(bed, "", &HostSpec { user: Some("nobody".into()), ..spec.clone() }).await;
        let methods = "publickey".to_owned();
        assert_eq!(denied, ConnectError::Denied { user: "nobody".into(), methods, locked_keys: Vec::new() });
        bed.run(&["cut", "h8"]);
        let error = error_of(bed, "", &spec).await;
        assert!(matches!(error, ConnectError::TimedOut { port: 22 } | ConnectError::NoRoute), "{error:?}");
        bed.run(&["heal", "h8"]);
        let wrong = error_of(bed, "Nonsense yes", &spec).await;
        assert!(matches!(&wrong, ConnectError::Configuration { text } if text.contains("nonsense")), "{wrong:?}");
    });
}

#[test]
fn a_key_with_a_passphrase_and_no_agent_says_ssh_add() {
    on_hosts(async |bed| {
        let folder = tempfile::TempDir::new().expect("a folder");
        let key = folder.path().join("key");
        std::fs::copy(bed.path("key"), &key).expect("copies");
        std::fs::copy(bed.path("key.pub"), folder.path().join("key.pub")).expect("copies");
        let locked = Command::new("ssh-keygen").args(["-q", "-p", "-N", "secret", "-f"]).arg(&key).output();
        assert!(locked.expect("runs").status.success());
        let config = format!("IdentityFile {}\nIdentitiesOnly yes\nIdentityAgent none", key.display());
        let text = bed.read("ssh_config").replace("IdentityFile", "#IdentityFile");
        let file = folder.path().join("config");
        std::fs::write(&file, format!("{config}\n{text}")).expect("writes");
        let rig = rig_with(file, RUNNER);
        let error = rig.transport.connect(&host("h8")).await.expect_err("is denied");
        let ConnectError::Denied { locked_keys, .. } = &error else { panic!("{error:?}") };
        assert_eq!(locked_keys.as_slice(), std::slice::from_ref(&key));
        assert!(error.fix("h8").starts_with(&format!("ssh-add {}", key.display())), "{}", error.fix("h8"));
        rig.close().await;
    });
}
