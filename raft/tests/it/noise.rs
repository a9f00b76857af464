//! Strangers and broken peers at a node's peer address: whatever they send at whatever stage, the node
//! lets none of them in, lets go of them in time, and goes on working with the others.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serverv2_raft::NodeConfig;
use sha2::Sha256;

use crate::common::DEADLINE;
use crate::peers::{Trio, insist};

/// As many as a node lets wait before they prove who they are.
const STRANGERS_MAX: usize = 256;
const HELLO: u8 = 1;
const WELCOME: u8 = 2;
const PROOF: u8 = 3;
const ACCEPTED: u8 = 4;
const REQUEST: u8 = 16;
const RESPONSE: u8 = 17;

/// Somebody who is no node of ours, but knows how one speaks.
struct Stranger(TcpStream);

impl Stranger {
    fn call(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        Self(stream)
    }

    /// Sends it, unless the node has hung up already.
    fn send(&mut self, bytes: &[u8]) {
        let _ = self.0.write_all(bytes);
    }

    fn frame(&mut self, kind: u8, body: &[u8]) {
        self.send(&framed(kind, body));
    }

    /// The next frame; `None` if the node hung up.
    fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut head = [0; 5];
        let read = self.0.read_exact(&mut head);
        if let Err(error) = &read {
            let gone = matches!(
                error.kind(),
                ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
            );
            assert!(gone, "the node keeps a stranger: {error}");
            return None;
        }
        let [a, b, c, d, kind] = head;
        let mut body = vec![0; u32::from_be_bytes([a, b, c, d]) as usize];
        self.0.read_exact(&mut body).ok()?;
        Some((kind, body))
    }

    /// Reads until the node hangs up, and is never told to be let in, nor answered.
    fn is_let_go(&mut self) {
        while let Some((kind, _)) = self.next() {
            assert!(kind != ACCEPTED && kind != RESPONSE, "a stranger got a frame of kind {kind}");
        }
    }

    /// Shakes hands as this node; gives the two introductions if it is welcome.
    fn introduce(&mut self, hello: &[u8]) -> Option<Vec<u8>> {
        self.frame(HELLO, hello);
        let (kind, body) = self.next()?;
        (kind == WELCOME).then(|| {
            let length = u32::from_be_bytes(body[..4].try_into().unwrap()) as usize;
            body[4..4 + length].to_vec()
        })
    }
}

fn framed(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap();
    [&length.to_be_bytes()[..], &[kind], body].concat()
}

/// The introduction of a node, as the node itself would write it.
fn hello(config: &NodeConfig) -> Vec<u8> {
    let name = config.cluster_name.as_bytes();
    let header = std::fs::read_to_string(config.data_dir.join("header")).unwrap();
    let folder = header.lines().find_map(|line| line.strip_prefix("folder=")).unwrap();
    let folder: Vec<u8> =
        (0..16).map(|at| u8::from_str_radix(&folder[2 * at..2 * at + 2], 16).unwrap()).collect();
    let node = u8::try_from(config.node.0).unwrap();
    // Format, version, name, no cluster, node, folder, the nodes listed, nonce.
    let mut hello = vec![1, 1, u8::try_from(name.len()).unwrap()];
    hello.extend_from_slice(name);
    hello.extend_from_slice(&[0, node]);
    hello.extend_from_slice(&folder);
    hello.extend_from_slice(&[3, 1, 2, 3]);
    hello.extend_from_slice(&[7; 32]);
    hello
}

/// Different in each run; the seed is printed when the test fails.
fn seeded() -> StdRng {
    let seed = rand::random();
    println!("seed {seed}");
    StdRng::seed_from_u64(seed)
}

fn noise(rng: &mut StdRng, most: usize) -> Vec<u8> {
    (0..rng.random_range(0..=most)).map(|_| rng.random()).collect()
}

fn spoilt(bytes: &[u8], rng: &mut StdRng) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let at = rng.random_range(0..bytes.len());
    match rng.random_range(0..4) {
        0 => bytes[at] ^= 1 << rng.random_range(0..8),
        1 => bytes.truncate(at),
        2 => drop(bytes.splice(at..at, noise(rng, 40))),
        _ => {
            let end = (at + 9).min(bytes.len());
            bytes.splice(at..end, [[253].as_slice(), &[255; 8]].concat());
        }
    }
    bytes
}

/// Comes to one of the stages and sends something wrong there.
fn strange(address: SocketAddr, hello: &[u8], stage: usize, rng: &mut StdRng) {
    let mut stranger = Stranger::call(address);
    match stage {
        0 => stranger.send(&noise(rng, 300)),
        1 => stranger.send(&[&u32::MAX.to_be_bytes()[..], &[HELLO], &noise(rng, 300)].concat()),
        2 => stranger.frame(rng.random_range(0..30), &noise(rng, 300)),
        3 => stranger.frame(HELLO, &spoilt(hello, rng)),
        4 => stranger.frame(HELLO, &vec![1; 4 * 1024]),
        5 => stranger.frame(REQUEST, &[1, 3]),
        _ => {
            let welcome = stranger.introduce(hello);
            assert!(welcome.is_some(), "the introduction of a member is a good one");
            match stage {
                6 => stranger.send(&noise(rng, 300)),
                7 => stranger.frame(PROOF, &noise(rng, 64)),
                8 => stranger.frame(PROOF, &[0; 32]),
                9 => stranger.frame(REQUEST, &[1, 3]),
                10 => stranger.frame(PROOF, &proof("callee", hello, &welcome.unwrap(), "?")),
                _ => stranger.send(&[0, 0, 0, 32, PROOF, 1, 2, 3]),
            }
        }
    }
    // It says no more; a frame that is not whole by now never will be.
    let _ = stranger.0.shutdown(Shutdown::Write);
    stranger.is_let_go();
}

const STAGES: usize = 12;

fn proof(side: &str, hello: &[u8], welcome: &[u8], secret: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    [side.as_bytes(), hello, welcome].into_iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().to_vec()
}

/// Does something that blocks while the cluster runs on.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

fn address(trio: &Trio, at: usize) -> SocketAddr {
    trio.configs[at].peers[&trio.configs[at].node].parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_let_go_at_every_stage_while_the_cluster_works() {
    let mut trio = Trio::started().await;
    let leader = trio.leader().await;
    let away = (leader + 1) % 3;
    let (to, hello) = (address(&trio, leader), hello(&trio.configs[away]));
    // Some say nothing at all.
    let silent: Vec<Stranger> = (0..8).map(|_| Stranger::call(to)).collect();
    let strangers = aside(move || {
        let mut rng = seeded();
        for stage in (0..STAGES).cycle().take(20 * STAGES) {
            strange(to, &hello, stage, &mut rng);
        }
    });
    let node = trio.node(leader).clone();
    let work = async {
        for number in 0..40 {
            insist(&node, number).await;
        }
    };
    tokio::join!(strangers, work);
    aside(move || silent.into_iter().for_each(|mut stranger| stranger.is_let_go())).await;

    // Those who belong here still come in.
    trio.kill(away);
    insist(trio.node(leader), 41).await;
    trio.start_all([away]).await;
    trio.settled().await;
    assert_eq!(trio.players(away), 41);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_talks_nonsense_is_told_so_or_let_go_while_the_cluster_works() {
    let trio = Trio::started().await;
    let leader = trio.leader().await;
    let other = (leader + 1) % 3;
    let (to, hello) = (address(&trio, leader), hello(&trio.configs[other]));
    let secret = trio.configs[other].cluster_secret.0.clone();
    let peers = aside(move || {
        let mut rng = seeded();
        for round in 0..150 {
            let mut peer = Stranger::call(to);
            let welcome = peer.introduce(&hello).unwrap();
            peer.frame(PROOF, &proof("caller", &hello, &welcome, &secret));
            assert_eq!(peer.next(), Some((ACCEPTED, Vec::new())), "who knows the secret is let in");
            let huge = [[253].as_slice(), &[255; 8]].concat();
            let meta = [[1, 4, 0, 0, 0].as_slice(), &noise(&mut rng, 20)].concat();
            match round % 6 {
                // No format that is known: never a message by chance.
                0 => peer.frame(REQUEST, &[&[0], &noise(&mut rng, 2_000)[..]].concat()),
                // Entries without end, and a batch that is none.
                1 => peer.frame(REQUEST, &[&[1, 0, 9, 9, 0, 0, 0], &huge[..]].concat()),
                2 => peer.frame(REQUEST, &[&[1, 2, 1], &huge[..]].concat()),
                // A snapshot about nothing.
                3 => peer.frame(REQUEST, &meta),
                4 => peer.send(&[&u32::MAX.to_be_bytes()[..], &[REQUEST]].concat()),
                _ => peer.send(&[&8_000_000_u32.to_be_bytes()[..], &[REQUEST, 1, 0]].concat()),
            }
            let _ = peer.0.shutdown(Shutdown::Write);
            while let Some((kind, _)) = peer.next() {
                assert_eq!(kind, RESPONSE);
            }
        }
    });
    let node = trio.node(leader).clone();
    let work = async {
        for number in 0..40 {
            insist(&node, number).await;
        }
    };
    tokio::join!(peers, work);
    trio.settled().await;
    assert_eq!(trio.players(other), 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_who_say_nothing_keep_no_peer_out() {
    let mut trio = Trio::prepare();
    let addresses: Vec<String> = trio.configs[0].peers.values().cloned().collect();
    // More than there are places, at every node, and each comes back whenever it is sent away.
    let mut strangers = tokio::task::JoinSet::new();
    for address in &addresses {
        for _ in 0..300 {
            let address = address.clone();
            strangers.spawn(async move {
                loop {
                    let Ok(mut stream) = tokio::net::TcpStream::connect(&address).await else {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                        continue;
                    };
                    let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut [0]).await;
                }
            });
        }
    }
    trio.start_all([0, 1, 2]).await;
    insist(trio.node(0), 1).await;
    trio.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn for_one_stranger_too_many_the_oldest_goes_and_no_other() {
    let trio = Trio::started().await;
    trio.leader().await;
    let address = trio.configs[0].peers.values().next().unwrap().parse().unwrap();
    let mut oldest = Stranger::call(address);
    let others: Vec<_> = (0..STRANGERS_MAX).map(|_| Stranger::call(address)).collect();
    oldest.is_let_go();
    for Stranger(other) in &others {
        other.set_nonblocking(true).unwrap();
        let open = other.peek(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
        assert!(open, "its time is not over");
    }
}
