//! `runner cloud launch`: from the settings to a request, and what is said about it.

use std::path::Path;

use super::LaunchArgs;
use crate::cli::agree::agrees;
use crate::cli::context::{Context, Form, say};
use crate::cli::output::print;
use crate::cli::runtime::wait_for;
use crate::cli::{build, person, transport};
use crate::cloud::api::Network;
use crate::cloud::bring_up::{Up, Wait, bring_up};
use crate::cloud::interrupt::Interrupts;
use crate::cloud::launch::new_id;
use crate::cloud::{Api, Cidr, Cluster, ClusterName, Clusters, Market, Pace, Phase, Reach, Record, Request, caller};
use crate::error::{Fault, Kind};
use crate::settings::{self, Address};
use crate::transport::random;
use crate::units::Span;

/// Launches a cluster, or goes on with a launch that broke off.
pub(super) fn run(args: &LaunchArgs, context: &Context) -> anyhow::Result<()> {
    wait_for(launch(args, context))?
}

async fn launch(args: &LaunchArgs, context: &Context) -> anyhow::Result<()> {
    let clusters = Clusters::new(&context.state_folder()?)?;
    let mut wanted = request(args, &context.settings.cloud)?;
    if let Some(cluster) = broken_off(&clusters, &wanted.name)? {
        say(&format!("the launch of {} broke off: it goes on as it was asked for then", wanted.name));
        let api = Api::from_environment(Some(&cluster.record.region), Pace::default()).await?;
        return go_on(args, context, &api, cluster).await;
    }
    let api = Api::from_environment(None, Pace::default()).await?;
    if wanted.from.is_empty() {
        wanted.from.push(caller::address(&context.settings.cloud.address_service).await?);
    }
    let network = api.network(&wanted.subnets).await?;
    let image = api.image(wanted.image.as_deref(), &wanted.instance_type).await?;
    let record = Record::new(wanted, new_id(), api.region().to_owned(), me(context));
    let plan = plan(&record, &network, &image.id);
    if args.dry_run {
        return print(|out| out.write_all(plan.as_bytes()));
    }
    if record.request.from.iter().any(Cidr::is_everybody) {
        say("everybody may try to ssh in (--from): only your key opens, but many will knock");
    }
    if !args.yes {
        crate::cli::output::print_error(&plan)?;
    }
    if !agrees(args.yes, "launch this?", "launches")? {
        return Err(Fault::new(Kind::Cloud, "nothing was launched").into());
    }
    go_on(args, context, &api, clusters.create(record)?).await
}

async fn go_on(args: &LaunchArgs, context: &Context, api: &Api, cluster: Cluster) -> anyhow::Result<()> {
    let interrupts = Interrupts::listen()?;
    let transport = transport::transport(context, build::ID, context.settings.ssh.config.as_deref())?;
    let wait = match args.no_wait {
        true => Wait::No,
        false => Wait::For(&transport, context.settings.cloud.wait_max.0),
    };
    let quiet = |_: &str| {};
    let say: &dyn Fn(&str) = if context.is_quiet() { &quiet } else { &say };
    let done = bring_up(api, cluster, wait, &interrupts, say).await;
    transport.close().await;
    let (cluster, up) = done?;
    tell(&cluster.record, &up, context)
}

/// The cluster of this name, if its launch broke off.
fn broken_off(clusters: &Clusters, name: &ClusterName) -> anyhow::Result<Option<Cluster>> {
    match clusters.read(name)? {
        Some(record) if record.phase == Phase::Launching => clusters.open(name),
        Some(_) | None => Ok(None),
    }
}

/// Who is in front of this machine, for the tags.
pub(super) fn me(context: &Context) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._-@".contains(c) { c } else { '-' };
    format!("{}@{}", person::user(context), person::machine()).chars().map(plain).take(200).collect()
}

fn request(args: &LaunchArgs, settings: &settings::Cloud) -> Result<Request, Fault> {
    let name = match &args.name {
        Some(name) => name.parse().map_err(Fault::usage)?,
        None => ClusterName::by_chance(random()),
    };
    let from = settings.from.iter().map(|text| text.parse().map_err(|error| Fault::usage(format!("--from: {error}"))));
    let request = Request {
        name,
        count: settings.count,
        min: args.min,
        instance_type: settings.instance_type.clone(),
        market: market(settings)?,
        ttl_seconds: settings.ttl.map(ttl_seconds).transpose()?,
        image: settings.image.clone(),
        disk_gib: u32::try_from(settings.disk.0.div_ceil(1 << 30)).unwrap_or(u32::MAX),
        subnets: settings.subnets.clone(),
        from: from.collect::<Result<_, _>>()?,
        user: settings.user.clone(),
        key: settings.key.as_deref().map(own_key).transpose()?,
        reach: reach(settings),
        bastion: settings.bastion.clone(),
    };
    request.check()?;
    Ok(request)
}

fn market(settings: &settings::Cloud) -> Result<Market, Fault> {
    match (settings.spot, settings.spot_fallback) {
        (true, true) => Ok(Market::SpotThenOnDemand),
        (true, false) => Ok(Market::Spot),
        (false, false) => Ok(Market::OnDemand),
        (false, true) => Err(Fault::usage("--spot-fallback says what to take where --spot lacks: give both")),
    }
}

/// The address that the settings mean. Behind a bastion only the private one makes sense.
pub(super) fn reach(settings: &settings::Cloud) -> Reach {
    match (settings.address, &settings.bastion) {
        (Address::Private, _) | (_, Some(_)) => Reach::Private,
        (Address::Public, None) => Reach::Public,
    }
}

/// The timer on the machine looks once a minute.
fn ttl_seconds(ttl: Span) -> Result<u64, Fault> {
    match ttl.0.as_secs() {
        seconds if seconds >= 300 => Ok(seconds),
        _ => Err(Fault::usage(format!("--ttl {ttl}: at least 5m is expected, since machines need some of it to boot"))),
    }
}

fn own_key(path: &Path) -> Result<std::path::PathBuf, Fault> {
    fs_err::metadata(path).map_err(|error| Fault::usage(format!("--key: {error}")))?;
    std::path::absolute(path).map_err(|error| Fault::usage(format!("--key: {error}")))
}

/// What would be made.
fn plan(record: &Record, network: &Network, image: &str) -> String {
    let request = &record.request;
    let zones: Vec<&str> = network.places.iter().map(|place| place.zone.as_str()).collect();
    let from: Vec<String> = request.from.iter().map(Cidr::to_string).collect();
    let market = match request.market {
        Market::OnDemand => "on demand",
        Market::Spot => "as spot",
        Market::SpotThenOnDemand => "as spot, then on demand",
    };
    let reach = match (request.reach, &request.bastion) {
        (_, Some(bastion)) => format!("private, through {bastion}"),
        (Reach::Private, None) => "private".to_owned(),
        (Reach::Public, None) => "public, where the network gives one".to_owned(),
    };
    let end = match request.ttl_seconds {
        Some(seconds) => format!("when nobody used it for {}", Span::seconds(seconds)),
        None => "NEVER BY ITSELF".to_owned(),
    };
    let key = request.key.as_ref().map_or("a new one".to_owned(), |key| key.display().to_string());
    // The id is another one when it is launched.
    let tags = record.labels().tags().into_iter().filter(|(_, value)| *value != record.id);
    let tags: Vec<String> = tags.map(|(key, value)| format!("{key}={value}")).collect();
    let lines = [
        ("cluster", request.name.to_string()),
        ("machines", format!("{} x {}, {market}", request.count, request.instance_type)),
        ("at least", format!("{}, or all are ended again", request.least())),
        ("where", format!("{}, {}: {}", record.region, network.vpc, zones.join(", "))),
        ("image", format!("{image}, user {}", request.user)),
        ("disk", format!("{} GiB gp3, encrypted, goes with the machine", request.disk_gib)),
        ("metadata", "only with a token (IMDSv2), not from containers".to_owned()),
        ("address", reach),
        ("ssh from", format!("{}, and between the machines", from.join(", "))),
        ("key", key),
        ("ends", end),
        ("tags", tags.join(", ")),
        ("also made", "a security group and a key pair".to_owned()),
    ];
    lines.iter().map(|(name, text)| format!("{name:<11}{text}\n")).collect()
}

/// What came, and the next command.
fn tell(record: &Record, up: &Up, context: &Context) -> anyhow::Result<()> {
    let name = &record.request.name;
    let arrivals = up.arrivals.clone().unwrap_or_default();
    for (id, reason) in &arrivals.missing {
        say(&format!("{id} did not come: {reason}"));
    }
    match context.form {
        Form::Json => {
            let missing: Vec<_> =
                arrivals.missing.iter().map(|(id, reason)| serde_json::json!({"id": id, "reason": reason})).collect();
            let told = serde_json::json!({
                "cluster": name, "region": record.region, "instances": up.raised.ids, "ready": arrivals.ready,
                "missing": missing, "shortfall": up.raised.shortfall,
            });
            print(|out| writeln!(out, "{told}"))
        }
        Form::Text => {
            let end = match record.request.ttl_seconds {
                Some(seconds) => format!("a machine that nobody used for {} ends itself", Span::seconds(seconds)),
                None => "it costs until you end it".to_owned(),
            };
            if !context.is_quiet() {
                say(&format!("{name} is up; {end} (`runner cloud terminate {name}` does it at once); now:"));
            }
            print(|out| writeln!(out, "runner --workers ec2:{name} mapreduce wordcount IN OUT"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloud::campaign::Place;

    fn args() -> LaunchArgs {
        use clap::Parser;
        #[derive(Parser)]
        struct Typed {
            #[command(flatten)]
            args: LaunchArgs,
        }
        Typed::parse_from(["launch", "demo"]).args
    }

    #[test]
    fn settings_become_a_request() {
        let request = request(&args(), &settings::Cloud::default()).expect("a request");
        assert_eq!((request.name.as_str(), request.count, request.least()), ("demo", 4, 1));
        assert_eq!((request.ttl_seconds, request.disk_gib, request.reach), (Some(14_400), 50, Reach::Public));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let check = |change: &dyn Fn(&mut settings::Cloud), part: &str| {
            let mut settings = settings::Cloud::default();
            change(&mut settings);
            let fault = request(&args(), &settings).expect_err(part);
            assert!(fault.kind == Kind::Usage && fault.text.contains(part), "{fault}");
        };
        check(&|settings| settings.spot_fallback = true, "give both");
        check(&|settings| settings.ttl = Some(Span::seconds(60)), "--ttl 1m 0s: at least 5m");
        check(&|settings| settings.from = vec!["home".into()], "--from: `home` is no range");
        check(&|settings| settings.key = Some("/no/key".into()), "--key: ");
    }

    #[test]
    fn a_bastion_leads_to_private_addresses() {
        let settings = settings::Cloud { bastion: Some("gate".into()), ..settings::Cloud::default() };
        assert_eq!(reach(&settings), Reach::Private);
    }

    #[test]
    fn the_plan_says_what_it_costs_to_forget() {
        let request =
            request(&args(), &settings::Cloud { ttl: None, ..settings::Cloud::default() }).expect("a request");
        let place = Place { subnet: "subnet-1".into(), zone: "eu-west-1a".into() };
        let record = Record::new(request, "4f".into(), "eu-west-1".into(), "ann@desk".into());
        let text = plan(&record, &Network { vpc: "vpc-1".into(), places: vec![place] }, "ami-1");
        for line in [
            "machines   4 x m7i.large, on demand\n",
            "where      eu-west-1, vpc-1: eu-west-1a\n",
            "address    public, where the network gives one\n",
            "ends       NEVER BY ITSELF\n",
            "tags       Name=runner demo, runner:cluster=demo, runner:by=ann@desk\n",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }
}
