//! Every part of a running server, by name. Handlers get an `Arc<App>` and nothing else.

mod readiness;

use std::sync::Arc;
use std::time::Duration;

use serverv2_machine::{Clocks, NodeId, PackRef};
use serverv2_raft::{Cluster, ClusterSecret, NodeConfig};
use tokio::time::sleep;

pub use self::readiness::{LocalReadiness, State};
use crate::announce::Announcer;
use crate::auth::{CodeKey, SecretError, TokenKeys, signing_secret};
use crate::balance::{Balance, Instance, LocalCondition};
use crate::battle::engines::{Engines, EnginesError};
use crate::config::{MailProvider, Mode, Settings};
use crate::gateway::{ANSWER_PATIENCE, Door, EventRate, Gateway, GatewaySettings};
use crate::mail::{MailSetupError, Mailer};
use crate::metrics::LocalMetrics;
use crate::net::LocalConnections;
use crate::records::{self, OpenError, Records};
use crate::redis::blacklist::Blacklist;
use crate::redis::mirror::{ForeignMirror, Mirror, MirrorSettings, Signer};
use crate::redis::registry::{Member, Registration};
use crate::redis::{Address, BadAddress, Redis};
use crate::reports::{self, LocalReports};
use crate::rest::{BodyBudget, LocalStats, RateLimits};

/// How often this node looks whether it can serve.
const READINESS_PERIOD: Duration = Duration::from_millis(100);

/// Longest animation that stops the clocks, milliseconds (contract 5.8).
const ANIMATION_MAX_MS: u32 = 20_000;

/// Why the server can't start.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The packs can't be loaded.
    #[error(transparent)]
    Engines(#[from] EnginesError),
    /// The log can't be recovered.
    #[error(transparent)]
    Cluster(#[from] serverv2_raft::StartError),
    /// Tokens can't be signed.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// Mails can't be sent.
    #[error(transparent)]
    Mail(#[from] MailSetupError),
    /// Accounts are kept elsewhere, or nowhere that can be reached.
    #[error(transparent)]
    Records(#[from] OpenError),
    /// There is no such Redis.
    #[error("REDIS_URL: {0}")]
    Redis(#[from] BadAddress),
    /// It has another cluster's mirror.
    #[error(transparent)]
    Mirror(#[from] ForeignMirror),
    /// The workers can't be started.
    #[error("start the battle workers: {0}")]
    Workers(std::io::Error),
}

/// The parts.
pub struct App {
    /// What the operator asked for.
    pub settings: Settings,
    /// The replicated log and this node's replica of what it says.
    pub cluster: Cluster,
    /// The packs that are loaded here.
    pub engines: Engines,
    /// The sockets of this node and the battles they see.
    pub gateway: Arc<Gateway>,
    /// Whether traffic should come here.
    pub readiness: Arc<LocalReadiness>,
    /// The open connections of this process.
    pub connections: Arc<LocalConnections>,
    /// Signs and reads tokens.
    pub tokens: Arc<TokenKeys>,
    /// How often each client has asked.
    pub rates: RateLimits,
    /// Memory for request bodies that are being read.
    pub bodies: BodyBudget,
    /// Accounts, their addresses and the codes that prove them.
    pub records: Arc<dyn Records>,
    /// Makes hashes of verification codes.
    pub codes: Arc<CodeKey>,
    /// Sends mails.
    pub mailer: Mailer,
    /// What other services see, if there is a Redis.
    pub redis: Option<Redis>,
    /// What other services have revoked, and what this cluster has.
    pub blacklist: Option<Arc<Blacklist>>,
    /// The copy of rooms, queue and connections for other services.
    pub mirror: Option<Arc<Mirror>>,
    /// This node's place in its registry.
    pub registration: Option<Registration>,
    /// How this node is, for whoever balances.
    pub condition: Arc<LocalCondition>,
    /// How the others are, and which is the best for a new client.
    pub balance: Arc<Balance>,
    /// Tells the sockets of all nodes.
    pub announcer: Arc<Announcer>,
    /// What this process does for battle reports.
    pub(crate) reports: Arc<LocalReports>,
    /// What the cluster counts, counted at intervals.
    pub stats: LocalStats,
    /// What was answered, and the last page for Prometheus.
    pub metrics: LocalMetrics,
}

impl App {
    /// Recovers this node's log and puts the parts together. Returns once this process is announced in
    /// the log; until then nothing can be read or proposed.
    pub async fn start(
        settings: Settings,
        readiness: Arc<LocalReadiness>,
        connections: Arc<LocalConnections>,
    ) -> Result<Arc<Self>, AppError> {
        let engines = Engines::load(settings.packs_dir.as_deref())?;
        let mailer = Mailer::new(&settings.mail)?;
        if settings.mode == Mode::Run && settings.mail.provider == MailProvider::Console {
            tracing::warn!(
                "EMAIL_PROVIDER is console: verification codes go to this log, to nobody"
            );
        }
        let redis_address =
            settings.redis.url().map(|url| Address::parse(url.reveal())).transpose()?;
        let (cluster, feed) = Cluster::start(node_config(&settings, engines.packs())).await?;
        let secret = signing_secret(&settings)?;
        let tokens = Arc::new(TokenKeys::new(&secret, settings.auth.previous_secret.as_ref()));
        let gateway_settings = gateway_settings(&settings, &connections);
        let codes = Arc::new(CodeKey::new(&secret));
        let opened = match records::open(&cluster, &settings.database, codes.clone()).await {
            Ok(opened) => opened,
            Err(error) => {
                cluster.shutdown().await;
                return Err(error.into());
            }
        };
        let records = opened.accounts;
        let reports =
            LocalReports::start(&cluster, &engines, opened.reports).map_err(AppError::Workers)?;
        if settings.redis.session_tokens {
            tracing::warn!(
                "REDIS_SESSION_TOKENS is true: whoever reads that Redis can act as any player who is logged in"
            );
        }
        for ignored in settings.redis.ignored() {
            tracing::warn!("{ignored}");
        }
        let redis = redis_address.map(|address| Redis::start(&settings.redis, address));
        let blacklist = redis.clone().map(Blacklist::new);
        let signer = settings
            .redis
            .session_tokens
            .then(|| Signer { keys: tokens.clone(), records: records.clone() });
        let mirror = match open_mirror(redis.as_ref(), &cluster, &settings, signer).await {
            Ok(mirror) => mirror,
            Err(error) => {
                cluster.shutdown().await;
                return Err(error.into());
            }
        };
        if let (Some(blacklist), Some(mirror)) = (&blacklist, &mirror) {
            tokio::spawn(blacklist.clone().keep(cluster.clone(), mirror.clone()));
        }
        let gateway = Gateway::start(
            &cluster,
            feed,
            engines.clone(),
            Door { tokens: tokens.clone(), records: records.clone(), blacklist: blacklist.clone() },
            reports.clone(),
            mirror.as_ref().map(|mirror| mirror.marks()),
            gateway_settings,
        )
        .map_err(AppError::Workers)?;
        if let Some(mirror) = &mirror {
            mirror.start(gateway.delivered.clone(), gateway.host.clone());
        }
        // Before the first battle.
        reports::tell_whether_wanted(&cluster, settings.reports.enabled).await;
        let database = reports.database.clone();
        tokio::spawn(reports::keep(cluster.clone(), database, settings.reports.retention()));
        let rates = RateLimits::new(&settings.auth);
        let condition =
            LocalCondition::new(instance(&settings), &readiness, &gateway, connections.max());
        let balance = Balance::start(&cluster, condition.clone());
        let member = Member { node: settings.node_id, cluster: settings.cluster_name.clone() };
        let registration =
            redis.clone().map(|redis| Registration::start(redis, member, condition.clone()));
        let announcer = Announcer::start(
            &cluster,
            &gateway,
            redis.clone(),
            &settings.announce,
            condition.clone(),
        );
        let app = Arc::new(Self {
            settings,
            cluster,
            engines,
            gateway,
            readiness,
            connections,
            tokens,
            rates,
            bodies: BodyBudget::default(),
            records,
            codes,
            mailer,
            redis,
            blacklist,
            mirror,
            registration,
            condition,
            balance,
            announcer,
            reports,
            stats: LocalStats::default(),
            metrics: LocalMetrics::default(),
        });
        app.readiness.set_ready(can_serve(&app.cluster));
        tokio::spawn(watch_readiness(app.clone()));
        Ok(app)
    }
}

/// The mirror, if there is a Redis and it has no other cluster's.
async fn open_mirror(
    redis: Option<&Redis>,
    cluster: &Cluster,
    settings: &Settings,
    signer: Option<Signer>,
) -> Result<Option<Arc<Mirror>>, ForeignMirror> {
    let Some(redis) = redis else { return Ok(None) };
    let mirror = MirrorSettings {
        instance: settings.instance_id.clone(),
        takeover: settings.redis.mirror_takeover,
        sweep: settings.redis.mirror_sweep,
        signer,
    };
    Mirror::new(redis.clone(), cluster.clone(), mirror).await.map(Some)
}

/// Who this node is, for clients and other services.
fn instance(settings: &Settings) -> Instance {
    Instance {
        id: settings.instance_id.clone(),
        host: settings.instance_host.clone(),
        port: settings.port,
    }
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn gateway_settings(settings: &Settings, connections: &LocalConnections) -> GatewaySettings {
    let seconds = |time: Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
    GatewaySettings {
        grace_ms: ms(settings.disconnect_grace),
        clocks: Clocks {
            turn_s: seconds(settings.turn_time_limit),
            total_s: seconds(settings.total_time_limit),
            animation_max_ms: ANIMATION_MAX_MS,
        },
        event_rate: EventRate {
            per_second: settings.socket_events_per_second,
            burst: settings.socket_events_burst,
            overruns_max: settings.socket_overruns_max,
        },
        payload_bytes_max: settings.socket_payload_bytes_max,
        guests_need_tokens: settings.auth.guests_need_tokens,
        trusted_proxies: settings.auth.trusted_proxies.clone(),
        sockets_max: 2 * connections.max(),
    }
}

fn node_config(settings: &Settings, packs: &[PackRef]) -> NodeConfig {
    NodeConfig {
        heartbeat_ms: ms(settings.raft_heartbeat),
        election_min_ms: ms(settings.raft_election_min),
        election_max_ms: ms(settings.raft_election_max),
        snapshot_entries: settings.raft_snapshot_entries,
        keep_entries: settings.raft_keep_entries,
        packs: packs.to_vec(),
        grace_ms: ms(settings.disconnect_grace),
        waiting_proposals_max: settings.proposals_waiting_max,
        propose_deadline: ANSWER_PATIENCE,
        peers: settings.peers.iter().map(|(id, at)| (NodeId(*id), at.clone())).collect(),
        peer_bind: settings.peer_address(),
        is_joinable: settings.is_joinable(),
        must_listen: settings.peer_bind.is_some(),
        peer_address: settings.advertised_peer_address(),
        cluster_name: settings.cluster_name.clone(),
        cluster_secret: ClusterSecret(
            settings.cluster_secret.as_ref().map(|it| it.reveal().to_owned()).unwrap_or_default(),
        ),
        node_gone_after_ms: ms(settings.node_gone_after),
        ..NodeConfig::new(NodeId(settings.node_id), settings.data_dir.clone())
    }
}

/// Who has never been sure of what it knows could not say of any token that it counts.
fn can_serve(cluster: &Cluster) -> bool {
    cluster.status().ready && cluster.uncertainty().is_some()
}

/// Consensus publishes figures, not events; looking at them is cheap. A node that was removed from its cluster
/// lets its clients go, who find another one.
async fn watch_readiness(app: Arc<App>) {
    while app.readiness.now().0 != State::Draining {
        if app.cluster.is_removed() {
            app.readiness.remove();
            return app.gateway.drain(app.settings.drain_period).await;
        }
        app.readiness.set_ready(can_serve(&app.cluster));
        sleep(READINESS_PERIOD).await;
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! A real one-node cluster in a temporary folder, gone with its handle.

    use std::collections::BTreeMap;

    use super::*;
    use crate::config::{self, Sources};
    use crate::open_files::CONNECTIONS_USUAL;

    /// A started node.
    pub(crate) struct Node {
        /// Its parts.
        pub(crate) app: Arc<App>,
        // After the parts: fields are dropped in this order.
        _folder: tempfile::TempDir,
    }

    impl Node {
        /// A node with these flags; what they don't say is as in `dev`.
        pub(crate) async fn start(flags: &[(&'static str, &str)]) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let mut given: BTreeMap<&'static str, String> =
                flags.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
            given.insert("DATA_DIR", folder.path().to_str().unwrap().to_owned());
            let sources = Sources { flags: given, env: &|_| None, file: None };
            let settings = config::load(Mode::Dev, &sources).unwrap();
            let connections =
                LocalConnections::new(settings.connections_max.unwrap_or(CONNECTIONS_USUAL));
            let app = App::start(settings, Arc::default(), connections).await.unwrap();
            Self { app, _folder: folder }
        }
    }
}
