//! What can happen to a host of the testbed, or to the driver.

use std::time::Duration;

use crate::random::Random;
use crate::testbed::Testbed;

/// Something that goes wrong.
#[derive(Clone, Debug)]
pub struct Fault {
    /// So long after the beginning of the round.
    pub after: Duration,
    kind: Kind,
    host: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The host loses its power.
    Crash,
    /// Its cable is pulled for good,
    Cut,
    /// or for a moment.
    Blink,
    /// It gets a tenth of a processor.
    Slow,
    /// The worker process there is killed.
    KillWorker,
    /// All room on its disk is taken.
    Fill,
    /// The driver is killed.
    KillDriver,
}

const KINDS: [Kind; 7] =
    [Kind::Crash, Kind::Cut, Kind::Blink, Kind::Slow, Kind::KillWorker, Kind::Fill, Kind::KillDriver];

impl Fault {
    /// One that strikes one of these hosts.
    pub fn draw(random: &mut Random, hosts: &[&'static str]) -> Self {
        let kind = random.pick(&KINDS).expect("there are kinds");
        let host = random.pick(hosts).expect("there are hosts");
        Fault { after: Duration::from_millis(random.between(200, 3500)), kind, host }
    }

    /// Whether it is the driver that is killed.
    pub fn is_of_the_driver(&self) -> bool {
        self.kind == Kind::KillDriver
    }

    /// Lets it happen. The driver's end is the caller's to bring about.
    pub fn strike(&self, bed: &Testbed) {
        let host = self.host;
        match self.kind {
            Kind::Crash => _ = bed.try_run(&["crash", host]),
            Kind::Cut => _ = bed.try_run(&["cut", host]),
            Kind::Blink => {
                bed.try_run(&["cut", host]);
                std::thread::sleep(Duration::from_millis(500));
                bed.try_run(&["heal", host]);
            }
            Kind::Slow => _ = bed.try_run(&["slow", host, "10"]),
            Kind::KillWorker => _ = bed.try_run(&["exec", host, "sh", "-c", "pkill -KILL -f 'worker [s]erve'"]),
            Kind::Fill => _ = bed.try_run(&["fill", host, "200"]),
            Kind::KillDriver => {}
        }
    }

    /// Undoes it; what is whole already stays so.
    pub fn mend(&self, bed: &Testbed) {
        match self.kind {
            Kind::Crash => _ = bed.try_run(&["boot", self.host]),
            Kind::Cut | Kind::Blink => _ = bed.try_run(&["heal", self.host]),
            Kind::Slow => _ = bed.try_run(&["slow", self.host, "100"]),
            Kind::Fill => _ = bed.try_run(&["drain", self.host]),
            Kind::KillWorker | Kind::KillDriver => {}
        }
    }
}
