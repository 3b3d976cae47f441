//! What EC2's errors mean and what helps against the usual ones.
//!
//! EC2's own code, words and request id are kept, since that is what its documents and its support go by. The codes are
//! those of the API reference (EC2, "Error codes") and the SDK's list of throttling errors.

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_ec2::config::http::HttpResponse;
use aws_sdk_ec2::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_ec2::operation::RequestId;

use crate::error::{Fault, Kind};

/// No setting and no instance role says where to look.
pub fn no_region() -> Fault {
    cloud("EC2: no region: set AWS_REGION, or `region` of the profile in ~/.aws/config (AWS_PROFILE, else `default`)")
}

/// Nobody here can tell EC2 from somebody else.
pub fn no_authorities() -> Fault {
    cloud(
        "EC2: no certificates of authorities on this machine: install them (Debian and Fedora call them ca-certificates), or \
         name a file of them with SSL_CERT_FILE",
    )
}

/// What came of a request to EC2, for people; `action` is what IAM calls the request: `DescribeInstances`.
pub fn fault<E>(error: &SdkError<E, HttpResponse>, region: &str, action: &str) -> Fault
where
    E: ProvideErrorMetadata + Error + 'static,
{
    if let Some(error) = causes(error).find_map(|cause| cause.downcast_ref::<CredentialsError>()) {
        return no_credentials(error);
    }
    cloud(match (error.code(), error.raw_response()) {
        (Some(code), _) => {
            let words = error.message().unwrap_or("no further words");
            let request = error.request_id().map(|id| format!(" (request {id})")).unwrap_or_default();
            let help = advice(code, action).map(|help| format!(": {help}")).unwrap_or_default();
            format!("EC2 in {region}: {code}: {}{request}{help}", words.trim().trim_end_matches('.'))
        }
        (None, Some(answer)) => format!(
            "EC2 in {region}: HTTP status {} and no words that EC2 would use: is another service or a proxy at the \
             endpoint?",
            answer.status()
        ),
        (None, None) => format!(
            "EC2 in {region} cannot be reached: {}: check the region's name, the network, HTTPS_PROXY and AWS_ENDPOINT_URL",
            in_words(error)
        ),
    })
}

/// What helps against the errors that people meet.
fn advice(code: &str, action: &str) -> Option<String> {
    if matches!(code, "UnauthorizedOperation" | "AccessDenied" | "AccessDeniedException") {
        return Some(format!("these credentials may not do that: their IAM policy must allow ec2:{action}"));
    }
    of_access(code).or_else(|| of_launch(code)).map(str::to_owned)
}

/// Who we are, the way there, and EC2's own trouble.
fn of_access(code: &str) -> Option<&'static str> {
    Some(match code {
        "AuthFailure" | "InvalidClientTokenId" | "UnrecognizedClientException" => {
            "the access key is unknown, off, or of an account where this region is not enabled: \
             `aws sts get-caller-identity` shows who you are"
        }
        "OptInRequired" => "this account has to sign up for EC2, or enable the region, first",
        "AuthFailure.ServiceLinkedRoleCreationNotPermitted" => {
            "spot machines need a role that whoever may give roles has to make once: `aws iam create-service-linked-role \
             --aws-service-name spot.amazonaws.com`"
        }
        "SignatureDoesNotMatch" | "IncompleteSignature" => {
            "the secret key does not belong to the access key, or this machine's clock is wrong"
        }
        "ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired" => {
            "the session is over: renew it (`aws sso login`, or whatever gave AWS_SESSION_TOKEN)"
        }
        "RequestExpired" | "RequestTimeTooSkewed" | "RequestInTheFuture" | "InvalidSignatureException" => {
            "this machine's clock is wrong, or the session is over: compare `date -u` with true time, then renew the session"
        }
        "RequestLimitExceeded" | "Throttling" | "ThrottlingException" | "EC2ThrottledException" => {
            "the account asks EC2 too often, and several tries did not help: wait a minute, or raise AWS_MAX_ATTEMPTS"
        }
        "InternalError" | "InternalFailure" | "ServiceUnavailable" | "Unavailable" | "InsufficientCapacity" => {
            "this is EC2's own trouble, and several tries did not help: try again later"
        }
        _ => return None,
    })
}

/// What was asked for cannot be had, or not so.
fn of_launch(code: &str) -> Option<&'static str> {
    Some(match code {
        "InsufficientInstanceCapacity" | "InsufficientHostCapacity" => {
            "EC2 has no such machines left there at the moment: take another type (--type), wait, or ask for fewer"
        }
        "Unsupported" => "this type is not offered in that zone: take another type (--type) or subnet (--subnet)",
        "VcpuLimitExceeded" | "InstanceLimitExceeded" | "MaxSpotInstanceCountExceeded" => {
            "ask for more at Service Quotas (service Amazon EC2) in the AWS console, or for fewer or smaller machines"
        }
        "SpotMaxPriceTooLow" => "the spot market is above the on-demand price: launch without --spot",
        "InvalidInstanceType" => "there is no such type in this region: see --type",
        "SecurityGroupLimitExceeded" | "SecurityGroupsPerVpcLimitExceeded" | "KeyPairLimitExceeded" => {
            "`runner cloud list` and `runner cloud reap` show what could go; or ask for more at Service Quotas"
        }
        "InvalidBlockDeviceMapping" => "the image may need a larger disk, or another one: see --disk",
        "InvalidKey.Format" | "InvalidKeyPair.Format" => "EC2 takes RSA and ed25519 keys: give another one with --key",
        "InvalidParameterValue" | "InvalidParameterCombination" => "see --type, --image, --disk and --subnet",
        "InvalidAMIID.NotFound" | "InvalidAMIID.Malformed" | "InvalidAMIID.Unavailable" => {
            "an image belongs to one region: look for the id that it has here, or leave --image out"
        }
        "InvalidSubnetID.NotFound" | "InvalidSubnet" => "a subnet belongs to one region: check --subnet and AWS_REGION",
        "InsufficientFreeAddressesInSubnet" => "the subnet is full: name another one with --subnet",
        "VPCIdNotSpecified" | "MissingInput" => "this account has no default network here: name a subnet with --subnet",
        "PendingVerification" | "Blocked" => "AWS has to clear this account first: see the mail that they sent",
        "DependencyViolation" => "something still uses it: `runner cloud reap` tries again later",
        _ => return None,
    })
}

fn no_credentials(error: &CredentialsError) -> Fault {
    cloud(match error {
        CredentialsError::CredentialsNotLoaded(_) => {
            "EC2: no credentials: choose a profile with AWS_PROFILE, make one \
             with `aws configure`, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
                .to_owned()
        }
        CredentialsError::ProviderTimedOut(_) => {
            format!("EC2: the source of credentials does not answer: {}", in_words(error))
        }
        CredentialsError::InvalidConfiguration(_) => {
            format!("EC2: no credentials: {}: check ~/.aws/config and AWS_PROFILE", in_words(error))
        }
        // The enum may grow.
        _ => format!(
            "EC2: no credentials: {} (a session of single sign-on, if that is meant, is renewed by `aws sso login`)",
            in_words(error)
        ),
    })
}

fn cloud(text: impl Into<String>) -> Fault {
    Fault::new(Kind::Cloud, text)
}

/// The causes below an error; its own words say too little.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(error.source(), |&cause| cause.source())
}

fn in_words(error: &(dyn Error + 'static)) -> String {
    let mut words: Vec<String> = Vec::new();
    for text in causes(error).map(|cause| cause.to_string().trim_end_matches('.').to_owned()) {
        // Some causes repeat the one below.
        if words.last().is_none_or(|last| !last.ends_with(&text)) {
            words.push(text);
        }
    }
    if words.is_empty() { error.to_string() } else { words.join(": ") }
}
