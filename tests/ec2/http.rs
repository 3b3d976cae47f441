//! An HTTP server that answers as EC2 would, in the words of whoever starts it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

/// Serves, with a thread for each connection, until the test process ends; gives the URL. A request's body becomes an
/// answer of [`answer`]'s form; without one, the connection breaks.
pub fn start(answers: impl Fn(&str) -> Option<String> + Clone + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let answers = answers.clone();
            // A client that goes away in the middle is part of some tests.
            thread::spawn(move || serve(connection, answers));
        }
    });
    url
}

/// An answer with this status and body.
pub fn answer(status: u16, body: &str) -> String {
    format!(
        "HTTP/1.1 {status} Said\r\nx-amzn-requestid: 11-22\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// EC2's form of an error.
pub fn error(status: u16, code: &str, words: &str) -> String {
    let error = format!("<Error><Code>{code}</Code><Message>{words}</Message></Error>");
    answer(status, &format!("<Response><Errors>{error}</Errors><RequestID>11-22</RequestID></Response>"))
}

fn serve(connection: TcpStream, answers: impl Fn(&str) -> Option<String>) -> std::io::Result<()> {
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
    let mut body = vec![0; body_bytes];
    reader.read_exact(&mut body)?;
    match answers(&String::from_utf8(body).expect("text")) {
        Some(answer) => reader.get_mut().write_all(answer.as_bytes()),
        None => Ok(()),
    }
}
