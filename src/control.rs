//! The control socket: how an operator's commands reach a running node.
//!
//! Each serving node listens on [`SOCKET`] in its data folder and answers HTTP with JSON there
//! (`control/routes.rs`); `serverv2 drain`, `cluster …` and the like are its clients (`control/client.rs`). It
//! needs no secret: who may use the node's folder may operate the node, and nobody else can. The socket
//! belongs to the process's user alone (mode 0600), callers of other users but root are turned away, and
//! nothing of it is to be had over TCP.
//!
//! The folder's lock has one owner, so whatever stands at the path when a node starts is left over from a dead
//! process and is replaced. A node whose socket can't be made serves without it and says so.

use std::convert::Infallible;
use std::ffi::OsStr;
use std::fs::{File, Permissions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustix::process::geteuid;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::sleep;
use tower::ServiceExt as _;
use tracing::{debug, warn};

pub(crate) mod client;
mod lifecycle;
mod refusal;
mod routes;

pub(crate) use lifecycle::{ActivePack, LevelsState, WantedPack};
pub(crate) use routes::{ChangeOrder, NodeState, router};

/// Name of the socket in the data folder.
pub(crate) const SOCKET: &str = "control.sock";
/// What it is called until its permissions are set.
const UNFINISHED: &str = "control.new";
/// Bytes of a path that fit into a Unix address.
const ADDRESS_BYTES_MAX: usize = 107;
/// Callers at once; further ones wait.
const CALLERS_MAX: usize = 16;
/// Pause after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The listening socket. Its file goes with it.
pub(crate) struct ControlSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl ControlSocket {
    /// Listens in the folder of this node, which must be locked by this process.
    pub(crate) fn bind(folder: &Path) -> io::Result<Self> {
        let (unfinished, path) = (folder.join(UNFINISHED), folder.join(SOCKET));
        match std::fs::remove_file(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let address = Address::in_folder(folder, UNFINISHED)?;
        let listener = UnixListener::bind(address.path())?;
        std::fs::set_permissions(&unfinished, Permissions::from_mode(0o600))?;
        // Takes the place of what a dead process left there.
        std::fs::rename(&unfinished, &path)?;
        Ok(Self { listener, path })
    }

    /// Answers for as long as the future is polled. Connections outlive it: who waits for the end of this
    /// process sees it by the end of his own.
    pub(crate) async fn serve(self, routes: Router) {
        let places = std::sync::Arc::new(Semaphore::new(CALLERS_MAX));
        loop {
            let Ok(place) = places.clone().acquire_owned().await else { return };
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let routes = routes.clone();
                    tokio::spawn(async move {
                        answer(stream, routes).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    warn!(%error, "a command could not be accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        // If it is gone already, so much the better.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// One caller's connection, until it ends.
async fn answer(stream: UnixStream, routes: Router) {
    match stream.peer_cred().map(|caller| caller.uid()) {
        Ok(0) => {}
        Ok(uid) if uid == geteuid().as_raw() => {}
        Ok(uid) => return warn!(uid, "a command of another user is not heard"),
        Err(error) => return debug!(%error, "a caller left before it was heard"),
    }
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let routes = routes.clone();
        async move {
            let Ok(response) = routes.oneshot(request.map(Body::new)).await;
            Ok::<_, Infallible>(response)
        }
    });
    let served = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    if let Err(error) = served {
        debug!(%error, "a caller's connection ended early");
    }
}

/// A path to a socket that fits into an address. A folder's path may be too long for that; then the
/// folder is opened, and the way goes through its descriptor for as long as this lives.
struct Address {
    path: PathBuf,
    _folder: Option<File>,
}

impl Address {
    fn in_folder(folder: &Path, name: impl AsRef<OsStr>) -> io::Result<Self> {
        let path = folder.join(name.as_ref());
        if path.as_os_str().len() <= ADDRESS_BYTES_MAX {
            return Ok(Self { path, _folder: None });
        }
        let open = File::open(folder)?;
        let path = PathBuf::from(format!("/proc/self/fd/{}", open.as_raw_fd())).join(name.as_ref());
        Ok(Self { path, _folder: Some(open) })
    }

    fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_a_dead_process_left_is_replaced_and_an_end_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let dead = std::os::unix::net::UnixListener::bind(folder.path().join(SOCKET)).unwrap();
        drop(dead);
        std::fs::write(folder.path().join(UNFINISHED), "of one that died in between").unwrap();
        let socket = ControlSocket::bind(folder.path()).unwrap();
        let mode = std::fs::metadata(folder.path().join(SOCKET)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        UnixStream::connect(folder.path().join(SOCKET)).await.unwrap();
        drop(socket);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_folder_may_have_a_longer_path_than_an_address() {
        let folder = tempfile::tempdir().unwrap();
        let long = folder.path().join("x".repeat(200));
        std::fs::create_dir(&long).unwrap();
        let _socket = ControlSocket::bind(&long).unwrap();
        let address = Address::in_folder(&long, SOCKET).unwrap();
        UnixStream::connect(address.path()).await.unwrap();
    }
}
