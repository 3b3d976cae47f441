//! The hosts, each with a stream to its data folder, or with the reason why there is none.

use std::sync::Arc;

use futures::future::join_all;
use serde::de::DeserializeOwned;

use super::uploads::Uploads;
use super::view::View;
use super::ways::{self, Moved, Ways};
use crate::dataset::{Listing, Pattern};
use crate::error::{Fault, Kind};
use crate::fleet::ranges::fold;
use crate::fleet::{Fleet, HostSpec, Place};
use crate::ids::JobId;
use crate::protocol::bulk::{Mux, Request};
use crate::protocol::data::{DataError, DataRequest, PING_EVERY, answer};
use crate::transport::{DataStream, Load, Transport};

/// All hosts of a fleet.
pub struct Stations {
    /// In the order of the fleet.
    pub list: Vec<Station>,
    /// What the hosts fetch from us.
    pub(super) uploads: Arc<Uploads>,
    /// What these streams are part of.
    pub(super) session: JobId,
    /// How the hosts reach each other.
    pub(super) ways: Ways,
}

/// Which way copies go.
#[derive(Clone, Debug)]
pub enum Copies {
    /// From host to host, where they reach each other: it tells how.
    Direct(Arc<Transport>),
    /// Through us.
    Relayed,
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
    pub async fn open(fleet: &Fleet, transport: &Transport, load: Load, copies: Copies) -> Result<Self, Fault> {
        let (uploads, session) = (Arc::new(Uploads::default()), ways::session());
        let opening = fleet.hosts.iter().zip(fleet.names()).enumerate().map(async |(at, (host, name))| {
            let (link, sshd) = match transport.data(host, load, &format!("{session}-{}", ways::worker(at))).await {
                Ok(DataStream { channel, sshd }) => {
                    (Ok(kept(Mux::start(channel.reader, channel.writer, Arc::clone(&uploads) as _))), sshd)
                }
                Err(error) => match error.fix(&name) {
                    fix if fix.is_empty() => (Err(error.to_string()), None),
                    fix => (Err(format!("{error}; {fix}")), None),
                },
            };
            (Station { name, host: host.clone(), link }, sshd)
        });
        let (list, sshd) = join_all(opening).await.into_iter().unzip();
        let ways = match copies {
            Copies::Direct(transport) => Ways::of(transport, sshd),
            Copies::Relayed => Ways::default(),
        };
        let stations = Stations { list, uploads, session, ways };
        if stations.reached().next().is_none() {
            return Err(Fault::new(Kind::NoWorker, format!("no worker can be used: {}", stations.why_none())));
        }
        Ok(stations)
    }

    /// Stations whose streams were opened elsewhere; copies go through us.
    pub(super) fn of(list: Vec<Station>, uploads: Arc<Uploads>) -> Self {
        Stations { list, uploads, session: ways::session(), ways: Ways::default() }
    }

    /// What copies went which way so far; none where no host is reached over ssh, so that there are no ways.
    pub fn moved(&self) -> Option<Moved> {
        self.reached().any(|(_, station)| station.host.place == Place::Ssh).then(|| self.ways.moved())
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

    /// Ends all streams, and the processes at their far ends with them.
    pub fn close(&self) {
        self.list.iter().filter_map(|station| station.link.as_ref().ok()).for_each(Mux::close);
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
