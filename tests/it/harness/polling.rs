//! A client that speaks Engine.IO by polling only, one request at a time.

use super::{Http, Server};

/// What stands between two packets of a body.
const SEPARATOR: char = '\u{1e}';

/// A polling session.
pub(crate) struct Polling<'a> {
    server: &'a Server,
    /// Its Engine.IO id, which is its socket id, too.
    pub(crate) session: String,
}

impl<'a> Polling<'a> {
    /// Opens a session; `query` ends in `&`.
    pub(crate) async fn open(server: &'a Server, query: &str) -> Self {
        let path = format!("/socket.io/?{query}EIO=4&transport=polling");
        let answer = Http::get(server, &path).send().await;
        let open: serde_json::Value =
            serde_json::from_slice(&answer.body[1..]).expect("the first packet is the handshake");
        Self { server, session: open["sid"].as_str().expect("a session has an id").to_owned() }
    }

    /// Opens a session and joins the namespace.
    pub(crate) async fn connect(server: &'a Server, query: &str) -> Self {
        let polling = Self::open(server, query).await;
        assert!(polling.post(&["40"]).await, "the server takes the CONNECT packet");
        polling.poll_until("40").await;
        polling
    }

    /// Sends packets; false if there is no such session any more.
    pub(crate) async fn post(&self, packets: &[&str]) -> bool {
        let body = packets.join(&SEPARATOR.to_string());
        Http::post(self.server, &self.path()).text(body).send().await.status.is_success()
    }

    /// Polls once; `None` if there is no such session any more.
    pub(crate) async fn poll(&self) -> Option<Vec<String>> {
        let answer = Http::get(self.server, &self.path()).send().await;
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        answer.status.is_success().then(|| body.split(SEPARATOR).map(str::to_owned).collect())
    }

    /// Polls until a packet begins so, answering the application's heartbeat.
    pub(crate) async fn poll_until(&self, wanted: &str) {
        loop {
            let packets = self.poll().await.expect("the session lives");
            if packets.iter().any(|packet| packet.starts_with(r#"42["ping""#)) {
                self.post(&[r#"42["pong"]"#]).await;
            }
            if packets.iter().any(|packet| packet.starts_with(wanted)) {
                return;
            }
        }
    }

    fn path(&self) -> String {
        format!("/socket.io/?EIO=4&transport=polling&sid={}", self.session)
    }
}
