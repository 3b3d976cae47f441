//! The address under which this machine is seen from outside, to which alone a cluster opens its ssh.
//!
//! It is asked for over plain HTTP, from a service that answers with nothing else. Whoever could forge the answer could
//! open the port to an address of theirs instead of ours; they would still have to have the key.

use std::net::IpAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::request::Cidr;
use crate::error::{Fault, Kind};

/// An answer of a few bytes from a service that is there.
const TIME_MAX: Duration = Duration::from_secs(10);
const ANSWER_BYTES_MAX: u64 = 16 << 10;

/// Asks a service, by its URL.
///
/// # Errors
/// Usage: no such URL. Cloud: it does not answer, or with something else.
pub async fn address(url: &str) -> Result<Cidr, Fault> {
    let wrong = || Fault::usage(format!("cloud.address_service `{url}`: http://HOST[:PORT][/PATH] is expected"));
    let rest = url.strip_prefix("http://").ok_or_else(wrong)?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let asked = timeout(TIME_MAX, ask(host, path)).await;
    let failed = |why: String| {
        let text = format!(
            "the address of this machine, as seen from outside, is not known: {why}: say it with --from ADDRESS"
        );
        Fault::new(Kind::Cloud, text)
    };
    let answer = match asked {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => return Err(failed(format!("{url}: {error}"))),
        Err(_) => return Err(failed(format!("{url} does not answer"))),
    };
    read(&answer).ok_or_else(|| failed(format!("{url} answers with something else")))
}

async fn ask(host: &str, path: &str) -> std::io::Result<String> {
    let with_port = if host.rsplit(':').next().is_some_and(|port| port.parse::<u16>().is_ok()) {
        host.to_owned()
    } else {
        format!("{host}:80")
    };
    let mut stream = TcpStream::connect(with_port).await?;
    stream.write_all(format!("GET /{path} HTTP/1.0\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn read(answer: &str) -> Option<Cidr> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split_whitespace().nth(1)?;
    let address: IpAddr = body.trim().parse().ok()?;
    (status == "200" && !address.is_unspecified()).then(|| Cidr::one(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_address_is_an_answer() {
        let check = |answer: &str, range: Option<&str>| {
            assert_eq!(read(answer).map(|range| range.to_string()).as_deref(), range, "{answer:?}");
        };
        check("HTTP/1.1 200 OK\r\nA: b\r\n\r\n203.0.113.7\n", Some("203.0.113.7/32"));
        check("HTTP/1.1 200 OK\r\n\r\n2001:db8::7", Some("2001:db8::7/128"));
        check("HTTP/1.1 302 Found\r\n\r\n203.0.113.7\n", None);
        check("HTTP/1.1 200 OK\r\n\r\n<html>", None);
        check("HTTP/1.1 200 OK\r\n\r\n0.0.0.0", None);
        check("", None);
    }

    #[tokio::test]
    async fn who_does_not_answer_is_named_with_the_way_out() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        drop(listener);
        let fault = address(&url).await.expect_err("nobody listens");
        assert_eq!(fault.kind, Kind::Cloud);
        assert!(fault.text.contains(&url) && fault.text.ends_with("say it with --from ADDRESS"), "{fault}");
        assert_eq!(address("checkip").await.expect_err("no URL").kind, Kind::Usage);
    }
}
