//! The life of a cluster: backed up and restored, recovered from one survivor, upgraded node by node.

mod backup;
mod mixed;
mod packs;
mod recovery;

use std::process::Output;

use crate::harness::Server;
use crate::harness::cluster::Trio;
use crate::harness::eventually;
use crate::harness::process::run_to_end;
use crate::metrics::scrape;

/// Runs a command on a folder to its end.
async fn on_folder(folder: &std::path::Path, command: &[&str]) -> Output {
    let folder = folder.to_str().expect("a temporary folder has a plain path");
    run_to_end(&[command, &["--data-dir", folder]].concat(), &[]).await
}

/// Waits until every node has applied what any has.
async fn settled(nodes: &[Server]) {
    let applied = || async {
        let mut all = Vec::new();
        for node in nodes {
            all.push(scrape(node).await.sum("serverv2_raft_index", &[("upto", "applied")]) as u64);
        }
        all
    };
    eventually("the same everywhere", applied, |all| all.windows(2).all(|two| two[0] == two[1]))
        .await;
}

/// Kills all nodes at once.
fn kill_all(trio: &mut Trio) {
    trio.nodes.iter_mut().for_each(Server::kill9);
}
