//! Connections between simulated nodes.

use std::collections::BTreeSet;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use futures::future::BoxFuture;
use serverv2_raft_simulated::simulation::{Listener, Net, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use turmoil::net::{TcpListener, TcpStream};

use crate::trace::{self, note};

/// Where nodes listen for each other.
const PORT: u16 = 7000;

/// A host's name.
pub(crate) fn name(node: u64) -> String {
    format!("node{node}")
}

/// Where a node is reached.
pub(crate) fn address(node: u64) -> String {
    format!("{}:{PORT}", name(node))
}

fn number(name: &str) -> u64 {
    let name = name.split(':').next().unwrap_or_default();
    name.trim_start_matches("node").parse().unwrap_or_default()
}

/// The directed ways on which nothing comes through. Shared with who cuts them.
#[derive(Clone, Default)]
pub(crate) struct Cuts(Arc<Mutex<BTreeSet<(u64, u64)>>>);

impl Cuts {
    /// These are cut, and no others.
    pub(crate) fn set(&self, cuts: BTreeSet<(u64, u64)>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = cuts;
    }

    fn between(&self, a: u64, b: u64) -> bool {
        let cuts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        cuts.contains(&(a, b)) || cuts.contains(&(b, a))
    }
}

/// The ways from one node.
pub(crate) struct Ways {
    pub(crate) node: u64,
    pub(crate) cuts: Cuts,
}

impl Net for Ways {
    fn connect<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Stream>> {
        Box::pin(async move {
            let (from, to) = (self.node, number(address));
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    note!("n{from} connects to n{to}");
                    Ok(Box::new(Traced { stream, from, to }) as Stream)
                }
                // The simulation says so for what is lost on the way, too. A real network says nothing.
                Err(_) if self.cuts.between(from, to) => std::future::pending().await,
                Err(error) => Err(error),
            }
        })
    }
}

/// A node's listener.
pub(crate) struct Door {
    node: u64,
    listener: TcpListener,
}

impl Door {
    /// Listens on the host that is running.
    pub(crate) async fn open(node: u64) -> io::Result<Box<dyn Listener>> {
        let listener = TcpListener::bind(("0.0.0.0", PORT)).await?;
        Ok(Box::new(Self { node, listener }))
    }
}

impl Listener for Door {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Stream>> {
        Box::pin(async move {
            let (stream, from) = self.listener.accept().await?;
            let to = turmoil::reverse_lookup(from.ip()).as_deref().map_or(0, number);
            Ok(Box::new(Traced { stream, from: self.node, to }) as Stream)
        })
    }
}

/// A stream whose bytes go into the trace.
struct Traced {
    stream: TcpStream,
    from: u64,
    to: u64,
}

impl AsyncRead for Traced {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Traced {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        trace::sent(self.from, self.to, &bytes[..count]);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
