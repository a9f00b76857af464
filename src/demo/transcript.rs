//! What the audience reads: scenes, what each player does, the battle, and what the log decided.
//!
//! Three nodes and two players know of each thing. It is told once, when the first of them tells it.

use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use serde_json::Value as Json;

use super::ledger::Ledger;

/// Prints lines in the order in which they happen, each with its time.
#[derive(Clone)]
pub(super) struct Transcript {
    begin: Instant,
    told: Arc<Mutex<Told>>,
}

/// Behind a lock, because readers of three nodes and the show itself take turns.
#[derive(Default)]
struct Told {
    names: Vec<(String, String)>,
    ledger: Ledger,
    /// Number of the battle's last message.
    message: u64,
}

impl Transcript {
    pub(super) fn begin() -> Self {
        Self { begin: Instant::now(), told: Arc::default() }
    }

    /// From here on this id is printed as a name.
    pub(super) fn call(&self, id: &str, name: &str) {
        self.told.lock().call(id, name);
    }

    /// What happens next.
    pub(super) fn scene(&self, title: &str) {
        println!("\n== {title}");
    }

    /// Something worth saying.
    pub(super) fn note(&self, text: &str) {
        self.line("", text);
    }

    /// A line of the summary.
    pub(super) fn sum_up(&self, what: &str, text: &str) {
        println!("  {what:<16} {text}");
    }

    /// Something a player does.
    pub(super) fn player(&self, name: &str, text: &str) {
        self.line(name, text);
    }

    /// A message of the battle, which both players hear.
    pub(super) fn battle(&self, number: u64, text: &str) {
        let is_new = {
            let mut told = self.told.lock();
            let is_new = number > told.message;
            told.message = told.message.max(number);
            is_new
        };
        if is_new {
            self.line("", &format!("#{number:<4} {text}"));
        }
    }

    /// A line of a node's log: printed if it tells first what the replicated log decided.
    pub(super) fn node_line(&self, node: u64, line: &str) {
        let Ok(entry) = serde_json::from_str::<Json>(line) else { return };
        if entry["target"] != crate::dispatcher::TRANSCRIPT {
            return;
        }
        let (Some(index), Some(text)) = (entry["raft.index"].as_u64(), entry["message"].as_str())
        else {
            return;
        };
        let is_new = {
            let mut told = self.told.lock();
            if let Some(room) =
                text.strip_prefix("room-opened ").and_then(|it| it.split(' ').next())
            {
                told.call(room, "the-room");
            }
            told.ledger.hear(node, index, text)
        };
        if is_new {
            self.line(&format!("node {node} #{index}"), &without_json(text));
        }
    }

    /// A node begins a new life.
    pub(super) fn begins(&self, node: u64) {
        self.told.lock().ledger.begins(node);
    }

    /// How many decisions this node told, if it told what the others did.
    pub(super) fn compare(&self, node: u64) -> Result<usize, String> {
        self.told.lock().ledger.compare(node)
    }

    fn line(&self, who: &str, text: &str) {
        let mut text = text.to_owned();
        for (id, name) in &self.told.lock().names {
            text = text.replace(id, name);
        }
        println!("{:>7.3}s  {who:<12} {}", self.begin.elapsed().as_secs_f64(), text.trim_end());
    }
}

impl Told {
    fn call(&mut self, id: &str, name: &str) {
        if !id.is_empty() && self.names.iter().all(|(known, _)| known != id) {
            self.names.push((id.to_owned(), name.to_owned()));
        }
    }
}

/// A choice in words: `select A {"type":"use-skill","skill":"…"}` is longer than what it says.
fn without_json(text: &str) -> String {
    let choice = text.find(" {").and_then(|at| {
        let choice: Json = serde_json::from_str(&text[at + 1..]).ok()?;
        let kind = choice["type"].as_str()?;
        let what = choice["skill"].as_str().or_else(|| choice["pet"].as_str()).unwrap_or_default();
        Some(format!("{} {kind} {what}", &text[..at]))
    });
    choice.unwrap_or_else(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_is_told_in_words_and_anything_else_as_it_is() {
        let choice = r#"input r #3 select A {"type":"use-skill","skill":"s","target":"opponent"}"#;
        assert_eq!(without_json(choice), "input r #3 select A use-skill s");
        assert_eq!(without_json("ticket-added Ann"), "ticket-added Ann");
        assert_eq!(without_json("odd {text}"), "odd {text}");
    }
}
