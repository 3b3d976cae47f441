//! What an instance is told at its first boot, in cloud-init's words: its host key, and when to end itself.
//!
//! The host key is made here so that we know it before the first connection. Every process on the instance can read
//! user data, hence [`super::welcome`] replaces the key after the first login. Nothing secret but this key stands here.
//!
//! The end is a matter of two files: one that whoever uses the machine touches, and a timer that powers it off when
//! nobody did for too long. Powering off terminates, because the instance is launched so. Both files are on disk, hence a
//! reboot gives no reprieve, and the file's time is all there is to it, so that no half-written deadline can end a job.

use std::fmt::Write as _;
use std::time::Duration;

use super::keys::KeyPair;
use crate::worker::in_use::LAST_USED;

/// The text for the user data of a launch.
pub fn text(host_key: &KeyPair, ttl: Option<Duration>) -> String {
    let mut text = String::from("#cloud-config\nssh_deletekeys: true\nssh_keys:\n  ed25519_private: |\n");
    push_indented(&mut text, "    ", &host_key.private);
    text.push_str("  ed25519_public: ");
    text.push_str(host_key.public.trim());
    text.push('\n');
    if let Some(ttl) = ttl {
        // The earliest moment there is, and before anything that could fail or wait for a network.
        text.push_str("bootcmd:\n  - |\n");
        push_indented(&mut text, "    ", &script(ttl));
    }
    text
}

fn push_indented(text: &mut String, indent: &str, lines: &str) {
    for line in lines.lines() {
        let _infallible = writeln!(text, "{indent}{line}");
    }
}

/// Run at every boot: makes the timer, and starts the clock if it was never started.
fn script(ttl: Duration) -> String {
    let folder = LAST_USED.rsplit_once('/').map_or("/", |(folder, _)| folder);
    let seconds = ttl.as_secs();
    format!(
        "(
mkdir -p {folder} /usr/local/sbin
[ -e {LAST_USED} ] || : >{LAST_USED}
# Whoever may log in may say that the machine is used.
chmod 0666 {LAST_USED}
cat >/usr/local/sbin/runner-ttl <<'END'
#!/bin/sh
# Ends this machine when nobody used it for {seconds} s; runner's workers touch {LAST_USED}.
used=$(stat -c %Y {LAST_USED} 2>/dev/null || echo 0)
[ $(($(date +%s) - used)) -lt {seconds} ] || systemctl poweroff
END
chmod 0755 /usr/local/sbin/runner-ttl
cat >/etc/systemd/system/runner-ttl.service <<'END'
[Unit]
Description=Ends this machine when nobody used it for {seconds} s
[Service]
Type=oneshot
ExecStart=/usr/local/sbin/runner-ttl
END
cat >/etc/systemd/system/runner-ttl.timer <<'END'
[Unit]
Description=Looks whether this machine is still used
[Timer]
OnBootSec=1min
OnUnitActiveSec=1min
[Install]
WantedBy=timers.target
END
systemctl daemon-reload
systemctl enable --now --no-block runner-ttl.timer
)"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> KeyPair {
        KeyPair {
            private: "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n".into(),
            public: "ssh-ed25519 AAAAC3 runner\n".into(),
        }
    }

    #[test]
    fn the_host_key_and_the_timer_are_in_it() {
        let text = text(&key(), Some(Duration::from_secs(14_400)));
        let start = "#cloud-config\nssh_deletekeys: true\nssh_keys:\n  ed25519_private: |\n    -----BEGIN OPENSSH PRIVATE \
            KEY-----\n    AAAA\n    -----END OPENSSH PRIVATE KEY-----\n  ed25519_public: ssh-ed25519 AAAAC3 runner\n\
            bootcmd:\n  - |\n    (\n    mkdir -p /var/lib/runner /usr/local/sbin\n";
        assert!(text.starts_with(start), "{text}");
        assert!(text.contains("-lt 14400 ] || systemctl poweroff\n"), "{text}");
        assert!(text.len() < 16 << 10, "EC2 takes no more");
    }

    #[test]
    fn without_a_ttl_there_is_no_timer() {
        assert!(text(&key(), None).ends_with("ed25519_public: ssh-ed25519 AAAAC3 runner\n"));
    }

    #[test]
    fn shells_understand_the_script() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs_err::write(file.path(), script(Duration::from_secs(60))).expect("writes");
        for shell in ["sh", "bash"] {
            let done = std::process::Command::new(shell).arg("-n").arg(file.path()).output().expect("runs");
            assert!(done.status.success(), "{shell}: {}", String::from_utf8_lossy(&done.stderr));
        }
    }
}
