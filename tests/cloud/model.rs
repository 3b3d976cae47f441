//! An EC2 of our own for what moto never does: zones that run out, quotas, throttling, answers that get lost, and things
//! that cannot be seen for a while after they were made. It speaks the real protocol over HTTP to the real SDK.
//!
//! Faults are drawn from a seed; [`World::next_runs`] orders the answers to launches. Only what a cluster needs is here.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::http;

/// A server; its threads end with the test process.
pub struct Ec2 {
    /// Where it listens: `http://127.0.0.1:PORT`.
    pub url: String,
    world: Arc<Mutex<World>>,
    requests: watch::Receiver<u64>,
}

/// All that there is.
pub struct World {
    instances: BTreeMap<String, Instance>,
    groups: BTreeMap<String, Thing>,
    keys: BTreeMap<String, Thing>,
    tokens: HashMap<String, Vec<String>>,
    random: u64,
    /// How much goes wrong by chance.
    pub faults: Faults,
    /// The answers to the next launches, in order; then by chance, or all that is asked for.
    pub next_runs: VecDeque<Run>,
    /// What every instance wrote to its console.
    pub console: String,
    /// How long what was made cannot be seen.
    pub hidden_max: Duration,
    /// Every request: its action, and for a launch zone and count behind it.
    pub log: Vec<String>,
    /// Every launch that was asked for, in full.
    pub launches: Vec<Form>,
    /// Whether there is a default network.
    pub has_network: bool,
    /// The public name of every instance.
    pub public: Option<String>,
}

/// How much goes wrong.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Faults {
    /// Nothing.
    None,
    /// All that can.
    BySeed,
}

/// What a launch is answered.
#[derive(Clone, Copy)]
pub enum Run {
    /// At most so many.
    Give(usize),
    /// This status and code; nothing is made.
    Refuse(u16, &'static str),
    /// All of them, and the connection breaks.
    GiveUnheard,
}

#[derive(Default)]
struct Thing {
    name: String,
    tags: BTreeMap<String, String>,
    seen_from: Option<Instant>,
    /// Whom a group lets in.
    rules: BTreeSet<String>,
}

struct Instance {
    tags: BTreeMap<String, String>,
    zone: String,
    seen_from: Instant,
    ended: Option<Instant>,
}

/// How long an instance takes to go.
const GOING: Duration = Duration::from_millis(10);
const ZONES: [&str; 3] = ["eu-west-1a", "eu-west-1b", "eu-west-1c"];

enum Said {
    Answer(String),
    Error(u16, String, String),
    Nothing,
}

/// The parameters of a request.
pub type Form = BTreeMap<String, String>;

pub fn start(seed: u64) -> Ec2 {
    let world = Arc::new(Mutex::new(World {
        instances: BTreeMap::new(),
        groups: BTreeMap::new(),
        keys: BTreeMap::new(),
        tokens: HashMap::new(),
        // Seeds that follow each other must not begin alike.
        random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
        faults: Faults::None,
        next_runs: VecDeque::new(),
        console: String::new(),
        hidden_max: Duration::ZERO,
        log: Vec::new(),
        launches: Vec::new(),
        has_network: true,
        public: None,
    }));
    let (count, requests) = watch::channel(0);
    let (served, count) = (Arc::clone(&world), Arc::new(count));
    let url = http::start(move |body| {
        let form = parse(body);
        if form.is_empty() {
            // A client that was killed before it had said anything.
            return None;
        }
        let said = served.lock().unwrap_or_else(PoisonError::into_inner).answer(&form);
        count.send_modify(|count| *count += 1);
        match said {
            Said::Nothing => None,
            Said::Answer(text) => Some(http::answer(200, &text)),
            Said::Error(status, code, words) => Some(http::error(status, &code, &words)),
        }
    });
    Ec2 { url, world, requests }
}

impl Ec2 {
    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing costs, and nothing is left.
    pub fn assert_empty(&self) {
        let world = self.world();
        assert_eq!((world.live(), world.things()), (Vec::new(), 0), "{:?}", world.log);
    }

    /// Ends when so many requests have come.
    pub async fn after_requests(&self, number: u64) {
        let mut requests = self.requests.clone();
        requests.wait_for(|count| *count >= number).await.expect("the server stays");
    }
}

impl World {
    /// The ids of the instances that cost.
    pub fn live(&self) -> Vec<String> {
        self.instances.iter().filter(|(_, instance)| instance.ended.is_none()).map(|(id, _)| id.clone()).collect()
    }

    /// How many groups and key pairs there are.
    pub fn things(&self) -> usize {
        self.groups.len() + self.keys.len()
    }

    /// Whom the one group lets in, members of groups by the groups' ids.
    pub fn let_in(&self) -> Vec<String> {
        self.groups.values().flat_map(|group| group.rules.iter().cloned()).collect()
    }

    /// Below `bound`, by chance (xorshift64).
    pub fn below(&mut self, bound: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) % bound
    }

    fn percent(&mut self, share: u64) -> bool {
        self.faults == Faults::BySeed && self.below(100) < share
    }

    fn hide(&mut self) -> Instant {
        let most = u64::try_from(self.hidden_max.as_micros()).expect("short");
        let time = if most > 0 { self.below(most) } else { 0 };
        Instant::now() + Duration::from_micros(time)
    }

    fn answer(&mut self, form: &Form) -> Said {
        let action = form["Action"].as_str();
        let mut note = action.to_owned();
        if action == "RunInstances" {
            note.push_str(&format!(" {} {}", form["NetworkInterface.1.SubnetId"], form["MaxCount"]));
            self.launches.push(form.clone());
        }
        self.log.push(note);
        if self.percent(5) {
            return error(503, "RequestLimitExceeded");
        }
        if self.percent(3) {
            return error(500, "InternalError");
        }
        let said = self.act(action, form);
        match () {
            () if self.percent(3) => Said::Nothing,
            () if self.percent(3) => error(500, "InternalError"),
            () => said,
        }
    }

    fn act(&mut self, action: &str, form: &Form) -> Said {
        match action {
            "DescribeSubnets" => {
                let items = ZONES.iter().filter(|_| self.has_network).map(|zone| {
                    let id = format!("subnet-{}", &zone[zone.len() - 1..]);
                    format!("<item><subnetId>{id}</subnetId><vpcId>vpc-1</vpcId><availabilityZone>{zone}</availabilityZone></item>")
                });
                list("DescribeSubnetsResponse", "subnetSet", items)
            }
            "DescribeInstanceTypes" => {
                let items = form.get("InstanceType.1").into_iter().map(|kind| {
                    format!(
                        "<item><instanceType>{kind}</instanceType><processorInfo><supportedArchitectures><item>x86_64</item>\
                         </supportedArchitectures></processorInfo></item>"
                    )
                });
                list("DescribeInstanceTypesResponse", "instanceTypeSet", items)
            }
            "CreateSecurityGroup" => self.create_group(form),
            "AuthorizeSecurityGroupIngress" => match self.groups.get_mut(&form["GroupId"]) {
                Some(group) if group.seen_from.is_none_or(|from| from <= Instant::now()) => open(group, form),
                Some(_) | None => error(400, "InvalidGroup.NotFound"),
            },
            "DescribeSecurityGroups" => {
                let found =
                    self.groups.iter().filter(|(_, group)| fits(form, &group.tags, &[("group-name", &group.name)]));
                let items =
                    found.map(|(id, group)| format!("<item><groupId>{id}</groupId>{}</item>", tag_set(&group.tags)));
                list("DescribeSecurityGroupsResponse", "securityGroupInfo", items)
            }
            "DeleteSecurityGroup" => {
                let is_used = self.instances.values().any(|instance| !is_gone(instance));
                if is_used {
                    return error(400, "DependencyViolation");
                }
                match self.groups.remove(&form["GroupId"]) {
                    Some(_) => done(action),
                    None => error(400, "InvalidGroup.NotFound"),
                }
            }
            "ImportKeyPair" => {
                let name = form["KeyName"].clone();
                if self.keys.contains_key(&name) {
                    return error(400, "InvalidKeyPair.Duplicate");
                }
                self.keys.insert(name, Thing { tags: tags(form, "key-pair"), ..Thing::default() });
                done(action)
            }
            "DescribeKeyPairs" => {
                let found = self.keys.iter().filter(|(_, key)| fits(form, &key.tags, &[]));
                let items =
                    found.map(|(name, key)| format!("<item><keyName>{name}</keyName>{}</item>", tag_set(&key.tags)));
                list("DescribeKeyPairsResponse", "keySet", items)
            }
            "DeleteKeyPair" => {
                self.keys.remove(&form["KeyName"]);
                done(action)
            }
            "RunInstances" => self.run(form),
            "DescribeInstances" => self.describe(form),
            "TerminateInstances" => self.terminate(form),
            "GetConsoleOutput" => {
                let output = aws_smithy_types::base64::encode(&self.console);
                Said::Answer(format!("<GetConsoleOutputResponse><output>{output}</output></GetConsoleOutputResponse>"))
            }
            "CreateTags" => done(action),
            other => panic!("{other} is not here"),
        }
    }

    fn create_group(&mut self, form: &Form) -> Said {
        let name = form["GroupName"].clone();
        if self.groups.values().any(|group| group.name == name) {
            return error(400, "InvalidGroup.Duplicate");
        }
        let id = format!("sg-{:x}", self.below(1 << 40));
        let seen_from = Some(self.hide());
        self.groups
            .insert(id.clone(), Thing { name, tags: tags(form, "security-group"), seen_from, ..Thing::default() });
        Said::Answer(format!("<CreateSecurityGroupResponse><groupId>{id}</groupId></CreateSecurityGroupResponse>"))
    }

    fn run(&mut self, form: &Form) -> Said {
        let token = form["ClientToken"].clone();
        let asked: usize = form["MaxCount"].parse().expect("a number");
        assert_eq!(form["MinCount"], "1");
        if !self.tokens.contains_key(&token) {
            let run = match self.next_runs.pop_front() {
                Some(run) => run,
                None if self.percent(25) => Run::Refuse(500, "InsufficientInstanceCapacity"),
                None if self.percent(10) => Run::Refuse(400, "Unsupported"),
                None if self.percent(5) => Run::Refuse(400, "VcpuLimitExceeded"),
                None if self.percent(30) => Run::Give(1 + self.below(asked as u64) as usize),
                None => Run::Give(asked),
            };
            let count = match run {
                Run::Refuse(status, code) => return error(status, code),
                Run::Give(count) => count.min(asked),
                Run::GiveUnheard => asked,
            };
            let ids: Vec<String> = (0..count).map(|_| self.new_instance(form)).collect();
            self.tokens.insert(token.clone(), ids);
            if matches!(run, Run::GiveUnheard) {
                return Said::Nothing;
            }
        }
        let items = self.tokens[&token].iter().map(|id| format!("<item><instanceId>{id}</instanceId></item>"));
        list("RunInstancesResponse", "instancesSet", items)
    }

    fn new_instance(&mut self, form: &Form) -> String {
        let id = format!("i-{:016x}", self.below(1 << 50));
        let letter = form["NetworkInterface.1.SubnetId"].trim_start_matches("subnet-").to_owned();
        let seen_from = self.hide();
        let instance =
            Instance { tags: tags(form, "instance"), zone: format!("eu-west-1{letter}"), seen_from, ended: None };
        assert!(instance.tags.contains_key("runner:cluster"), "an instance without tags");
        self.instances.insert(id.clone(), instance);
        id
    }

    fn describe(&self, form: &Form) -> Said {
        let now = Instant::now();
        let found = self
            .instances
            .iter()
            .filter(|(id, instance)| instance.seen_from <= now && fits(form, &instance.tags, &[("instance-id", id)]));
        let items = found.map(|(id, instance)| {
            let state = match instance.ended {
                None => "running",
                Some(_) if is_gone(instance) => "terminated",
                Some(_) => "shutting-down",
            };
            let public = self.public.as_ref().map(|name| format!("<dnsName>{name}</dnsName>")).unwrap_or_default();
            format!(
                "<item><instancesSet><item><instanceId>{id}</instanceId><instanceState><name>{state}</name></instanceState>\
                 {public}<privateIpAddress>127.0.0.1</privateIpAddress><placement><availabilityZone>{}</availabilityZone></placement>\
                 {}</item></instancesSet></item>",
                instance.zone,
                tag_set(&instance.tags)
            )
        });
        list("DescribeInstancesResponse", "reservationSet", items)
    }

    fn terminate(&mut self, form: &Form) -> Said {
        let now = Instant::now();
        let ids: Vec<&String> =
            form.iter().filter(|(key, _)| key.starts_with("InstanceId.")).map(|(_, id)| id).collect();
        let is_unknown = |id: &&&String| self.instances.get(**id).is_none_or(|instance| instance.seen_from > now);
        let unknown: Vec<&str> = ids.iter().filter(is_unknown).map(|id| id.as_str()).collect();
        if !unknown.is_empty() {
            let text = format!("The instance IDs '{}' do not exist", unknown.join(", "));
            return Said::Error(400, "InvalidInstanceID.NotFound".into(), text);
        }
        for id in ids {
            self.instances.get_mut(id).expect("is known").ended.get_or_insert(now + GOING);
        }
        done("TerminateInstances")
    }
}

/// Lets somebody in. As EC2 has it: of a request in which one is in already, nothing is done.
fn open(group: &mut Thing, form: &Form) -> Said {
    let is_rule = |key: &str| key.starts_with("IpPermissions.") && (key.contains(".Cidr") || key.ends_with(".GroupId"));
    let rules: Vec<&String> = form.iter().filter(|(key, _)| is_rule(key)).map(|(_, value)| value).collect();
    if rules.iter().any(|rule| group.rules.contains(*rule)) {
        return error(400, "InvalidPermission.Duplicate");
    }
    group.rules.extend(rules.into_iter().cloned());
    done("AuthorizeSecurityGroupIngress")
}

/// The answer to an order.
fn done(action: &str) -> Said {
    Said::Answer(format!("<{action}Response><return>true</return></{action}Response>"))
}

fn is_gone(instance: &Instance) -> bool {
    instance.ended.is_some_and(|at| at <= Instant::now())
}

fn error(status: u16, code: &str) -> Said {
    Said::Error(status, code.to_owned(), "what EC2 says.".to_owned())
}

fn list(response: &str, set: &str, items: impl Iterator<Item = String>) -> Said {
    Said::Answer(format!("<{response}><{set}>{}</{set}></{response}>", items.collect::<String>()))
}

fn tag_set(tags: &BTreeMap<String, String>) -> String {
    let items = tags.iter().map(|(key, value)| format!("<item><key>{key}</key><value>{value}</value></item>"));
    format!("<tagSet>{}</tagSet>", items.collect::<String>())
}

/// The tags that a request gives to what it makes of this kind.
fn tags(form: &Form, kind: &str) -> BTreeMap<String, String> {
    let number = (1..10)
        .find(|number| form.get(&format!("TagSpecification.{number}.ResourceType")).is_some_and(|of| of == kind))
        .unwrap_or_else(|| panic!("no tags for {kind}"));
    let tag = |at: u32, part: &str| form.get(&format!("TagSpecification.{number}.Tag.{at}.{part}")).cloned();
    (1..20).map_while(|at| Some((tag(at, "Key")?, tag(at, "Value")?))).collect()
}

/// Whether something passes the filters of a request: by tags, and by these values.
fn fits(form: &Form, tags: &BTreeMap<String, String>, values: &[(&str, &str)]) -> bool {
    (1..10).map_while(|number| Some((number, form.get(&format!("Filter.{number}.Name"))?))).all(|(number, name)| {
        let wanted: Vec<&String> = (1..1000).map_while(|at| form.get(&format!("Filter.{number}.Value.{at}"))).collect();
        let has = |value: &str| wanted.iter().any(|wanted| *wanted == value || *wanted == "*");
        match name.strip_prefix("tag:") {
            Some(key) => tags.get(key).is_some_and(|value| has(value)),
            None => values.iter().find(|(known, _)| known == name).is_none_or(|(_, value)| has(value)),
        }
    })
}

fn parse(body: &str) -> Form {
    body.split('&').filter_map(|pair| pair.split_once('=')).map(|(key, value)| (decode(key), decode(value))).collect()
}

/// `application/x-www-form-urlencoded`.
fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [rest.next().expect("a digit"), rest.next().expect("a digit")];
                u8::from_str_radix(std::str::from_utf8(&digits).expect("digits"), 16).expect("a number")
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).expect("text")
}
