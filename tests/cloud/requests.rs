//! What EC2 is asked for, in the very words that go over the wire.

use runner::cloud::end::end;
use runner::cloud::{Market, Reach};

use crate::launches::Scene;
use crate::model::Form;

/// What a launch asked for.
async fn launched(market: Market) -> Form {
    let scene = Scene::new(21);
    let (cluster, _) = scene.bring_up(scene.cluster(2, None, market)).await.expect("comes up");
    assert_eq!(cluster.record.request.reach, Reach::Private);
    end(&scene.api, cluster, &|_| {}).await.expect("ends");
    let mut launches = std::mem::take(&mut scene.ec2.world().launches);
    assert_eq!(launches.len(), 1, "in one call");
    launches.remove(0)
}

fn tags(form: &Form, number: u32) -> (&str, Vec<(&str, &str)>) {
    let tag = |at: u32, part: &str| form.get(&format!("TagSpecification.{number}.Tag.{at}.{part}")).map(String::as_str);
    let tags = (1..20).map_while(|at| Some((tag(at, "Key")?, tag(at, "Value")?))).collect();
    (&form[&format!("TagSpecification.{number}.ResourceType")], tags)
}

#[tokio::test]
async fn a_launch_asks_for_encrypted_disks_tokens_tags_and_an_end() {
    let form = launched(Market::OnDemand).await;
    let check = |key: &str, value: &str| assert_eq!(form.get(key).map(String::as_str), Some(value), "{key}: {form:#?}");
    check("BlockDeviceMapping.1.DeviceName", "/dev/xvda");
    check("BlockDeviceMapping.1.Ebs.Encrypted", "true");
    check("BlockDeviceMapping.1.Ebs.DeleteOnTermination", "true");
    check("BlockDeviceMapping.1.Ebs.VolumeType", "gp3");
    check("BlockDeviceMapping.1.Ebs.VolumeSize", "8");
    check("MetadataOptions.HttpTokens", "required");
    check("MetadataOptions.HttpPutResponseHopLimit", "1");
    check("InstanceInitiatedShutdownBehavior", "terminate");
    check("MinCount", "1");
    check("MaxCount", "2");
    check("NetworkInterface.1.DeleteOnTermination", "true");
    assert!(form["NetworkInterface.1.SecurityGroupId.1"].starts_with("sg-"), "{form:#?}");
    assert!(!form.contains_key("NetworkInterface.1.AssociatePublicIpAddress"), "the private address is enough");
    assert!(form["KeyName"].starts_with("runner-demo-") && form["ClientToken"].len() <= 64, "{form:#?}");
    let (of_instance, given) = tags(&form, 1);
    assert_eq!((of_instance, tags(&form, 2)), ("instance", ("volume", given.clone())));
    let keys: Vec<&str> = given.iter().map(|(key, _)| *key).collect();
    assert_eq!(keys, ["Name", "runner:cluster", "runner:id", "runner:by", "runner:ttl"]);
    assert!(given.contains(&("runner:cluster", "demo")) && given.contains(&("runner:ttl", "3600")), "{given:?}");
    assert!(!form.keys().any(|key| key.starts_with("InstanceMarketOptions")));

    let user_data = aws_smithy_types::base64::decode(&form["UserData"]).expect("is base64");
    let user_data = String::from_utf8(user_data).expect("is text");
    assert!(
        user_data.starts_with("#cloud-config\nssh_deletekeys: true\nssh_keys:\n  ed25519_private: |\n"),
        "{user_data}"
    );
    assert!(user_data.contains("-lt 3600 ] || systemctl poweroff\n"), "{user_data}");
}

#[tokio::test]
async fn spot_machines_are_asked_for_once_and_their_request_has_the_tags() {
    let form = launched(Market::Spot).await;
    let check = |key: &str, value: &str| assert_eq!(form.get(key).map(String::as_str), Some(value), "{key}: {form:#?}");
    check("InstanceMarketOptions.MarketType", "spot");
    check("InstanceMarketOptions.SpotOptions.SpotInstanceType", "one-time");
    check("InstanceMarketOptions.SpotOptions.InstanceInterruptionBehavior", "terminate");
    check("BlockDeviceMapping.1.Ebs.Encrypted", "true");
    check("InstanceInitiatedShutdownBehavior", "terminate");
    assert_eq!(tags(&form, 3), ("spot-instances-request", tags(&form, 1).1));
}
