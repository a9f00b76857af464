//! Where Redis is: `redis://USER:PASSWORD@HOST:PORT/DB`, `rediss://` with TLS, several hosts with commas between
//! them as ways into one Redis Cluster.

use std::fmt;

use redis::{ConnectionInfo, IntoConnectionInfo};

/// One server, or several of one cluster. Prints without user and password.
#[derive(Clone, Debug)]
pub struct Address {
    servers: Vec<ConnectionInfo>,
}

/// Not an address, with what is wrong; the password is not in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadAddress(String);

impl Address {
    /// Reads a URL.
    pub fn parse(url: &str) -> Result<Self, BadAddress> {
        let bad = |text: &str| BadAddress(text.to_owned());
        let (scheme, rest) = url.split_once("://").ok_or_else(|| bad("it has no scheme"))?;
        if !matches!(scheme, "redis" | "rediss" | "valkey" | "valkeys") {
            return Err(bad("its scheme is neither redis nor rediss"));
        }
        let (who, rest) = rest.rsplit_once('@').map_or(("", rest), |(who, rest)| (who, rest));
        let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
        let at = if who.is_empty() { "" } else { "@" };
        let servers: Result<Vec<_>, _> = hosts
            .split(',')
            .map(|host| {
                let url = format!("{scheme}://{who}{at}{host}/{path}");
                if host.is_empty() {
                    return Err(bad("a host is empty"));
                }
                // What the library says may quote the URL.
                url.into_connection_info().map_err(|_| bad("it is no URL of a Redis"))
            })
            .collect();
        Ok(Self { servers: servers? })
    }

    pub(super) fn servers(&self) -> &[ConnectionInfo] {
        &self.servers
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, server) in self.servers.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(f, "{comma}{}", server.addr())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_prints_without_its_password() {
        let address = Address::parse("redis://ann:s3cret@one:6379,two:6380/0").unwrap();
        assert_eq!(address.to_string(), "one:6379,two:6380");
        assert!(!format!("{:?}", BadAddress("x".into())).contains("s3cret"));
        let user = address.servers()[1].redis_settings().username();
        assert_eq!(user, Some("ann"), "for all of them");
    }

    #[test]
    fn what_is_no_address_is_refused_without_being_quoted() {
        for bad in [
            "",
            "one:6379",
            "http://one",
            "redis://",
            "redis://a:s3cret@one:port",
            "redis://one,,two",
        ] {
            let refused = Address::parse(bad).unwrap_err().to_string();
            assert!(!refused.contains("s3cret"), "{refused}");
        }
    }
}
