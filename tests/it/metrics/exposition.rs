//! Prometheus' text format 0.0.4, read more strictly than Prometheus does: each metric has one HELP and one
//! TYPE before its samples, no series stands there twice, and histograms add up.

use std::collections::{BTreeMap, BTreeSet};

/// A page, taken apart.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) text: String,
    pub(crate) samples: Vec<Sample>,
    kinds: BTreeMap<String, String>,
}

/// One line with a value.
#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) value: f64,
}

impl Sample {
    /// A label's value.
    pub(crate) fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(label, _)| label == name).map(|(_, value)| value.as_str())
    }

    fn parse(line: &str) -> Self {
        let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value: {line}"));
        let value = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
        let (name, labels) = match series.split_once('{') {
            Some((name, rest)) => {
                let inside = rest.strip_suffix('}').unwrap_or_else(|| panic!("not closed: {line}"));
                (name, labels(inside))
            }
            None => (series, Vec::new()),
        };
        assert!(is_name(name, true), "a name in {line}");
        let distinct: BTreeSet<_> = labels.iter().map(|(label, _)| label).collect();
        assert_eq!(distinct.len(), labels.len(), "a label twice: {line}");
        Self { name: name.to_owned(), labels, value }
    }
}

impl Page {
    /// Panics at whatever is not as the format says.
    pub(crate) fn parse(text: &str) -> Self {
        assert!(text.ends_with('\n'), "the last line ends, too");
        let mut page = Self { text: text.to_owned(), samples: Vec::new(), kinds: BTreeMap::new() };
        let mut helped = BTreeSet::new();
        let mut current = String::new();
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, words) = help.split_once(' ').expect("a HELP has a text");
                assert!(helped.insert(name.to_owned()), "a second {line}");
                assert!(!words.trim().is_empty(), "{line}");
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').expect("a TYPE has a kind");
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert!(helped.contains(name), "HELP comes before {line}");
                let before = page.kinds.insert(name.to_owned(), kind.to_owned());
                assert_eq!(before, None, "a second {line}");
                assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
                current = name.to_owned();
            } else {
                let sample = Sample::parse(line);
                let suffix = sample.name.strip_prefix(&current);
                let suffix = suffix.unwrap_or_else(|| panic!("{line} stands under {current}"));
                let suffixes: &[&str] = match page.kinds[&current].as_str() {
                    "histogram" => &["_bucket", "_sum", "_count"],
                    _ => &[""],
                };
                assert!(suffixes.contains(&suffix), "{line} stands under {current}");
                page.samples.push(sample);
            }
        }
        page.check();
        page
    }

    /// The type of a metric.
    pub(crate) fn kind(&self, name: &str) -> Option<&str> {
        self.kinds.get(name).map(String::as_str)
    }

    /// The samples of this name that have these labels among theirs.
    pub(crate) fn of<'a>(
        &'a self,
        name: &'a str,
        labels: &'a [(&'a str, &'a str)],
    ) -> impl Iterator<Item = &'a Sample> {
        let has = |sample: &Sample| {
            labels.iter().all(|(label, value)| sample.label(label) == Some(value))
        };
        self.samples.iter().filter(move |sample| sample.name == name && has(sample))
    }

    /// Their values together; 0 if there is none.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.of(name, labels).map(|sample| sample.value).sum()
    }

    fn check(&self) {
        let mut seen = BTreeSet::new();
        // By everything but the bound: bounds and counts so far.
        let mut histograms = BTreeMap::<_, Vec<(f64, f64)>>::new();
        for sample in &self.samples {
            assert!(seen.insert((&sample.name, &sample.labels)), "twice: {sample:?}");
            assert!(sample.value.is_finite(), "{sample:?}");
            if let Some(name) = sample.name.strip_suffix("_bucket") {
                let bound = sample.label("le").expect("a bucket has a bound");
                let bound =
                    if bound == "+Inf" { f64::INFINITY } else { bound.parse().expect("a number") };
                let rest: Vec<_> = sample.labels.iter().filter(|(l, _)| l != "le").collect();
                histograms.entry((name, rest)).or_default().push((bound, sample.value));
            }
        }
        for ((name, labels), buckets) in histograms {
            assert!(buckets.is_sorted(), "bounds and counts of {name}{labels:?} grow: {buckets:?}");
            let last = *buckets.last().expect("it was made with one");
            let counts = self.samples.iter().filter(|sample| {
                sample.name == format!("{name}_count")
                    && sample.labels.iter().collect::<Vec<_>>() == labels
            });
            let counts: Vec<f64> = counts.map(|sample| sample.value).collect();
            assert_eq!((last.0, vec![last.1]), (f64::INFINITY, counts), "{name}{labels:?}");
            let counts: Vec<f64> = buckets.iter().map(|(_, count)| *count).collect();
            assert!(counts.is_sorted(), "{name}{labels:?}: {buckets:?}");
        }
    }
}

fn is_name(name: &str, colon: bool) -> bool {
    let rest = |c: char| c.is_ascii_alphanumeric() || c == '_' || (colon && c == ':');
    name.starts_with(|c: char| rest(c) && !c.is_ascii_digit()) && name.chars().all(rest)
}

/// What stands between the braces.
fn labels(mut inside: &str) -> Vec<(String, String)> {
    let mut labels = Vec::new();
    while !inside.is_empty() {
        let (name, rest) = inside.split_once("=\"").expect("a label has a value");
        assert!(is_name(name, false), "a label's name: {name}");
        let mut value = String::new();
        let mut chars = rest.char_indices();
        let end = loop {
            match chars.next().expect("a value is closed") {
                (at, '"') => break at,
                (_, '\\') => match chars.next().expect("something is escaped").1 {
                    'n' => value.push('\n'),
                    it @ ('"' | '\\') => value.push(it),
                    it => panic!("{it} is nothing to escape"),
                },
                (_, it) => value.push(it),
            }
        };
        labels.push((name.to_owned(), value));
        inside = &rest[end + 1..];
        if let Some(next) = inside.strip_prefix(',') {
            assert!(!next.is_empty(), "a comma at the end");
            inside = next;
        } else {
            assert!(inside.is_empty(), "{inside} behind a label");
        }
    }
    labels
}
