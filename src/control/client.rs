//! The asking end: one connection to the node that serves with a data folder.

use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::refusal::Refusal;
use super::{Address, SOCKET};

/// Time to connect: a node that hangs must not hang the command.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);
/// Pause between two looks at a process that ends.
const END_PAUSE: Duration = Duration::from_millis(10);
/// Largest answer, bytes.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Why a command has no success.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ControlError {
    #[error(
        "no node serves with the data folder {0}: it is stopped, still starting, or its folder is another \
         one (--data-dir)"
    )]
    Nobody(PathBuf),
    #[error("the node of the data folder {0} can be operated only by the user that runs it")]
    Denied(PathBuf),
    #[error("talk to the node: {0}")]
    Broken(String),
    #[error("the node did not answer within {} s: whether it did it is not known", .0.as_secs())]
    Late(Duration),
    /// It has another state.
    #[error("node {0} is {1}")]
    NotReady(u64, String),
    /// The node says why not.
    #[error("{} ({})", .0.message, .0.code)]
    Refused(Refusal),
}

/// A connection to a node.
pub(crate) struct Node {
    sender: SendRequest<Full<Bytes>>,
    connection: JoinHandle<()>,
    /// Its process, if this one can see it.
    process: Option<i32>,
}

impl Node {
    /// Finds the node that serves with this folder.
    pub(crate) async fn of(folder: &Path) -> Result<Self, ControlError> {
        let failed = |error: io::Error| match error.kind() {
            ErrorKind::NotFound | ErrorKind::ConnectionRefused | ErrorKind::NotADirectory => {
                ControlError::Nobody(folder.to_owned())
            }
            ErrorKind::PermissionDenied => ControlError::Denied(folder.to_owned()),
            _ => ControlError::Broken(error.to_string()),
        };
        let address = Address::in_folder(folder, SOCKET).map_err(failed)?;
        let connecting = timeout(CONNECT_PATIENCE, UnixStream::connect(address.path())).await;
        let stream = connecting.map_err(|_| ControlError::Late(CONNECT_PATIENCE))?;
        let stream = stream.map_err(failed)?;
        let process = stream.peer_cred().ok().and_then(|node| node.pid());
        let broken = |error: hyper::Error| ControlError::Broken(error.to_string());
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        // How it ends, the request tells.
        let connection = tokio::spawn(async move { drop(connection.await) });
        Ok(Self { sender, connection, process })
    }

    /// Asks and reads the answer, within a time.
    pub(crate) async fn ask<T: DeserializeOwned>(
        &mut self,
        method: Method,
        path: &str,
        body: &impl Serialize,
        patience: Duration,
    ) -> Result<T, ControlError> {
        let asking = self.exchange(method, path, body);
        timeout(patience, asking).await.map_err(|_| ControlError::Late(patience))?
    }

    async fn exchange<T: DeserializeOwned>(
        &mut self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ControlError> {
        let body = serde_json::to_vec(body).map_err(|error| broken(&error))?;
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, "node")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| broken(&error))?;
        self.sender.ready().await.map_err(|error| broken(&error))?;
        let answer = self.sender.send_request(request).await.map_err(|error| broken(&error))?;
        if !answer.status().is_success() {
            return Err(refusal(answer).await);
        }
        serde_json::from_slice(&read(answer.into_body()).await?).map_err(|error| broken(&error))
    }

    /// Asks for a file and writes it as it comes; `patience` is for its beginning and for each piece.
    pub(crate) async fn download(
        &mut self,
        path: &str,
        to: &mut impl Write,
        patience: Duration,
    ) -> Result<(), ControlError> {
        let request = Request::builder().uri(path).header(HOST, "node").body(Full::default());
        let request = request.map_err(|error| broken(&error))?;
        self.sender.ready().await.map_err(|error| broken(&error))?;
        let answer = timeout(patience, self.sender.send_request(request)).await;
        let answer = answer.map_err(|_| ControlError::Late(patience))?;
        let answer = answer.map_err(|error| broken(&error))?;
        if !answer.status().is_success() {
            return Err(refusal(answer).await);
        }
        let mut body = answer.into_body();
        loop {
            let frame = timeout(patience, body.frame()).await;
            let Some(frame) = frame.map_err(|_| ControlError::Late(patience))? else {
                return Ok(());
            };
            if let Ok(bytes) = frame.map_err(|error| broken(&error))?.into_data() {
                to.write_all(&bytes).map_err(|error| broken(&error))?;
            }
        }
    }

    /// Waits until the node's process has ended: its connections end with it, or a moment before.
    pub(crate) async fn ended(&mut self) {
        let _ = (&mut self.connection).await;
        while self.process.is_some_and(is_running) {
            sleep(END_PAUSE).await;
        }
    }
}

async fn read(body: Incoming) -> Result<Bytes, ControlError> {
    let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
    Ok(body.map_err(|error| ControlError::Broken(error.to_string()))?.to_bytes())
}

/// Why the node did not do it.
async fn refusal(answer: Response<Incoming>) -> ControlError {
    let status = answer.status();
    let body = match read(answer.into_body()).await {
        Ok(body) => body,
        Err(error) => return error,
    };
    serde_json::from_slice(&body).map_or_else(
        |_| {
            let text = String::from_utf8_lossy(&body);
            ControlError::Broken(format!("it answers {status}: {text}"))
        },
        ControlError::Refused,
    )
}

fn broken(error: &dyn std::fmt::Display) -> ControlError {
    ControlError::Broken(error.to_string())
}

/// Whether this process is there and not only waiting for its parent to take note of its end.
fn is_running(process: i32) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{process}/stat"));
    state.is_ok_and(|state| {
        state.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
    })
}
