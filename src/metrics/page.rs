//! How a number gets onto a page: names, labels and kinds, by way of the library's encoder.

use std::fmt;

use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, MetricEncoder, NoLabelSet,
};
use prometheus_client::metrics::MetricType;
use serverv2_raft::HistogramCounts;

/// A metric's name, without the `_total` that counters get, and what it means.
pub(super) type Name = (&'static str, &'static str);

/// A page that is being written.
pub(super) struct Page<'a>(DescriptorEncoder<'a>);

impl<'a> Page<'a> {
    /// An empty one.
    pub(super) fn new(encoder: DescriptorEncoder<'a>) -> Self {
        Self(encoder)
    }

    /// A constant that is said in labels; `_info` is added to its name.
    pub(super) fn info(
        &mut self,
        name: Name,
        labels: &[(&'static str, &'static str)],
    ) -> fmt::Result {
        self.begin(name, MetricType::Info)?.encode_info(&labels)
    }

    /// Something that goes up and down.
    pub(super) fn gauge(&mut self, name: Name, value: impl EncodeGaugeValue + Copy) -> fmt::Result {
        self.begin(name, MetricType::Gauge)?.encode_gauge(&value)
    }

    /// The same for each value of a label.
    pub(super) fn gauges<V: EncodeGaugeValue>(
        &mut self,
        name: Name,
        label: &'static str,
        values: impl IntoIterator<Item = (&'static str, V)>,
    ) -> fmt::Result {
        let mut metric = self.begin(name, MetricType::Gauge)?;
        for (of, value) in values {
            metric.encode_family(&[(label, of)])?.encode_gauge(&value)?;
        }
        Ok(())
    }

    /// Something that only grows; `_total` is added to its name.
    pub(super) fn counter(
        &mut self,
        name: Name,
        value: impl EncodeCounterValue + Copy,
    ) -> fmt::Result {
        self.begin(name, MetricType::Counter)?.encode_counter::<NoLabelSet, _, f64>(&value, None)
    }

    /// The same for each value of a label.
    pub(super) fn counters(
        &mut self,
        name: Name,
        label: &'static str,
        values: impl IntoIterator<Item = (&'static str, u64)>,
    ) -> fmt::Result {
        let values = values.into_iter().map(|(of, value)| ([(label, of)], value));
        self.counters_by(name, values)
    }

    /// The same for several labels.
    pub(super) fn counters_by<const N: usize>(
        &mut self,
        name: Name,
        values: impl IntoIterator<Item = ([(&'static str, &'static str); N], u64)>,
    ) -> fmt::Result {
        let mut metric = self.begin(name, MetricType::Counter)?;
        for (labels, value) in values {
            let mut one = metric.encode_family(&labels)?;
            one.encode_counter::<NoLabelSet, _, f64>(&value, None)?;
        }
        Ok(())
    }

    /// Durations that were counted in microseconds, in seconds.
    pub(super) fn durations(&mut self, name: Name, read: &HistogramCounts) -> fmt::Result {
        self.histogram(name, read, 1_000_000.0)
    }

    /// The same for each value of a label; those without any are left out.
    pub(super) fn durations_by(
        &mut self,
        name: Name,
        label: &'static str,
        read: impl IntoIterator<Item = (&'static str, HistogramCounts)>,
    ) -> fmt::Result {
        let mut metric = self.begin(name, MetricType::Histogram)?;
        for (of, read) in read {
            let (buckets, count) = buckets_of(&read, 1_000_000.0);
            if count > 0 {
                let labels = [(label, of)];
                let mut one = metric.encode_family(&labels)?;
                let sum = read.sum as f64 / 1_000_000.0;
                one.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
            }
        }
        Ok(())
    }

    /// Sizes, in bytes.
    pub(super) fn sizes(&mut self, name: Name, read: &HistogramCounts) -> fmt::Result {
        self.histogram(name, read, 1.0)
    }

    fn histogram(&mut self, name: Name, read: &HistogramCounts, unit: f64) -> fmt::Result {
        let (buckets, count) = buckets_of(read, unit);
        let mut metric = self.begin(name, MetricType::Histogram)?;
        metric.encode_histogram::<NoLabelSet>(read.sum as f64 / unit, count, &buckets, None)
    }

    fn begin(
        &mut self,
        (name, help): Name,
        kind: MetricType,
    ) -> Result<MetricEncoder<'_>, fmt::Error> {
        self.0.encode_descriptor(name, help, None, kind)
    }
}

/// Upper bounds with how many values each bucket alone holds, and how many there are.
fn buckets_of(read: &HistogramCounts, unit: f64) -> (Vec<(f64, u64)>, u64) {
    let bounds = read.buckets.iter().map(|(bound, count)| (*bound as f64 / unit, *count));
    let buckets: Vec<_> = bounds.chain([(f64::INFINITY, read.above)]).collect();
    let count = buckets.iter().map(|(_, count)| count).sum();
    (buckets, count)
}
