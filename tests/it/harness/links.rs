//! The ways between nodes, so that a test can cut them: a TCP proxy for each direction.
//!
//! What is sent over a way that is cut waits, as on a network that loses packets: nobody is told, no
//! connection breaks. Once the way is healed, it arrives.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Who calls whom, by their places.
type Way = (usize, usize);

/// All ways between some nodes. Dropped, they are gone.
pub(crate) struct Links {
    cut: Arc<watch::Sender<BTreeSet<Way>>>,
    addresses: Vec<Vec<String>>,
    _proxies: JoinSet<()>,
}

impl Links {
    /// Ways to nodes that will listen on these ports.
    pub(crate) async fn to(ports: &[u16]) -> Self {
        let cut = Arc::<watch::Sender<BTreeSet<Way>>>::default();
        let (mut addresses, mut proxies) = (Vec::new(), JoinSet::new());
        for from in 0..ports.len() {
            let mut seen_from_it = Vec::new();
            for (to, port) in ports.iter().enumerate() {
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
                let address = listener.local_addr().expect("it is bound");
                seen_from_it.push(address.to_string());
                proxies.spawn(proxy(listener, *port, (from, to), cut.subscribe()));
            }
            addresses.push(seen_from_it);
        }
        Self { cut, addresses, _proxies: proxies }
    }

    /// Where this node reaches that one.
    pub(crate) fn address(&self, from: usize, to: usize) -> &str {
        &self.addresses[from][to]
    }

    /// Cuts all ways to and from a node.
    pub(crate) fn isolate(&self, node: usize) {
        self.cut.send_modify(|cut| {
            cut.extend((0..self.addresses.len()).flat_map(|other| [(node, other), (other, node)]));
        });
    }

    /// Everybody reaches everybody again.
    pub(crate) fn heal(&self) {
        self.cut.send_modify(BTreeSet::clear);
    }
}

async fn proxy(listener: TcpListener, port: u16, way: Way, cut: watch::Receiver<BTreeSet<Way>>) {
    let mut connections = JoinSet::new();
    while let Ok((caller, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let cut = cut.clone();
        // A connection that breaks is what it would be without the proxy.
        connections.spawn(async move { drop(carry(caller, port, way, cut).await) });
    }
}

async fn carry(
    caller: TcpStream,
    port: u16,
    way: Way,
    mut cut: watch::Receiver<BTreeSet<Way>>,
) -> io::Result<()> {
    open(&mut cut, way).await;
    let callee = TcpStream::connect(("127.0.0.1", port)).await?;
    caller.set_nodelay(true)?;
    callee.set_nodelay(true)?;
    let (from_caller, to_caller) = caller.into_split();
    let (from_callee, to_callee) = callee.into_split();
    tokio::select! {
        there = copy(from_caller, to_callee, way, cut.clone()) => there,
        back = copy(from_callee, to_caller, (way.1, way.0), cut) => back,
    }
}

async fn copy(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    way: Way,
    mut cut: watch::Receiver<BTreeSet<Way>>,
) -> io::Result<()> {
    let mut piece = vec![0; 64 * 1024];
    loop {
        let read = from.read(&mut piece).await?;
        open(&mut cut, way).await;
        if read == 0 {
            return Ok(());
        }
        to.write_all(&piece[..read]).await?;
    }
}

async fn open(cut: &mut watch::Receiver<BTreeSet<Way>>, way: Way) {
    // Whoever could cut it lives longer than the proxies.
    let _ = cut.wait_for(|cut| !cut.contains(&way)).await;
}
