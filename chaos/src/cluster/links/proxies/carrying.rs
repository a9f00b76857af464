//! Carries the bytes of one connection, in the conditions of the two ways it uses.

use std::io;
use std::time::Duration;

use rand::Rng as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::super::Way;
use super::Net;

const PIECE_BYTES: usize = 64 * 1024;
/// Pieces under way in one direction; beyond that the sender has to wait, as with a full window.
const PIECES_MAX: usize = 64;

/// Bytes and when they are due; none: the end of the stream.
type Piece = (Instant, Vec<u8>);

/// Carries until either direction has ended.
pub(super) async fn carry(
    caller: TcpStream,
    callee: TcpStream,
    way: Way,
    net: &Net,
) -> io::Result<()> {
    caller.set_nodelay(true)?;
    callee.set_nodelay(true)?;
    let (from_caller, to_caller) = caller.into_split();
    let (from_callee, to_callee) = callee.into_split();
    let back = Way { from: way.to, to: way.from };
    tokio::select! {
        there = copy(from_caller, to_callee, way, net) => there,
        back = copy(from_callee, to_caller, back, net) => back,
    }
}

async fn copy(from: OwnedReadHalf, to: OwnedWriteHalf, way: Way, net: &Net) -> io::Result<()> {
    let (sender, receiver) = mpsc::channel(PIECES_MAX);
    tokio::try_join!(read(from, sender, way, net), write(receiver, to, way, net)).map(|_| ())
}

async fn read(
    mut from: OwnedReadHalf,
    pieces: mpsc::Sender<Piece>,
    way: Way,
    net: &Net,
) -> io::Result<()> {
    let mut buffer = vec![0; PIECE_BYTES];
    let mut due = Instant::now();
    loop {
        // A broken stream ends like another one: the news takes the same way as the bytes.
        let read = from.read(&mut buffer).await.unwrap_or_default();
        due = due.max(Instant::now() + lateness(way, net, read));
        if pieces.send((due, buffer[..read].to_vec())).await.is_err() || read == 0 {
            return Ok(());
        }
    }
}

fn lateness(way: Way, net: &Net, bytes: usize) -> Duration {
    let condition = net.condition(way);
    if condition.delay.is_zero() && condition.jitter.is_zero() {
        return Duration::ZERO;
    }
    net.note(way, bytes);
    condition.delay + condition.jitter.mul_f64(rand::rng().random())
}

async fn write(
    mut pieces: mpsc::Receiver<Piece>,
    mut to: OwnedWriteHalf,
    way: Way,
    net: &Net,
) -> io::Result<()> {
    while let Some((due, bytes)) = pieces.recv().await {
        tokio::time::sleep_until(due).await;
        net.pass(way, bytes.len()).await;
        if bytes.is_empty() {
            break;
        }
        to.write_all(&bytes).await?;
        if let Some(rate) = net.condition(way).bytes_per_second {
            net.note(way, bytes.len());
            tokio::time::sleep(Duration::from_secs_f64(bytes.len() as f64 / rate as f64)).await;
        }
    }
    Ok(())
}
