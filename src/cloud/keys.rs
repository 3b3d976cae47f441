//! Key pairs, made by `ssh-keygen`, which is where ssh is.

use std::path::Path;
use std::process::Stdio;

use anyhow::Context;
use tokio::process::Command;

/// An ed25519 key as text.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyPair {
    /// In OpenSSH's own format, without a passphrase.
    pub private: String,
    /// `ssh-ed25519 AAAA… comment`.
    pub public: String,
}

impl KeyPair {
    /// Makes one as the files `path` (0600) and `path.pub`; what is there already stays, and is read.
    ///
    /// # Errors
    /// When `ssh-keygen` is missing or the files cannot be written or read.
    pub async fn make(path: &Path, comment: &str) -> anyhow::Result<KeyPair> {
        if !path.exists() {
            generate(path, comment).await?;
        }
        KeyPair::read(path)
    }

    /// Reads `path` and `path.pub`.
    ///
    /// # Errors
    /// When one of them cannot be read.
    pub fn read(path: &Path) -> anyhow::Result<KeyPair> {
        let public = fs_err::read_to_string(path.with_extension("pub"))?;
        Ok(KeyPair { private: fs_err::read_to_string(path)?, public })
    }
}

/// The public half of a user's own key: of `FILE.pub`, else out of the private one.
///
/// # Errors
/// When it is no key, or has a passphrase and no `FILE.pub` beside it.
pub async fn public_half(private: &Path) -> anyhow::Result<String> {
    let mut beside = private.as_os_str().to_owned();
    beside.push(".pub");
    if let Ok(text) = fs_err::read_to_string(Path::new(&beside)) {
        return Ok(text.trim().to_owned());
    }
    let output = Command::new("ssh-keygen")
        .args(["-y", "-P", "", "-f"])
        .arg(private)
        .stdin(Stdio::null())
        .output()
        .await
        .context("ssh-keygen cannot be started")?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    anyhow::ensure!(
        output.status.success(),
        "no public key {} and none from the key itself: {said}",
        Path::new(&beside).display()
    );
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Under a name of its own first, so that a key that is there is a whole one.
async fn generate(path: &Path, comment: &str) -> anyhow::Result<()> {
    let folder = tempfile::tempdir_in(path.parent().unwrap_or(Path::new(".")))?;
    let new = folder.path().join("key");
    let output = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", comment, "-f"])
        .arg(&new)
        .stdin(Stdio::null())
        .output()
        .await
        .context("ssh-keygen cannot be started")?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    anyhow::ensure!(output.status.success(), "ssh-keygen makes no key: {said}");
    fs_err::rename(new.with_extension("pub"), path.with_extension("pub"))?;
    fs_err::rename(new, path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[tokio::test]
    async fn a_key_is_made_once_and_for_us_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("host_key");
        let key = KeyPair::make(&path, "runner").await.expect("a key");
        assert!(key.private.starts_with("-----BEGIN OPENSSH PRIVATE KEY-----\n"));
        assert!(key.public.starts_with("ssh-ed25519 AAAA") && key.public.ends_with(" runner\n"));
        assert_eq!(fs_err::metadata(&path).expect("is there").permissions().mode() & 0o777, 0o600);
        assert!(KeyPair::make(&path, "other").await.expect("a key") == key);
        assert_eq!(fs_err::read_dir(folder.path()).expect("lists").count(), 2);
    }

    #[tokio::test]
    async fn the_public_half_of_a_key_is_found() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("id");
        let key = KeyPair::make(&path, "mine").await.expect("a key");
        assert_eq!(public_half(&path).await.expect("a key"), key.public.trim());
        fs_err::remove_file(path.with_extension("pub")).expect("is there");
        assert_eq!(public_half(&path).await.expect("a key"), key.public.trim());
        assert!(public_half(&folder.path().join("none")).await.is_err());
    }
}
