//! A small HTTP client: one request, one connection, the whole answer. No retries: those are decided by who
//! asks, and each try is written down.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::{TcpSocket, TcpStream};

use crate::cluster::host::client_address;

/// Largest answer that is read.
const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;
const KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    /// Nothing was sent: it can't have happened.
    Unsent(String),
    /// It was sent, or may have been.
    Lost(String),
}

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

/// A request under construction.
pub(crate) struct Http {
    address: SocketAddr,
    from: Ipv4Addr,
    method: Method,
    path: String,
    headers: Vec<(HeaderName, String)>,
    body: Bytes,
}

impl Http {
    pub(crate) fn get(address: SocketAddr, path: impl Into<String>) -> Self {
        Self::new(address, Method::GET, path)
    }

    pub(crate) fn post(address: SocketAddr, path: impl Into<String>) -> Self {
        Self::new(address, Method::POST, path)
    }

    pub(crate) fn put(address: SocketAddr, path: impl Into<String>) -> Self {
        Self::new(address, Method::PUT, path)
    }

    fn new(address: SocketAddr, method: Method, path: impl Into<String>) -> Self {
        let (path, headers) = (path.into(), Vec::new());
        Self { address, from: Ipv4Addr::LOCALHOST, method, path, headers, body: Bytes::new() }
    }

    /// From another address of this machine: what is counted or remembered by address is then this actor's own.
    pub(crate) fn from(mut self, from: Ipv4Addr) -> Self {
        self.from = from;
        self
    }

    /// With the client's own id of this request.
    pub(crate) fn request(mut self, id: Option<&str>) -> Self {
        self.headers.extend(id.map(|id| (KEY, id.to_owned())));
        self
    }

    pub(crate) fn token(mut self, token: &str) -> Self {
        self.headers.push((AUTHORIZATION, format!("Bearer {token}")));
        self
    }

    pub(crate) fn json(mut self, body: &Value) -> Self {
        self.body = body.to_string().into();
        self.headers.push((CONTENT_TYPE, "application/json".to_owned()));
        self
    }

    /// Sends it and reads the whole answer.
    pub(crate) async fn send(self, patience: Duration) -> Result<Answer, NoAnswer> {
        let deadline = tokio::time::Instant::now() + patience;
        let opening = tokio::time::timeout_at(deadline, connect(self.address, self.from));
        let stream = match opening.await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(NoAnswer::Unsent(error.to_string())),
            Err(_) => return Err(NoAnswer::Unsent("no connection in time".to_owned())),
        };
        match tokio::time::timeout_at(deadline, self.exchange(stream)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(NoAnswer::Lost(error.to_string())),
            Err(_) => Err(NoAnswer::Lost("no answer in time".to_owned())),
        }
    }

    async fn exchange(
        self,
        stream: TcpStream,
    ) -> Result<Answer, Box<dyn std::error::Error + Send + Sync>> {
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        // It ends with the sender, or with its peer.
        tokio::spawn(connection);
        let host = self.address.to_string();
        let mut request = Request::builder().method(self.method).uri(self.path).header(HOST, host);
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        let response = sender.send_request(request.body(Full::new(self.body))?).await?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), BODY_BYTES_MAX).collect().await?.to_bytes();
        let text = String::from_utf8_lossy(&body);
        let body = serde_json::from_str(&text).unwrap_or_else(|_| Value::from(text.as_ref()));
        Ok(Answer { status, body })
    }
}

/// A connection from a certain address of this machine.
pub(crate) async fn connect(to: SocketAddr, from: Ipv4Addr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    // Many connections go, one after the other: their ports may be used again for another peer.
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::from((client_address(from, to), 0)))?;
    socket.set_nodelay(true)?;
    socket.connect(to).await
}
