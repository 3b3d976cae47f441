//! How loaded a host is, and what it is short of.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::units::Bytes;

/// A host at a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostLoad {
    /// The load average of the last minute, in percent of a processor.
    pub load_percent: u32,
    /// The part of it that is not of this user's jobs.
    pub others_percent: u32,
    /// Processors.
    pub cores: u32,
    /// Memory that programs may still take.
    pub memory_free: Bytes,
    /// What is free on the disk of the job's folder.
    pub disk_free: Bytes,
    /// Attempts that could start if other jobs did not have the host's slots,
    pub awaiting_slots: u32,
    /// and the ids of these jobs.
    pub slot_holders: Vec<String>,
}

/// What a host has too little of, so that nothing is started there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shortage {
    /// Of processors: others load it.
    Processors {
        /// The load that is not of this user's jobs, in percent of a processor.
        others_percent: u32,
        /// Processors.
        cores: u32,
    },
    /// Of memory.
    Memory {
        /// What is free.
        free: Bytes,
    },
    /// Of space on its disk.
    Disk {
        /// What is free.
        free: Bytes,
    },
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Shortage::Processors { others_percent, cores } => {
                let load = f64::from(*others_percent) / 100.0;
                write!(f, "others load it with {load:.1} on {cores} cores (worker.load_max)")
            }
            Shortage::Memory { free } => write!(f, "{free} of its memory is free (worker.memory_free_min)"),
            Shortage::Disk { free } => write!(f, "{free} of its disk is free (worker.disk_free_min)"),
        }
    }
}
