//! The tables of tasks, by stage: which are ready, and how many are not done.
//!
//! A task's state is changed only by [`Tasks::enter`], which keeps the ordered set of ready tasks and the count of
//! unfinished ones, so that a barrier between stages is a comparison with zero.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::pace::Finished;
use super::task::{Live, State, Task};
use crate::ids::{AttemptId, Stage, TaskId, WorkerId};

/// The tasks of one stage.
#[derive(Debug)]
pub(super) struct StageTable {
    stage: Stage,
    tasks: Vec<Task>,
    /// The largest first, as Hadoop sorts its splits: a large one begun last would be waited for. Then by index.
    ready: BTreeSet<(Reverse<u64>, u32)>,
    /// Of those, in the same order, the ones whose splits a worker has.
    at_home: BTreeMap<WorkerId, BTreeSet<(Reverse<u64>, u32)>>,
    unfinished: u32,
    /// How far the stage is, as recorded.
    pub course: StageCourse,
    /// How fast its finished attempts were.
    pub finished: Finished,
    /// Live attempts that were sent as copies.
    pub copies: u32,
}

/// How far a stage is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StageCourse {
    /// No attempt was sent yet.
    Waiting,
    /// Attempts were sent.
    Begun,
    /// All its tasks are done; a lost worker brings it back.
    Finished,
}

impl StageTable {
    pub fn new(stage: Stage, tasks: impl Iterator<Item = Task>) -> Self {
        let tasks: Vec<Task> = tasks.collect();
        let unfinished = u32::try_from(tasks.len()).expect("tasks are numbered by u32");
        let ready = (0..).zip(&tasks).map(|(index, task)| (Reverse(task.bytes), index)).collect();
        let mut at_home: BTreeMap<WorkerId, BTreeSet<_>> = BTreeMap::new();
        for (index, task) in (0..).zip(&tasks) {
            for home in &task.homes {
                at_home.entry(*home).or_default().insert((Reverse(task.bytes), index));
            }
        }
        StageTable {
            stage,
            tasks,
            ready,
            at_home,
            unfinished,
            course: StageCourse::Waiting,
            finished: Finished::default(),
            copies: 0,
        }
    }

    /// Tasks that are not done.
    pub fn unfinished(&self) -> u32 {
        self.unfinished
    }

    /// All tasks with their names.
    pub fn iter(&self) -> impl Iterator<Item = (TaskId, &Task)> {
        let stage = self.stage;
        (0..).zip(&self.tasks).map(move |(index, task)| (TaskId { stage, index }, task))
    }

    /// Ready tasks in the order in which they are sent.
    pub fn ready(&self) -> impl Iterator<Item = TaskId> {
        self.ready.iter().map(|(_, index)| TaskId { stage: self.stage, index: *index })
    }

    /// Ready tasks whose splits a worker has, in the order in which they are sent.
    pub fn ready_at(&self, home: WorkerId) -> impl Iterator<Item = TaskId> {
        let ready = self.at_home.get(&home).into_iter().flatten();
        ready.map(|(_, index)| TaskId { stage: self.stage, index: *index })
    }

    /// Whether it matters where the tasks run.
    pub fn has_homes(&self) -> bool {
        !self.at_home.is_empty()
    }

    /// How many tasks there are.
    pub fn count(&self) -> usize {
        self.tasks.len()
    }

    /// How many tasks are ready.
    pub fn ready_count(&self) -> usize {
        self.ready.len()
    }

    /// Changes where a task stands.
    fn enter(&mut self, index: u32, state: State) {
        let task = &mut self.tasks[index as usize];
        let was = std::mem::replace(&mut task.state, state);
        let key = (Reverse(task.bytes), index);
        if was == State::Ready {
            self.ready.remove(&key);
        }
        if state == State::Ready {
            self.ready.insert(key);
        }
        for home in &task.homes {
            let here = self.at_home.entry(*home).or_default();
            if state == State::Ready {
                here.insert(key);
            } else {
                here.remove(&key);
            }
        }
        self.unfinished = self.unfinished + u32::from(was.is_done()) - u32::from(state.is_done());
        if self.unfinished > 0 && self.course == StageCourse::Finished {
            self.course = StageCourse::Begun;
        }
    }
}

/// All tasks of the job.
#[derive(Debug)]
pub(super) struct Tasks {
    pub map: StageTable,
    pub reduce: StageTable,
}

impl Tasks {
    pub fn new(maps: Vec<u64>, homes: Vec<Vec<WorkerId>>, reduces: u32) -> Self {
        let homes = homes.into_iter().chain(std::iter::repeat_with(Vec::new));
        let map = maps.into_iter().zip(homes).map(|(bytes, homes)| Task::new(bytes, homes));
        let reduce = (0..reduces).map(|_| Task::new(0, Vec::new()));
        Tasks { map: StageTable::new(Stage::Map, map), reduce: StageTable::new(Stage::Reduce, reduce) }
    }

    pub fn stage(&self, stage: Stage) -> &StageTable {
        match stage {
            Stage::Map => &self.map,
            Stage::Reduce => &self.reduce,
        }
    }

    pub fn stage_mut(&mut self, stage: Stage) -> &mut StageTable {
        match stage {
            Stage::Map => &mut self.map,
            Stage::Reduce => &mut self.reduce,
        }
    }

    /// The stage that writes the output parts.
    pub fn last_stage(&self) -> Stage {
        if self.reduce.tasks.is_empty() { Stage::Map } else { Stage::Reduce }
    }

    /// A task by a name that came from outside.
    pub fn find(&self, id: TaskId) -> Option<&Task> {
        self.stage(id.stage).tasks.get(id.index as usize)
    }

    /// A task by a name of our own.
    pub fn get(&self, id: TaskId) -> &Task {
        &self.stage(id.stage).tasks[id.index as usize]
    }

    /// The same, to be changed; its state is changed by [`Tasks::enter`].
    pub fn get_mut(&mut self, id: TaskId) -> &mut Task {
        &mut self.stage_mut(id.stage).tasks[id.index as usize]
    }

    /// Changes where a task stands.
    pub fn enter(&mut self, id: TaskId, state: State) {
        self.stage_mut(id.stage).enter(id.index, state);
    }

    /// The live attempt of that name on that worker, if there is one: all others are old.
    pub fn find_live(&self, attempt: AttemptId, worker: WorkerId) -> Option<&Live> {
        self.find(attempt.task)?.live.iter().find(|live| live.id == attempt && live.worker == worker)
    }

    /// Whether `attempt` made the segment that reduces read now.
    pub fn holds(&self, attempt: AttemptId) -> Option<WorkerId> {
        match self.find(attempt.task)?.state {
            State::Held { attempt: held, worker } if held == attempt => Some(worker),
            State::Held { .. } | State::Ready | State::Out | State::Committing { .. } | State::Committed { .. } => None,
        }
    }
}
