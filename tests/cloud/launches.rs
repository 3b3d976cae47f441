//! Launches that fail in every way that can be thought of leave nothing that nobody knows of.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use aws_config::retry::RetryConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_ec2::config::{Credentials, SharedCredentialsProvider};
use futures::StreamExt;
use runner::cloud::bring_up::{Up, Wait, add, bring_up};
use runner::cloud::end::{Target, end, end_some, end_target};
use runner::cloud::interrupt::Interrupts;
use runner::cloud::launch::{new_id, raise};
use runner::cloud::reap::{Everything, orphans};
use runner::cloud::{Api, Cluster, Clusters, Market, Pace, Phase, Reach, Record, Request, labels};
use runner::error::{Fault, Kind};

use crate::model::{self, Ec2, Faults, Run};

const ME: &str = "ann@desk";
/// Launches with faults. Each takes a fraction of a second, most of it waiting for what may still become visible.
const SEEDS: u64 = 100;
const HIDDEN_MAX: Duration = Duration::from_millis(40);

fn pace() -> Pace {
    Pace {
        poll: Duration::from_millis(4),
        retry: Duration::from_millis(2),
        tries: 6,
        // Longer than what is made can be hidden, by what a busy machine may take to hear of a request.
        settle: HIDDEN_MAX * 15,
        end_max: Duration::from_secs(20),
    }
}

pub fn config(endpoint: &str) -> SdkConfig {
    let credentials = Credentials::new("AKIDEXAMPLE", "secret", None, None, "test");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new("eu-west-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .endpoint_url(endpoint)
        .retry_config(RetryConfig::standard().with_initial_backoff(Duration::from_millis(1)))
        .build()
}

/// A person's machine and an EC2.
pub struct Scene {
    pub ec2: Ec2,
    pub api: Api,
    state: tempfile::TempDir,
}

impl Scene {
    pub fn new(seed: u64) -> Self {
        let ec2 = model::start(seed);
        let api = Api::new(&config(&ec2.url), pace()).expect("an api");
        Scene { ec2, api, state: tempfile::tempdir().expect("a folder") }
    }

    fn clusters(&self) -> Clusters {
        Clusters::new(self.state.path()).expect("clusters")
    }

    pub fn cluster(&self, count: u32, min: Option<u32>, market: Market) -> Cluster {
        let request = Request {
            name: "demo".parse().expect("a name"),
            count,
            min,
            instance_type: "m7i.large".into(),
            market,
            ttl_seconds: Some(3600),
            image: None,
            disk_gib: 8,
            subnets: Vec::new(),
            from: vec!["203.0.113.7".parse().expect("an address")],
            user: "ec2-user".into(),
            key: None,
            reach: Reach::Private,
            bastion: None,
        };
        self.clusters().create(Record::new(request, new_id(), "eu-west-1".into(), ME.into())).expect("is made")
    }

    /// The cluster on record, if there is one. The process that held it is gone; but here another launch of this test may
    /// be starting a program, which has our lock for the moment before it becomes another.
    async fn on_record(&self) -> Option<Cluster> {
        let name = "demo".parse().expect("a name");
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            match self.clusters().open(&name) {
                Ok(cluster) => return cluster,
                Err(error) => assert!(Instant::now() < deadline, "{error:#}"),
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    pub async fn bring_up(&self, cluster: Cluster) -> anyhow::Result<(Cluster, Up)> {
        bring_up(&self.api, cluster, Wait::No, &Interrupts::never(), &|_| {}).await
    }

    /// The launches that were asked for: subnet and count.
    fn runs(&self) -> Vec<String> {
        let world = self.ec2.world();
        world.log.iter().filter_map(|line| line.strip_prefix("RunInstances ").map(str::to_owned)).collect()
    }

    fn assert_empty(&self, what: &str) {
        let world = self.ec2.world();
        assert_eq!((world.live(), world.things()), (Vec::new(), 0), "{what}: {:?}", world.log);
        drop(world);
        assert!(self.clusters().all().expect("reads").is_empty(), "{what}");
    }

    /// What is on record is what there is, and no more than was wanted.
    fn assert_known(&self, cluster: &Cluster, up: &Up) {
        let live: BTreeSet<String> = self.ec2.world().live().into_iter().collect();
        assert_eq!(live, up.raised.ids.iter().cloned().collect(), "{:?}", self.ec2.world().log);
        assert_eq!(live, cluster.record.came().into_iter().collect());
        assert_eq!(live, cluster.record.host_keys.keys().cloned().collect());
        assert!(live.len() <= cluster.record.request.count as usize);
        assert_eq!(cluster.record.phase, Phase::Up);
    }
}

#[tokio::test]
async fn what_a_zone_lacks_comes_from_the_next() {
    let scene = Scene::new(1);
    scene.ec2.world().next_runs = [Run::Give(2), Run::Refuse(500, "InsufficientInstanceCapacity"), Run::Give(9)].into();
    let (cluster, up) = scene.bring_up(scene.cluster(8, None, Market::OnDemand)).await.expect("comes up");
    assert_eq!(scene.runs(), ["subnet-a 8", "subnet-b 6", "subnet-c 6"]);
    assert_eq!(up.raised.shortfall, None);
    scene.assert_known(&cluster, &up);
    end(&scene.api, cluster, &|_| {}).await.expect("ends");
    scene.assert_empty("after the end");
}

#[tokio::test]
async fn spot_machines_that_lack_are_bought_where_that_is_allowed() {
    let scene = Scene::new(2);
    let full = Run::Refuse(500, "InsufficientInstanceCapacity");
    scene.ec2.world().next_runs = [Run::Give(1), full, full, Run::Give(9)].into();
    let (cluster, up) = scene.bring_up(scene.cluster(3, None, Market::SpotThenOnDemand)).await.expect("comes up");
    assert_eq!(scene.runs(), ["subnet-a 3", "subnet-b 2", "subnet-c 2", "subnet-a 2"]);
    scene.assert_known(&cluster, &up);
}

#[tokio::test]
async fn a_quota_stops_at_once_and_what_came_is_used() {
    let scene = Scene::new(3);
    scene.ec2.world().next_runs = [Run::Give(5), Run::Refuse(400, "VcpuLimitExceeded")].into();
    let (cluster, up) = scene.bring_up(scene.cluster(8, None, Market::OnDemand)).await.expect("comes up");
    assert_eq!(scene.runs().len(), 2);
    assert!(up.raised.shortfall.clone().expect("a reason").contains("(the quota is \"Running On-Demand Standard"));
    scene.assert_known(&cluster, &up);
}

#[tokio::test]
async fn too_few_are_ended_again() {
    let scene = Scene::new(4);
    scene.ec2.world().next_runs = [Run::Give(5), Run::Refuse(400, "VcpuLimitExceeded")].into();
    let error = scene.bring_up(scene.cluster(8, Some(6), Market::OnDemand)).await.expect_err("too few");
    let text = format!("{error:#}");
    assert!(
        text.starts_with("nothing of it is left: 5 machines of 8 came: EC2 in eu-west-1: VcpuLimitExceeded"),
        "{text}"
    );
    assert!(text.ends_with("; at least 6 were wanted"), "{text}");
    assert_eq!(error.downcast_ref::<Fault>().map(|fault| fault.kind), Some(Kind::Cloud));
    scene.assert_empty("after the failure");
}

#[tokio::test]
async fn an_answer_that_is_lost_is_asked_for_again_and_costs_nothing_twice() {
    let scene = Scene::new(5);
    scene.ec2.world().next_runs = [Run::GiveUnheard].into();
    let (cluster, up) = scene.bring_up(scene.cluster(4, None, Market::OnDemand)).await.expect("comes up");
    assert_eq!(scene.runs(), ["subnet-a 4", "subnet-a 4"]);
    scene.assert_known(&cluster, &up);
}

#[tokio::test]
async fn what_a_late_try_has_made_is_waited_for() {
    let scene = Scene::new(10);
    let unheard = [Run::Refuse(503, "RequestLimitExceeded"), Run::Refuse(500, "InternalError"), Run::GiveUnheard];
    scene.ec2.world().next_runs = unheard.into();
    let mut cluster = scene.cluster(2, None, Market::OnDemand);
    let before = runner::clock::wall_ms();
    let raised = raise(&scene.api, &mut cluster, 2, &Interrupts::never(), &|_| {}).await.expect("come");
    assert_eq!(raised.ids.len(), 2);
    // Two tries failed and one was not heard: between them were waits of 2, 4 and 8 ms at least.
    assert!(cluster.record.asked_ms >= before + 14, "the last try is on record, and not the first");
    end(&scene.api, cluster, &|_| {}).await.expect("ends");
    scene.assert_empty("after the end");
}

#[tokio::test]
async fn a_launch_that_broke_off_goes_on_with_the_same_machines() {
    let scene = Scene::new(6);
    scene.ec2.world().next_runs = [Run::GiveUnheard].into();
    let launch = scene.bring_up(scene.cluster(4, None, Market::OnDemand));
    // As a process that is killed while EC2 makes the machines: the sixth request is the launch.
    tokio::select! {
        _ = launch => panic!("it should have been broken off"),
        () = scene.ec2.after_requests(6) => {}
    }
    assert_eq!(scene.ec2.world().live().len(), 4);
    let cluster = scene.on_record().await.expect("is on record");
    assert!(cluster.record.is_open());
    let (cluster, up) = scene.bring_up(cluster).await.expect("comes up");
    scene.assert_known(&cluster, &up);
    assert_eq!(up.raised.ids.len(), 4);
    // And one that broke off later, while it waited for logins.
    let mut cluster = cluster;
    cluster.record.phase = Phase::Launching;
    let (cluster, again) = scene.bring_up(cluster).await.expect("comes up");
    assert_eq!(again, up);
    scene.assert_known(&cluster, &up);
}

#[tokio::test]
async fn machines_that_are_added_and_fail_leave_the_others_alone() {
    let scene = Scene::new(7);
    let (mut cluster, _) = scene.bring_up(scene.cluster(2, None, Market::OnDemand)).await.expect("comes up");
    let never = Interrupts::never();
    let up = add(&scene.api, &mut cluster, 3, Wait::No, &never, &|_| {}).await.expect("come");
    assert_eq!((up.raised.ids.len(), scene.ec2.world().live().len()), (3, 5));
    scene.ec2.world().next_runs = [Run::Refuse(400, "VcpuLimitExceeded")].into();
    add(&scene.api, &mut cluster, 3, Wait::No, &never, &|_| {}).await.expect_err("none");
    assert_eq!(scene.ec2.world().live().len(), 5);
    end(&scene.api, cluster, &|_| {}).await.expect("ends");
    scene.assert_empty("after the end");
}

#[tokio::test]
async fn what_cannot_be_seen_yet_is_ended_all_the_same() {
    let scene = Scene::new(8);
    scene.ec2.world().hidden_max = HIDDEN_MAX;
    let (cluster, _) = scene.bring_up(scene.cluster(20, None, Market::OnDemand)).await.expect("comes up");
    end(&scene.api, cluster, &|_| {}).await.expect("ends");
    scene.assert_empty("after the end");
}

#[tokio::test]
async fn some_that_cannot_be_seen_yet_are_ended_all_the_same() {
    let scene = Scene::new(9);
    scene.ec2.world().hidden_max = HIDDEN_MAX;
    let (_, up) = scene.bring_up(scene.cluster(20, None, Market::OnDemand)).await.expect("comes up");
    end_some(&scene.api, &up.raised.ids[..15], &|_| {}).await.expect("ends");
    assert_eq!(scene.ec2.world().live().len(), 5);
}

/// The heart of it: whatever goes wrong, in the end there is what is on record, or nothing.
#[tokio::test]
async fn a_hundred_launches_with_faults_leave_no_orphan() {
    let launches = futures::stream::iter((0..SEEDS).map(launch_with_faults));
    let ends: Vec<&str> = launches.buffer_unordered(8).collect().await;
    let count = |what: &str| ends.iter().filter(|end| **end == what).count();
    let counts: Vec<usize> = ["up", "failed", "terminated", "went on", "reaped"].map(count).into();
    // Each way was gone, or the test would prove less than it says.
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
}

async fn launch_with_faults(seed: u64) -> &'static str {
    let scene = Scene::new(seed);
    let market = [Market::OnDemand, Market::Spot, Market::SpotThenOnDemand][seed as usize % 3];
    let cluster = scene.cluster(1 + (seed % 7) as u32, None, market);
    let crash_at = {
        let mut world = scene.ec2.world();
        world.faults = Faults::BySeed;
        world.hidden_max = HIDDEN_MAX;
        // Chance alone rarely lets a whole launch fail.
        if seed.is_multiple_of(8) {
            world.next_runs = [Run::Refuse(400, "VcpuLimitExceeded")].into();
        }
        // Half of them are never killed.
        if world.below(2) == 0 { u64::MAX } else { 1 + world.below(12) }
    };
    let launch = scene.bring_up(cluster);
    let done = tokio::select! {
        done = launch => Some(done),
        () = scene.ec2.after_requests(crash_at) => None,
    };
    match done {
        Some(Ok((cluster, up))) => {
            scene.assert_known(&cluster, &up);
            finish(&scene, cluster).await;
            scene.assert_empty(&format!("seed {seed}, after its end"));
            "up"
        }
        Some(Err(error)) => {
            // EC2 may also fail while it is cleaned up; then the cluster is still on record.
            if let Some(cluster) = scene.on_record().await {
                assert!(format!("{error:#}").contains("something of it is left"), "{error:#}");
                finish(&scene, cluster).await;
            }
            scene.assert_empty(&format!("seed {seed}, after {error:#}"));
            "failed"
        }
        None => after_a_crash(&scene, seed).await,
    }
}

/// The process was killed in the middle. What people do then: end it, go on with it, or lose the record and reap.
async fn after_a_crash(scene: &Scene, seed: u64) -> &'static str {
    let way = scene.ec2.world().below(3);
    let cluster = scene.on_record().await;
    let Some(cluster) = cluster else {
        scene.assert_empty(&format!("seed {seed}: it had cleaned up"));
        return "failed";
    };
    match way {
        0 => {
            finish(scene, cluster).await;
            scene.assert_empty(&format!("seed {seed}, terminated"));
            "terminated"
        }
        1 => {
            match scene.bring_up(cluster).await {
                Ok((cluster, up)) => {
                    scene.assert_known(&cluster, &up);
                    finish(scene, cluster).await;
                }
                Err(_) => {
                    if let Some(cluster) = scene.on_record().await {
                        finish(scene, cluster).await;
                    }
                }
            }
            scene.assert_empty(&format!("seed {seed}, gone on with"));
            "went on"
        }
        _ => {
            cluster.forget().expect("is forgotten");
            reap(scene).await;
            scene.assert_empty(&format!("seed {seed}, reaped"));
            "reaped"
        }
    }
}

/// As somebody who repeats `runner cloud terminate` until it says that nothing is left.
async fn finish(scene: &Scene, cluster: Cluster) {
    let mut next = Some(cluster);
    for _ in 0..20 {
        let Some(cluster) = next else { return };
        if end(&scene.api, cluster, &|_| {}).await.is_ok() {
            return;
        }
        next = scene.on_record().await;
    }
    panic!("it cannot be ended: {:?}", scene.ec2.world().log);
}

async fn reap(scene: &Scene) {
    // Whoever reaps comes later: by then EC2 shows all.
    tokio::time::sleep(HIDDEN_MAX).await;
    for _ in 0..20 {
        let all = labels::of_all();
        let (machines, groups, keys) =
            (scene.api.machines(&all).await, scene.api.groups(&all).await, scene.api.keys(&all).await);
        let (Ok(machines), Ok(groups), Ok(keys)) = (machines, groups, keys) else { continue };
        let found = orphans(&Everything { machines, groups, keys }, &BTreeSet::new(), ME, 0);
        if found.is_empty() {
            return;
        }
        for orphan in found {
            let _again = end_target(&scene.api, &Target::of_id(&orphan.labels.id), &|_| {}).await;
        }
    }
    panic!("it cannot be reaped: {:?}", scene.ec2.world().log);
}
