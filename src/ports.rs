//! Ports that must be known before anybody listens on them, as nodes must know each other's.
//!
//! A reserved port is bound and never listened on. A server that sets `SO_REUSEADDR`, as ours do,
//! may bind and listen on it at the side of that; whoever asks for any free port is given another
//! one; and who connects while no server listens is refused, as on a free port.

use std::net::{IpAddr, SocketAddr};

use tokio::net::TcpSocket;

/// A port that is nobody else's for as long as this lives.
pub(crate) struct ReservedPort {
    number: u16,
    _bound: TcpSocket,
}

impl ReservedPort {
    /// Any free port of this address.
    pub(crate) fn take(ip: IpAddr) -> std::io::Result<Self> {
        let socket = if ip.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        socket.bind(SocketAddr::new(ip, 0))?;
        Ok(Self { number: socket.local_addr()?.port(), _bound: socket })
    }

    /// Which.
    pub(crate) fn number(&self) -> u16 {
        self.number
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    #[tokio::test]
    async fn a_reserved_port_refuses_until_a_server_listens_on_it() {
        let port = ReservedPort::take(Ipv4Addr::LOCALHOST.into()).unwrap();
        let address = (Ipv4Addr::LOCALHOST, port.number());
        for _ in 0..2 {
            let refused = TcpStream::connect(address).await.unwrap_err();
            assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
            let server = TcpListener::bind(address).await.unwrap();
            TcpStream::connect(address).await.unwrap();
            drop(server);
        }
    }

    #[tokio::test]
    async fn reserved_ports_differ() {
        let ports: Vec<_> =
            (0..50).map(|_| ReservedPort::take(Ipv4Addr::LOCALHOST.into()).unwrap()).collect();
        let numbers: std::collections::BTreeSet<u16> = ports.iter().map(|p| p.number()).collect();
        assert_eq!(numbers.len(), ports.len());
    }
}
