//! One connection, to a single Redis or to a Redis Cluster: which of them, it is asked when connecting.

use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
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

    /// Whether keys are spread over several servers.
    pub(super) fn is_cluster(&self) -> bool {
        matches!(self.to, To::Cluster(_))
    }
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
