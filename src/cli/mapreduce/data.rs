//! Datasets that a job reads or makes: the workers are asked for them before anything is planned.

use crate::dataset::{Name, Pattern};
use crate::datasets::{self, Copies, Stations, View};
use crate::error::Fault;
use crate::fleet::Fleet;
use crate::input::InputFile;
use crate::job::Output;
use crate::shuffle::record::KeyRule;
use crate::transport::{Load, Transport};

/// The scheme of datasets.
pub const DATASET: &str = "fs";
/// The scheme of paths that every worker sees.
pub const SHARED: &str = "shared";

/// What lies on the workers.
pub struct Data {
    stations: Stations,
    view: View,
}

/// The dataset that a word names; none if it names none.
pub fn dataset(word: &str) -> Option<&str> {
    word.split_once(':').filter(|(scheme, _)| *scheme == DATASET).map(|(_, name)| name)
}

impl Data {
    /// Asks all workers at once for the datasets among these words.
    ///
    /// # Errors
    /// A [`Fault`]: a name is none, or no worker answers.
    pub async fn ask(words: &[String], fleet: &Fleet, transport: &Transport) -> Result<Data, Fault> {
        let patterns = words.iter().filter_map(|word| dataset(word)).map(Pattern::new);
        let patterns: Vec<Pattern> = patterns.collect::<Result<_, _>>().map_err(Fault::usage)?;
        let stations = Stations::open(fleet, transport, Load::Words, Copies::Relayed).await?;
        let view = stations.look(&patterns).await;
        Ok(Data { stations, view })
    }

    /// Hosts that did not answer, in words.
    pub fn silent(&self) -> Vec<String> {
        self.view.silent().map(|(host, why)| format!("{host} did not answer: {why}")).collect()
    }

    /// The parts that a name or pattern chooses.
    ///
    /// # Errors
    /// A [`Fault`] of kind `InputMissing` where that is none, of kind `Data` where a part is on no host that answered.
    pub fn files(&self, name: &str) -> Result<Vec<InputFile>, Fault> {
        datasets::input_files(&self.view, &[Pattern::new(name).map_err(Fault::usage)?])
    }

    /// The output of this name.
    ///
    /// # Errors
    /// A [`Fault`]: it is no name, or there is such a dataset.
    pub fn output(&self, name: &str, overwrite: bool) -> Result<Output, Fault> {
        let name: Name = name.parse().map_err(Fault::usage)?;
        let dataset = datasets::plan_output(&self.stations, &self.view, &name, overwrite)?;
        Ok(Output { folder: format!("{DATASET}:{name}").into(), overwrite, dataset: Some(dataset) })
    }

    /// Keys of records near some places of a part.
    ///
    /// # Errors
    /// When no host can tell.
    pub fn sample(&self, file: &InputFile, places: &[u64], key: &KeyRule) -> std::io::Result<Vec<Vec<u8>>> {
        let sample = datasets::sample(&self.stations, file, places, key);
        let sampled = tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(sample));
        sampled.map_err(std::io::Error::other)
    }
}
