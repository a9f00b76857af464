//! What a node says of itself to Prometheus (contract 1.3 and 8.6), and under which names.
//!
//! Ours begin with `serverv2_`; those of the existing server stand beside them, so that its dashboards go on.
//! Base units; every name and every label's value comes from a list in this program, so the number of
//! series is bounded and no id of a player, session, socket or room is among them. `instance_id` on all of
//! them is the node's own name.
//!
//! The parts of the server count by themselves and know nothing of this. Here their numbers are collected
//! when somebody asks, [`PAGE_AGE_MAX`] apart at least: whoever asks more often gets the last page again.

mod http;
mod names;
mod node;
mod page;
mod process;

use std::borrow::Cow;
use std::fmt;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, prometheus_text};
use prometheus_client::registry::Registry;

use self::http::LocalRequests;
use self::node::NodeSample;
use self::page::Page;
use self::process::ProcessSample;
use crate::app::{App, LocalReadiness, State};
use crate::config::Settings;
use crate::cpu::Cpu;

pub(crate) use self::http::measure;

/// How old a page may be.
const PAGE_AGE_MAX: Duration = Duration::from_millis(200);

/// What is kept between two pages.
#[derive(Default)]
pub struct LocalMetrics {
    requests: LocalRequests,
    // A lock, held while a page is made: the second of two askers gets the first one's.
    last: Mutex<Last>,
}

#[derive(Default)]
struct Last {
    page: Option<(Instant, Bytes)>,
    cpu: Cpu,
}

impl LocalMetrics {
    /// The page, a fifth of a second old at most.
    pub(crate) fn page(&self, app: &App) -> Result<Bytes, fmt::Error> {
        let mut last = self.last.lock();
        if let Some((at, page)) = &last.page
            && at.elapsed() < PAGE_AGE_MAX
        {
            return Ok(page.clone());
        }
        let sample = Sample {
            state: app.readiness.now().0,
            process: ProcessSample::take(&app.readiness, &mut last.cpu),
            node: Some(NodeSample::take(app, self.requests.failed())),
        };
        let mut registry = registry(&app.settings, sample);
        self.requests.register(&mut registry);
        let page = written(&registry)?;
        last.page = Some((Instant::now(), page.clone()));
        Ok(page)
    }
}

/// The page of a node whose log is still being replayed.
pub(crate) fn starting_page(
    readiness: &LocalReadiness,
    settings: &Settings,
) -> Result<Bytes, fmt::Error> {
    let process = ProcessSample::take(readiness, &mut Cpu::default());
    let sample = Sample { state: readiness.now().0, process, node: None };
    written(&registry(settings, sample))
}

fn registry(settings: &Settings, sample: Sample) -> Registry {
    let label = (Cow::Borrowed("instance_id"), Cow::Owned(settings.instance_id.clone()));
    let mut registry = Registry::with_labels([label].into_iter());
    registry.register_collector(Box::new(sample));
    registry
}

fn written(registry: &Registry) -> Result<Bytes, fmt::Error> {
    let mut text = String::new();
    prometheus_text::encode(&mut text, registry)?;
    Ok(text.into())
}

/// The numbers of one page.
#[derive(Debug)]
struct Sample {
    state: State,
    process: ProcessSample,
    /// Missing while the node starts.
    node: Option<NodeSample>,
}

impl Collector for Sample {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page::new(encoder);
        page.info(names::BUILD, &[("version", env!("CARGO_PKG_VERSION"))])?;
        page.gauge(names::READY, u64::from(self.state == State::Ready))?;
        let states = [State::Starting, State::Ready, State::Draining, State::Removed];
        let states = states.map(|state| (state.name(), u64::from(state == self.state)));
        page.gauges(names::STATE, "state", states)?;
        self.process.write(&mut page)?;
        self.node.as_ref().map_or(Ok(()), |node| node.write(&mut page))
    }
}
