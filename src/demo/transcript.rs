//! What the audience reads: scenes, what each player does and hears, and what the log decided.

use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use serde_json::Value as Json;

/// Prints lines in the order in which they happen, each with its time.
#[derive(Clone)]
pub(super) struct Transcript {
    begin: Instant,
    names: Arc<Mutex<Vec<(String, String)>>>,
}

impl Transcript {
    pub(super) fn begin() -> Self {
        Self { begin: Instant::now(), names: Arc::default() }
    }

    /// From here on this id is printed as a name.
    pub(super) fn call(&self, id: &str, name: &str) {
        let mut names = self.names.lock();
        if !id.is_empty() && names.iter().all(|(known, _)| known != id) {
            names.push((id.to_owned(), name.to_owned()));
        }
    }

    /// What happens next.
    pub(super) fn scene(&self, title: &str) {
        println!("\n== {title}");
    }

    /// Something worth saying.
    pub(super) fn note(&self, text: &str) {
        self.line("", text);
    }

    /// Something a player does or hears.
    pub(super) fn player(&self, name: &str, text: &str) {
        self.line(name, text);
    }

    /// A line of a node's log: printed if it tells what the replicated log decided.
    pub(super) fn node_line(&self, line: &str) {
        let Ok(entry) = serde_json::from_str::<Json>(line) else { return };
        if entry["target"] != crate::dispatcher::TRANSCRIPT {
            return;
        }
        let (node, index) = (&entry["node.id"], &entry["raft.index"]);
        if let Some(text) = entry["message"].as_str() {
            self.line(&format!("node {node} #{index}"), text);
        }
    }

    fn line(&self, who: &str, text: &str) {
        let mut text = text.to_owned();
        for (id, name) in self.names.lock().iter() {
            text = text.replace(id, name);
        }
        println!("{:>7.3}s  {who:<12} {text}", self.begin.elapsed().as_secs_f64());
    }
}
