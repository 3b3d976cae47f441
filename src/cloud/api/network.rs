//! What a cluster needs beside its machines: where they stand, who may come in, with which key; and what a type and an
//! image are.

use aws_sdk_ec2::types::builders::IpPermissionBuilder;
use aws_sdk_ec2::types::{
    ArchitectureType, Filter, InstanceType, IpPermission, IpRange, Ipv6Range, ResourceType, TagSpecification,
    UserIdGroupPair,
};

use super::{Api, Trouble, blob, tag, tagged};
use crate::cloud::campaign::Place;
use crate::cloud::labels::{Labels, Selection};
use crate::cloud::request::Cidr;
use crate::error::{Fault, Kind};
use crate::fleet::ec2::filter;

/// Where a cluster may stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// The private network that all places are in.
    pub vpc: String,
    /// Its places, one a subnet.
    pub places: Vec<Place>,
}

/// A security group of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// `sg-0abc`.
    pub id: String,
    /// What its tags say.
    pub labels: Labels,
}

/// A key pair of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its name, which is also its id to us.
    pub name: String,
    /// What its tags say.
    pub labels: Labels,
}

/// What a launch has to know of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// What `RunInstances` takes.
    pub id: String,
    /// The name that the image gives its root disk.
    pub root_device: String,
}

/// Where the latest Amazon Linux has its root disk.
const AMAZON_LINUX_ROOT: &str = "/dev/xvda";

/// EC2's code for a rule that a group has already.
const DUPLICATE: &str = "InvalidPermission.Duplicate";

impl Api {
    /// The subnets with these ids, in this order; without any, those of the default network, one a zone.
    ///
    /// # Errors
    /// Cloud: there is none, or they are in different networks.
    pub async fn network(&self, subnets: &[String]) -> Result<Network, Fault> {
        let mut question = self.client.describe_subnets();
        question = match subnets {
            [] => question.filters(filter("default-for-az", "true")),
            ids => question.set_subnet_ids(Some(ids.to_vec())),
        };
        let answer = self.ask("DescribeSubnets", &[], || question.clone().send()).await?;
        let mut found: Vec<(String, Place)> = answer
            .subnets()
            .iter()
            .filter_map(|subnet| {
                let zone = subnet.availability_zone().unwrap_or_default().to_owned();
                Some((subnet.vpc_id()?.to_owned(), Place { subnet: subnet.subnet_id()?.to_owned(), zone }))
            })
            .collect();
        found.sort_by_key(|(_, place)| {
            (subnets.iter().position(|id| *id == place.subnet), place.zone.clone(), place.subnet.clone())
        });
        let Some((vpc, _)) = found.first().cloned() else {
            let text =
                format!("EC2 in {}: no default network in this account: name a subnet with --subnet", self.region);
            return Err(Fault::new(Kind::Cloud, text));
        };
        if let Some((other, place)) = found.iter().find(|(other, _)| *other != vpc) {
            return Err(Fault::usage(format!(
                "--subnet: {} is in the network {other}, the first one in {vpc}: a cluster stands in one",
                place.subnet
            )));
        }
        Ok(Network { vpc, places: found.into_iter().map(|(_, place)| place).collect() })
    }

    /// The image for a type: the one with this id, or the latest Amazon Linux for the type's architecture.
    ///
    /// # Errors
    /// Cloud: there is no such type or image. Usage: the image is for another architecture.
    pub async fn image(&self, id: Option<&str>, instance_type: &str) -> Result<Image, Fault> {
        let architectures = self.architectures(instance_type).await?;
        let Some(id) = id else {
            let ours = ["x86_64", "arm64"].into_iter().find(|name| architectures.iter().any(|known| known == name));
            let ours = ours.ok_or_else(|| {
                Fault::usage(format!(
                    "--type {instance_type}: it is {}, and no Linux for that is known",
                    architectures.join(" or ")
                ))
            })?;
            // The name stands for the newest one, and is resolved by EC2 (AL2023 user guide, "Launching from the console").
            let name = format!("resolve:ssm:/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-{ours}");
            return Ok(Image { id: name, root_device: AMAZON_LINUX_ROOT.to_owned() });
        };
        if id.starts_with("resolve:") {
            return Ok(Image { id: id.to_owned(), root_device: AMAZON_LINUX_ROOT.to_owned() });
        }
        let question = self.client.describe_images().image_ids(id);
        let answer = self.ask("DescribeImages", &[], || question.clone().send()).await?;
        let image = answer.images().first().ok_or_else(|| {
            Fault::new(Kind::Cloud, format!("EC2 in {}: no image {id}: an image belongs to one region", self.region))
        })?;
        let architecture = image.architecture().map(|name| name.as_str()).unwrap_or_default();
        if !architectures.is_empty() && !architectures.iter().any(|known| known == architecture) {
            return Err(Fault::usage(format!(
                "--image {id} is for {architecture}, and --type {instance_type} is {}",
                architectures.join(" or ")
            )));
        }
        let root_device = image.root_device_name().unwrap_or(AMAZON_LINUX_ROOT).to_owned();
        Ok(Image { id: id.to_owned(), root_device })
    }

    async fn architectures(&self, instance_type: &str) -> Result<Vec<String>, Fault> {
        let question = self.client.describe_instance_types().instance_types(InstanceType::from(instance_type));
        let answer = self.ask("DescribeInstanceTypes", &[], || question.clone().send()).await?;
        let processor = answer.instance_types().first().and_then(|kind| kind.processor_info());
        let names = processor.map(|processor| processor.supported_architectures()).unwrap_or_default();
        Ok(names.iter().map(ArchitectureType::as_str).map(str::to_owned).collect())
    }

    /// Makes the group of a cluster, or finds it where it was made before; gives its id.
    ///
    /// # Errors
    /// EC2's.
    pub async fn make_group(&self, vpc: &str, labels: &Labels) -> Result<String, Fault> {
        let name = name_of(labels);
        let order = self
            .client
            .create_security_group()
            .group_name(&name)
            .description(format!("ssh to the runner cluster {}", labels.cluster))
            .vpc_id(vpc)
            .tag_specifications(tags(ResourceType::SecurityGroup, labels));
        match self.ask("CreateSecurityGroup", &[], || order.clone().send()).await {
            Ok(answer) => Ok(answer.group_id().unwrap_or_default().to_owned()),
            Err(trouble) if trouble.code == "InvalidGroup.Duplicate" => {
                let filters = vec![filter("group-name", &name), filter("vpc-id", vpc)];
                let found = self.groups_that(filters).await?;
                found.into_iter().next().map(|group| group.id).ok_or(trouble.fault)
            }
            Err(trouble) => Err(trouble.fault),
        }
    }

    /// Lets ssh into a group: from these addresses, and from its own members.
    ///
    /// # Errors
    /// EC2's.
    pub async fn open_group(&self, id: &str, from: &[Cidr]) -> Result<(), Fault> {
        let among_us = UserIdGroupPair::builder().group_id(id).description("ssh between the workers").build();
        let among_us = ssh().user_id_group_pairs(among_us);
        let all = from.iter().fold(among_us.clone(), let_in);
        match self.authorize(id, all).await {
            // Then EC2 has done nothing at all.
            Err(trouble) if trouble.code == DUPLICATE => {}
            done => return done.map_err(Fault::from),
        }
        for one in std::iter::once(among_us).chain(from.iter().map(|range| let_in(ssh(), range))) {
            unless(self.authorize(id, one).await, DUPLICATE)?;
        }
        Ok(())
    }

    async fn authorize(&self, id: &str, rule: IpPermissionBuilder) -> Result<(), Trouble> {
        let order = self.client.authorize_security_group_ingress().group_id(id).ip_permissions(rule.build());
        self.ask("AuthorizeSecurityGroupIngress", &["InvalidGroup.NotFound"], || order.clone().send()).await.map(|_| ())
    }

    /// Removes a group, as soon as nothing uses it any more.
    ///
    /// # Errors
    /// EC2's.
    pub async fn delete_group(&self, id: &str) -> Result<(), Fault> {
        let order = self.client.delete_security_group().group_id(id);
        // The network cards of instances that have ended go a little later.
        let done = self.ask("DeleteSecurityGroup", &["DependencyViolation"], || order.clone().send()).await;
        unless(done, "InvalidGroup.NotFound")
    }

    /// All groups with a tag.
    ///
    /// # Errors
    /// EC2's.
    pub async fn groups(&self, selection: &Selection) -> Result<Vec<Group>, Fault> {
        Ok(self.groups_that(vec![tagged(selection)]).await?)
    }

    async fn groups_that(&self, filters: Vec<Filter>) -> Result<Vec<Group>, Trouble> {
        let question = self.client.describe_security_groups().set_filters(Some(filters));
        let answer = self.ask("DescribeSecurityGroups", &[], || question.clone().send()).await?;
        let read = |group: &aws_sdk_ec2::types::SecurityGroup| Group {
            id: group.group_id().unwrap_or_default().to_owned(),
            labels: Labels::read(group.tags().iter().filter_map(|tag| Some((tag.key()?, tag.value()?)))),
        };
        Ok(answer.security_groups().iter().map(read).collect())
    }

    /// Tells EC2 the public key of a cluster; gives the name of the pair. One that is there is the same one.
    ///
    /// # Errors
    /// EC2's.
    pub async fn import_key(&self, public: &str, labels: &Labels) -> Result<String, Fault> {
        let name = name_of(labels);
        let order = self
            .client
            .import_key_pair()
            .key_name(&name)
            .public_key_material(blob(public.trim()))
            .tag_specifications(tags(ResourceType::KeyPair, labels));
        let done = self.ask("ImportKeyPair", &[], || order.clone().send()).await;
        unless(done, "InvalidKeyPair.Duplicate").map(|()| name)
    }

    /// Removes a key pair; one that is not there is no error to EC2.
    ///
    /// # Errors
    /// EC2's.
    pub async fn delete_key(&self, name: &str) -> Result<(), Fault> {
        let order = self.client.delete_key_pair().key_name(name);
        let done = self.ask("DeleteKeyPair", &[], || order.clone().send()).await;
        unless(done, "InvalidKeyPair.NotFound")
    }

    /// All key pairs with a tag.
    ///
    /// # Errors
    /// EC2's.
    pub async fn keys(&self, selection: &Selection) -> Result<Vec<Key>, Fault> {
        let question = self.client.describe_key_pairs().filters(tagged(selection));
        let answer = self.ask("DescribeKeyPairs", &[], || question.clone().send()).await?;
        let read = |pair: &aws_sdk_ec2::types::KeyPairInfo| Key {
            name: pair.key_name().unwrap_or_default().to_owned(),
            labels: Labels::read(pair.tags().iter().filter_map(|tag| Some((tag.key()?, tag.value()?)))),
        };
        Ok(answer.key_pairs().iter().map(read).collect())
    }
}

fn ssh() -> IpPermissionBuilder {
    IpPermission::builder().ip_protocol("tcp").from_port(22).to_port(22)
}

fn let_in(rule: IpPermissionBuilder, range: &Cidr) -> IpPermissionBuilder {
    let (text, words) = (range.to_string(), "ssh by runner");
    match range.address.is_ipv4() {
        true => rule.ip_ranges(IpRange::builder().cidr_ip(text).description(words).build()),
        false => rule.ipv6_ranges(Ipv6Range::builder().cidr_ipv6(text).description(words).build()),
    }
}

/// The name of a cluster's group and key pair, which no other cluster can have.
fn name_of(labels: &Labels) -> String {
    format!("runner-{}-{}", labels.cluster, labels.id)
}

/// The tags for what a call makes.
pub(super) fn tags(of: ResourceType, labels: &Labels) -> TagSpecification {
    let tags = labels.tags().into_iter().map(|(key, value)| tag(key, &value)).collect();
    TagSpecification::builder().resource_type(of).set_tags(Some(tags)).build()
}

/// What EC2 says when something is so already is no trouble.
fn unless<T>(done: Result<T, Trouble>, code: &str) -> Result<(), Fault> {
    match done {
        Ok(_) => Ok(()),
        Err(trouble) if trouble.code == code => Ok(()),
        Err(trouble) => Err(trouble.fault),
    }
}
