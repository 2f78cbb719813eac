//! By which models a provider has lately taken a credential: one that it has just taken is not at fault because of one model that it refuses.

use std::hash::BuildHasher;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use foldhash::quality::RandomState;

/// What is longer ago says nothing of now.
const LATELY: u64 = 300;
/// A moment is written anew after so many seconds, so that requests of many cores mostly read.
const WRITTEN_EVERY: u64 = 5;

/// Two models, each with when it was last taken: whichever model is asked about, one of them is another.
#[derive(Debug)]
pub struct Taken {
    since: Instant,
    /// Half of a model's hash, and the second after `since` at which it was taken, from 1 on; 0 is none.
    models: [AtomicU64; 2],
}

// === impl Taken ===

impl Taken {
    /// None yet.
    pub fn new() -> Taken {
        Taken { since: Instant::now(), models: Default::default() }
    }

    /// The provider took it for that model.
    pub fn note(&self, model: &str, now: Instant) {
        let (model, second) = (half_hash(model), self.second(now));
        let is_old = |noted: u64| second_of(noted) == 0 || second_of(noted) + WRITTEN_EVERY <= second;
        let [first, other] = self.read();
        let index = match [first, other].iter().position(|noted| *noted != 0 && model_of(*noted) == model) {
            Some(same) => same,
            // The one of longer ago gives its place.
            None => usize::from(second_of(other) < second_of(first)),
        };
        if is_old([first, other][index]) {
            self.models[index].store(model << 32 | second, Ordering::Relaxed);
        }
    }

    /// Whether it was taken lately for another model than that one.
    pub fn is_for_another(&self, model: &str, now: Instant) -> bool {
        let (model, second) = (half_hash(model), self.second(now));
        self.read().into_iter().any(|noted| noted != 0 && model_of(noted) != model && second_of(noted) + LATELY >= second)
    }

    fn read(&self) -> [u64; 2] {
        [self.models[0].load(Ordering::Relaxed), self.models[1].load(Ordering::Relaxed)]
    }

    /// Half of a word of seconds is more than a century.
    fn second(&self, now: Instant) -> u64 {
        (now.saturating_duration_since(self.since) + Duration::from_secs(1)).as_secs() & u64::from(u32::MAX)
    }
}

fn half_hash(model: &str) -> u64 {
    static HASHES: LazyLock<RandomState> = LazyLock::new(RandomState::default);
    HASHES.hash_one(model) >> 32
}

fn model_of(noted: u64) -> u64 {
    noted >> 32
}

fn second_of(noted: u64) -> u64 {
    noted & u64::from(u32::MAX)
}
