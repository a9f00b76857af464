//! Settings of tokens, of who may act without one, and of how often a client may ask.

use std::net::IpAddr;

use serverv2_machine::Lifetimes;

use super::Secret;

/// Everything about tokens and rates.
#[derive(Clone, Debug, Default)]
pub struct AuthSettings {
    /// A secret whose tokens are accepted beside those of `JWT_SECRET`.
    pub previous_secret: Option<Secret>,
    /// How long access tokens are valid.
    pub access_lifetime: Lifetime,
    /// How long refresh tokens are valid.
    pub refresh_lifetime: Lifetime,
    /// Whether a guest, too, has to prove by token to be himself.
    pub guests_need_tokens: bool,
    /// E-mail addresses whose owners are admins, in lower case.
    pub admin_emails: Vec<String>,
    /// Requests of one client to `/auth` in a minute; 0: no limit.
    pub rate_auth: u32,
    /// Requests of one client to `/email` in a minute; 0: no limit.
    pub rate_email: u32,
    /// Requests of one client to `/cluster/assign` in a minute; 0: no limit.
    pub rate_assign: u32,
    /// Proxies whose `X-Forwarded-For` counts.
    pub trusted_proxies: Vec<Network>,
}

impl AuthSettings {
    /// How long new tokens are valid.
    pub fn lifetimes(&self) -> Lifetimes {
        Lifetimes { access_ms: self.access_lifetime.ms, refresh_ms: self.refresh_lifetime.ms }
    }
}

/// How long a token is valid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lifetime {
    /// Milliseconds.
    pub ms: u64,
    /// What clients are told, seconds (contract 1.6): the existing server knows it for hours, minutes
    /// and days only, and says a day for everything else.
    pub told_s: u64,
}

#[cfg(test)]
impl AuthSettings {
    /// Settings that trust these proxies and say nothing else.
    pub(crate) fn trusting(list: &str) -> Self {
        Self { trusted_proxies: networks(list).unwrap(), ..Self::default() }
    }
}

const DAY_S: u64 = 86_400;
/// Longest lifetime, milliseconds: a hundred years.
const LIFETIME_MAX_MS: u64 = 100 * 365 * DAY_S * 1_000;

impl Lifetime {
    /// A number with a unit, or of milliseconds: `180d`, `12h`, `30m`, `45s`, `2w`, `1y`, `60000`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().ok()?;
        let unit_ms = match unit.trim() {
            "" | "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => DAY_S * 1_000,
            "w" => 7 * DAY_S * 1_000,
            // As the existing server's library counts.
            "y" => 365 * DAY_S * 1_000 + DAY_S * 250,
            _ => return None,
        };
        let ms = number.checked_mul(unit_ms)?;
        let told_s = if matches!(unit, "h" | "m" | "d") { ms / 1_000 } else { DAY_S };
        (1_000..=LIFETIME_MAX_MS).contains(&ms).then_some(Self { ms, told_s })
    }
}

/// Addresses that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    base: IpAddr,
    bits: u32,
}

impl Network {
    /// An address, or one and how many of its bits count: `10.0.0.1`, `10.0.0.0/8`, `fd00::/8`.
    fn parse(text: &str) -> Option<Self> {
        let (base, bits) = match text.split_once('/') {
            Some((base, bits)) => (base.parse().ok()?, Some(bits.parse().ok()?)),
            None => (text.parse().ok()?, None),
        };
        let width = if matches!(base, IpAddr::V4(_)) { 32 } else { 128 };
        let bits = bits.unwrap_or(width);
        (bits <= width).then_some(Self { base, bits })
    }

    /// Whether this address is one of them.
    pub fn contains(&self, address: IpAddr) -> bool {
        // The highest bits that differ, at the top of 128.
        let differing = match (self.base, address.to_canonical()) {
            (IpAddr::V4(a), IpAddr::V4(b)) => u128::from(a.to_bits() ^ b.to_bits()) << 96,
            (IpAddr::V6(a), IpAddr::V6(b)) => a.to_bits() ^ b.to_bits(),
            _ => return false,
        };
        differing.leading_zeros() >= self.bits
    }
}

/// A comma-separated list of what `parse` takes; none for an empty text.
pub(super) fn list<T>(text: &str, parse: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(parse).collect()
}

pub(super) fn networks(text: &str) -> Option<Vec<Network>> {
    list(text, Network::parse)
}

pub(super) fn emails(text: &str) -> Option<Vec<String>> {
    list(text, |part| {
        let (name, domain) = part.split_once('@')?;
        (!name.is_empty() && !domain.is_empty()).then(|| part.to_ascii_lowercase())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_are_read_as_the_existing_server_reads_them() {
        for (text, ms, told_s) in [
            ("180d", 15_552_000_000, 15_552_000),
            ("12h", 43_200_000, 43_200),
            ("30m", 1_800_000, 1_800),
            ("45s", 45_000, 86_400),
            ("2w", 1_209_600_000, 86_400),
            ("1y", 31_557_600_000, 86_400),
            ("60000", 60_000, 86_400),
        ] {
            assert_eq!(Lifetime::parse(text), Some(Lifetime { ms, told_s }), "{text}");
        }
        for text in
            ["", "d", "1", "999", "0d", "-1d", "1.5h", "1x", "101y", "99999999999999999999d"]
        {
            assert_eq!(Lifetime::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_network_is_known_by_its_first_bits() {
        let within = |network: &str, address: &str| {
            Network::parse(network).unwrap().contains(address.parse().unwrap())
        };
        assert!(within("10.1.0.0/16", "10.1.255.255") && !within("10.1.0.0/16", "10.2.0.0"));
        assert!(within("10.1.2.3", "10.1.2.3") && !within("10.1.2.3", "10.1.2.2"));
        assert!(within("0.0.0.0/0", "255.0.0.1") && !within("0.0.0.0/0", "::1"));
        assert!(within("10.0.0.0/8", "::ffff:10.9.9.9"));
        assert!(within("fd00::/8", "fd12::1") && !within("fd00::/8", "fe00::1"));
        for text in ["", "10.0.0.0/33", "::/129", "10.0.0/8", "host", "10.0.0.0/-1"] {
            assert_eq!(Network::parse(text), None, "{text}");
        }
    }
}
