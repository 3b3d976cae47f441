//! What all attempts of a worker share.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tokio::sync::{Semaphore, watch};

use super::data::DataFolder;
use super::leases::Leases;
use super::link::Link;
use super::memory;
use super::owner::Owner;
use super::part::Durability;
use super::peers::Roads;
use super::scratch::Scratch;
use super::watch::Bounds;
use crate::ids::{AttemptId, TaskId, WorkerId};
use crate::job::Job;
use crate::protocol::bulk::Mux;
use crate::protocol::control::{Assignment, SegmentNews, SegmentPlace};
use crate::protocol::peer::Role;
use crate::shuffle::policy::Compressor;
use crate::shuffle::segment::SegmentIndex;
use crate::units::Bytes;

/// The job on this worker.
pub struct Context {
    /// What the driver said.
    pub assignment: Assignment,
    /// Where files go.
    pub scratch: Scratch,
    /// How many attempts run at once: what the driver asked for, as far as the owner of the host lends it.
    pub slots_granted: u32,
    /// One permit a slot.
    pub slots: Arc<Semaphore>,
    /// The same slots, as they are shared with other jobs.
    pub leases: Arc<Leases>,
    /// What holds for each attempt.
    pub bounds: Bounds,
    /// Memory of one attempt for sorting and tables, in bytes.
    pub memory: usize,
    /// The driver's end of the bulk connection, once there is one.
    pub bulk: watch::Receiver<Option<Mux>>,
    /// What decides whether segments are compressed,
    pub compressor: Compressor,
    /// for which what comes over the network is measured.
    pub link: Arc<Link>,
    /// The ways to other workers, where they may be gone.
    pub roads: Option<Roads>,
    /// The data folder, once it was needed.
    data: OnceLock<Arc<DataFolder>>,
    /// Where output parts go that become a dataset.
    output_data: OnceLock<PathBuf>,
    /// Segments of finished attempts here.
    segments: RwLock<HashMap<AttemptId, Arc<SegmentIndex>>>,
    /// Who holds the segment of each map.
    places: RwLock<HashMap<TaskId, (AttemptId, WorkerId)>>,
    /// Wakes whoever waits for a segment.
    published: watch::Sender<()>,
}

/// The memory for sorting is half of what there is, shared by the slots: the commands need the other. It is bounded so that neither a small host is exhausted nor a large one filled with what the
/// page cache does as well.
const MEMORY_MIN: u64 = 32 << 20;
const MEMORY_MAX: u64 = 512 << 20;

impl Context {
    /// The context of an assignment.
    pub fn new(assignment: Assignment, scratch: Scratch, bulk: watch::Receiver<Option<Mux>>, owner: &Owner) -> Self {
        let slots = owner.slots(assignment.slots);
        let limits = &assignment.job.limits;
        let bounds = Bounds {
            job: limits.processes,
            lent_memory: owner.memory.map(|memory| Bytes(memory.0 / u64::from(slots))),
            silence_max: limits.silence_max,
        };
        let memory = limits.sort_memory.unwrap_or_else(|| {
            let share =
                memory::available(assignment.memory.into_iter().chain(owner.memory).min()).0 / 2 / u64::from(slots);
            Bytes(share.clamp(MEMORY_MIN, MEMORY_MAX))
        });
        let access = assignment.peers.clone();
        let road =
            |access| Roads::new(Role::Segments, assignment.id.clone(), assignment.worker, access, scratch.root());
        let compressor = Compressor::new(assignment.compression, assignment.travel);
        Context {
            leases: Leases::join(&scratch.slots(), &scratch.name(), assignment.id.as_str(), slots, owner.slots),
            slots_granted: slots,
            slots: Arc::new(Semaphore::new(slots as usize)),
            bounds,
            memory: memory.as_usize(),
            roads: access.map(road),
            link: Arc::new(Link::new(compressor.clone())),
            compressor,
            assignment,
            scratch,
            data: OnceLock::new(),
            output_data: OnceLock::new(),
            bulk,
            segments: RwLock::default(),
            places: RwLock::default(),
            published: watch::Sender::default(),
        }
    }

    /// The job.
    pub fn job(&self) -> &Job {
        &self.assignment.job
    }

    /// The data folder of this host.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn data(&self) -> io::Result<Arc<DataFolder>> {
        if let Some(folder) = self.data.get() {
            return Ok(Arc::clone(folder));
        }
        let folder = Arc::new(DataFolder::open(self.assignment.data.as_deref())?);
        // Another one may have been faster; locks are held by the one that stays.
        Ok(Arc::clone(self.data.get_or_init(|| folder)))
    }

    /// Makes the folder for output parts that become a dataset.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn make_output(&self) -> io::Result<()> {
        if let Some((name, generation)) = &self.assignment.output_data {
            let _made_before = self.output_data.set(self.data()?.make(name, *generation)?);
        }
        Ok(())
    }

    /// Removes what was made of a dataset, unless it may be complete.
    pub fn abandon_output(&self) {
        if let (Some((name, generation)), Some(_)) = (&self.assignment.output_data, self.output_data.get())
            && let Ok(folder) = self.data()
            && let Err(error) = super::data::abandon(&folder, name, *generation)
        {
            eprintln!("parts of an output that is not complete remain: {error}");
        }
    }

    /// The connection to the driver; waits for one that is whole.
    ///
    /// # Errors
    /// When the worker ends before there is one.
    pub async fn mux(&self) -> Result<Mux, String> {
        let mut bulk = self.bulk.clone();
        let whole = |mux: &Option<Mux>| mux.as_ref().is_some_and(|mux| !mux.is_closed());
        let mux = bulk.wait_for(whole).await.map_err(|_closed| "the worker ends".to_owned())?;
        mux.clone().ok_or_else(|| "the driver is gone".to_owned())
    }

    /// A part that the driver will fetch need not survive this machine.
    pub fn durability(&self) -> Durability {
        let stays = self.assignment.output_here.is_some() || self.assignment.output_data.is_some();
        if stays { Durability::Synced } else { Durability::Cached }
    }

    /// Keeps the index of a finished segment.
    pub fn add_segment(&self, attempt: AttemptId, index: Arc<SegmentIndex>) {
        write(&self.segments).insert(attempt, index);
    }

    /// The index of a segment that is here.
    pub fn segment(&self, attempt: AttemptId) -> Option<Arc<SegmentIndex>> {
        read(&self.segments).get(&attempt).cloned()
    }

    /// Forgets a segment.
    pub fn drop_segment(&self, attempt: AttemptId) {
        write(&self.segments).remove(&attempt);
    }

    /// Learns where segments of maps are.
    pub fn publish(&self, news: &[SegmentNews]) {
        let mut places = write(&self.places);
        for news in news {
            match news {
                SegmentNews::Made(SegmentPlace { map, holder }) => places.insert(map.task, (*map, *holder)),
                SegmentNews::Gone(task) => places.remove(task),
            };
        }
        drop(places);
        self.published.send_replace(());
    }

    /// Changes when something was published.
    pub fn published(&self) -> watch::Receiver<()> {
        self.published.subscribe()
    }

    /// Where the segments of those of these maps are that were published.
    pub fn places(&self, maps: impl Iterator<Item = TaskId>) -> Vec<(AttemptId, WorkerId)> {
        let places = read(&self.places);
        maps.filter_map(|task| places.get(&task).copied()).collect()
    }

    /// What every command of the job sees, in Hadoop Streaming's names.
    pub fn environment(&self) -> Vec<(OsString, OsString)> {
        let job = self.job();
        let ours = [
            ("mapreduce_job_id", self.assignment.id.to_string()),
            ("mapreduce_job_name", job.name.clone()),
            ("mapreduce_job_reduces", job.reduces().to_string()),
        ];
        let ours = ours.into_iter().map(|(name, value)| (name.into(), value.into()));
        ours.chain(job.env.iter().map(|(name, value)| (name.into(), value.into()))).collect()
    }

    /// Where the part of an attempt is written.
    pub fn part(&self, attempt: AttemptId) -> PathBuf {
        match self.output_data.get().or(self.assignment.output_here.as_ref()) {
            Some(output) => super::scratch::part_in(output, attempt),
            None => self.scratch.attempt(attempt).part(),
        }
    }
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(std::sync::PoisonError::into_inner)
}
