//! What to ask EC2 for next, given what came of the questions before.
//!
//! A zone that cannot give all that is wanted is no reason to fail: what it lacks is tried in the next zone, and when no
//! zone has any, by the next way of paying. A quota is the account's and the same everywhere, so it ends the campaign at
//! once, as does everything that a further question would only meet again. This is a function of the record alone: the
//! campaign goes on after a crash as if there had been none, beginning with the question whose answer was not heard.

use serde::{Deserialize, Serialize};

use super::request::{Market, Purchase};

/// A place for machines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The subnet's id.
    pub subnet: String,
    /// The zone that it is in.
    pub zone: String,
}

/// One question to EC2.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// Its place among the questions of the campaign, from 0; part of the client token.
    pub number: u32,
    /// How they are paid for.
    pub purchase: Purchase,
    /// Where.
    pub place: Place,
    /// At most so many.
    pub count: u32,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Nothing was heard yet, or ever: there may be machines.
    Unknown,
    /// These came.
    Came(Vec<String>),
    /// None came.
    Refused(Refusal),
}

/// EC2's no.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Its code.
    pub code: String,
    /// All that is to be said of it, with its code and request.
    pub text: String,
}

/// A search for machines: so many, in these places, paid for so; with all that was asked so far.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Campaign {
    /// How many.
    pub wanted: u32,
    /// How they may be paid for.
    pub market: Market,
    /// Where, in this order.
    pub places: Vec<Place>,
    /// Every question with its answer, in order.
    pub asked: Vec<(Question, Answer)>,
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Ask this. Where the last answer was not heard it is the same question again, with the same number.
    Ask(Question),
    /// All came.
    Complete,
    /// No place has any more.
    Exhausted,
    /// Further questions would meet the same.
    Stopped(Refusal),
}

/// What an error of EC2 means for the next question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    /// There are none left in this place.
    Place,
    /// The account may not have more of them.
    Quota,
    /// Anything else.
    Other,
}

impl Campaign {
    /// A search that has not begun.
    pub fn new(wanted: u32, market: Market, places: Vec<Place>) -> Self {
        Campaign { wanted, market, places, asked: Vec::new() }
    }

    /// The ids of all machines that came.
    pub fn came(&self) -> impl Iterator<Item = &String> {
        self.asked.iter().flat_map(|(_, answer)| match answer {
            Answer::Came(ids) => ids.as_slice(),
            Answer::Unknown | Answer::Refused(_) => &[],
        })
    }

    /// How many are still wanted.
    pub fn missing(&self) -> u32 {
        self.wanted.saturating_sub(u32::try_from(self.came().count()).unwrap_or(u32::MAX))
    }

    /// What to do now.
    pub fn next(&self) -> Step {
        if self.missing() == 0 {
            return Step::Complete;
        }
        match self.asked.last() {
            Some((question, Answer::Unknown)) => return Step::Ask(question.clone()),
            Some((_, Answer::Refused(refusal))) if class(&refusal.code) != Class::Place => {
                return Step::Stopped(refusal.clone());
            }
            Some((_, Answer::Came(_) | Answer::Refused(_))) | None => {}
        }
        let turn = self.asked.len();
        let purchase = self.market.purchases().get(turn / self.places.len().max(1));
        match (purchase, self.places.get(turn % self.places.len().max(1))) {
            (Some(purchase), Some(place)) => Step::Ask(Question {
                number: u32::try_from(turn).unwrap_or(u32::MAX),
                purchase: *purchase,
                place: place.clone(),
                count: self.missing(),
            }),
            (None, _) | (_, None) => Step::Exhausted,
        }
    }

    /// Notes that a question is about to be asked.
    pub fn ask(&mut self, question: &Question) {
        if self.asked.last().is_none_or(|(last, _)| last != question) {
            self.asked.push((question.clone(), Answer::Unknown));
        }
    }

    /// Notes what came of the last question.
    pub fn answer(&mut self, answer: Answer) {
        if let Some((_, last)) = self.asked.last_mut() {
            *last = answer;
        }
    }

    /// Whether there may be machines that nobody told us of.
    pub fn is_open(&self) -> bool {
        matches!(self.asked.last(), Some((_, Answer::Unknown)))
    }

    /// Why not all came, for people: the last no of every place, the same ones once.
    pub fn shortfall(&self) -> String {
        let mut reasons: Vec<(String, Vec<&str>)> = Vec::new();
        for (question, answer) in &self.asked {
            let Answer::Refused(refusal) = answer else { continue };
            let reason = format!("{} ({})", refusal.code, question.purchase);
            match reasons.iter_mut().find(|(known, _)| *known == reason) {
                Some((_, zones)) => zones.push(&question.place.zone),
                None => reasons.push((reason, vec![&question.place.zone])),
            }
        }
        let partial = self.asked.iter().any(|(question, answer)| match answer {
            Answer::Came(ids) => ids.len() < question.count as usize,
            Answer::Unknown | Answer::Refused(_) => false,
        });
        let mut parts: Vec<String> =
            reasons.into_iter().map(|(reason, zones)| format!("{reason} in {}", zones.join(", "))).collect();
        if parts.is_empty() && partial {
            parts.push("no zone had more".to_owned());
        }
        parts.join("; ")
    }
}

/// The codes are those of the API reference (EC2, "Error codes").
fn class(code: &str) -> Class {
    match code {
        "InsufficientInstanceCapacity"
        | "InsufficientHostCapacity"
        | "InsufficientCapacity"
        | "InsufficientReservedInstanceCapacity"
        | "InsufficientFreeAddressesInSubnet"
        | "SpotMaxPriceTooLow"
        // The type is not offered in this zone.
        | "Unsupported" => Class::Place,
        _ if is_quota(code) => Class::Quota,
        _ => Class::Other,
    }
}

/// Whether an error says that the account may not have more.
pub fn is_quota(code: &str) -> bool {
    matches!(code, "VcpuLimitExceeded" | "InstanceLimitExceeded" | "MaxSpotInstanceCountExceeded")
}

/// The quota that a type counts against, by its name at Service Quotas.
pub fn quota(instance_type: &str, purchase: Purchase) -> String {
    let family = instance_type.split(['.', '-']).next().unwrap_or(instance_type);
    let letters: String = family.chars().take_while(char::is_ascii_lowercase).collect();
    let bucket = match letters.as_str() {
        "inf" => "Inf",
        "trn" => "Trn",
        "dl" => "DL",
        "hpc" => "HPC",
        "u" => "High Memory",
        letters => match letters.chars().next() {
            Some('g' | 'v') => "G and VT",
            Some('p') => "P",
            Some('x') => "X",
            Some('f') => "F",
            Some(_) | None => "Standard (A, C, D, H, I, M, R, T, Z)",
        },
    };
    match purchase {
        Purchase::OnDemand => format!("Running On-Demand {bucket} instances"),
        Purchase::Spot => format!("All {bucket} Spot Instance Requests"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn campaign(wanted: u32, market: Market) -> Campaign {
        let place = |zone: &str| Place { subnet: format!("subnet-{zone}"), zone: zone.to_owned() };
        Campaign::new(wanted, market, vec![place("a"), place("b"), place("c")])
    }

    /// Plays a campaign: each word is an answer, a number of machines that come or a code. Gives the questions as
    /// `zone:count`, with `$` before it for spot, and how it ends.
    fn play(mut campaign: Campaign, answers: &[&str]) -> String {
        let mut told = Vec::new();
        let mut answers = answers.iter();
        loop {
            match campaign.next() {
                Step::Ask(question) => {
                    let sign = if question.purchase == Purchase::Spot { "$" } else { "" };
                    told.push(format!("{sign}{}:{}", question.place.zone, question.count));
                    campaign.ask(&question);
                    let Some(answer) = answers.next() else { return told.join(" ") };
                    campaign.answer(match answer.parse::<usize>() {
                        Ok(count) => Answer::Came((0..count).map(|n| format!("i-{}-{n}", question.number)).collect()),
                        Err(_) => Answer::Refused(Refusal { code: (*answer).into(), text: String::new() }),
                    });
                }
                Step::Complete => told.push("complete".into()),
                Step::Exhausted => told.push("exhausted".into()),
                Step::Stopped(refusal) => told.push(format!("stopped: {}", refusal.code)),
            }
            if !matches!(campaign.next(), Step::Ask(_))
                && told.last().is_some_and(|last| !last.contains(':') || last.contains("stopped"))
            {
                return told.join(" ");
            }
        }
    }

    #[test]
    fn what_a_zone_lacks_is_tried_in_the_next() {
        let check = |market, answers: &[&str], expected: &str| {
            assert_eq!(play(campaign(8, market), answers), expected, "{market:?} {answers:?}");
        };
        let full = "InsufficientInstanceCapacity";
        check(Market::OnDemand, &["8"], "a:8 complete");
        check(Market::OnDemand, &["5", "3"], "a:8 b:3 complete");
        check(Market::OnDemand, &[full, "Unsupported", "8"], "a:8 b:8 c:8 complete");
        check(Market::OnDemand, &["5", full, "1"], "a:8 b:3 c:3 exhausted");
        check(Market::Spot, &["2", "2", "2"], "$a:8 $b:6 $c:4 exhausted");
        check(Market::SpotThenOnDemand, &["2", full, "SpotMaxPriceTooLow", "6"], "$a:8 $b:6 $c:6 a:6 complete");
    }

    #[test]
    fn what_is_the_same_everywhere_stops_at_once() {
        let check = |answers: &[&str], expected: &str| {
            assert_eq!(play(campaign(8, Market::SpotThenOnDemand), answers), expected, "{answers:?}");
        };
        check(&["VcpuLimitExceeded"], "$a:8 stopped: VcpuLimitExceeded");
        check(&["5", "MaxSpotInstanceCountExceeded"], "$a:8 $b:3 stopped: MaxSpotInstanceCountExceeded");
        check(&["UnauthorizedOperation"], "$a:8 stopped: UnauthorizedOperation");
    }

    #[test]
    fn an_answer_that_was_not_heard_is_asked_for_again_with_the_same_question() {
        let mut campaign = campaign(8, Market::OnDemand);
        let Step::Ask(question) = campaign.next() else { panic!("asks") };
        campaign.ask(&question);
        assert!(campaign.is_open());
        assert_eq!(campaign.next(), Step::Ask(question.clone()));
        campaign.ask(&question);
        assert_eq!(campaign.asked.len(), 1);
        campaign.answer(Answer::Came(vec!["i-1".into()]));
        let Step::Ask(next) = campaign.next() else { panic!("asks") };
        assert_eq!((next.number, next.count, next.place.zone.as_str()), (1, 7, "b"));
    }

    #[test]
    fn the_shortfall_is_told_by_reason() {
        let mut campaign = campaign(8, Market::OnDemand);
        let refused = |code: &str| Answer::Refused(Refusal { code: code.into(), text: String::new() });
        for answer in
            [refused("InsufficientInstanceCapacity"), refused("Unsupported"), refused("InsufficientInstanceCapacity")]
        {
            let Step::Ask(question) = campaign.next() else { panic!("asks") };
            campaign.ask(&question);
            campaign.answer(answer);
        }
        assert_eq!(
            campaign.shortfall(),
            "InsufficientInstanceCapacity (on demand) in a, c; Unsupported (on demand) in b"
        );
    }

    #[test]
    fn quotas_have_names() {
        let check = |kind: &str, purchase, name: &str| assert_eq!(quota(kind, purchase), name, "{kind}");
        let standard = "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances";
        check("m7i.large", Purchase::OnDemand, standard);
        check("t4g.micro", Purchase::OnDemand, standard);
        check("i4i.large", Purchase::OnDemand, standard);
        check("inf2.xlarge", Purchase::OnDemand, "Running On-Demand Inf instances");
        check("g5.xlarge", Purchase::Spot, "All G and VT Spot Instance Requests");
        check("p5.48xlarge", Purchase::Spot, "All P Spot Instance Requests");
        check("u-6tb1.metal", Purchase::OnDemand, "Running On-Demand High Memory instances");
        check("x2idn.16xlarge", Purchase::OnDemand, "Running On-Demand X instances");
    }
}
