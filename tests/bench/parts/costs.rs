//! What a load costs Redis over some time, by Redis's own count and by the nodes', and how quick it was.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::future::join_all;
use tokio::time::sleep;

use super::book::{Chapter, quantile};
use super::exposition::Page;
use crate::harness::cluster::Trio;
use crate::harness::redis::Redis;
use crate::harness::{Http, Server};

/// How often nodes are asked how they are; their pages are not made more often.
const LOOK: Duration = Duration::from_millis(250);
/// Commands that are not the nodes'.
const NOT_COUNTED: [&str; 2] = ["info", "config|get"];
/// Time to an answer of Redis, as nodes count it.
const ANSWERS: &str = "redis_operation_duration_seconds";

/// Counts by name.
pub(crate) type Counts = BTreeMap<String, f64>;

/// See the module's text.
#[derive(Default)]
pub(crate) struct Costs {
    pub(crate) seconds: f64,
    pub(crate) chapter: Chapter,
    /// Commands by their names; those of scripts, too.
    pub(crate) commands: Counts,
    /// Round trips of all nodes, by what they were for.
    pub(crate) trips: Counts,
    /// How many of them took no longer, by operation and bound in seconds.
    buckets: Counts,
    /// Answers to `PING`.
    pings: Vec<Duration>,
    lag_entries: Vec<Duration>,
    lag: Vec<Duration>,
}

impl Costs {
    /// Looks on for so long; `read` gives what players saw meanwhile.
    pub(crate) async fn over(
        redis: &Redis,
        trio: &Trio,
        span: Duration,
        read: impl FnOnce() -> Chapter,
    ) -> Self {
        let mut costs = Self::default();
        let leader = trio.leader(0).await;
        let (commands, (trips, buckets)) = (commands(redis), answers(trio).await);
        let began = Instant::now();
        let mut told = vec![f64::NAN; trio.nodes.len()];
        while began.elapsed() < span {
            for (node, last) in trio.nodes.iter().zip(&mut told) {
                let health = Http::get(node, "/health").send().await.json();
                let ping = health["cluster"]["details"]["redis"]["responseTime"].as_f64();
                // One `PING` a second is told until the next.
                if let Some(ping) = ping.filter(|ping| ping != last) {
                    *last = ping;
                    costs.pings.push(Duration::from_secs_f64(ping / 1_000.0));
                }
            }
            let page = page(&trio.nodes[leader]).await;
            let entries = page.sum("serverv2_mirror_lag_entries", &[]);
            costs.lag_entries.push(Duration::from_millis(entries as u64));
            let lag = page.sum("serverv2_mirror_lag_seconds", &[]);
            costs.lag.push(Duration::from_secs_f64(lag));
            sleep(LOOK).await;
        }
        costs.chapter = read();
        costs.seconds = began.elapsed().as_secs_f64();
        costs.commands = less(self::commands(redis), &commands);
        let (trips_after, buckets_after) = answers(trio).await;
        costs.trips = less(trips_after, &trips);
        costs.buckets = less(buckets_after, &buckets);
        costs
    }

    /// Commands and round trips a second.
    pub(crate) fn rates(&self) -> String {
        let rates = |counts: &Counts| {
            let mut rates: Vec<_> =
                counts.iter().map(|(name, count)| (name, count / self.seconds)).collect();
            rates.sort_by(|a, b| b.1.total_cmp(&a.1));
            let all: f64 = rates.iter().map(|(_, rate)| rate).sum();
            let each: Vec<_> =
                rates.iter().map(|(name, rate)| format!("{name} {rate:.1}")).collect();
            format!("{all:.1}/s ({})", each.join(", "))
        };
        format!("commands {}; round trips {}", rates(&self.commands), rates(&self.trips))
    }

    /// How quick Redis was, and how far behind the mirror.
    pub(crate) fn print_times(&mut self) {
        print("PING, from a node", &mut self.pings, "ms");
        print("mirror behind, entries", &mut self.lag_entries, "");
        print("mirror behind, time", &mut self.lag, "ms");
        for (operation, count) in &self.trips {
            let within = |share: f64| {
                let of = |(key, below): (&String, &f64)| {
                    let bound = key.strip_prefix(operation.as_str())?.strip_prefix(' ')?;
                    (*below >= count * share).then(|| bound.parse::<f64>().ok())?
                };
                let bounds = self.buckets.iter().filter_map(of);
                bounds.fold(f64::INFINITY, f64::min) * 1_000.0
            };
            println!(
                "  {:24} {count:7}  p50 <= {:.2} ms, p99 <= {:.2} ms",
                format!("round trip: {operation}"),
                within(0.5),
                within(0.99)
            );
        }
    }
}

/// A line of p50, p99 and the longest.
pub(crate) fn print(what: &str, times: &mut [Duration], unit: &str) {
    times.sort_unstable();
    let at = |share| quantile(times, share);
    let (p50, p99, most) = (at(0.5), at(0.99), at(1.0));
    println!("  {what:42} {:7}  p50 {p50:.2}, p99 {p99:.2}, max {most:.2} {unit}", times.len());
}

fn less(mut after: Counts, before: &Counts) -> Counts {
    for (name, count) in &mut after {
        *count -= before.get(name).copied().unwrap_or_default();
    }
    after.retain(|_, count| *count > 0.0);
    after
}

/// What Redis has done so far.
fn commands(redis: &Redis) -> Counts {
    let told: String = redis.ask(redis::cmd("INFO").arg("commandstats"));
    let of = |line: &str| {
        let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        let calls = rest.split(',').next()?.parse().ok()?;
        (!NOT_COUNTED.contains(&name)).then(|| (name.to_owned(), calls))
    };
    told.lines().filter_map(of).collect()
}

async fn page(node: &Server) -> Page {
    let answer = Http::get(node, "/metrics").send().await;
    Page::parse(&String::from_utf8_lossy(&answer.body))
}

/// Round trips by operation, and by operation and bound.
async fn answers(trio: &Trio) -> (Counts, Counts) {
    let (mut trips, mut buckets) = (Counts::new(), Counts::new());
    for page in join_all(trio.nodes.iter().map(page)).await {
        for sample in page.of(&format!("{ANSWERS}_count"), &[]) {
            let operation = sample.label("operation").unwrap_or_default();
            *trips.entry(operation.to_owned()).or_default() += sample.value;
        }
        for sample in page.of(&format!("{ANSWERS}_bucket"), &[]) {
            let label = |name| sample.label(name).unwrap_or_default();
            let key = format!("{} {}", label("operation"), label("le"));
            *buckets.entry(key).or_default() += sample.value;
        }
    }
    (trips, buckets)
}
