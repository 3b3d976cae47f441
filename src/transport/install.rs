//! Our binary on a machine that does not have it: streamed once, checked, renamed into place by `install.sh`.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::io::AsyncWriteExt;
use tokio::sync::{Mutex, OnceCell};
use xxhash_rust::xxh3::xxh3_64;

use super::error::ConnectError;
use super::probe::Probed;
use super::shell::{Site, words_or};

/// The binaries that there are to install, read and compressed once for all hosts.
#[derive(Debug)]
pub(super) struct Binaries {
    own: PathBuf,
    by_arch: BTreeMap<String, PathBuf>,
    packed: Mutex<HashMap<PathBuf, Arc<OnceCell<Packed>>>>,
}

/// A binary ready to be sent.
#[derive(Clone, Debug)]
struct Packed {
    plain: Bytes,
    gzip: Bytes,
    hash: String,
}

impl Binaries {
    pub(super) fn new(own: PathBuf, by_arch: BTreeMap<String, PathBuf>) -> Self {
        Binaries { own, by_arch, packed: Mutex::default() }
    }

    /// Puts the binary where the probe found a place; gives its path there. Others may do the same at once, also to the
    /// same file by way of a shared home.
    ///
    /// # Errors
    /// No binary for that architecture; its disk is full; it does not run there; the connection was lost.
    pub(super) async fn install(&self, site: &Site, build: &str, probed: &Probed) -> Result<(), ConnectError> {
        let packed = self.packed(self.path_for(&probed.machine.arch)?).await?;
        let (unpack, bytes) = match probed.machine.has_gzip {
            true => ("gzip -dc", packed.gzip),
            false => ("cat", packed.plain),
        };
        let folder = probed.folder.to_string_lossy();
        let name = format!("runner.{:016x}", super::random());
        let build = build_folder(build, &probed.machine.arch);
        let variables = [
            ("folder", folder.as_ref()),
            ("build", build.as_str()),
            ("name", name.as_str()),
            ("hash", packed.hash.as_str()),
            ("unpack", unpack),
        ];
        let mut running = site.script(&variables, include_str!("install.sh")).await?;
        if let Some(stdin) = &mut running.stdin {
            // Where that fails, the answer says why.
            let _ = async {
                stdin.write_all(&bytes).await?;
                stdin.shutdown().await
            }
            .await;
        }
        drop(running.stdin.take());
        let mut answer = String::new();
        let read = tokio::io::AsyncReadExt::read_to_string(&mut running.stdout, &mut answer).await;
        let words = running.stderr.end().await;
        match (answer.trim().split_once('='), read) {
            (Some(("installed", hash)), Ok(_)) if hash == packed.hash => Ok(()),
            (answer, _) => Err(failure(answer.map(|(_, got)| got), &words, &probed.folder)),
        }
    }

    fn path_for(&self, arch: &str) -> Result<&Path, ConnectError> {
        let ours = super::probe::arch(std::env::consts::ARCH);
        match self.by_arch.get(arch) {
            Some(path) => Ok(path),
            None if arch == ours => Ok(&self.own),
            None => Err(ConnectError::OtherArchitecture { arch: arch.to_owned(), ours: ours.to_owned() }),
        }
    }

    async fn packed(&self, path: &Path) -> Result<Packed, ConnectError> {
        let cell = Arc::clone(self.packed.lock().await.entry(path.to_owned()).or_default());
        let path = path.to_owned();
        let pack = || async {
            tokio::task::spawn_blocking(move || pack(&path).map_err(ConnectError::here))
                .await
                .unwrap_or_else(|error| Err(ConnectError::here(error)))
        };
        cell.get_or_try_init(pack).await.cloned()
    }
}

/// The folder of a build: by architecture too, since a home may be shared by machines of several.
pub(super) fn build_folder(build: &str, arch: &str) -> String {
    format!("{build}-{arch}")
}

fn pack(path: &Path) -> std::io::Result<Packed> {
    let plain = Bytes::from(fs_err::read(path)?);
    // The lightest compression: the heaviest saves a tenth and takes ten times as long.
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(&plain)?;
    let hash = format!("{:016x}", xxh3_64(&plain));
    Ok(Packed { gzip: Bytes::from(gzip.finish()?), plain, hash })
}

fn failure(got: Option<&str>, words: &str, folder: &Path) -> ConnectError {
    if words.contains("No space left") || words.contains("quota exceeded") {
        return ConnectError::DiskFull { folder: folder.to_owned() };
    }
    let text = match got {
        Some("") => format!("it does not run there: {}", words_or(words, "it says nothing")),
        Some(got) => format!("it was not the same there (its hash is {got})"),
        None => words_or(words, "the connection was lost meanwhile"),
    };
    ConnectError::Install { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_architecture_needs_a_binary_of_its_own() {
        let binaries = Binaries::new("/own".into(), BTreeMap::from([("riscv64".to_owned(), "/riscv".into())]));
        let ours = super::super::probe::arch(std::env::consts::ARCH);
        assert_eq!(binaries.path_for(ours), Ok(Path::new("/own")));
        assert_eq!(binaries.path_for("riscv64"), Ok(Path::new("/riscv")));
        let error = binaries.path_for("s390x").expect_err("there is none");
        assert!(error.fix("h").contains("[worker.binaries]"), "{}", error.fix("h"));
    }

    #[test]
    fn failures_are_told_apart() {
        let folder = Path::new("/f");
        let check = |got, words: &str, text: &str| assert_eq!(failure(got, words, folder).to_string(), text);
        check(None, "gzip: stdout: No space left on device", "no space left on the disk of /f");
        check(
            Some(""),
            "sh: Exec format error",
            "our binary could not be installed: it does not run there: sh: Exec format error",
        );
        check(Some("12"), "", "our binary could not be installed: it was not the same there (its hash is 12)");
        check(None, "", "our binary could not be installed: the connection was lost meanwhile");
    }
}
