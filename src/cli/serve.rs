//! `serverv2 dev` and `serverv2 run`: from settings to a serving process, and back to nothing.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, OnceLock};

use serverv2_raft::{StartError, StopReason};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::app::{App, AppError, LocalReadiness, State};
use crate::balance::{LocalCondition, agent};
use crate::config::{Mode, Settings};
use crate::control::{self, ControlSocket};
use crate::net::LocalConnections;
use crate::open_files;
use crate::run::{run, while_starting};
use crate::shutdown::StopSignal;

/// Why the server stopped otherwise than asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum ServeError {
    #[error("start the threads of the socket runtime: {0}")]
    Runtime(std::io::Error),
    #[error("listen for signals: {0}")]
    Signals(std::io::Error),
    #[error("listen on {0}: {1}")]
    Listen(SocketAddr, std::io::Error),
    #[error(transparent)]
    Start(#[from] AppError),
    #[error("this node can't go on: {0}")]
    Broken(StopReason),
    #[error("the graceful stop was cut short")]
    Overdue,
}

/// Serves until told to stop; a child of this program also until its parent has ended.
pub(super) fn serve(settings: Settings, is_child: bool) -> Result<(), ServeError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("sockets")
        .build()
        .map_err(ServeError::Runtime)?;
    let result = runtime.block_on(start(settings, is_child));
    // What is still running was given its time; a blocked task must not keep the process.
    runtime.shutdown_background();
    result
}

async fn start(mut settings: Settings, is_child: bool) -> Result<(), ServeError> {
    let connections_max = open_files::connections_max(settings.connections_max);
    let mut signal = StopSignal::listen().map_err(ServeError::Signals)?;
    if is_child {
        signal.listen_to_input().map_err(ServeError::Signals)?;
    }
    let wanted = SocketAddr::new(settings.bind_host, settings.port);
    let listener =
        TcpListener::bind(wanted).await.map_err(|error| ServeError::Listen(wanted, error))?;
    let bound = listener.local_addr().map_err(|error| ServeError::Listen(wanted, error))?;
    // Port 0 was a wish; from here on it is a fact.
    settings.port = bound.port();
    let readiness = Arc::<LocalReadiness>::default();
    let connections = LocalConnections::new(connections_max);
    let agent = match settings.agent_bind {
        Some(wanted) => {
            let listener = TcpListener::bind(wanted).await;
            Some(listener.map_err(|error| ServeError::Listen(wanted, error))?)
        }
        None => None,
    };
    // Answers from the first moment to the last; what the node is like is known once it has started.
    let condition = Arc::<OnceLock<Arc<LocalCondition>>>::default();
    let agent = agent.map(|listener| {
        let condition = condition.clone();
        let line = move || agent::line(condition.get().map(|condition| condition.steady()));
        tokio::spawn(agent::serve(listener, line))
    });
    let start = async {
        match App::start(settings.clone(), readiness.clone(), connections.clone()).await {
            Err(AppError::Cluster(StartError::Removed)) => {
                // Ending would only have it started again. Its port tells why it does not serve.
                readiness.remove();
                std::future::pending().await
            }
            started => started,
        }
    };
    let app = tokio::select! {
        started = while_starting(&listener, &connections, &readiness, &settings, start) => started?,
        () = signal.next() => return Ok(()),
    };
    // Nobody else sets it.
    let _ = condition.set(app.condition.clone());
    let (stop, drain) = (CancellationToken::new(), CancellationToken::new());
    // Before it says that it is ready: whoever reads that may give a command at once.
    let controlling = control(&app, drain.clone());
    let announced = tokio::spawn(announce(app.clone(), bound));
    let serving = tokio::spawn(run(listener, app.clone(), stop.clone().cancelled_owned()));
    let broken = tokio::select! {
        reason = app.cluster.stopped() => Some(reason),
        () = signal.next() => None,
        () = drain.cancelled() => None,
    };
    announced.abort();
    stop.cancel();
    let ending = async {
        if let Err(error) = serving.await {
            error!(%error, "serving ended in a panic");
        }
        if let Some(controlling) = controlling {
            // Before the folder may be another process's.
            controlling.abort();
            let _ = controlling.await;
        }
        app.cluster.shutdown().await;
    };
    tokio::select! {
        () = ending => {}
        () = signal.overdue(&app.settings) => return Err(ServeError::Overdue),
    }
    if let Some(agent) = agent {
        agent.abort();
    }
    info!("stopped");
    match broken {
        None => Ok(()),
        Some(reason) => Err(ServeError::Broken(reason)),
    }
}

/// Listens to the operator's commands; without them players are served as well.
fn control(app: &Arc<App>, drain: CancellationToken) -> Option<JoinHandle<()>> {
    match ControlSocket::bind(&app.settings.data_dir) {
        Ok(socket) => Some(tokio::spawn(socket.serve(control::router(app.clone(), drain)))),
        Err(error) => {
            let folder = app.settings.data_dir.display();
            warn!(%error, %folder, "no control socket: commands can't reach this node, signals can");
            None
        }
    }
}

/// Says where the server is, once it can be used: a few lines for people, the last one for programs.
async fn announce(app: Arc<App>, bound: SocketAddr) {
    app.readiness.reached(State::Ready).await;
    let Settings { mode, node_id, data_dir, .. } = &app.settings;
    let version = env!("CARGO_PKG_VERSION");
    let url = format!("http://{}", reachable(bound));
    let name = match mode {
        Mode::Dev => "dev",
        Mode::Run => "run",
    };
    let data = data_dir.display();
    let ready = serde_json::json!({
        "http": url, "port": bound.port(), "node": node_id, "pid": std::process::id(),
    });
    let text = format!(
        "serverv2 {version} {name}: node {node_id} is ready, its data is in {data}\n\
         \x20 REST       {url}/api/v1\n\
         \x20 Socket.IO  {url}/socket.io/\n\
         \x20 Health     {url}/health\n\
         READY {ready}\n"
    );
    // Nobody may be reading: that is no reason to stop.
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    info!(%url, "ready");
}

/// An address that a program on this machine can connect to.
fn reachable(bound: SocketAddr) -> SocketAddr {
    let ip = match bound.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, bound.port())
}
