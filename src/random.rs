//! What the shell may draw and read, since the core may not: ids out of the operating system's
//! randomness, and the wall clock.

use std::time::{SystemTime, UNIX_EPOCH};

use rand::TryRngCore as _;
use rand::rngs::OsRng;
use serverv2_machine::NanoId;

/// A fresh id; nobody can guess it.
pub(crate) fn nano_id() -> NanoId {
    let mut entropy = [0; 32];
    OsRng.try_fill_bytes(&mut entropy).expect("the operating system gives randomness");
    NanoId::from_entropy(&entropy)
}

/// Milliseconds since the Unix epoch.
pub(crate) fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A number in lower-case base 36, the form of names and session ids that the server makes up.
pub(crate) fn base36(mut number: u64) -> String {
    let mut digits = Vec::new();
    loop {
        let digit = u32::try_from(number % 36).expect("less than 36");
        digits.push(char::from_digit(digit, 36).expect("less than 36"));
        number /= 36;
        if number == 0 {
            return digits.into_iter().rev().collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_36_is_what_clients_of_the_old_server_know() {
        assert_eq!([0, 35, 36, 1_750_406_400_000].map(base36), ["0", "z", "10", "mc4iry80"]);
    }
}
