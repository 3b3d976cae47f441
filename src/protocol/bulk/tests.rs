//! Two ends over a pipe in memory.

use std::io::Read;

use super::*;

/// Serves `Input { split }` as `split` copies of a pattern, and refuses anything else.
struct Patterns;

fn pattern(copies: u32) -> Vec<u8> {
    (0..copies).flat_map(|copy| copy.to_le_bytes().repeat(1000)).collect()
}

impl Serve for Patterns {
    fn serve(self: Arc<Self>, request: Request, out: Outgoing) -> BoxFuture<'static, Result<(), String>> {
        Box::pin(async move {
            match request {
                Request::Input { split } => {
                    let bytes = io::Cursor::new(pattern(split));
                    out.send_all(bytes).await.map(drop).map_err(|error| error.to_string())
                }
                other => Err(format!("no {other:?} here")),
            }
        })
    }
}

fn pair() -> (Mux, Mux) {
    let (near, far) = tokio::io::duplex(64 << 10);
    let ((near_in, near_out), (far_in, far_out)) = (tokio::io::split(near), tokio::io::split(far));
    (Mux::start(near_in, near_out, Arc::new(Patterns)), Mux::start(far_in, far_out, Arc::new(Patterns)))
}

async fn all(mut incoming: Incoming) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Some(chunk) = incoming.next().await? {
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

#[tokio::test]
async fn both_ends_fetch_at_once_beyond_the_window() {
    let (near, far) = pair();
    let many = (WINDOW * 2 / 4000) as u32;
    let (a, b, c) = tokio::join!(
        all(near.fetch(Request::Input { split: many })),
        all(far.fetch(Request::Input { split: many + 1 })),
        all(near.fetch(Request::Input { split: 0 })),
    );
    assert_eq!(a.expect("arrives"), pattern(many));
    assert_eq!(b.expect("arrives"), pattern(many + 1));
    assert_eq!(c.expect("arrives"), b"");
}

#[tokio::test]
async fn a_refusal_comes_in_words() {
    let (near, _far) = pair();
    let error = all(near.fetch(Request::File { index: 7 })).await.expect_err("refused");
    assert_eq!(error.to_string(), "no File { index: 7 } here");
}

#[tokio::test]
async fn a_reader_that_stands_still_stalls_nobody() {
    let (near, _far) = pair();
    let many = (WINDOW * 3 / 4000) as u32;
    let stalled = near.fetch(Request::Input { split: many });
    let other = all(near.fetch(Request::Input { split: many })).await;
    assert_eq!(other.expect("arrives").len(), pattern(many).len());
    assert_eq!(all(stalled).await.expect("arrives in the end"), pattern(many));
}

#[tokio::test]
async fn a_lost_connection_is_an_error_and_not_an_end() {
    let (near, far) = pair();
    let mut incoming = near.fetch(Request::Input { split: (WINDOW * 4 / 4000) as u32 });
    assert!(incoming.next().await.expect("begins").is_some());
    drop(far);
    let error = all(incoming).await.expect_err("is cut");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
}

#[tokio::test]
async fn threads_read_streams_too() {
    let (near, _far) = pair();
    let mut reader = near.fetch(Request::Input { split: 900 }).into_reader();
    let read = tokio::task::spawn_blocking(move || {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).map(|_| bytes)
    });
    assert_eq!(read.await.expect("no panic").expect("arrives"), pattern(900));
}

#[tokio::test]
async fn a_stream_goes_on_where_another_broke_off() {
    let (near, _far) = pair();
    for skip in [0, 1, 4000, 11_999, 12_000] {
        let rest = all(near.fetch_from(Request::Input { split: 3 }, skip)).await.expect("arrives");
        assert_eq!(rest, pattern(3)[skip as usize..], "{skip}");
    }
}

#[tokio::test]
async fn a_connection_that_is_closed_ends_its_streams() {
    let (near, far) = pair();
    let mut stream = near.fetch(Request::Input { split: 4096 });
    stream.next().await.expect("arrives");
    near.close();
    assert!(near.is_closed());
    let error = all(stream).await.expect_err("was cut");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
    far.closed().await;
}
