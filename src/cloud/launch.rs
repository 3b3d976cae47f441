//! From a request to instances that run: network, group, key, then the campaign for machines.
//!
//! Each step is written to the record before it is taken, and can be taken twice: a launch that broke off goes on where it
//! was. Nothing is undone here; whoever called decides what becomes of half a cluster ([`super::end`]).

use std::time::Duration;

use super::api::{Api, Launch, Verdict};
use super::campaign::{Answer, Campaign, Question, Refusal, Step, is_quota, quota};
use super::interrupt::Interrupts;
use super::keys::{KeyPair, public_half};
use super::record::{Cluster, HostKeys, Phase, Record};
use super::user_data;
use crate::clock;
use crate::error::{Fault, Kind};
use crate::transport::random;

/// What came of a campaign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raised {
    /// The machines that came.
    pub ids: Vec<String>,
    /// Why there are not more; none where all came.
    pub shortfall: Option<String>,
}

/// A name for one launch among all that ever were.
pub fn new_id() -> String {
    format!("{:016x}", random())
}

/// Asks for machines until all came or there are no more to be had. A campaign that broke off goes on; else one for
/// `count` machines begins.
///
/// # Errors
/// Cloud: EC2 gave none. Interrupted. Others when this machine fails us. What came is in the record in any case.
pub async fn raise(
    api: &Api,
    cluster: &mut Cluster,
    count: u32,
    interrupts: &Interrupts,
    say: &dyn Fn(&str),
) -> anyhow::Result<Raised> {
    let request = cluster.record.request.clone();
    let network = api.network(&request.subnets).await?;
    let image = api.image(request.image.as_deref(), &request.instance_type).await?;
    interrupts.check()?;
    let labels = cluster.record.labels();
    let group = api.make_group(&network.vpc, &labels).await?;
    api.open_group(&group, &request.from).await?;
    interrupts.check()?;
    let public = match &request.key {
        Some(key) => public_half(key).await?,
        None => KeyPair::make(&cluster.folder.key(), &format!("runner {}", request.name)).await?.public,
    };
    let key = api.import_key(&public, &labels).await?;
    let host_key = KeyPair::make(&cluster.folder.host_key(), "runner").await?;
    let launch = Launch {
        instance_type: request.instance_type.clone(),
        image,
        disk_gib: request.disk_gib,
        group,
        key,
        user_data: user_data::text(&host_key, request.ttl_seconds.map(Duration::from_secs)),
        labels,
        reach: request.reach,
    };
    if begins(&cluster.record) {
        cluster.record.campaigns.push(Campaign::new(count, request.market, network.places));
        cluster.save()?;
    }
    let stopped = ask_on(api, cluster, &launch, interrupts, say).await?;
    let raised = conclude(campaign(cluster)?, stopped, &launch.instance_type)?;
    for id in &raised.ids {
        // Those that came before the launch broke off may have keys of their own by now.
        if !cluster.record.host_keys.contains_key(id) {
            cluster.trust(id, HostKeys { keys: vec![bare(&host_key.public)], is_own: false })?;
        }
    }
    Ok(raised)
}

/// Whether the next machines are a new campaign's.
fn begins(record: &Record) -> bool {
    match record.phase {
        Phase::Launching => record.campaigns.is_empty(),
        Phase::Up | Phase::Ending => !record.is_open(),
    }
}

fn campaign(cluster: &mut Cluster) -> anyhow::Result<&mut Campaign> {
    cluster.record.campaigns.last_mut().ok_or_else(|| Fault::new(Kind::Bug, "no campaign was begun").into())
}

/// Asks until there is nothing more to ask; gives what ended it early.
async fn ask_on(
    api: &Api,
    cluster: &mut Cluster,
    launch: &Launch,
    interrupts: &Interrupts,
    say: &dyn Fn(&str),
) -> anyhow::Result<Option<Refusal>> {
    loop {
        let question = match campaign(cluster)?.next() {
            Step::Ask(question) => question,
            Step::Complete | Step::Exhausted => return Ok(None),
            Step::Stopped(refusal) => return Ok(Some(refusal)),
        };
        interrupts.check()?;
        say(&asking(&question, &launch.instance_type));
        campaign(cluster)?.ask(&question);
        let token = format!("{}-{}-{}", cluster.record.id, cluster.record.campaigns.len(), question.number);
        let mut note = || {
            cluster.record.asked_ms = clock::wall_ms();
            cluster.save().map_err(|error| Fault::new(Kind::Cloud, format!("nothing was asked for: {error:#}")))
        };
        // Not dropped at an interrupt: what EC2 has begun, it tells, and then it can be ended.
        match api.run(launch, &question, &token, &mut note).await {
            Ok(ids) => {
                if ids.len() < question.count as usize {
                    say(&format!("{}: {} of {} came", question.place.zone, ids.len(), question.count));
                }
                campaign(cluster)?.answer(Answer::Came(ids));
            }
            Err(trouble) if trouble.verdict == Verdict::Unknown => return Err(trouble.fault.into()),
            Err(trouble) => {
                say(&format!("{}: {}", question.place.zone, trouble.fault));
                campaign(cluster)?.answer(Answer::Refused(Refusal { code: trouble.code, text: trouble.fault.text }));
            }
        }
        cluster.save()?;
    }
}

fn asking(question: &Question, instance_type: &str) -> String {
    format!("asking for {} {instance_type} {} in {}", question.count, question.purchase, question.place.zone)
}

/// What a campaign came to. That not all came is no error, that none did is one.
fn conclude(campaign: &Campaign, stopped: Option<Refusal>, instance_type: &str) -> Result<Raised, Fault> {
    let ids: Vec<String> = campaign.came().cloned().collect();
    let reason = match stopped {
        Some(refusal) if is_quota(&refusal.code) => {
            let purchase = campaign.asked.last().map(|(question, _)| question.purchase);
            let name = purchase.map(|purchase| quota(instance_type, purchase)).unwrap_or_default();
            format!("{} (the quota is \"{name}\")", refusal.text)
        }
        Some(refusal) => refusal.text,
        None => campaign.shortfall(),
    };
    if ids.is_empty() {
        let last = campaign.asked.iter().rev().find_map(|(_, answer)| match answer {
            Answer::Refused(refusal) => Some(refusal.text.clone()),
            Answer::Came(_) | Answer::Unknown => None,
        });
        let text = match last {
            Some(last) if last != reason && campaign.asked.len() > 1 => {
                format!("no machine came: {reason}; in EC2's last words: {last}")
            }
            Some(_) if campaign.asked.len() == 1 => reason,
            Some(_) | None => format!("no machine came: {reason}"),
        };
        return Err(Fault::new(Kind::Cloud, text));
    }
    Ok(Raised { ids, shortfall: (campaign.missing() > 0).then_some(reason) })
}

/// A public key without its comment, as known_hosts has it.
pub(super) fn bare(public: &str) -> String {
    public.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::super::campaign::Place;
    use super::super::request::Market;
    use super::*;

    fn concluded(answers: Vec<Answer>) -> Result<Raised, String> {
        let place = |zone: &str| Place { subnet: format!("subnet-{zone}"), zone: zone.to_owned() };
        let mut campaign = Campaign::new(4, Market::OnDemand, vec![place("a"), place("b")]);
        for answer in answers {
            let Step::Ask(question) = campaign.next() else { panic!("asks") };
            campaign.ask(&question);
            campaign.answer(answer);
        }
        let stopped = match campaign.next() {
            Step::Stopped(refusal) => Some(refusal),
            Step::Complete | Step::Exhausted | Step::Ask(_) => None,
        };
        conclude(&campaign, stopped, "m7i.large").map_err(|fault| fault.text)
    }

    fn refused(code: &str) -> Answer {
        Answer::Refused(Refusal { code: code.into(), text: format!("EC2 in r: {code}: words") })
    }

    fn came(count: usize) -> Answer {
        Answer::Came((0..count).map(|number| format!("i-{number}")).collect())
    }

    #[test]
    fn what_came_is_used_and_what_is_missing_is_said() {
        let shortfall = |answers| concluded(answers).map(|raised| (raised.ids.len(), raised.shortfall));
        assert_eq!(shortfall(vec![came(4)]), Ok((4, None)));
        assert_eq!(
            shortfall(vec![came(3), refused("VcpuLimitExceeded")]).map(|(count, reason)| (count, reason.is_some())),
            Ok((3, true))
        );
        let full = "InsufficientInstanceCapacity";
        assert_eq!(shortfall(vec![refused(full), came(1)]), Ok((1, Some(format!("{full} (on demand) in a")))));
    }

    #[test]
    fn nothing_at_all_is_an_error_that_names_the_quota() {
        let quota = concluded(vec![refused("VcpuLimitExceeded")]).expect_err("none came");
        assert_eq!(
            quota,
            "EC2 in r: VcpuLimitExceeded: words (the quota is \"Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) \
             instances\")"
        );
        let full =
            concluded(vec![refused("InsufficientInstanceCapacity"), refused("Unsupported")]).expect_err("none came");
        assert_eq!(
            full,
            "no machine came: InsufficientInstanceCapacity (on demand) in a; Unsupported (on demand) in b; in EC2's last \
             words: EC2 in r: Unsupported: words"
        );
    }

    #[test]
    fn a_launch_that_broke_off_asks_for_no_more_than_it_was_to() {
        let mut record = Record::new(super::super::request::example(), "4f".into(), "r".into(), "ann@desk".into());
        assert!(begins(&record));
        let place = Place { subnet: "subnet-a".into(), zone: "a".into() };
        record.campaigns.push(Campaign::new(4, Market::OnDemand, vec![place]));
        assert!(!begins(&record));
        record.phase = Phase::Up;
        assert!(begins(&record));
        let campaign = record.campaigns.last_mut().expect("a campaign");
        let Step::Ask(question) = campaign.next() else { panic!("asks") };
        campaign.ask(&question);
        assert!(!begins(&record));
    }

    #[test]
    fn comments_of_keys_are_dropped() {
        assert_eq!(bare("ssh-ed25519 AAAA runner demo\n"), "ssh-ed25519 AAAA");
    }
}
