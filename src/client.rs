//! Which client it is: its address, also where a proxy stands in between.

use std::net::IpAddr;

use axum::http::HeaderMap;
use axum::http::request::Parts;

use crate::config::Network;
use crate::net::Connection;

const FORWARDED_FOR: &str = "x-forwarded-for";

/// The client's address; `None` if the request came over no connection (in tests).
///
/// Each proxy appends whom it talks to, so the list is read from its end, as far as trusted proxies
/// wrote it. What stands before that is the client's own invention.
pub(crate) fn address(parts: &Parts, trusted: &[Network]) -> Option<IpAddr> {
    let peer = Connection::of(parts)?.address();
    Some(behind(peer, &parts.headers, trusted))
}

fn behind(peer: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
    let mut client = peer;
    let lists = headers.get_all(FORWARDED_FOR).iter().rev();
    for hop in lists.flat_map(|list| list.to_str().unwrap_or_default().rsplit(',')) {
        if !is_trusted(client) {
            break;
        }
        match hop.trim().parse::<IpAddr>() {
            Ok(address) => client = address.to_canonical(),
            Err(_) => break,
        }
    }
    client
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::AuthSettings;

    fn client(peer: &str, lists: &[&'static str]) -> String {
        let mut headers = HeaderMap::new();
        for list in lists {
            headers.append(FORWARDED_FOR, list.parse().unwrap());
        }
        let trusted = AuthSettings::trusting("10.0.0.0/8,192.0.2.1").trusted_proxies;
        behind(peer.parse().unwrap(), &headers, &trusted).to_string()
    }

    #[test]
    fn only_what_trusted_proxies_wrote_counts() {
        for (peer, lists, address) in [
            // Nobody in between, or nobody who is trusted.
            ("198.51.100.7", &[][..], "198.51.100.7"),
            ("198.51.100.7", &["203.0.113.9"], "198.51.100.7"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.9"], "203.0.113.9"),
            // The client wrote the first itself.
            ("10.0.0.1", &["192.0.2.55, 203.0.113.9"], "203.0.113.9"),
            ("10.0.0.1", &["192.0.2.55", "203.0.113.9"], "203.0.113.9"),
            // Several proxies.
            ("10.0.0.1", &["203.0.113.9, 10.9.9.9,192.0.2.1"], "203.0.113.9"),
            ("10.0.0.1", &["203.0.113.9", "10.9.9.9"], "203.0.113.9"),
            ("10.0.0.1", &["10.2.2.2"], "10.2.2.2"),
            // Nonsense ends the list.
            ("10.0.0.1", &["203.0.113.9, unknown"], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.9, unknown, 10.3.3.3"], "10.3.3.3"),
            ("10.0.0.1", &["::ffff:203.0.113.9"], "203.0.113.9"),
            ("10.0.0.1", &["fe80::1"], "fe80::1"),
        ] {
            assert_eq!(client(peer, lists), address, "{peer} {lists:?}");
        }
    }
}
