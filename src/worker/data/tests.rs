//! A data folder as others see it: requests over a pipe in memory.

use std::os::unix::fs::PermissionsExt;
use std::sync::OnceLock;

use futures::future::BoxFuture;
use tempfile::TempDir;
use xxhash_rust::xxh3::xxh3_64;

use super::*;
use crate::dataset::{Digest, Form, Generation, HeldState, Listing, Manifest, Name, Outline, Part, PutId};
use crate::protocol::bulk::Serve;
use crate::protocol::data::{Made, PartId, Verdict, answer};

/// The far end serves a folder; the near end gives `ticket` times the byte 7 as uploads.
struct Rig {
    root: TempDir,
    near: Mux,
}

struct Uploads;

impl Serve for Uploads {
    fn serve(self: Arc<Self>, request: Request, out: Outgoing) -> BoxFuture<'static, Result<(), String>> {
        Box::pin(async move {
            let Request::Data(DataRequest::Upload { ticket }) = request else { return Err("no".to_owned()) };
            let bytes = io::Cursor::new(vec![7; ticket as usize]);
            out.send_all(bytes).await.map(drop).map_err(|error| error.to_string())
        })
    }
}

struct Far {
    folder: Arc<DataFolder>,
    mux: OnceLock<Mux>,
}

impl Serve for Far {
    fn serve(self: Arc<Self>, request: Request, out: Outgoing) -> BoxFuture<'static, Result<(), String>> {
        Box::pin(async move {
            let Request::Data(request) = request else { return Err("no".to_owned()) };
            let mux = self.mux.get().expect("was set").clone();
            serve(Arc::clone(&self.folder), mux, request, out).await.map_err(|error| error.to_string())
        })
    }
}

impl Rig {
    fn new() -> Self {
        let root = tempfile::tempdir().expect("a folder");
        let folder = Arc::new(DataFolder::open(Some(&root.path().join("data"))).expect("opens"));
        let (near, far) = tokio::io::duplex(64 << 10);
        let ((near_in, near_out), (far_in, far_out)) = (tokio::io::split(near), tokio::io::split(far));
        let serves = Arc::new(Far { folder, mux: OnceLock::new() });
        let mux = Mux::start(far_in, far_out, Arc::clone(&serves) as _);
        assert!(serves.mux.set(mux).is_ok());
        Rig { root, near: Mux::start(near_in, near_out, Arc::new(Uploads)) }
    }

    async fn ask<T: serde::de::DeserializeOwned>(&self, request: DataRequest) -> Result<T, DataError> {
        answer(self.near.fetch(Request::Data(request))).await
    }

    async fn read(&self, part: &PartId) -> io::Result<Vec<u8>> {
        let request = DataRequest::Read { part: part.clone(), start: 0, end: u64::MAX };
        let (mut stream, mut bytes) = (self.near.fetch(Request::Data(request)), Vec::new());
        while let Some(more) = stream.next().await? {
            bytes.extend_from_slice(&more);
        }
        Ok(bytes)
    }

    async fn list(&self) -> Listing {
        self.ask(DataRequest::List { patterns: Vec::new() }).await.expect("is listed")
    }

    /// Puts parts of these sizes, and makes them visible.
    async fn put(&self, name: &Name, generation: Generation, sizes: &[u64]) -> Manifest {
        let _none: Vec<(u32, Digest)> =
            self.ask(DataRequest::Begin { name: name.clone(), generation, put: None }).await.expect("begins");
        let mut digests = Vec::new();
        for (index, size) in (0..).zip(sizes) {
            let part = part(name, generation, index);
            digests.push(self.ask::<Digest>(DataRequest::Store { part, ticket: *size }).await.expect("is stored"));
        }
        let parts = sizes.len() as u32;
        self.ask::<()>(DataRequest::Seal { name: name.clone(), generation, parts }).await.expect("is sealed");
        let manifest = manifest(generation, digests);
        let publish = DataRequest::Publish { name: name.clone(), manifest: Box::new(manifest.clone()) };
        self.ask::<()>(publish).await.expect("is published");
        manifest
    }
}

fn part(name: &Name, generation: Generation, index: u32) -> PartId {
    PartId { name: name.clone(), generation, index }
}

fn manifest(generation: Generation, digests: Vec<Digest>) -> Manifest {
    let part = |digest: &Digest| Part { bytes: digest.bytes, hash: digest.hash(), label: None, places: vec![0] };
    let outline = Outline {
        generation,
        form: Form::Lines,
        copies: 1,
        revision: 0,
        hosts: vec!["here".to_owned()],
        parts: digests.iter().map(part).collect(),
    };
    Manifest { outline, blocks: digests.into_iter().map(|digest| digest.blocks).collect() }
}

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

fn generation(wall_ms: u64) -> Generation {
    Generation::after(None, wall_ms, 0)
}

#[tokio::test]
async fn a_generation_is_visible_once_it_is_published() {
    let rig = Rig::new();
    let (data, first) = (name("a b/ü"), generation(5));
    let begin = DataRequest::Begin { name: data.clone(), generation: first, put: Some(PutId(9)) };
    assert_eq!(rig.ask::<Vec<(u32, Digest)>>(begin.clone()).await, Ok(Vec::new()));
    let digest: Digest =
        rig.ask(DataRequest::Store { part: part(&data, first, 1), ticket: 10 }).await.expect("is stored");
    assert_eq!(digest.bytes, 10);
    // Whoever begins again finds what is there.
    assert_eq!(rig.ask::<Vec<(u32, Digest)>>(begin).await, Ok(vec![(1, digest)]));
    let listing = rig.list().await;
    assert_eq!(listing.held[0].state, HeldState::Incomplete { put: Some(PutId(9)) });
    rig.put(&data, first, &[3, 10]).await;
    let listing = rig.list().await;
    assert!(matches!(listing.held[0].state, HeldState::Complete(_)), "{listing:?}");
    assert_eq!(listing.held[0].parts.iter().map(|part| part.bytes).collect::<Vec<_>>(), [3, 10]);
    assert_eq!(rig.read(&part(&data, first, 1)).await.expect("reads"), [7; 10]);
    let mode = fs_err::metadata(rig.root.path().join("data")).expect("is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[tokio::test]
async fn what_is_older_goes_and_a_tombstone_stays() {
    let rig = Rig::new();
    let data = name("data");
    rig.put(&data, generation(1), &[5]).await;
    rig.put(&data, generation(2), &[6]).await;
    let purge = |before| DataRequest::Purge { name: data.clone(), before };
    assert!(rig.ask::<u64>(purge(generation(2))).await.expect("purges") >= 5);
    assert_eq!(rig.list().await.held.len(), 1);
    rig.ask::<()>(DataRequest::Bury { name: data.clone(), generation: generation(3) }).await.expect("buries");
    rig.ask::<u64>(purge(generation(3))).await.expect("purges");
    let held = rig.list().await.held;
    assert_eq!((held.len(), &held[0].state), (1, &HeldState::Tombstone));
}

#[tokio::test]
async fn corrupt_and_short_parts_are_found_and_never_given_out() {
    let rig = Rig::new();
    let (data, first) = (name("data"), generation(1));
    let manifest = rig.put(&data, first, &[10, 20, 30]).await;
    let file = |index: u32| {
        rig.root.path().join("data/data").join(first.to_string()).join(crate::dataset::part_file(index, 3))
    };
    fs_err::write(file(0), [7, 7, 7, 7, 7, 7, 7, 7, 7, 8]).expect("writes");
    fs_err::write(file(1), [7]).expect("writes");
    for index in [0, 1] {
        rig.read(&part(&data, first, index)).await.expect_err("is corrupt");
    }
    let check = DataRequest::Check { name: data.clone(), manifest: Box::new(manifest) };
    let verdicts: Vec<Verdict> = rig.ask(check).await.expect("checks");
    assert_eq!(verdicts.iter().map(|verdict| verdict.wrong.is_some()).collect::<Vec<_>>(), [true, true, false]);
    // A copy that is made again gets the final name at once.
    rig.ask::<Digest>(DataRequest::Store { part: part(&data, first, 0), ticket: 10 }).await.expect("is stored");
    assert_eq!(rig.read(&part(&data, first, 0)).await.expect("reads"), [7; 10]);
}

#[tokio::test]
async fn only_drafts_of_the_generation_become_parts() {
    let rig = Rig::new();
    let (data, first) = (name("data"), generation(1));
    let begin = DataRequest::Begin { name: data.clone(), generation: first, put: None };
    rig.ask::<Vec<(u32, Digest)>>(begin).await.expect("begins");
    fs_err::write(rig.root.path().join("_secret"), "x").expect("writes");
    let made = Made { bytes: 7, hash: xxh3_64(b"output\n") };
    let adopt = |file: &str| DataRequest::Adopt { part: part(&data, first, 0), file: file.to_owned(), made };
    for file in ["../../../_secret", "/etc/passwd", "_none", "part-00000"] {
        rig.ask::<Digest>(adopt(file)).await.expect_err(file);
    }
    let folder = rig.root.path().join("data/data").join(first.to_string());
    fs_err::write(folder.join("_part-00000.reduce-0.0"), "output\n").expect("writes");
    let digest: Digest = rig.ask(adopt("_part-00000.reduce-0.0")).await.expect("is taken");
    assert_eq!(digest.bytes, 7);
    // Asked again, since the answer was lost; but for another attempt's it is not taken.
    assert_eq!(rig.ask::<Digest>(adopt("_part-00000.reduce-0.0")).await.expect("is known again"), digest);
    let other = Made { hash: 1, ..made };
    let adopt =
        DataRequest::Adopt { part: part(&data, first, 0), file: "_part-00000.reduce-0.1".to_owned(), made: other };
    rig.ask::<Digest>(adopt).await.expect_err("is another");
}

#[tokio::test]
async fn of_what_a_driver_left_only_what_is_vouched_for_stays() {
    let rig = Rig::new();
    let (data, first) = (name("data"), generation(1));
    let sift = |expected: &[(u32, Made)]| DataRequest::Sift {
        name: data.clone(),
        generation: first,
        expected: expected.iter().copied().collect(),
    };
    let nothing: Vec<(u32, Digest)> = rig.ask(sift(&[])).await.expect("sifts");
    assert!(nothing.is_empty());
    let begin = DataRequest::Begin { name: data.clone(), generation: first, put: None };
    rig.ask::<Vec<(u32, Digest)>>(begin).await.expect("begins");
    let folder = rig.root.path().join("data/data").join(first.to_string());
    let files =
        ["part-00000", "part-00001-of-00004", "part-00002", "part-00003", ".arriving-x", "_part-00003.reduce-3.0"];
    files.iter().for_each(|file| fs_err::write(folder.join(file), file).expect("writes"));
    let made = |file: &str| Made { bytes: file.len() as u64, hash: xxh3_64(file.as_bytes()) };
    let expected = [(0, made(files[0])), (1, made(files[1])), (2, Made { hash: 1, ..made(files[2]) })];
    let kept: Vec<(u32, Digest)> = rig.ask(sift(&expected)).await.expect("sifts");
    assert_eq!(kept.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [0, 1]);
    let mut left: Vec<_> =
        fs_err::read_dir(&folder).expect("is there").flatten().map(|entry| entry.file_name()).collect();
    left.sort();
    // What an attempt has finished is its worker's.
    assert_eq!(left, ["_part-00003.reduce-3.0", "part-00000", "part-00001-of-00004"]);
}

#[tokio::test]
async fn a_name_is_changed_by_one_at_a_time() {
    let rig = Rig::new();
    let other = DataFolder::open(Some(&rig.root.path().join("data"))).expect("opens");
    let lock = DataRequest::Lock { names: vec![name("data")], who: "process 1".to_owned() };
    rig.ask::<()>(lock).await.expect("is free");
    let refused = tokio::task::spawn_blocking(move || {
        let busy = other.lock(&[name("data")], "process 2").expect_err("is taken");
        other.lock(&[name("another")], "process 2").expect("is free");
        (other.store(), busy.to_string())
    });
    let (store, text) = refused.await.expect("ends");
    assert_eq!(text, "data is being changed by process 1");
    // The folder is the same one, whoever opens it.
    assert_eq!(rig.list().await.store, store);
}
