//! moto's server, one for each test: its instances are nobody else's.
#![allow(dead_code, reason = "each test binary uses a part of this")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::thread;

/// A server that ends with this value.
pub struct Moto {
    /// Where it listens: `http://127.0.0.1:PORT`.
    pub url: String,
    server: Child,
}

/// Starts a server on a port that the system chooses; installs moto where it is missing. None, said on stderr, where it
/// cannot be installed.
pub fn start() -> Option<Moto> {
    let found = Command::new("scripts/moto").stderr(Stdio::inherit()).output().expect("scripts/moto runs");
    if !found.status.success() {
        // Written past the capture of the test harness, so that it is seen.
        let name = thread::current().name().unwrap_or_default().to_owned();
        let _ = writeln!(std::io::stderr(), "\nSKIPPED: {name}: moto cannot be installed here");
        return None;
    }
    let program = String::from_utf8(found.stdout).expect("a path");
    let server = Command::new(program.trim())
        .args(["-H", "127.0.0.1", "-p", "0"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("moto starts");
    let mut moto = Moto { url: String::new(), server };
    let mut lines = BufReader::new(moto.server.stderr.take().expect("a pipe")).lines().map_while(Result::ok);
    moto.url = lines
        .find_map(|line| line.split_once("Running on ").map(|(_, url)| url.trim().to_owned()))
        .expect("moto says where it listens");
    // It writes a line for each request and must never wait for a reader.
    thread::spawn(move || lines.for_each(drop));
    Some(moto)
}

impl Moto {
    /// From now on nobody is known: every key is refused.
    pub fn demand_credentials(&self) {
        let address = self.url.trim_start_matches("http://");
        let mut connection = TcpStream::connect(address).expect("connects");
        let request = format!(
            "POST /moto-api/reset-auth HTTP/1.1\r\nHost: {address}\r\nContent-Length: 1\r\nConnection: close\r\n\r\n0"
        );
        connection.write_all(request.as_bytes()).expect("writes");
        let mut answer = String::new();
        connection.read_to_string(&mut answer).expect("reads");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
