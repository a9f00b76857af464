//! The only source of chance in a battle.
//!
//! Each call of a battle has a stream of its own, made from the battle's seed and the number of the
//! input that caused the call. Replaying the inputs replays the draws, and a call that draws more in
//! one version than in another can't shift the draws of later calls.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use serverv2_machine::NanoId;
use sha2::{Digest, Sha256};

/// Keeps these streams apart from anything else that is ever derived from a battle's seed.
const DOMAIN: &[u8] = b"serverv2 builtin battle stream 1";

/// The draws of one call.
pub(super) struct Stream(ChaCha8Rng);

impl Stream {
    pub(super) fn new(battle_seed: &[u8; 16], input: u32) -> Self {
        let mut hash = Sha256::new();
        hash.update(DOMAIN);
        hash.update(battle_seed);
        hash.update(input.to_le_bytes());
        Self(ChaCha8Rng::from_seed(hash.finalize().into()))
    }

    /// Uniform in `0..bound`; the bias is below `bound` in 2^32, which no rule here can notice.
    pub(super) fn below(&mut self, bound: u32) -> u32 {
        let wide = u64::from(self.0.next_u32()) * u64::from(bound);
        (wide >> 32) as u32
    }

    /// Uniform in `least..=most`.
    pub(super) fn between(&mut self, least: u32, most: u32) -> u32 {
        least + self.below(most.saturating_sub(least) + 1)
    }

    /// Whether something of this chance happens.
    pub(super) fn happens(&mut self, chance: u32, of: u32) -> bool {
        self.below(of) < chance
    }

    pub(super) fn id(&mut self) -> NanoId {
        let mut bytes = [0; 32];
        self.0.fill_bytes(&mut bytes);
        NanoId::from_entropy(&bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_depends_on_seed_and_input_and_on_nothing_else() {
        let ids = |seed, input| {
            let mut stream = Stream::new(&[seed; 16], input);
            [stream.id(), stream.id()]
        };
        assert_eq!(ids(1, 7), ids(1, 7));
        assert_ne!(ids(1, 7), ids(1, 8));
        assert_ne!(ids(1, 7), ids(2, 7));
        assert_ne!(ids(1, 7)[0], ids(1, 7)[1]);
    }

    #[test]
    fn the_first_draws_never_change() {
        let mut stream = Stream::new(&[7; 16], 3);
        let draws: Vec<u32> = (0..6).map(|_| stream.below(1000)).collect();
        // Other numbers would replay every recorded battle differently.
        assert_eq!(draws, [101, 392, 365, 84, 882, 813]);
    }

    #[test]
    fn draws_stay_within_their_bounds_and_reach_them() {
        let mut stream = Stream::new(&[0; 16], 0);
        let mut seen = [false; 16];
        for _ in 0..1000 {
            seen[stream.below(16) as usize] = true;
            assert!((2..=5).contains(&stream.between(2, 5)));
            assert_eq!(stream.between(3, 3), 3);
            assert!(stream.happens(100, 100) && !stream.happens(0, 100));
        }
        assert_eq!(seen, [true; 16]);
    }
}
