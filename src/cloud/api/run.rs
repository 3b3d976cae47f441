//! The one request that costs money.
//!
//! It is repeated here and not by the SDK: EC2 answers "no capacity" with the status of a server in trouble, which the SDK
//! would wait on instead of letting the next zone be asked. A repeated request carries the same client token, by which EC2
//! knows it again (API reference, "Ensuring idempotency") and gives the machines that the first one made.

use aws_sdk_ec2::Client;
use aws_sdk_ec2::config::retry::RetryConfig;
use aws_sdk_ec2::operation::run_instances::builders::RunInstancesFluentBuilder;
use aws_sdk_ec2::types::{
    BlockDeviceMapping, EbsBlockDevice, HttpTokensState, InstanceInterruptionBehavior, InstanceMarketOptionsRequest,
    InstanceMetadataOptionsRequest, InstanceNetworkInterfaceSpecification, InstanceType, MarketType, ResourceType,
    ShutdownBehavior, SpotInstanceType, SpotMarketOptions, VolumeType,
};

use super::network::tags;
use super::{Api, Image, Trouble, Verdict};
use crate::clock;
use crate::cloud::campaign::Question;
use crate::cloud::labels::Labels;
use crate::cloud::pace::pause;
use crate::cloud::request::{Purchase, Reach};
use crate::error::Fault;

/// All that a launch says beside where and how many.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The type.
    pub instance_type: String,
    /// The image.
    pub image: Image,
    /// The root disk, in GiB.
    pub disk_gib: u32,
    /// The security group's id.
    pub group: String,
    /// The key pair's name.
    pub key: String,
    /// User data, as text.
    pub user_data: String,
    /// The tags.
    pub labels: Labels,
    /// Whether a public address is needed.
    pub reach: Reach,
}

/// What EC2 says while it does not know yet what it has made for us.
const PASSING: [&str; 3] = ["InvalidGroup.NotFound", "InvalidKeyPair.NotFound", "InvalidSubnetID.NotFound"];

impl Api {
    /// Launches at least one machine and at most those that the question asks for; gives their ids. `note` is called
    /// before each request, so that it is known until when machines may come to light of which nobody was told.
    ///
    /// # Errors
    /// EC2's, and those of `note`; where the verdict is unknown there may be machines.
    pub async fn run(
        &self,
        launch: &Launch,
        question: &Question,
        token: &str,
        note: &mut dyn FnMut() -> Result<(), Fault>,
    ) -> Result<Vec<String>, Trouble> {
        let request = request(&self.client, launch, question, token);
        let deadline = clock::now() + self.pace.settle;
        let (mut tried, mut passed) = (1, 1);
        loop {
            note().map_err(|fault| Trouble { code: String::new(), fault, verdict: Verdict::Unknown })?;
            let once = aws_sdk_ec2::config::Builder::new().retry_config(RetryConfig::disabled());
            let send = || request.clone().customize().config_override(once.clone()).send();
            let trouble = match self.ask("RunInstances", &[], send).await {
                Ok(answer) => {
                    let ids = answer.instances().iter().filter_map(|instance| instance.instance_id());
                    return Ok(ids.map(str::to_owned).collect());
                }
                Err(trouble) => trouble,
            };
            if PASSING.contains(&trouble.code.as_str()) && clock::now() < deadline {
                pause(self.pace.before_retry(passed)).await;
                passed += 1;
                continue;
            }
            if trouble.verdict == Verdict::Refused || tried >= self.pace.tries {
                return Err(trouble);
            }
            pause(self.pace.before_retry(tried)).await;
            tried += 1;
        }
    }
}

fn request(client: &Client, launch: &Launch, question: &Question, token: &str) -> RunInstancesFluentBuilder {
    let mut network = InstanceNetworkInterfaceSpecification::builder()
        .device_index(0)
        .subnet_id(&question.place.subnet)
        .groups(&launch.group)
        .delete_on_termination(true);
    if launch.reach == Reach::Public {
        network = network.associate_public_ip_address(true);
    }
    let disk = EbsBlockDevice::builder()
        .volume_size(i32::try_from(launch.disk_gib).unwrap_or(i32::MAX))
        .volume_type(VolumeType::Gp3)
        .encrypted(true)
        .delete_on_termination(true);
    let disk = BlockDeviceMapping::builder().device_name(&launch.image.root_device).ebs(disk.build()).build();
    let metadata = InstanceMetadataOptionsRequest::builder()
        .http_tokens(HttpTokensState::Required)
        // Containers on the instance do not reach it.
        .http_put_response_hop_limit(1);
    let request = client
        .run_instances()
        .client_token(token)
        .min_count(1)
        .max_count(i32::try_from(question.count).unwrap_or(i32::MAX))
        .image_id(&launch.image.id)
        .instance_type(InstanceType::from(launch.instance_type.as_str()))
        .key_name(&launch.key)
        .network_interfaces(network.build())
        .block_device_mappings(disk)
        .metadata_options(metadata.build())
        .instance_initiated_shutdown_behavior(ShutdownBehavior::Terminate)
        .user_data(aws_smithy_types::base64::encode(&launch.user_data))
        .tag_specifications(tags(ResourceType::Instance, &launch.labels))
        .tag_specifications(tags(ResourceType::Volume, &launch.labels));
    match question.purchase {
        Purchase::OnDemand => request,
        Purchase::Spot => request
            .instance_market_options(spot())
            .tag_specifications(tags(ResourceType::SpotInstancesRequest, &launch.labels)),
    }
}

/// Once, and ended when EC2 takes it back: a request that stays would launch machines that nobody waits for.
fn spot() -> InstanceMarketOptionsRequest {
    let options = SpotMarketOptions::builder()
        .spot_instance_type(SpotInstanceType::OneTime)
        .instance_interruption_behavior(InstanceInterruptionBehavior::Terminate);
    InstanceMarketOptionsRequest::builder().market_type(MarketType::Spot).spot_options(options.build()).build()
}
