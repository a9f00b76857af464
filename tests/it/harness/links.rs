//! The ways between nodes, so that a test can cut them: a TCP proxy for each direction.
//!
//! What is sent over a way that is cut waits, as on a network that loses packets: nobody is told, no
//! connection breaks. Once the way is healed, it arrives. A way can also let each connection pass so many
//! bytes and make the rest wait: that catches something large in its middle.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How long a test waits for a connection that reaches its limit.
const PATIENCE: Duration = Duration::from_secs(60);

/// Who calls whom, by their places.
type Way = (usize, usize);

/// What is in the way.
#[derive(Default)]
struct Barriers {
    cut: BTreeSet<Way>,
    /// Bytes that one connection may carry there.
    limits: BTreeMap<Way, usize>,
    /// How often a connection has reached its limit.
    held: usize,
    /// Grows whenever those that wait are to be broken.
    breaks: usize,
}

impl Barriers {
    fn limit(&self, way: Way) -> usize {
        self.limits.get(&way).copied().unwrap_or(usize::MAX)
    }
}

/// All ways between some nodes. Dropped, they are gone.
pub(crate) struct Links {
    barriers: watch::Sender<Barriers>,
    addresses: Vec<Vec<String>>,
    _proxies: JoinSet<()>,
}

impl Links {
    /// Ways to nodes that will listen on these ports.
    pub(crate) async fn to(ports: &[u16]) -> Self {
        let barriers = watch::Sender::<Barriers>::default();
        let (mut addresses, mut proxies) = (Vec::new(), JoinSet::new());
        for from in 0..ports.len() {
            let mut seen_from_it = Vec::new();
            for (to, port) in ports.iter().enumerate() {
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
                let address = listener.local_addr().expect("it is bound");
                seen_from_it.push(address.to_string());
                proxies.spawn(proxy(listener, *port, (from, to), barriers.clone()));
            }
            addresses.push(seen_from_it);
        }
        Self { barriers, addresses, _proxies: proxies }
    }

    /// Where this node reaches that one.
    pub(crate) fn address(&self, from: usize, to: usize) -> &str {
        &self.addresses[from][to]
    }

    /// Cuts all ways to and from a node.
    pub(crate) fn isolate(&self, node: usize) {
        self.barriers.send_modify(|barriers| {
            let others = 0..self.addresses.len();
            barriers.cut.extend(others.flat_map(|other| [(node, other), (other, node)]));
        });
    }

    /// Everybody reaches everybody again.
    pub(crate) fn heal(&self) {
        self.barriers.send_modify(|barriers| {
            barriers.cut.clear();
            barriers.limits.clear();
        });
    }

    /// From now on what a connection sends to this node waits once it has sent so many bytes.
    pub(crate) fn hold_after(&self, bytes: usize, node: usize) {
        self.barriers.send_modify(|barriers| {
            let ways = (0..self.addresses.len()).map(|from| ((from, node), bytes));
            barriers.limits.extend(ways);
        });
    }

    /// Waits until connections have reached their limit so many times since the beginning.
    pub(crate) async fn held(&self, times: usize) {
        let mut barriers = self.barriers.subscribe();
        let held = barriers.wait_for(|barriers| barriers.held >= times);
        let held = tokio::time::timeout(PATIENCE, held).await.map(drop);
        let seen = self.barriers.borrow().held;
        assert!(held.is_ok(), "{seen} of {times} connections have reached their limit");
    }

    /// Breaks the connections that wait at their limit: both ends see that.
    pub(crate) fn break_held(&self) {
        self.barriers.send_modify(|barriers| barriers.breaks += 1);
    }
}

async fn proxy(listener: TcpListener, port: u16, way: Way, barriers: watch::Sender<Barriers>) {
    let mut connections = JoinSet::new();
    while let Ok((caller, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let barriers = barriers.clone();
        // A connection that breaks is what it would be without the proxy.
        connections.spawn(async move { drop(carry(caller, port, way, barriers).await) });
    }
}

async fn carry(
    caller: TcpStream,
    port: u16,
    way: Way,
    barriers: watch::Sender<Barriers>,
) -> io::Result<()> {
    pass(&barriers, way, 0).await?;
    let callee = TcpStream::connect(("127.0.0.1", port)).await?;
    caller.set_nodelay(true)?;
    callee.set_nodelay(true)?;
    let (from_caller, to_caller) = caller.into_split();
    let (from_callee, to_callee) = callee.into_split();
    tokio::select! {
        there = copy(from_caller, to_callee, way, &barriers) => there,
        back = copy(from_callee, to_caller, (way.1, way.0), &barriers) => back,
    }
}

async fn copy(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    way: Way,
    barriers: &watch::Sender<Barriers>,
) -> io::Result<()> {
    let mut piece = vec![0; 64 * 1024];
    let mut carried = 0;
    loop {
        let read = from.read(&mut piece).await?;
        carried += read;
        pass(barriers, way, carried).await?;
        if read == 0 {
            return Ok(());
        }
        to.write_all(&piece[..read]).await?;
    }
}

/// Waits until nothing is in the way of a connection that has carried so much.
async fn pass(barriers: &watch::Sender<Barriers>, way: Way, carried: usize) -> io::Result<()> {
    let mut seen = barriers.subscribe();
    // Whoever could cut it lives longer than the proxies.
    let _ = seen.wait_for(|barriers| !barriers.cut.contains(&way)).await;
    let breaks = seen.borrow().breaks;
    if carried <= seen.borrow().limit(way) {
        return Ok(());
    }
    barriers.send_modify(|barriers| barriers.held += 1);
    let freed = seen.wait_for(|now| carried <= now.limit(way) || now.breaks > breaks).await;
    let is_broken = freed.is_ok_and(|now| now.breaks > breaks);
    if is_broken { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
}
