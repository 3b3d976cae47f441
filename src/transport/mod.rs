//! Stand-in until the real one is merged.
use crate::fleet::HostSpec;
use crate::ids::*;
use crate::protocol::control::Role;
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
pub struct Transport { pub binary: PathBuf }
pub struct Link { dir: PathBuf, binary: PathBuf, machine: Machine }
pub struct Machine { pub cores: u32 }
pub struct Channel { pub reader: Box<dyn AsyncRead + Send + Unpin>, pub writer: Box<dyn AsyncWrite + Send + Unpin> }
#[derive(Debug, thiserror::Error)]
#[error("no")]
pub struct ConnectError;
impl ConnectError { pub fn fix(&self, _: &str) -> String { String::new() } }
impl Transport {
    pub async fn connect(&self, _h: &HostSpec, _w: WorkerId) -> Result<Link, ConnectError> { Err(ConnectError) }
    pub fn local(&self, _h: &HostSpec) -> Result<Link, ConnectError> {
        Ok(Link { dir: PathBuf::from(format!("/var/tmp/runner-stub-{}", std::process::id())), binary: self.binary.clone(), machine: Machine { cores: 2 } })
    }
    pub async fn close(&self) {}
}
impl Link {
    pub fn machine(&self) -> &Machine { &self.machine }
    pub async fn open(&self, job: &JobId, worker: WorkerId, role: Role, grace: Duration) -> Result<Channel, ConnectError> {
        let dir = self.dir.join("jobs").join(format!("{job}-{worker}"));
        std::fs::create_dir_all(&dir).unwrap();
        if role == Role::Control {
            let log = std::fs::File::create(dir.join("serve.log")).unwrap();
            std::process::Command::new(&self.binary).args(["worker", "serve", "--grace", &grace.as_secs().to_string()]).arg(&dir).stderr(log).stdin(std::process::Stdio::null()).spawn().unwrap();
        }
        loop {
            if let Ok(s) = tokio::net::UnixStream::connect(dir.join("socket")).await {
                let (r, w) = s.into_split();
                return Ok(Channel { reader: Box::new(r), writer: Box::new(w) });
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    pub async fn close(self) {}
}
