//! Machines that are to go while jobs may use them.
//!
//! A tag tells the jobs, wherever their drivers are: at their next look at the list they give such a machine nothing new,
//! and let it go once nobody needs what it holds. Whether that is so, the machine itself knows best.

use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::time::timeout_at;

use super::api::Api;
use super::labels::LEAVING_TAG;
use crate::clock;
use crate::error::Fault;
use crate::fleet::{HostSpec, Place};
use crate::transport::Transport;

/// Ends when no process of ours is left on a machine; a worker calls itself `/proc/self/exe`. The brackets keep it from
/// finding itself.
const UNTIL_UNUSED: &str = "while cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' | grep -qE '/(runner|self/exe) worke[r] '; do sleep 1; done";

/// A machine is waited for without a word for so long.
const QUIET: Duration = Duration::from_secs(2);

/// Tells jobs not to use these instances any more.
///
/// # Errors
/// EC2's.
pub async fn tell(api: &Api, ids: &[String]) -> Result<(), Fault> {
    api.tag(ids, LEAVING_TAG, &clock::wall_ms().to_string()).await
}

/// Waits until no job uses these instances, but not longer than this. Those that cannot be asked are not waited for.
pub async fn wait_until_unused(transport: &Transport, ids: &[String], limit: Duration, say: &dyn Fn(&str)) {
    let asked = ids.iter().map(async |id| {
        let done = transport.exec_once(&HostSpec::new(Place::Ssh, id.as_str()), UNTIL_UNUSED).await;
        (id, done)
    });
    let mut asked: FuturesUnordered<_> = asked.collect();
    let mut used: Vec<&String> = ids.iter().collect();
    let begin = clock::now();
    let mut deadline = begin + QUIET.min(limit);
    loop {
        match timeout_at(clock::instant(deadline).into(), asked.next()).await {
            Ok(None) => return,
            Ok(Some((id, done))) => {
                used.retain(|other| *other != id);
                if let Err(error) = done {
                    say(&format!("{id} cannot be asked whether a job uses it: {error}"));
                }
            }
            Err(_) => {
                let names = used.iter().map(|id| id.as_str()).collect::<Vec<_>>().join(", ");
                if deadline >= begin + limit {
                    say(&format!("a job still uses {names}: what it does there is done again elsewhere"));
                    return;
                }
                deadline = begin + limit;
                say(&format!("a job uses {names}: waiting until it needs them no more (--now does not)"));
            }
        }
    }
}
