//! Hosts from EC2: against moto's server (an AWS API over real HTTP), and against canned answers for what moto never
//! says. The SDK is the real one in both.
//!
//! Where moto cannot be installed, its tests say SKIPPED on stderr and pass.

#![cfg(feature = "ec2")]

mod canned;
mod http;
mod moto;

use std::process::Command;

use aws_config::retry::RetryConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_ec2::config::{Credentials, SharedCredentialsProvider};
use aws_sdk_ec2::types::{
    InstanceNetworkInterfaceSpecification, InstanceStateName, ResourceType, Tag, TagSpecification,
};
use runner::error::{Fault, Kind};
use runner::fleet::ec2::{PAGE_INSTANCES_MAX, discover, find};
use runner::fleet::{Fleet, Place};

const REGION: &str = "eu-west-1";

/// Access to the EC2 at a URL, with credentials that a mock takes.
fn config(endpoint: &str) -> SdkConfig {
    let credentials = Credentials::new("AKIDEXAMPLE", "secret", None, None, "test");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new(REGION))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .endpoint_url(endpoint)
        .retry_config(RetryConfig::standard().with_initial_backoff(std::time::Duration::from_millis(1)))
        .build()
}

async fn ask(config: &SdkConfig, query: &str, page_instances: i32) -> Result<Fleet, Fault> {
    find(config, &query.parse().expect(query), page_instances).await
}

/// Starts an instance with a tag; its id.
async fn launch(client: &aws_sdk_ec2::Client, key: &str, value: &str, has_public_address: bool) -> String {
    let tag = Tag::builder().key(key).value(value).build();
    let network = InstanceNetworkInterfaceSpecification::builder()
        .device_index(0)
        .associate_public_ip_address(has_public_address)
        .build();
    let request = client.run_instances().image_id("ami-12c6146b").min_count(1).max_count(1).network_interfaces(network);
    let tags = TagSpecification::builder().resource_type(ResourceType::Instance).tags(tag).build();
    let launched = request.tag_specifications(tags).send().await.expect("an instance");
    launched.instances()[0].instance_id().expect("an id").to_owned()
}

#[tokio::test]
async fn running_instances_with_the_tag_are_the_fleet_page_after_page() {
    let Some(moto) = moto::start() else { return };
    let config = config(&moto.url);
    let client = aws_sdk_ec2::Client::new(&config);
    let mut ids = Vec::new();
    for _ in 0..12 {
        ids.push(launch(&client, "runner:cluster", "demo", true).await);
    }
    launch(&client, "runner:cluster", "other", true).await;
    launch(&client, "role", "demo", true).await;
    client.stop_instances().instance_ids(&ids[3]).send().await.expect("stops");
    client.terminate_instances().instance_ids(&ids[7]).send().await.expect("terminates");

    let described = client.describe_instances().set_instance_ids(Some(ids)).send().await.expect("describes");
    let mut running: Vec<_> = described.reservations().iter().flat_map(|reservation| reservation.instances()).collect();
    running.retain(|instance| instance.state().and_then(|state| state.name()) == Some(&InstanceStateName::Running));
    running.sort_by_key(|instance| (instance.launch_time().map(|at| at.as_nanos()), instance.instance_id()));

    let fleet = ask(&config, "demo", 5).await.expect("a fleet");
    assert_eq!(fleet.origin.to_string(), "EC2, tag runner:cluster=demo, eu-west-1");
    assert_eq!(fleet.hosts.len(), 10);
    for (host, instance) in fleet.hosts.iter().zip(&running) {
        assert_eq!(Some(host.address.as_str()), instance.public_dns_name());
        assert_eq!(host.peer.as_deref(), instance.private_ip_address());
        assert_eq!(host.place, Place::Ssh);
    }
    assert_eq!(ask(&config, "demo", PAGE_INSTANCES_MAX).await.expect("a fleet"), fleet);
    assert_eq!(ask(&config, "role=demo", 5).await.expect("a fleet").hosts.len(), 1);
}

#[tokio::test]
async fn without_a_public_address_the_private_one_serves() {
    let Some(moto) = moto::start() else { return };
    let config = config(&moto.url);
    launch(&aws_sdk_ec2::Client::new(&config), "role", "inner", false).await;
    let fleet = ask(&config, "role=inner", 5).await.expect("a fleet");
    assert_eq!(Some(fleet.hosts[0].address.clone()), fleet.hosts[0].peer);
}

#[tokio::test]
async fn a_tag_that_nothing_running_carries_is_named() {
    let Some(moto) = moto::start() else { return };
    let config = config(&moto.url);
    let client = aws_sdk_ec2::Client::new(&config);
    let fault = ask(&config, "demo", 5).await.expect_err("no instance");
    assert_eq!(fault.kind, Kind::NoWorker);
    let none = "EC2: no instance with tag runner:cluster=demo in eu-west-1: check the tag, the region and the account";
    assert_eq!(fault.text, none);

    let ids = [launch(&client, "role", "w", true).await, launch(&client, "role", "w", true).await];
    client.stop_instances().instance_ids(&ids[0]).send().await.expect("stops");
    client.terminate_instances().instance_ids(&ids[1]).send().await.expect("terminates");
    let fault = ask(&config, "role=w", 5).await.expect_err("no running instance");
    assert_eq!(fault.kind, Kind::NoWorker);
    assert_eq!(fault.text, "EC2: no running instance with tag role=w in eu-west-1 (1 stopped, 1 terminated)");
}

#[tokio::test]
async fn unknown_credentials_are_refused_by_name() {
    let Some(moto) = moto::start() else { return };
    moto.demand_credentials();
    let fault = ask(&config(&moto.url), "demo", 5).await.expect_err("refused");
    assert_eq!(fault.kind, Kind::Cloud);
    assert!(fault.text.starts_with("EC2 in eu-west-1: AuthFailure: AWS was not able to validate"), "{fault}");
    assert!(fault.text.contains("(request ") && fault.text.contains("get-caller-identity"), "{fault}");
}

#[tokio::test]
async fn errors_keep_code_and_request_and_say_what_helps() {
    async fn check(status: u16, code: &str, part: &str) {
        let server = canned::start(vec![canned::error(status, code)]);
        let fault = ask(&config(&server), "demo", 5).await.expect_err(code);
        assert_eq!(fault.kind, Kind::Cloud);
        let start = format!("EC2 in eu-west-1: {code}: what EC2 says (request 11-22)");
        assert!(fault.text.starts_with(&start) && fault.text.contains(part), "{fault}");
    }
    // Who we are.
    check(403, "UnauthorizedOperation", "must allow ec2:DescribeInstances").await;
    check(401, "AuthFailure", "the access key is unknown").await;
    check(403, "InvalidClientTokenId", "the access key is unknown").await;
    check(403, "UnrecognizedClientException", "`aws sts get-caller-identity` shows who you are").await;
    check(403, "SignatureDoesNotMatch", "secret key does not belong").await;
    check(400, "ExpiredToken", "renew it (`aws sso login`").await;
    check(400, "RequestExpired", "clock is wrong").await;
    check(403, "OptInRequired", "enable the region").await;
    check(403, "AuthFailure.ServiceLinkedRoleCreationNotPermitted", "aws iam create-service-linked-role").await;
    check(400, "PendingVerification", "AWS has to clear this account").await;
    // What EC2 can do at the moment.
    check(503, "RequestLimitExceeded", "asks EC2 too often").await;
    check(500, "InternalError", "EC2's own trouble").await;
    check(500, "InsufficientInstanceCapacity", "take another type (--type)").await;
    check(400, "VcpuLimitExceeded", "ask for more at Service Quotas").await;
    check(400, "MaxSpotInstanceCountExceeded", "ask for more at Service Quotas").await;
    check(400, "SecurityGroupLimitExceeded", "`runner cloud list`").await;
    // What was asked for.
    check(400, "InvalidAMIID.NotFound", "an image belongs to one region").await;
    check(400, "InvalidAMIID.Malformed", "leave --image out").await;
    check(400, "InvalidInstanceType", "no such type in this region").await;
    check(400, "InvalidParameterValue", "see --type, --image, --disk and --subnet").await;
    check(400, "Unsupported", "not offered in that zone").await;
    check(400, "InvalidBlockDeviceMapping", "--disk").await;
    check(400, "InvalidKey.Format", "--key").await;
    check(400, "InvalidSubnetID.NotFound", "a subnet belongs to one region").await;
    check(400, "VPCIdNotSpecified", "name a subnet with --subnet").await;
    check(400, "SomethingNew", "(request 11-22)").await;
}

#[tokio::test]
async fn throttling_is_tried_again() {
    let throttled = canned::error(503, "RequestLimitExceeded");
    let server =
        canned::start(vec![throttled.clone(), throttled, canned::instances(&[]), canned::instances(&["pending"])]);
    let fault = ask(&config(&server), "demo", 5).await.expect_err("none runs");
    assert_eq!(fault.kind, Kind::NoWorker, "{fault}");
    assert!(fault.text.ends_with("(1 pending)"), "{fault}");
}

#[tokio::test]
async fn what_is_no_ec2_is_told_apart() {
    let server = canned::start(vec![http::answer(404, "<html>no such page</html>")]);
    let fault = ask(&config(&server), "demo", 5).await.expect_err("no EC2");
    assert!(fault.text.contains("HTTP status 404") && fault.text.contains("a proxy at the endpoint?"), "{fault}");

    let url = canned::nobody();
    let fault = ask(&config(&url), "demo", 5).await.expect_err("nobody listens");
    assert_eq!(fault.kind, Kind::Cloud);
    assert!(fault.text.starts_with("EC2 in eu-west-1 cannot be reached: "), "{fault}");
    assert!(fault.text.contains("refused") && fault.text.contains("AWS_ENDPOINT_URL"), "{fault}");
    let fault = ask(&config("http://no-such-host.invalid"), "demo", 5).await.expect_err("nobody is called so");
    assert!(fault.text.starts_with("EC2 in eu-west-1 cannot be reached: "), "{fault}");
    assert!(fault.text.contains("check the region's name, the network"), "{fault}");
}

/// The variable that tells [`asked_in_a_process_of_its_own`] what to ask.
const QUERY: &str = "TEST_EC2_QUERY";

/// No test by itself: [`the_environment_gives_access`] starts it with an environment, which a process has but one of.
#[tokio::test]
async fn asked_in_a_process_of_its_own() {
    let Ok(query) = std::env::var(QUERY) else { return };
    match discover(&query).await {
        Ok(fleet) => println!("\nANSWER {} from {}", fleet.hosts.len(), fleet.origin),
        Err(fault) => println!("\nANSWER {} {fault}", fault.kind.exit_code()),
    }
}

#[test]
fn the_environment_gives_access() {
    let home = tempfile::tempdir().expect("a folder");
    let check = |settings: &str, query: &str, variables: &[(&str, &str)], expected: &str| {
        let file = home.path().join("config");
        fs_err::write(&file, settings).expect("writes");
        let mut command = Command::new(std::env::current_exe().expect("a path"));
        command.args(["--exact", "asked_in_a_process_of_its_own", "--nocapture"]).env_clear().env("HOME", home.path());
        command.env("AWS_CONFIG_FILE", &file).env("AWS_EC2_METADATA_DISABLED", "true").env(QUERY, query);
        let output = command.envs(variables.iter().copied()).output().expect("runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let answer = text.lines().find_map(|line| line.strip_prefix("ANSWER ")).expect(&text);
        assert!(answer.starts_with(expected), "{answer}\nis not\n{expected}");
    };
    let server = canned::start(vec![canned::instances(&["running"])]);
    let keys = "aws_access_key_id = A\naws_secret_access_key = S";
    let profile = format!("[profile lab]\nregion = eu-north-1\nendpoint_url = {server}\n{keys}\n");
    let keys = [("AWS_ACCESS_KEY_ID", "A"), ("AWS_SECRET_ACCESS_KEY", "S")];
    let at = |region| [keys[0], keys[1], ("AWS_REGION", region), ("AWS_ENDPOINT_URL_EC2", server.as_str())];

    check(&profile, "demo", &[("AWS_PROFILE", "lab")], "1 from EC2, tag runner:cluster=demo, eu-north-1");
    check("", "a=b", &at("eu-west-3"), "1 from EC2, tag a=b, eu-west-3");
    check("", "demo", &keys, "8 EC2: no region: set AWS_REGION");
    check("", "demo", &[("AWS_REGION", REGION)], "8 EC2: no credentials: choose a profile with AWS_PROFILE");
    let bare = [&at(REGION)[..], &[("SSL_CERT_FILE", "/dev/null")]].concat();
    check("", "demo", &bare, "8 EC2: no certificates of authorities on this machine: install them");
    check("[profile", "demo", &[("AWS_REGION", REGION)], "8 EC2: no credentials: ");
    let unknown = [("AWS_REGION", REGION), ("AWS_PROFILE", "lba")];
    check(&profile, "demo", &unknown, "8 EC2: no credentials: ");
    check("", "", &at(REGION), "2 --workers ec2:: ec2:CLUSTER or ec2:TAG=VALUE is expected");
}
