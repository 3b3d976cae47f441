//! Which datasets and parts are meant.

use super::view::{Dataset, View};
use crate::dataset::Pattern;
use crate::error::{Fault, Kind, did_you_mean};

/// A dataset, or some of its parts.
#[derive(Clone, Debug)]
pub struct Selected {
    /// Which.
    pub dataset: Dataset,
    /// The parts that are meant, in order.
    pub parts: Vec<u32>,
}

/// What the patterns choose, each dataset once, in the order of names.
///
/// # Errors
/// A [`Fault`] of kind `InputMissing` for a pattern that chooses nothing.
pub fn select(view: &View, patterns: &[Pattern]) -> Result<Vec<Selected>, Fault> {
    let mut selected = Vec::new();
    for pattern in patterns {
        let meant = view.datasets.values().any(|dataset| {
            !parts_of(dataset, std::slice::from_ref(pattern)).is_empty() || pattern.is_of(&dataset.name)
        });
        if !meant {
            return Err(nothing(view, pattern));
        }
    }
    for dataset in view.datasets.values() {
        let parts = parts_of(dataset, patterns);
        if !parts.is_empty() || patterns.is_empty() || patterns.iter().any(|pattern| pattern.is_of(&dataset.name)) {
            selected.push(Selected { dataset: dataset.clone(), parts });
        }
    }
    Ok(selected)
}

fn parts_of(dataset: &Dataset, patterns: &[Pattern]) -> Vec<u32> {
    let of = dataset.parts.len() as u32;
    let whole = patterns.is_empty() || patterns.iter().any(|pattern| pattern.is_of(&dataset.name));
    (0..of)
        .filter(|index| whole || patterns.iter().any(|pattern| pattern.is_of_part(&dataset.name, *index, of)))
        .collect()
}

fn nothing(view: &View, pattern: &Pattern) -> Fault {
    let word = pattern.as_str();
    let silent: Vec<&str> = view.silent().map(|(name, _)| name).collect();
    let unanswered = match silent.is_empty() {
        true => String::new(),
        false => format!("; {} did not answer", crate::fleet::ranges::fold(silent)),
    };
    let hint = did_you_mean(word, view.datasets.keys().map(|name| name.as_str()));
    Fault::new(Kind::InputMissing, format!("no dataset `{word}`{hint}{unanswered}"))
}

impl Selected {
    /// Bytes of the parts that are meant.
    pub fn bytes(&self) -> u64 {
        self.parts.iter().map(|index| self.dataset.outline.parts[*index as usize].bytes).sum()
    }

    /// Refuses what cannot be read whole.
    ///
    /// # Errors
    /// A [`Fault`] of kind `Data` that names parts and hosts.
    pub fn check(&self) -> Result<(), Fault> {
        let lost = |index: &u32| self.dataset.parts[*index as usize].holders.is_empty();
        match self.parts.iter().any(lost).then(|| self.dataset.loss()).flatten() {
            Some(loss) => Err(Fault::new(Kind::Data, loss)),
            None => Ok(()),
        }
    }
}
