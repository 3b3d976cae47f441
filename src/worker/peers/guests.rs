//! Other workers that have come in: each may ask for what its role names, and nothing else.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::net::{UnixListener, UnixStream};
use tokio::time::{sleep, timeout};

use super::handover;
use crate::protocol::bulk::{Mux, Outgoing, Request, Serve};
use crate::protocol::control::Welcome;
use crate::protocol::data::DataRequest;
use crate::protocol::frames;
use crate::protocol::peer::{Hello, Role};

/// How long a caller may take to say who it is.
const HELLO_MAX: Duration = Duration::from_secs(20);

/// A pause after the kernel refused us a connection, as when descriptors are short.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Lets workers in for as long as this is polled; `answers` is what they may ask.
pub async fn receive(listener: UnixListener, build: String, answers: Arc<dyn Serve>) {
    loop {
        match listener.accept().await {
            Ok((socket, _)) => {
                let (build, answers) = (build.clone(), Arc::clone(&answers));
                // A caller that does not belong here has been told so.
                tokio::spawn(async move { entertain(socket, &build, answers).await });
            }
            Err(_) => sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn entertain(mut socket: UnixStream, build: &str, answers: Arc<dyn Serve>) -> io::Result<()> {
    let introduction = async {
        let streams = handover::take(&socket).await?;
        let hello: Hello = frames::read_one(&mut socket).await?;
        io::Result::Ok((streams, hello))
    };
    let ((input, mut output), hello) = timeout(HELLO_MAX, introduction).await??;
    let welcome = match hello.build == build {
        true => Welcome::Accepted,
        false => Welcome::Refused(format!("the worker is of build {build}, the caller of {}", hello.build)),
    };
    frames::write_one(&mut output, &welcome).await?;
    if welcome == Welcome::Accepted {
        Mux::start(input, output, Arc::new(Guest { role: hello.role, answers })).closed().await;
    }
    Ok(())
}

/// What one guest sees of us.
struct Guest {
    role: Role,
    answers: Arc<dyn Serve>,
}

impl Guest {
    fn may_ask(&self, request: &Request) -> bool {
        match self.role {
            Role::Segments => matches!(request, Request::Segments { .. }),
            Role::Copies => matches!(request, Request::Data(DataRequest::Read { .. })),
        }
    }
}

impl Serve for Guest {
    fn serve(self: Arc<Self>, request: Request, out: Outgoing) -> BoxFuture<'static, Result<(), String>> {
        if self.may_ask(&request) {
            return Arc::clone(&self.answers).serve(request, out);
        }
        Box::pin(async { Err("a worker gets no more than its role names".to_owned()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::Generation;
    use crate::ids::WorkerId;
    use crate::protocol::data::PartId;
    use std::os::fd::AsFd;

    struct Echo;

    impl Serve for Echo {
        fn serve(self: Arc<Self>, request: Request, mut out: Outgoing) -> BoxFuture<'static, Result<(), String>> {
            Box::pin(async move {
                let text = format!("{request:?}");
                out.send(text.as_bytes()).await.map_err(|error| error.to_string())
            })
        }
    }

    /// Knocks as the entrance does, and gives what comes of it.
    async fn knock(socket: &std::path::Path, build: &str, role: Role) -> (Welcome, Mux) {
        let mut door = UnixStream::connect(socket).await.expect("connects");
        let (mut ours, theirs) = UnixStream::pair().expect("a pair");
        handover::give(&door, theirs.as_fd(), theirs.as_fd()).expect("gives");
        let hello = Hello {
            build: build.to_owned(),
            job: "job-1".parse().expect("an id"),
            worker: WorkerId(1),
            folder: "/f".into(),
            role,
        };
        frames::write_one(&mut door, &hello).await.expect("writes");
        let welcome = frames::read_one(&mut ours).await.expect("an answer");
        let (input, output) = ours.into_split();
        // The socket must live as long as the connection.
        tokio::spawn(async move { door.readable().await });
        (welcome, Mux::start(input, output, Arc::new(Echo)))
    }

    #[tokio::test]
    async fn guests_get_what_their_role_names() {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = folder.path().join("s");
        let listener = UnixListener::bind(&socket).expect("binds");
        tokio::spawn(receive(listener, "b".to_owned(), Arc::new(Echo)));
        let (welcome, mux) = knock(&socket, "b", Role::Segments).await;
        assert_eq!(welcome, Welcome::Accepted);
        let mut segments = mux.fetch(Request::Segments { holder: WorkerId(1), pieces: Vec::new() });
        assert!(segments.next().await.expect("is served").is_some());
        let attempt = crate::ids::AttemptId { task: crate::ids::TaskId::map(0), epoch: Default::default(), number: 0 };
        for request in [Request::Output { attempt }, Request::Stderr { attempt }, Request::Input { split: 0 }] {
            let error = mux.fetch(request).next().await.expect_err("is refused").to_string();
            assert!(error.contains("no more than its role"), "{error}");
        }
        let (_, copies) = knock(&socket, "b", Role::Copies).await;
        let part = PartId { name: "x".parse().expect("a name"), generation: Generation::after(None, 1, 1), index: 0 };
        let read = DataRequest::Read { part, start: 0, end: 1 };
        assert!(copies.fetch(Request::Data(read)).next().await.expect("is served").is_some());
        let list = Request::Data(DataRequest::List { patterns: Vec::new() });
        for request in [list, Request::Segments { holder: WorkerId(1), pieces: Vec::new() }] {
            copies.fetch(request).next().await.expect_err("is refused");
        }
        let (welcome, _) = knock(&socket, "c", Role::Segments).await;
        assert_eq!(welcome, Welcome::Refused("the worker is of build b, the caller of c".to_owned()));
    }
}
