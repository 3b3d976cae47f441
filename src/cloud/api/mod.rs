//! EC2 as a handful of questions and orders: a thin layer over the SDK that decides nothing.
//!
//! Every request goes through `Api::ask`, which waits where EC2 does not know yet what it has just made, and gives a
//! [`Trouble`] otherwise. What the SDK repeats by itself (throttling, a connection that broke) is not repeated here,
//! except for launches, which are in `run`. [`network`](self) holds what a cluster needs beside its machines.

mod network;
mod run;

use std::error::Error;

use aws_config::SdkConfig;
use aws_sdk_ec2::Client;
use aws_sdk_ec2::config::http::HttpResponse;
use aws_sdk_ec2::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_ec2::primitives::Blob;
use aws_sdk_ec2::types::{Filter, Tag};

use super::labels::Selection;
use super::machine::Machine;
use super::pace::{Pace, pause};
use crate::clock;
use crate::error::Fault;
use crate::fleet::ec2::{self, PAGE_INSTANCES_MAX, fault, filter};

pub use network::{Group, Image, Key, Network};
pub use run::Launch;

/// The most instances that one order names (API reference, TerminateInstances: "up to 1000").
const IDS_MAX: usize = 1000;

/// EC2 in one region.
#[derive(Clone, Debug)]
pub struct Api {
    client: Client,
    region: String,
    pace: Pace,
}

/// A request that came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// EC2's code; empty where there is none.
    pub code: String,
    /// For people.
    pub fault: Fault,
    /// Whether EC2 said no.
    pub verdict: Verdict,
}

/// Whether it is known that a request did nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It did nothing.
    Refused,
    /// It did nothing, and may be made again later.
    PutOff,
    /// It may have done what was asked.
    Unknown,
}

impl From<Trouble> for Fault {
    fn from(trouble: Trouble) -> Fault {
        trouble.fault
    }
}

impl Api {
    /// EC2 as the environment gives access to it, in this region if one is named.
    ///
    /// # Errors
    /// Cloud: no region is known, or as [`ec2::access`].
    pub async fn from_environment(region: Option<&str>, pace: Pace) -> Result<Api, Fault> {
        Api::new(&ec2::access(region).await?, pace)
    }

    /// EC2 as a configuration gives access to it.
    ///
    /// # Errors
    /// Cloud: no region is known.
    pub fn new(config: &SdkConfig, pace: Pace) -> Result<Api, Fault> {
        let region = config.region().ok_or_else(fault::no_region)?.as_ref().to_owned();
        Ok(Api { client: Client::new(config), region, pace })
    }

    /// The region's name.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// How long to wait for what.
    pub fn pace(&self) -> &Pace {
        &self.pace
    }

    /// All instances with a tag, in any state, the first that was launched first.
    ///
    /// # Errors
    /// EC2's.
    pub async fn machines(&self, selection: &Selection) -> Result<Vec<Machine>, Fault> {
        let filters = vec![tagged(selection)];
        let instances = ec2::instances(&self.client, &self.region, filters, PAGE_INSTANCES_MAX).await?;
        let mut machines: Vec<Machine> = instances.iter().map(Machine::read).collect();
        machines.sort_by(|a, b| (a.launched_ms, &a.id).cmp(&(b.launched_ms, &b.id)));
        Ok(machines)
    }

    /// The instances with these ids; one that EC2 does not know (any more, or yet) is left out.
    ///
    /// # Errors
    /// EC2's.
    pub async fn machines_of(&self, ids: &[String]) -> Result<Vec<Machine>, Fault> {
        let mut machines = Vec::new();
        for some in ids.chunks(200) {
            // 200 values are what one filter holds (API reference, DescribeInstances).
            let filters = vec![Filter::builder().name("instance-id").set_values(Some(some.to_vec())).build()];
            let found = ec2::instances(&self.client, &self.region, filters, PAGE_INSTANCES_MAX).await?;
            machines.extend(found.iter().map(Machine::read));
        }
        Ok(machines)
    }

    /// Ends instances. Those that EC2 does not know are gone, or were never there.
    ///
    /// # Errors
    /// EC2's.
    pub async fn terminate(&self, ids: &[String]) -> Result<(), Fault> {
        for some in ids.chunks(IDS_MAX) {
            let mut some = some.to_vec();
            while !some.is_empty() {
                let order = self.client.terminate_instances().set_instance_ids(Some(some.clone()));
                match self.ask("TerminateInstances", &[], || order.clone().send()).await {
                    Ok(_) => break,
                    // The whole order fails for one that is not known; the words name those.
                    Err(trouble) if trouble.code == "InvalidInstanceID.NotFound" => {
                        let before = some.len();
                        some.retain(|id| !trouble.fault.text.contains(id.as_str()));
                        if some.len() == before {
                            return Err(trouble.fault);
                        }
                    }
                    Err(trouble) => return Err(trouble.fault),
                }
            }
        }
        Ok(())
    }

    /// Sets a tag of instances.
    ///
    /// # Errors
    /// EC2's.
    pub async fn tag(&self, ids: &[String], key: &str, value: &str) -> Result<(), Fault> {
        for some in ids.chunks(IDS_MAX) {
            let order = self.client.create_tags().set_resources(Some(some.to_vec())).tags(tag(key, value));
            self.ask("CreateTags", &[], || order.clone().send()).await?;
        }
        Ok(())
    }

    /// What an instance wrote to its console, as far as EC2 has it: that takes minutes. Empty where there is nothing.
    ///
    /// # Errors
    /// EC2's.
    pub async fn console(&self, id: &str) -> Result<String, Fault> {
        let question = self.client.get_console_output().instance_id(id);
        let answer = self.ask("GetConsoleOutput", &[], || question.clone().send()).await?;
        let encoded = answer.output().unwrap_or_default();
        let bytes = aws_smithy_types::base64::decode(encoded).unwrap_or_default();
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Makes a request; again, for a while, when EC2 answers with one of the `passing` codes, as it does where it has
    /// not heard yet of what it made itself.
    async fn ask<T, E, F>(&self, action: &str, passing: &[&str], request: impl Fn() -> F) -> Result<T, Trouble>
    where
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
        E: ProvideErrorMetadata + Error + 'static,
    {
        let deadline = clock::now() + self.pace.settle;
        let mut tried = 1;
        loop {
            let error = match request().await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let passes = error.code().is_some_and(|code| passing.contains(&code));
            if !passes || clock::now() >= deadline {
                return Err(self.trouble(&error, action));
            }
            pause(self.pace.before_retry(tried)).await;
            tried += 1;
        }
    }

    fn trouble<E>(&self, error: &SdkError<E, HttpResponse>, action: &str) -> Trouble
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let code = error.code().unwrap_or_default().to_owned();
        let is_ours = error.raw_response().is_some_and(|answer| answer.status().is_client_error());
        let verdict = match error {
            SdkError::ConstructionFailure(_) => Verdict::Refused,
            SdkError::ServiceError(_) if is_put_off(&code) => Verdict::PutOff,
            // Capacity errors come with a status of the server's, and yet are a clear no.
            SdkError::ServiceError(_) if is_ours || code.starts_with("Insufficient") => Verdict::Refused,
            _ => Verdict::Unknown,
        };
        Trouble { code, fault: fault::fault(error, &self.region, action), verdict }
    }
}

fn is_put_off(code: &str) -> bool {
    matches!(code, "RequestLimitExceeded" | "Throttling" | "ThrottlingException" | "EC2ThrottledException")
}

fn tag(key: &str, value: &str) -> Tag {
    Tag::builder().key(key).value(value).build()
}

fn tagged(selection: &Selection) -> Filter {
    filter(&format!("tag:{}", selection.tag), &selection.value)
}

/// Bytes for a request, which the SDK encodes.
fn blob(text: &str) -> Blob {
    Blob::new(text.as_bytes())
}
