//! An HTTP server with its answers prepared: the next one for each request, the last one again and again.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

/// A server; its thread ends with the test process.
pub struct Server {
    /// Where it listens: `http://127.0.0.1:PORT`.
    pub url: String,
}

/// Serves these answers; without any, the port is free again and refuses.
pub fn start(answers: Vec<String>) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    if let Some(last) = answers.last().cloned() {
        thread::spawn(move || {
            let mut answers = answers.into_iter();
            for connection in listener.incoming().flatten() {
                let answer = answers.next().unwrap_or_else(|| last.clone());
                serve(connection, &answer).expect("the client stays until it is answered");
            }
        });
    }
    Server { url }
}

/// An answer with this status and body.
pub fn answer(status: u16, body: &str) -> String {
    format!(
        "HTTP/1.1 {status} Said\r\nx-amzn-requestid: 11-22\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// EC2's form of an error.
pub fn error(status: u16, code: &str) -> String {
    let error = format!("<Error><Code>{code}</Code><Message>what EC2 says.</Message></Error>");
    answer(status, &format!("<Response><Errors>{error}</Errors><RequestID>11-22</RequestID></Response>"))
}

/// EC2's list of instances in these states, whatever was asked for.
pub fn instances(states: &[&str]) -> String {
    let item = |state: &&str| {
        format!(
            "<item><instancesSet><item><instanceId>i-1</instanceId><instanceState><name>{state}</name></instanceState>\
             <privateIpAddress>10.0.0.1</privateIpAddress></item></instancesSet></item>"
        )
    };
    let items: String = states.iter().map(item).collect();
    answer(
        200,
        &format!("<DescribeInstancesResponse><reservationSet>{items}</reservationSet></DescribeInstancesResponse>"),
    )
}

fn serve(connection: TcpStream, answer: &str) -> std::io::Result<()> {
    let mut reader = BufReader::new(connection);
    let mut body_bytes = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            body_bytes = value.trim().parse().expect("a number");
        }
    }
    reader.read_exact(&mut vec![0; body_bytes])?;
    reader.get_mut().write_all(answer.as_bytes())
}
