//! Ways that are TCP proxies, one for each pair. No rights are needed, and nothing ever is lost.
//!
//! What is sent over a way that is cut waits, as on a network that loses packets: nobody is told, no
//! connection breaks, and once the way is healed it arrives. A dead process's port refuses, as it would
//! without the proxy: whoever kills a process shuts its door first.

mod carrying;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use self::carrying::carry;
use super::{Condition, End, Fabric, Way};
use crate::broken::Broken;
use crate::cluster::disk;
use crate::cluster::host::Host;
use crate::cluster::ports::Port;

/// Pause before a port that could not be had is tried again.
const BIND_AGAIN: Duration = Duration::from_millis(20);

/// Nodes call from these addresses, each with the number of its place at the end.
const SOURCES: Ipv4Addr = Ipv4Addr::new(127, 0, 77, 0);

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
pub(crate) struct Proxies {
    net: Arc<Net>,
    entrances: BTreeMap<(End, End), Port>,
    /// Where anybody reaches an end; who it is, the address says that the call comes from.
    shared: BTreeMap<End, Port>,
    /// Whether calls come from the callers' own addresses.
    told_apart: bool,
    _proxies: JoinSet<()>,
}

impl Proxies {
    /// Ways between all nodes, and from each to Redis; `targets` says where each end really listens.
    pub(crate) fn between(targets: &[(End, u16)]) -> Result<Self, Broken> {
        let net = Arc::<Net>::default();
        let (mut entrances, mut shared) = (BTreeMap::new(), BTreeMap::new());
        let mut proxies = JoinSet::new();
        for (from, _) in targets.iter().filter(|(from, _)| *from != End::Redis) {
            for (to, port) in targets {
                let entrance = Port::take()?;
                proxies.spawn(proxy(entrance.number, *port, Some(*from), *to, net.clone()));
                entrances.insert((*from, *to), entrance);
            }
        }
        for (to, port) in targets.iter().filter(|(to, _)| *to != End::Redis) {
            let entrance = Port::take()?;
            proxies.spawn(proxy(entrance.number, *port, None, *to, net.clone()));
            shared.insert(*to, entrance);
        }
        let told_apart = disk::is_possible();
        Ok(Self { net, entrances, shared, told_apart, _proxies: proxies })
    }
}

impl Fabric for Proxies {
    fn host(&self, end: End) -> Host {
        let source = source(end).filter(|_| self.told_apart);
        source.map_or_else(Host::this_machine, Host::calling_from)
    }

    fn knows_callers(&self) -> bool {
        self.told_apart
    }

    fn address(&self, from: End, to: End) -> Result<String, Broken> {
        let port = self.entrances.get(&(from, to));
        let port = port.ok_or_else(|| Broken::new("find a way", format!("{from} to {to}")))?;
        Ok(port.address())
    }

    fn shared_address(&self, to: End) -> Result<String, Broken> {
        let port = self.shared.get(&to);
        let port = port.ok_or_else(|| Broken::new("find a way", format!("to {to}")))?;
        Ok(port.address())
    }

    fn set(&self, ways: &[Way], condition: Condition) {
        self.net.weather.send_modify(|weather| {
            weather.conditions.extend(ways.iter().map(|way| (*way, condition)));
        });
    }

    fn heal(&self, ways: &[Way]) {
        self.net.weather.send_modify(|weather| {
            for way in ways {
                weather.conditions.remove(way);
            }
        });
    }

    fn heal_all(&self) -> Result<(), Broken> {
        self.net.weather.send_modify(|weather| weather.conditions.clear());
        Ok(())
    }

    fn shut(&self, end: End, is_dead: bool) {
        self.net.weather.send_modify(|weather| {
            if is_dead {
                weather.shut.insert(end)
            } else {
                weather.shut.remove(&end)
            };
        });
    }

    fn hindered(&self, ways: &[Way]) -> u64 {
        let hindered = self.net.hindered.lock();
        ways.iter().filter_map(|way| hindered.get(way)).sum()
    }
}

/// The address that an end calls from. Redis calls nobody.
fn source(end: End) -> Option<Ipv4Addr> {
    let End::Node(at) = end else { return None };
    let [a, b, c, _] = SOURCES.octets();
    Some(Ipv4Addr::new(a, b, c, u8::try_from(at).ok()?))
}

/// Who calls from this address, if it is a node.
fn caller_at(address: IpAddr) -> Option<End> {
    let IpAddr::V4(address) = address else { return None };
    let end = End::Node(address.octets()[3].into());
    (source(end) == Some(address)).then_some(end)
}

/// Carries what comes to this entrance; whoever it is, where that is not given.
async fn proxy(entrance: u16, target: u16, from: Option<End>, to: End, net: Arc<Net>) {
    let mut weather = net.weather.subscribe();
    let mut carried = JoinSet::new();
    loop {
        // Whoever could change the weather lives longer than the proxies.
        let open = weather.wait_for(|weather| !weather.shut.contains(&to)).await.is_ok();
        let listener = TcpListener::bind(("127.0.0.1", entrance)).await;
        let (true, Ok(listener)) = (open, listener) else {
            tokio::time::sleep(BIND_AGAIN).await;
            continue;
        };
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = weather.wait_for(|weather| weather.shut.contains(&to)) => break,
            };
            while carried.try_join_next().is_some() {}
            let Ok((caller, address)) = accepted else { continue };
            let net = net.clone();
            // Nothing is between an end and itself, which stands for whoever is not known.
            let way = Way { from: from.or_else(|| caller_at(address.ip())).unwrap_or(to), to };
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

    use tokio::net::TcpSocket;

    use super::super::both;
    use super::*;

    const SOON: Duration = Duration::from_secs(5);
    const A: End = End::Node(0);
    const B: End = End::Node(1);

    /// Two ends, of which the second one sends back what it gets.
    async fn echo() -> (Proxies, TcpStream, Port) {
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
        let links = Proxies::between(&[(A, ours.number), (B, theirs.number)]).expect("ways");
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
            links.set(&[way], Condition { cut: true, ..Condition::default() });
            stream.write_all(b"2").await.expect("nobody is told");
            assert!(!comes_back(&mut stream, Duration::from_millis(150)).await, "{way:?}");
            assert!(links.hindered(&[way]) > 0, "it is known that something had to wait");
            links.heal(&[way]);
            assert!(comes_back(&mut stream, SOON).await, "{way:?}");
        }
    }

    #[tokio::test]
    async fn a_slow_way_delays_each_direction_by_its_own_time() {
        let (links, mut stream, _port) = echo().await;
        let slow = Condition { delay: Duration::from_millis(60), ..Condition::default() };
        links.set(&[Way { from: A, to: B }], slow);
        let began = tokio::time::Instant::now();
        stream.write_all(b"1").await.expect("sent");
        assert!(comes_back(&mut stream, SOON).await);
        let once = began.elapsed();
        assert!(once >= Duration::from_millis(60), "{once:?}");
        links.set(&both(A, B), slow);
        let began = tokio::time::Instant::now();
        stream.write_all(b"2").await.expect("sent");
        assert!(comes_back(&mut stream, SOON).await);
        assert!(began.elapsed() >= Duration::from_millis(120), "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn who_calls_at_a_shared_address_is_known_by_the_address_that_the_call_comes_from() {
        let (links, _stream, _port) = echo().await;
        links.set(&[Way { from: A, to: B }], Condition { cut: true, ..Condition::default() });
        let shared = links.shared_address(B).expect("there is one").parse().expect("an address");
        let call = async |from: Ipv4Addr| {
            let socket = TcpSocket::new_v4().expect("a socket");
            socket.bind((from, 0).into()).expect("all of 127.0.0.0/8 is there");
            let mut stream = socket.connect(shared).await.expect("it listens");
            stream.write_all(b"1").await.expect("sent");
            stream
        };
        let mut from_a = call(source(A).expect("nodes call")).await;
        assert!(comes_back(&mut call(Ipv4Addr::LOCALHOST).await, SOON).await, "from somebody else");
        assert!(!comes_back(&mut from_a, Duration::from_millis(150)).await, "the way is cut");
        links.heal_all().expect("healed");
        assert!(comes_back(&mut from_a, SOON).await);
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
