//! What the facts so far say of one worker.

/// A worker as the facts have it.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    pub host: u32,
    pub slots: u32,
    /// What it keeps of its places as a slow one, in percent.
    pub share: u32,
    pub silent: bool,
    pub barred: bool,
    /// Its host is short of something.
    pub held: bool,
    /// Lost, or let go.
    pub lost: bool,
    /// Its host was taken off the list.
    pub draining: bool,
    pub live_maps: u32,
    pub live_reduces: u32,
}

impl Seen {
    pub fn new(host: u32, slots: u32) -> Self {
        let (silent, barred, held, lost, draining) = (false, false, false, false, false);
        Seen { host, slots, share: 100, silent, barred, held, lost, draining, live_maps: 0, live_reduces: 0 }
    }

    pub fn is_usable(&self) -> bool {
        !self.lost && !self.silent && !self.barred && !self.held && !self.draining
    }
}
