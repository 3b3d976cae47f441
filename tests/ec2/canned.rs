//! An EC2 with its answers prepared: the next one for each request, the last one again and again.

use std::sync::{Arc, Mutex};

use crate::http::{self, answer};

/// Serves these answers; gives the URL.
pub fn start(answers: Vec<String>) -> String {
    let last = answers.last().cloned();
    let answers = Arc::new(Mutex::new(answers.into_iter()));
    http::start(move |_| answers.lock().expect("is free").next().or_else(|| last.clone()))
}

/// A URL at which nobody listens.
pub fn nobody() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    format!("http://{}", listener.local_addr().expect("an address"))
}

/// EC2's form of an error.
pub fn error(status: u16, code: &str) -> String {
    http::error(status, code, "what EC2 says.")
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
