//! Whom a cluster lets in, when this machine has another address than at the launch: a laptop in another network.
//!
//! The security group drops what comes from elsewhere, so all that ssh sees is silence. Hence the question is asked only
//! where nobody answers, and never before.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::api::Api;
use super::caller;
use super::labels;
use super::machine::Machine;
use super::record::{Cluster, Record};
use super::request::{Cidr, Reach};
use crate::error::{Fault, Kind};

/// Within this a machine answers that lets us in.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// Says so if the machines of a cluster cannot hear this one, by what a service tells of its address.
pub async fn shut_out(record: &Record, machines: &[Machine], address_service: &str) -> Option<String> {
    let request = &record.request;
    if request.reach == Reach::Private {
        return None;
    }
    let address = machines.iter().find_map(|machine| machine.address(request.reach))?;
    if let Ok(Ok(_)) = timeout(ANSWER_MAX, TcpStream::connect((address, 22))).await {
        return None;
    }
    let now = caller::address(address_service).await.ok()?;
    if request.from.iter().any(|range| range.holds(now.address)) {
        return None;
    }
    let (name, from) = (&request.name, request.from.iter().map(Cidr::to_string).collect::<Vec<_>>());
    Some(format!(
        "this machine is {} to others now, and {name} lets only {} in: `runner cloud allow {name}`",
        now.address,
        from.join(", ")
    ))
}

/// Lets these in from now on.
///
/// # Errors
/// Cloud: EC2 said no, or nothing of the cluster is there. Others when this machine fails us.
pub async fn allow(api: &Api, cluster: &mut Cluster, from: &[Cidr]) -> anyhow::Result<()> {
    let groups = api.groups(&labels::of_id(&cluster.record.id)).await?;
    if groups.is_empty() {
        let text = format!("EC2 in {}: no security group of {}", api.region(), cluster.record.request.name);
        return Err(Fault::new(Kind::Cloud, text).into());
    }
    for group in groups {
        api.open_group(&group.id, from).await?;
    }
    let known = &mut cluster.record.request.from;
    known.extend(from.iter().filter(|range| !known.contains(range)).copied().collect::<Vec<_>>());
    cluster.save()
}
