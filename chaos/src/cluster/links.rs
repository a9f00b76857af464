//! The ways between nodes, and from nodes to Redis: a TCP proxy for each pair, so that either direction can
//! be cut, delayed or narrowed. No rights are needed.
//!
//! What is sent over a way that is cut waits, as on a network that loses packets: nobody is told, no
//! connection breaks, and once the way is healed it arrives. A dead process's port refuses, as it would
//! without the proxy: whoever kills a process shuts its door first.

mod carrying;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use self::carrying::carry;
use super::ports::Port;
use crate::broken::Broken;

/// Pause before a port that could not be had is tried again.
const BIND_AGAIN: Duration = Duration::from_millis(20);

/// Who is at an end of a way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum End {
    /// The node at this place.
    Node(usize),
    Redis,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(place) => write!(f, "{}", place + 1),
            Self::Redis => f.write_str("redis"),
        }
    }
}

/// In which direction bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Way {
    pub(crate) from: End,
    pub(crate) to: End,
}

/// What happens to bytes on a way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Condition {
    /// They wait.
    pub(crate) cut: bool,
    /// They come so much later, and up to `jitter` more.
    pub(crate) delay: Duration,
    pub(crate) jitter: Duration,
    /// No more than so many in a second.
    pub(crate) bytes_per_second: Option<u64>,
}

/// What stands between the ends now.
#[derive(Default)]
struct Weather {
    conditions: BTreeMap<Way, Condition>,
    /// Ends whose process is dead.
    shut: BTreeSet<End>,
}

/// Shared by all proxies.
#[derive(Default)]
struct Net {
    weather: watch::Sender<Weather>,
    /// Bytes that something was done to, by way.
    hindered: Mutex<BTreeMap<Way, u64>>,
}

/// All ways of a cluster. Dropped, they are gone.
pub(crate) struct Links {
    net: Arc<Net>,
    entrances: BTreeMap<(End, End), Port>,
    _proxies: JoinSet<()>,
}

impl Links {
    /// Ways between all nodes, and from each to Redis; `targets` says where each end really listens.
    pub(crate) fn between(targets: &[(End, u16)]) -> Result<Self, Broken> {
        let net = Arc::<Net>::default();
        let (mut entrances, mut proxies) = (BTreeMap::new(), JoinSet::new());
        for (from, _) in targets.iter().filter(|(from, _)| *from != End::Redis) {
            for (to, port) in targets {
                let entrance = Port::take()?;
                let way = Way { from: *from, to: *to };
                proxies.spawn(proxy(entrance.number, *port, way, net.clone()));
                entrances.insert((*from, *to), entrance);
            }
        }
        Ok(Self { net, entrances, _proxies: proxies })
    }

    /// Where one end reaches another.
    pub(crate) fn address(&self, from: End, to: End) -> Result<String, Broken> {
        let port = self.entrances.get(&(from, to));
        let port = port.ok_or_else(|| Broken::new("find a way", format!("{from} to {to}")))?;
        Ok(port.address())
    }

    /// Changes the conditions on these ways.
    pub(crate) fn set(&self, ways: impl IntoIterator<Item = Way>, condition: Condition) {
        self.net.weather.send_modify(|weather| {
            weather.conditions.extend(ways.into_iter().map(|way| (way, condition)));
        });
    }

    /// Nothing stands between these ends any more.
    pub(crate) fn heal(&self, ways: impl IntoIterator<Item = Way>) {
        self.net.weather.send_modify(|weather| {
            for way in ways {
                weather.conditions.remove(&way);
            }
        });
    }

    /// Everybody reaches everybody.
    pub(crate) fn heal_all(&self) {
        self.net.weather.send_modify(|weather| weather.conditions.clear());
    }

    /// A dead process's port refuses; a living one's does not.
    pub(crate) fn shut(&self, end: End, is_dead: bool) {
        self.net.weather.send_modify(|weather| {
            if is_dead {
                weather.shut.insert(end)
            } else {
                weather.shut.remove(&end)
            };
        });
    }

    /// Bytes that were held, delayed or slowed on these ways since the beginning.
    pub(crate) fn hindered(&self, ways: &[Way]) -> u64 {
        let hindered = self.net.hindered.lock();
        ways.iter().filter_map(|way| hindered.get(way)).sum()
    }
}

/// Both directions between these ends.
pub(crate) fn both(a: End, b: End) -> [Way; 2] {
    [Way { from: a, to: b }, Way { from: b, to: a }]
}

async fn proxy(entrance: u16, target: u16, way: Way, net: Arc<Net>) {
    let mut weather = net.weather.subscribe();
    let mut carried = JoinSet::new();
    loop {
        // Whoever could change the weather lives longer than the proxies.
        let open = weather.wait_for(|weather| !weather.shut.contains(&way.to)).await.is_ok();
        let listener = TcpListener::bind(("127.0.0.1", entrance)).await;
        let (true, Ok(listener)) = (open, listener) else {
            tokio::time::sleep(BIND_AGAIN).await;
            continue;
        };
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = weather.wait_for(|weather| weather.shut.contains(&way.to)) => break,
            };
            while carried.try_join_next().is_some() {}
            let Ok((caller, _)) = accepted else { continue };
            let net = net.clone();
            carried.spawn(async move {
                // A connection that breaks is what it would be without the proxy.
                let _ = meet(caller, target, way, &net).await;
            });
        }
    }
}

async fn meet(caller: TcpStream, target: u16, way: Way, net: &Net) -> std::io::Result<()> {
    net.pass(way, 0).await;
    let callee = TcpStream::connect(("127.0.0.1", target)).await?;
    carry(caller, callee, way, net).await
}

impl Net {
    fn condition(&self, way: Way) -> Condition {
        self.weather.borrow().conditions.get(&way).copied().unwrap_or_default()
    }

    /// Waits as long as this way is cut.
    async fn pass(&self, way: Way, bytes: usize) {
        if self.condition(way).cut {
            self.note(way, bytes.max(1));
            let mut weather = self.weather.subscribe();
            let is_cut = |weather: &Weather| weather.conditions.get(&way).is_some_and(|it| it.cut);
            let _ = weather.wait_for(|weather| !is_cut(weather)).await;
        }
    }

    fn note(&self, way: Way, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        *self.hindered.lock().entry(way).or_default() += bytes;
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const SOON: Duration = Duration::from_secs(5);
    const A: End = End::Node(0);
    const B: End = End::Node(1);

    /// Two ends, of which the second one sends back what it gets.
    async fn echo() -> (Links, TcpStream, Port) {
        let (ours, theirs) = (Port::take().expect("a port"), Port::take().expect("a port"));
        let listener = TcpListener::bind(theirs.address()).await.expect("it is ours");
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    let _ = tokio::io::copy(&mut from, &mut to).await;
                });
            }
        });
        let links = Links::between(&[(A, ours.number), (B, theirs.number)]).expect("ways");
        let address = links.address(A, B).expect("there is a way");
        let stream = dial(&address).await;
        (links, stream, theirs)
    }

    async fn dial(address: &str) -> TcpStream {
        let dialling = async {
            loop {
                match TcpStream::connect(address).await {
                    Ok(stream) => return stream,
                    Err(_) => tokio::time::sleep(BIND_AGAIN).await,
                }
            }
        };
        tokio::time::timeout(SOON, dialling).await.expect("it listens soon")
    }

    async fn comes_back(stream: &mut TcpStream, within: Duration) -> bool {
        let mut byte = [0];
        tokio::time::timeout(within, stream.read_exact(&mut byte)).await.is_ok_and(|it| it.is_ok())
    }

    #[tokio::test]
    async fn what_is_sent_over_a_cut_way_waits_and_arrives_when_it_is_healed() {
        let (links, mut stream, _port) = echo().await;
        stream.write_all(b"1").await.expect("sent");
        assert!(comes_back(&mut stream, SOON).await, "nothing is in the way");
        for way in both(A, B) {
            links.set([way], Condition { cut: true, ..Condition::default() });
            stream.write_all(b"2").await.expect("nobody is told");
            assert!(!comes_back(&mut stream, Duration::from_millis(150)).await, "{way:?}");
            assert!(links.hindered(&[way]) > 0, "it is known that something had to wait");
            links.heal([way]);
            assert!(comes_back(&mut stream, SOON).await, "{way:?}");
        }
    }

    #[tokio::test]
    async fn a_slow_way_delays_each_direction_by_its_own_time() {
        let (links, mut stream, _port) = echo().await;
        let slow = Condition { delay: Duration::from_millis(60), ..Condition::default() };
        links.set([Way { from: A, to: B }], slow);
        let began = tokio::time::Instant::now();
        stream.write_all(b"1").await.expect("sent");
        assert!(comes_back(&mut stream, SOON).await);
        let once = began.elapsed();
        assert!(once >= Duration::from_millis(60), "{once:?}");
        links.set(both(A, B), slow);
        let began = tokio::time::Instant::now();
        stream.write_all(b"2").await.expect("sent");
        assert!(comes_back(&mut stream, SOON).await);
        assert!(began.elapsed() >= Duration::from_millis(120), "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn the_port_of_a_dead_process_refuses_until_it_lives_again() {
        let (links, _stream, _port) = echo().await;
        let address = links.address(A, B).expect("there is a way");
        links.shut(B, true);
        let refuses = async {
            while TcpStream::connect(&address).await.is_ok() {
                tokio::time::sleep(BIND_AGAIN).await;
            }
        };
        tokio::time::timeout(SOON, refuses).await.expect("it refuses soon");
        links.shut(B, false);
        let mut stream = dial(&address).await;
        stream.write_all(b"1").await.expect("sent");
        assert!(comes_back(&mut stream, SOON).await);
    }
}
