//! A websocket that sends whatever a test wants: for clients that misbehave.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::{DEADLINE, Server};

const READ_BUFFER_BYTES: usize = 4 * 1024;

/// A client's end of a websocket.
pub(crate) type Stream = WebSocketStream<TcpStream>;

/// Opens a websocket at the Socket.IO path; `query` ends in `&` unless it is empty.
pub(crate) async fn dial(server: SocketAddr, from: Ipv4Addr, query: &str) -> Stream {
    let opening = tokio::time::timeout(DEADLINE, try_dial(server, from, query)).await;
    opening.expect("a websocket opens in time").expect("the server listens and takes a websocket")
}

/// The same of a server that may be dead, or let nobody in.
pub(crate) async fn try_dial(
    server: SocketAddr,
    from: Ipv4Addr,
    query: &str,
) -> Result<Stream, Error> {
    let socket = TcpSocket::new_v4().expect("make a socket");
    socket.bind(SocketAddr::from((from, 0))).expect("bind an address of this machine");
    socket.set_nodelay(true).expect("set an option");
    let stream = socket.connect(server).await?;
    let url = format!("ws://{server}/socket.io/?{query}EIO=4&transport=websocket");
    // Thousands of clients may be open at once.
    let config = Some(WebSocketConfig::default().read_buffer_size(READ_BUFFER_BYTES));
    Ok(tokio_tungstenite::client_async_with_config(url, stream, config).await?.0)
}

/// A websocket without manners.
pub(crate) struct Raw(Stream);

impl Raw {
    /// Opens the transport only.
    pub(crate) async fn open(server: &Server, player: &str) -> Self {
        Self(dial(server.address(), Ipv4Addr::LOCALHOST, &format!("playerId={player}&")).await)
    }

    /// Opens the transport for a session that began as polling.
    pub(crate) async fn upgrade(server: &Server, session: &str) -> Self {
        let mut raw =
            Self(dial(server.address(), Ipv4Addr::LOCALHOST, &format!("sid={session}&")).await);
        raw.send("2probe").await;
        raw.text_where("answer to the probe", |text| text == "3probe").await;
        raw.send("5").await;
        raw
    }

    /// Opens the transport and joins the namespace.
    pub(crate) async fn connect(server: &Server, player: &str) -> Self {
        let mut raw = Self::open(server, player).await;
        assert!(raw.send("40").await, "the server takes the CONNECT packet");
        raw.text_where("CONNECT answer", |text| text.starts_with("40")).await;
        raw
    }

    /// Sends text; false if the connection is gone.
    pub(crate) async fn send(&mut self, text: &str) -> bool {
        self.message(Message::text(text)).await
    }

    /// Sends binary; false if the connection is gone.
    pub(crate) async fn send_binary(&mut self, bytes: Vec<u8>) -> bool {
        self.message(Message::binary(bytes)).await
    }

    async fn message(&mut self, message: Message) -> bool {
        // Not being read for long is being cut, too: the server need not read from a flooder.
        matches!(
            tokio::time::timeout(Duration::from_secs(10), self.0.send(message)).await,
            Ok(Ok(()))
        )
    }

    /// Waits for a text frame.
    pub(crate) async fn text_where(&mut self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let reading = async {
            loop {
                match self.0.next().await {
                    Some(Ok(Message::Text(text))) if wanted(&text) => return text.to_string(),
                    Some(Ok(_)) => {}
                    other => panic!("no {what}, but {other:?}"),
                }
            }
        };
        tokio::time::timeout(DEADLINE, reading)
            .await
            .unwrap_or_else(|_| panic!("no {what} within {DEADLINE:?}"))
    }

    /// Reads until the connection is gone; false if it is still there after the deadline.
    pub(crate) async fn is_cut_within(&mut self, deadline: Duration) -> bool {
        let reading = async { while let Some(Ok(_)) = self.0.next().await {} };
        tokio::time::timeout(deadline, reading).await.is_ok()
    }

    /// Reads whatever has come, without waiting for more.
    pub(crate) async fn drain(&mut self) -> Vec<String> {
        let mut texts = Vec::new();
        while let Ok(Some(Ok(message))) =
            tokio::time::timeout(Duration::from_millis(1), self.0.next()).await
        {
            if let Message::Text(text) = message {
                texts.push(text.to_string());
            }
        }
        texts
    }
}
