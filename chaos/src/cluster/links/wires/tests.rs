//! What the kernel really does to packets. Each test needs root and a network namespace that nobody else uses:
//! `make netns-test` gives it one.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::*;
use crate::cluster::links::both;
use crate::cluster::process::Process;

const A: End = End::Node(0);
const B: End = End::Node(1);
const WAY: Way = Way { from: A, to: B };
const PORT: u16 = 7_000;
const SOON: Duration = Duration::from_secs(5);
/// Says back what it is told; and the other side, which tells it lines of its standard input.
const ECHO: &str = "import socket, sys
s = socket.create_server((sys.argv[1], int(sys.argv[2])))
while True:
    c, _ = s.accept()
    while d := c.recv(65536): c.sendall(d)";
const TELL: &str = "import socket, sys
s = socket.create_connection((sys.argv[1], int(sys.argv[2])))
s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
while True:
    d = sys.stdin.buffer.read1(65536)
    if not d: break
    s.sendall(d); n = 0
    while n < len(d): n += len(s.recv(65536))
    sys.stdout.write('.'); sys.stdout.flush()";

/// Two ends, of which the second says back what the first one tells it.
struct Pair {
    wires: Wires,
    teller: std::process::Child,
    _echo: Process,
}

impl Pair {
    fn new() -> Self {
        let wires = Wires::between(&[(A, PORT), (B, PORT)]).expect("wires");
        let (address, port) = (wires.host(B).address.to_string(), PORT.to_string());
        let python = |code: &str| {
            let mut command = Command::new("python3");
            command.args(["-c", code, &address, &port]);
            command
        };
        let (echo, _) = Process::start(wires.host(B).inside(python(ECHO))).expect("python");
        // This program's own way there is not one of those that are hindered.
        let began = Instant::now();
        while TcpStream::connect((address.as_str(), PORT)).is_err() {
            assert!(began.elapsed() < SOON, "it listens soon");
            std::thread::sleep(Duration::from_millis(10));
        }
        let mut teller = wires.host(A).inside(python(TELL));
        let teller = teller.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("python");
        let mut pair = Self { wires, teller, _echo: echo };
        pair.tell(1);
        pair
    }

    /// How long it takes until so many bytes have come back.
    fn tell(&mut self, bytes: usize) -> Duration {
        let began = Instant::now();
        let stdin = self.teller.stdin.as_mut().expect("it is piped");
        stdin.write_all(&vec![b'x'; bytes]).expect("told");
        let stdout = self.teller.stdout.as_mut().expect("it is piped");
        stdout.read_exact(&mut [0]).expect("heard");
        began.elapsed()
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        let _ = self.teller.kill();
        let _ = self.teller.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root and a network namespace: make netns-test"]
async fn a_cut_direction_drops_packets_and_they_come_once_it_is_healed() {
    let mut pair = Pair::new();
    for way in both(A, B) {
        pair.wires.set(&[way], Condition { cut: true, ..Condition::default() });
        let healed = std::thread::scope(|scope| {
            let wires = &pair.wires;
            let told = scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(700));
                let hindered = wires.counted(&[way]).expect("counters");
                run(tool("nft").args(["flush", "chain", "bridge", "ways", "forward"]), "")
                    .expect("flushed");
                hindered
            });
            let mut stdin = pair.teller.stdin.as_ref().expect("it is piped");
            let began = Instant::now();
            stdin.write_all(b"x").expect("told");
            let stdout = pair.teller.stdout.as_mut().expect("it is piped");
            stdout.read_exact(&mut [0]).expect("heard");
            assert!(told.join().expect("joined") > 0, "dropped packets are counted: {way:?}");
            began.elapsed()
        });
        assert!(healed >= Duration::from_millis(700), "{way:?}: {healed:?}");
        pair.wires.heal(&[way]);
    }
    pair.wires.heal_all().expect("every change was made");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root and a network namespace: make netns-test"]
async fn a_late_direction_takes_its_time_and_a_narrow_one_carries_so_much() {
    let mut pair = Pair::new();
    let late = Condition { delay: Duration::from_millis(60), ..Condition::default() };
    pair.wires.set(&[WAY], late);
    let took = pair.tell(1);
    assert!(took >= Duration::from_millis(60), "{took:?}");
    assert!(pair.wires.hindered(&[WAY]) > 0);
    pair.wires.heal(&[WAY]);
    let narrow = Condition { bytes_per_second: Some(8_000), ..Condition::default() };
    pair.wires.set(&[WAY], narrow);
    let before = pair.wires.hindered(&[WAY]);
    let took = pair.tell(16_000);
    assert!(took >= Duration::from_millis(1_500), "{took:?}");
    pair.wires.heal(&[WAY]);
    assert!(pair.wires.hindered(&[WAY]) > before, "what waits is counted, also afterwards");
    assert!(pair.tell(1) < Duration::from_secs(1));
    pair.wires.heal_all().expect("every change was made");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root and a network namespace: make netns-test"]
async fn a_lossy_direction_loses_its_share_and_the_rest_arrives() {
    let mut pair = Pair::new();
    pair.wires.set(&[WAY], Condition { loss_percent: 20, ..Condition::default() });
    for _ in 0..60 {
        pair.tell(1);
    }
    let lost = pair.wires.hindered(&[WAY]);
    // Each of 60 bytes is a packet, and so is each answer's receipt.
    assert!((4..=60).contains(&lost), "{lost} packets were lost");
    pair.wires.heal_all().expect("every change was made");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root and a network namespace: make netns-test"]
async fn the_host_of_a_dead_process_refuses_at_once() {
    let wires = Wires::between(&[(A, PORT), (B, PORT)]).expect("wires");
    let began = Instant::now();
    let refused = TcpStream::connect_timeout(&(wires.host(B).address, PORT).into(), SOON);
    let error = refused.expect_err("nobody listens");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    assert!(began.elapsed() < Duration::from_secs(1));
    drop(TcpListener::bind((wires.host(A).address, 0)).expect_err("that address is elsewhere"));
}
