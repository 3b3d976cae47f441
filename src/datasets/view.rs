//! What all hosts together hold: the answers of each, folded.
//!
//! A pure function of the listings. The newest generation with a manifest or a tombstone counts; of its manifests the one
//! with the highest revision. Files of that generation count as copies wherever they lie, if they have the right size; two
//! hosts that share a data folder hold one copy between them.

use std::collections::{BTreeMap, BTreeSet};

use crate::dataset::{Generation, HeldState, Listing, Name, Outline, PutId, StoreId};

/// Datasets and hosts, as they are now.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// In the order of the fleet.
    pub hosts: Vec<HostView>,
    /// Those that are there, by name.
    pub datasets: BTreeMap<Name, Dataset>,
    /// Names under which there was something that counts, a tombstone too.
    pub newest: BTreeMap<Name, Generation>,
    /// Generations that are not complete, with who holds something of them.
    pub unfinished: BTreeMap<(Name, Generation), Unfinished>,
}

/// A host and what it answered.
#[derive(Clone, Debug)]
pub struct HostView {
    /// Its name for people.
    pub name: String,
    /// What it has, or why it did not answer.
    pub facts: Result<HostFacts, String>,
    /// What could not be read there.
    pub troubles: Vec<String>,
}

/// What a host has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostFacts {
    /// Its data folder.
    pub store: StoreId,
    /// Bytes free there.
    pub free: u64,
    /// Processors.
    pub cores: u32,
}

/// A generation without a manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unfinished {
    /// The put that fills it, if one does.
    pub put: Option<PutId>,
    /// Where something of it lies.
    pub hosts: Vec<usize>,
}

/// A dataset in its generation that counts.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// Its name.
    pub name: Name,
    /// What it should be.
    pub outline: Outline,
    /// The hosts with that manifest.
    pub manifests: Vec<usize>,
    /// What there is of each part.
    pub parts: Vec<PartView>,
    /// Hosts with older generations, which are of no use any more.
    pub stale: Vec<usize>,
}

/// One part, as it lies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartView {
    /// Hosts with a file of the right size.
    pub holders: Vec<usize>,
    /// Data folders among them.
    pub copies: usize,
    /// Hosts with a file of another size, and that size.
    pub wrong: Vec<(usize, u64)>,
    /// What a copy takes on its disk, in blocks of 512 bytes: the most of all.
    pub blocks: u64,
}

impl View {
    /// Folds the answers of all hosts, which are in the order of the fleet.
    pub fn fold(answers: Vec<(String, Result<Listing, String>)>) -> View {
        let mut view = View::default();
        let mut listings = Vec::new();
        for (name, answer) in answers {
            let (facts, troubles, listing) = match answer {
                Err(why) => (Err(why), Vec::new(), None),
                Ok(mut listing) => {
                    let facts = HostFacts { store: listing.store, free: listing.free, cores: listing.cores };
                    (Ok(facts), std::mem::take(&mut listing.troubles), Some(listing))
                }
            };
            view.hosts.push(HostView { name, facts, troubles });
            listings.push(listing);
        }
        let held = || {
            listings
                .iter()
                .enumerate()
                .flat_map(|(at, it)| it.iter().flat_map(move |it| it.held.iter().map(move |held| (at, held))))
        };
        for (_, held) in held().filter(|(_, held)| !matches!(held.state, HeldState::Incomplete { .. })) {
            let newest = view.newest.entry(held.name.clone()).or_insert(held.generation);
            *newest = (*newest).max(held.generation);
        }
        for (at, held) in held() {
            if view.newest.get(&held.name) == Some(&held.generation)
                && let HeldState::Complete(outline) = &held.state
            {
                view.take_manifest(at, &held.name, outline);
            }
        }
        for (at, held) in held() {
            let newest = view.newest.get(&held.name).copied();
            if newest == Some(held.generation) {
                view.take_parts(at, held);
            } else if newest.is_some_and(|newest| held.generation < newest) {
                if let Some(dataset) = view.datasets.get_mut(&held.name) {
                    dataset.stale.push(at);
                }
            } else {
                let unfinished = view.unfinished.entry((held.name.clone(), held.generation)).or_default();
                unfinished.hosts.push(at);
                if let HeldState::Incomplete { put: Some(put) } = held.state {
                    unfinished.put = Some(put);
                }
            }
        }
        view.count_copies();
        view
    }

    /// The hosts that did not answer, with the reasons.
    pub fn silent(&self) -> impl Iterator<Item = (&str, &str)> {
        self.hosts.iter().filter_map(|host| Some((host.name.as_str(), host.facts.as_ref().err()?.as_str())))
    }

    fn take_manifest(&mut self, at: usize, name: &Name, outline: &Outline) {
        let dataset = self.datasets.entry(name.clone()).or_insert_with(|| Dataset {
            name: name.clone(),
            outline: outline.clone(),
            manifests: Vec::new(),
            parts: vec![PartView::default(); outline.parts.len()],
            stale: Vec::new(),
        });
        if outline.revision > dataset.outline.revision {
            dataset.outline = outline.clone();
            dataset.manifests.clear();
        }
        if outline.revision == dataset.outline.revision {
            dataset.manifests.push(at);
        }
    }

    fn take_parts(&mut self, at: usize, held: &crate::dataset::Held) {
        let Some(dataset) = self.datasets.get_mut(&held.name) else { return };
        for file in &held.parts {
            let place = file.index as usize;
            let (Some(part), Some(view)) = (dataset.outline.parts.get(place), dataset.parts.get_mut(place)) else {
                continue;
            };
            if file.bytes == part.bytes {
                view.holders.push(at);
                view.blocks = view.blocks.max(file.blocks);
            } else {
                view.wrong.push((at, file.bytes));
            }
        }
    }

    fn count_copies(&mut self) {
        let stores: Vec<_> = self.hosts.iter().map(|host| host.facts.as_ref().ok().map(|facts| facts.store)).collect();
        for part in self.datasets.values_mut().flat_map(|dataset| &mut dataset.parts) {
            part.copies = part.holders.iter().filter_map(|at| stores[*at]).collect::<BTreeSet<_>>().len();
        }
    }
}

impl Dataset {
    /// The parts of which no copy was found, with the hosts that had one.
    pub fn missing(&self) -> impl Iterator<Item = (u32, Vec<&str>)> {
        let parts = (0..).zip(self.parts.iter().zip(&self.outline.parts));
        parts.filter(|(_, (view, _))| view.holders.is_empty()).map(|(index, (_, part))| {
            let hosts = part.places.iter().filter_map(|place| self.outline.hosts.get(*place as usize));
            (index, hosts.map(String::as_str).collect())
        })
    }

    /// The parts of which there are fewer copies than there should be, but at least one.
    pub fn short(&self) -> impl Iterator<Item = (u32, usize)> {
        let wanted = self.outline.copies as usize;
        let parts = (0..).zip(&self.parts);
        parts.filter(move |(_, part)| (1..wanted).contains(&part.copies)).map(|(index, part)| (index, part.copies))
    }

    /// Says of which parts no copy was found, and where they were; none if there is nothing to say.
    pub fn loss(&self) -> Option<String> {
        let missing: Vec<(u32, Vec<&str>)> = self.missing().collect();
        let hosts: BTreeSet<&str> = missing.iter().flat_map(|(_, hosts)| hosts).copied().collect();
        let parts: Vec<String> = missing.iter().map(|(index, _)| index.to_string()).collect();
        let (first, more) = missing.split_first()?;
        let parts = if more.is_empty() { format!("part {}", first.0) } else { format!("parts {}", folded(&parts)) };
        let were = if hosts.is_empty() { String::new() } else { format!("; they were on {}", join(&hosts)) };
        Some(format!("{}: no copy of {parts} of {} is on a host that answered{were}", self.name, self.parts.len()))
    }
}

fn folded(words: &[String]) -> String {
    const SHOWN_MAX: usize = 20;
    match words.len() {
        0..=SHOWN_MAX => words.join(", "),
        many => format!("{} and {} more", words[..SHOWN_MAX].join(", "), many - SHOWN_MAX),
    }
}

fn join(hosts: &BTreeSet<&str>) -> String {
    crate::fleet::ranges::fold(hosts.iter().copied())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::{Form, Held, HeldPart, Part};

    fn generation(wall_ms: u64) -> Generation {
        Generation::after(None, wall_ms, 0)
    }

    /// A dataset of two parts of 10 bytes, as one folder holds it.
    fn held(at: u64, state: HeldState, parts: &[(u32, u64)]) -> Held {
        let file = |(index, bytes): &(u32, u64)| HeldPart { index: *index, bytes: *bytes, blocks: 8 };
        Held {
            name: "data".parse().expect("a name"),
            generation: generation(at),
            state,
            parts: parts.iter().map(file).collect(),
        }
    }

    fn complete(at: u64) -> HeldState {
        let part = Part { bytes: 10, hash: 1, label: None, places: vec![0, 1] };
        HeldState::Complete(Outline {
            generation: generation(at),
            form: Form::Lines,
            copies: 2,
            revision: 0,
            hosts: vec!["a".to_owned(), "b".to_owned()],
            parts: vec![part.clone(), part],
        })
    }

    /// Folds what hosts hold; each is a data folder's number and its contents.
    fn fold(hosts: Vec<(u64, Vec<Held>)>) -> View {
        let listing = |(store, held)| Listing { store: StoreId(store), free: 1, cores: 1, held, troubles: Vec::new() };
        let names = ["a", "b", "c"].map(str::to_owned);
        View::fold(names.into_iter().zip(hosts.into_iter().map(|host| Ok(listing(host)))).collect())
    }

    fn data(view: &View) -> &Dataset {
        view.datasets.values().next().expect("a dataset")
    }

    #[test]
    fn copies_are_counted_by_folder() {
        let both = [(0, 10), (1, 10)];
        let view = fold(vec![
            (1, vec![held(5, complete(5), &both)]),
            (1, vec![held(5, complete(5), &both)]),
            (2, vec![held(5, HeldState::Incomplete { put: None }, &[(1, 10)])]),
        ]);
        let parts: Vec<_> = data(&view).parts.iter().map(|part| (part.holders.clone(), part.copies)).collect();
        assert_eq!(parts, [(vec![0, 1], 1), (vec![0, 1, 2], 2)]);
        assert_eq!(data(&view).short().collect::<Vec<_>>(), [(0, 1)]);
        assert_eq!(data(&view).loss(), None);
    }

    #[test]
    fn the_newest_complete_generation_counts() {
        let view = fold(vec![
            (1, vec![held(5, complete(5), &[(0, 10)]), held(9, HeldState::Incomplete { put: Some(PutId(3)) }, &[])]),
            (2, vec![held(4, complete(4), &[(1, 10)])]),
        ]);
        assert_eq!(data(&view).outline.generation, generation(5));
        assert_eq!(data(&view).stale, [1]);
        assert_eq!(
            view.unfinished.values().next().map(|it| (it.put, it.hosts.clone())),
            Some((Some(PutId(3)), vec![0]))
        );
        let loss = data(&view).loss().expect("is lost");
        assert!(loss.contains("part 1 of 2") && loss.contains("they were on"), "{loss}");
    }

    #[test]
    fn a_tombstone_outlives_hosts_that_were_away() {
        let away = held(5, complete(5), &[(0, 10), (1, 10)]);
        let view = fold(vec![(1, vec![away.clone()]), (2, vec![held(6, HeldState::Tombstone, &[])])]);
        assert!(view.datasets.is_empty());
        assert_eq!(view.newest.values().next(), Some(&generation(6)));
        // What is put again is newer than the tombstone.
        let view = fold(vec![(1, vec![away]), (2, vec![held(7, complete(7), &[(0, 10), (1, 10)])])]);
        assert_eq!(data(&view).outline.generation, generation(7));
    }

    #[test]
    fn files_of_another_size_are_no_copies() {
        let view = fold(vec![(1, vec![held(5, complete(5), &[(0, 9), (1, 10), (7, 1)])])]);
        assert_eq!(data(&view).parts[0].wrong, [(0, 9)]);
        assert_eq!(data(&view).missing().map(|(index, _)| index).collect::<Vec<_>>(), [0]);
    }
}
