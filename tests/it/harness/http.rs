//! A tiny HTTP client: one request, one connection, the whole answer. No redirects, no cookies, no
//! retries, so that what a test sees is what the server sent.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::header::{CONTENT_TYPE, HOST, HeaderName};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use super::{DEADLINE, Server};

/// A request under construction.
pub(crate) struct Http {
    address: SocketAddr,
    method: Method,
    path: String,
    headers: Vec<(HeaderName, String)>,
    body: Bytes,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: hyper::HeaderMap,
    pub(crate) body: Bytes,
}

impl Http {
    pub(crate) fn new(server: &Server, method: Method, path: &str) -> Self {
        Self::to(server.address(), method, path)
    }

    pub(crate) fn to(address: SocketAddr, method: Method, path: &str) -> Self {
        Self { address, method, path: path.to_owned(), headers: Vec::new(), body: Bytes::new() }
    }

    pub(crate) fn get(server: &Server, path: &str) -> Self {
        Self::new(server, Method::GET, path)
    }

    pub(crate) fn post(server: &Server, path: &str) -> Self {
        Self::new(server, Method::POST, path)
    }

    pub(crate) fn put(server: &Server, path: &str) -> Self {
        Self::new(server, Method::PUT, path)
    }

    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((HeaderName::from_static(name), value.to_owned()));
        self
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.text(body.to_string())
    }

    /// A body that says it is JSON, whatever it is.
    pub(crate) fn text(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self.header(CONTENT_TYPE.as_str(), "application/json")
    }

    /// A body, whose kind a header says.
    pub(crate) fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Sends it and reads the whole answer.
    pub(crate) async fn send(self) -> Answer {
        let what = format!("{} {}", self.method, self.path);
        tokio::time::timeout(DEADLINE, self.exchange())
            .await
            .unwrap_or_else(|_| panic!("{what}: no answer within {DEADLINE:?}"))
            .unwrap_or_else(|error| panic!("{what}: {error}"))
    }

    /// As [`Http::send`], for requests whose connection the server may cut.
    pub(crate) async fn exchange(self) -> Result<Answer, Box<dyn std::error::Error + Send + Sync>> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let mut request = Request::builder()
            .method(self.method)
            .uri(self.path)
            .header(HOST, self.address.to_string());
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        let response = sender.send_request(request.body(Full::new(self.body))?).await?;
        let (parts, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        connection.abort();
        Ok(Answer { status: parts.status, headers: parts.headers, body })
    }
}

impl Answer {
    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in the answer {} {:?}", self.status, self.body))
    }

    /// A header's text, empty if it isn't there.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("headers are ASCII"))
    }

    /// Panics unless status and the two stable parts of an error of `/auth` are these.
    pub(crate) fn assert_error(&self, status: u16, code: &str, message: Option<&str>) {
        let body = self.json();
        assert_eq!(
            (self.status.as_u16(), &body["success"], &body["code"]),
            (status, &false.into(), &code.into()),
            "{body}"
        );
        if let Some(message) = message {
            assert_eq!(body["message"], message);
        }
        assert!(body["message"].is_string(), "an error has a message: {body}");
    }
}
