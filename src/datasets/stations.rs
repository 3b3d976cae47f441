//! The hosts, each with a stream to its data folder, or with the reason why there is none.

use std::sync::Arc;

use futures::future::join_all;
use serde::de::DeserializeOwned;

use super::uploads::Uploads;
use super::view::View;
use crate::dataset::{Listing, Pattern};
use crate::error::{Fault, Kind};
use crate::fleet::ranges::fold;
use crate::fleet::{Fleet, HostSpec};
use crate::protocol::bulk::{Mux, Request};
use crate::protocol::data::{DataError, DataRequest, PING_EVERY, answer};
use crate::transport::{Load, Transport};

/// All hosts of a fleet.
pub struct Stations {
    /// In the order of the fleet.
    pub list: Vec<Station>,
    /// What the hosts fetch from us.
    pub(super) uploads: Arc<Uploads>,
}

/// One host.
pub struct Station {
    /// Its name for people.
    pub name: String,
    /// As it was written.
    pub host: HostSpec,
    /// The stream, or why there is none.
    pub link: Result<Mux, String>,
}

/// A stream over which something is said now and then, so that the other side knows that we are there.
fn kept(mux: Mux) -> Mux {
    let pinged = mux.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(PING_EVERY).await;
            if answer::<()>(pinged.fetch(Request::Data(DataRequest::Ping))).await.is_err() {
                return;
            }
        }
    });
    mux
}

impl Stations {
    /// Opens all streams at once. Hosts that cannot be reached are among the stations, with the reason.
    ///
    /// # Errors
    /// A [`Fault`] of kind `NoWorker` if none can.
    pub async fn open(fleet: &Fleet, transport: &Transport, load: Load) -> Result<Self, Fault> {
        let uploads = Arc::new(Uploads::default());
        let opening = fleet.hosts.iter().zip(fleet.names()).map(async |(host, name)| {
            let link = match transport.data(host, load).await {
                Ok(channel) => Ok(kept(Mux::start(channel.reader, channel.writer, Arc::clone(&uploads) as _))),
                Err(error) => Err(match error.fix(&name) {
                    fix if fix.is_empty() => error.to_string(),
                    fix => format!("{error}; {fix}"),
                }),
            };
            Station { name, host: host.clone(), link }
        });
        let stations = Stations { list: join_all(opening).await, uploads: Arc::clone(&uploads) };
        if stations.reached().next().is_none() {
            return Err(Fault::new(Kind::NoWorker, format!("no worker can be used: {}", stations.why_none())));
        }
        Ok(stations)
    }

    /// The hosts that were reached, by their places.
    pub fn reached(&self) -> impl Iterator<Item = (usize, &Station)> {
        self.list.iter().enumerate().filter(|(_, station)| station.link.is_ok())
    }

    /// The others, with the reasons.
    pub fn unreached(&self) -> impl Iterator<Item = (&str, &str)> {
        self.list.iter().filter_map(|station| Some((station.name.as_str(), station.link.as_ref().err()?.as_str())))
    }

    /// Each reason once, with the hosts that it holds for.
    fn why_none(&self) -> String {
        let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
        for (name, why) in self.unreached() {
            match reasons.iter_mut().find(|(known, _)| *known == why) {
                Some((_, names)) => names.push(name),
                None => reasons.push((why, vec![name])),
            }
        }
        let text: Vec<String> = reasons.into_iter().map(|(why, names)| format!("{}: {why}", fold(names))).collect();
        text.join("; ")
    }

    /// The name of a host.
    pub fn name(&self, at: usize) -> &str {
        &self.list[at].name
    }

    /// The stream of a host.
    ///
    /// # Errors
    /// [`DataError::Gone`] when there is none.
    pub fn mux(&self, at: usize) -> Result<&Mux, DataError> {
        self.list[at].link.as_ref().map_err(|why| DataError::Gone(why.clone()))
    }

    /// Asks a host.
    ///
    /// # Errors
    /// Its answer, or [`DataError::Gone`].
    pub async fn ask<T: DeserializeOwned>(&self, at: usize, request: DataRequest) -> Result<T, DataError> {
        answer(self.mux(at)?.fetch(Request::Data(request))).await
    }

    /// Asks several hosts at once.
    pub async fn ask_all<T: DeserializeOwned>(
        &self,
        hosts: &[usize],
        request: impl Fn(usize) -> DataRequest,
    ) -> Vec<(usize, Result<T, DataError>)> {
        join_all(hosts.iter().map(async |at| (*at, self.ask(*at, request(*at)).await))).await
    }

    /// The places of all hosts that were reached.
    pub fn places(&self) -> Vec<usize> {
        self.reached().map(|(at, _)| at).collect()
    }

    /// What lies on all of them, as far as the patterns touch it; all if there is no pattern.
    pub async fn look(&self, patterns: &[Pattern]) -> View {
        let asked = self.list.iter().enumerate().map(async |(at, station)| {
            let listing = match &station.link {
                Err(why) => Err(why.clone()),
                Ok(_) => {
                    let list = DataRequest::List { patterns: patterns.to_vec() };
                    self.ask::<Listing>(at, list).await.map_err(|error| error.to_string())
                }
            };
            (station.name.clone(), listing)
        });
        View::fold(join_all(asked).await)
    }
}
