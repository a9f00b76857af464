//! One connection, to a single Redis or to a Redis Cluster: which of them, it is asked when connecting.

use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{RoutingInfo, SingleNodeRoutingInfo};
use redis::{AsyncConnectionConfig, Client, Cmd, Pipeline, RedisFuture, RedisResult, Value, cmd};

use super::address::Address;

/// A connection that many may use at once.
#[derive(Clone)]
pub(super) struct Link {
    /// Which one this is, counted from 1.
    pub(super) number: u64,
    to: To,
}

#[derive(Clone)]
enum To {
    Single(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Link {
    /// Connects to the first of these addresses that answers; to the whole of a cluster if it is of one.
    pub(super) async fn open(
        address: &Address,
        number: u64,
        timeout: Duration,
    ) -> RedisResult<Self> {
        let mut last = None;
        for server in address.servers() {
            let config = AsyncConnectionConfig::new()
                .set_connection_timeout(Some(timeout))
                .set_response_timeout(Some(timeout));
            let client = Client::open(server.clone())?;
            let opened = client.get_multiplexed_async_connection_with_config(&config).await;
            match opened {
                Ok(mut connection) => {
                    let to = if is_of_cluster(&mut connection).await? {
                        let client = ClusterClient::builder(address.servers().iter().cloned())
                            .connection_timeout(timeout)
                            .response_timeout(timeout)
                            .retries(1)
                            .build()?;
                        To::Cluster(client.get_async_connection().await?)
                    } else {
                        To::Single(connection)
                    };
                    return Ok(Self { number, to });
                }
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| (redis::ErrorKind::InvalidClientConfig, "no address").into()))
    }

    /// The servers that have keys; `None`: there is one only.
    pub(super) async fn masters(&mut self) -> RedisResult<Option<Vec<(String, u16)>>> {
        let To::Cluster(connection) = &mut self.to else { return Ok(None) };
        let mut slots = cmd("CLUSTER");
        slots.arg("SLOTS");
        let told = connection.route_command(slots, to(SingleNodeRoutingInfo::Random)).await?;
        let ranges: Vec<Vec<Value>> = redis::from_redis_value(told)?;
        let mut masters = Vec::new();
        for master in ranges.into_iter().filter_map(|range| range.into_iter().nth(2)) {
            let mut parts = redis::from_redis_value::<Vec<Value>>(master)?.into_iter();
            if let (Some(host), Some(port)) = (parts.next(), parts.next()) {
                let master = (redis::from_redis_value(host)?, redis::from_redis_value(port)?);
                if !masters.contains(&master) {
                    masters.push(master);
                }
            }
        }
        Ok(Some(masters))
    }

    /// A command for one of them, whichever keys it names.
    pub(super) async fn ask(
        &mut self,
        master: Option<(String, u16)>,
        command: Cmd,
    ) -> RedisResult<Value> {
        match (&mut self.to, master) {
            (To::Cluster(connection), Some((host, port))) => {
                let there = SingleNodeRoutingInfo::ByAddress { host, port };
                connection.route_command(command, to(there)).await
            }
            (To::Cluster(connection), None) => connection.req_packed_command(&command).await,
            (To::Single(connection), _) => connection.req_packed_command(&command).await,
        }
    }

    /// Whether keys are spread over several servers.
    pub(super) fn is_cluster(&self) -> bool {
        matches!(self.to, To::Cluster(_))
    }
}

fn to(server: SingleNodeRoutingInfo) -> RoutingInfo {
    RoutingInfo::SingleNode(server)
}

/// A user who may not ask is taken for one of a single server.
async fn is_of_cluster(connection: &mut MultiplexedConnection) -> RedisResult<bool> {
    let asked: RedisResult<String> = cmd("INFO").arg("cluster").query_async(connection).await;
    match asked {
        Ok(text) => Ok(text.contains("cluster_enabled:1")),
        Err(error) if super::is_answer(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

impl ConnectionLike for Link {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        match &mut self.to {
            To::Single(connection) => connection.req_packed_command(command),
            To::Cluster(connection) => connection.req_packed_command(command),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match &mut self.to {
            To::Single(connection) => connection.req_packed_commands(pipeline, offset, count),
            To::Cluster(connection) => connection.req_packed_commands(pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match &self.to {
            To::Single(connection) => connection.get_db(),
            To::Cluster(connection) => connection.get_db(),
        }
    }
}
