//! Data folders that are damaged or somebody else's: a node refuses them and says what to do, or makes
//! good what the log has.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::harness::cluster::Trio;
use crate::harness::guests::{Callers, missing};
use crate::harness::process::Options;
use crate::harness::{Duel, Server, eventually};

const DAMAGED: &str = "do not start it again on this folder";

/// Starts a dead node, which must end with one line that says all this, twice.
async fn refuses(node: &mut Server, says: [&str; 2]) {
    for _ in 0..2 {
        node.start_again();
        let log = node.log();
        let status = node.died().await;
        assert_eq!(status.code(), Some(1), "{}", log.tail());
        let line = log.find(|line| line.contains("the server failed"));
        let line = line.unwrap_or_else(|| panic!("it says nothing\n{}", log.tail()));
        assert!(says.iter().all(|text| line.contains(text)), "{line}");
        assert_eq!(log.find(|line| line.contains("READY")), None, "it never serves");
    }
}

/// A lone node with guests, snapshots and a purged log; dead.
async fn used() -> Server {
    let options = Options::default().env("RAFT_SNAPSHOT_ENTRIES", "100");
    let node = [options.env("RAFT_KEEP_ENTRIES", "100").start().await];
    let callers = Callers::on(&node, 1);
    callers.more(350).await;
    let snapshot = || async { newest_snapshot(node[0].folder()) };
    eventually("a purge", snapshot, |(position, _)| *position >= 250).await;
    callers.stop().await;
    let [mut node] = node;
    node.kill9();
    node
}

/// Its position and its file.
fn newest_snapshot(folder: &Path) -> (u64, PathBuf) {
    let items = fs::read_dir(folder.join("snapshots")).expect("it is there");
    let snapshots = items.flatten().filter_map(|item| {
        let name = item.file_name().into_string().ok()?;
        let (position, _) = name.strip_suffix(".snap")?.split_once('-')?;
        Some((position.parse().ok()?, item.path()))
    });
    snapshots.max().unwrap_or_default()
}

fn cut(path: &Path) {
    let file = File::options().write(true).open(path).expect("open it");
    // sled makes its file longer ahead of time.
    let used = fs::read(path).expect("read it").iter().rposition(|byte| *byte != 0);
    file.set_len(used.expect("something is in it") as u64 / 2).expect("cut it");
}

fn flip(path: &Path) {
    let mut bytes = fs::read(path).expect("read it");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).expect("write it");
}

#[tokio::test]
async fn a_cut_log_is_refused() {
    let mut node = used().await;
    cut(&node.folder().join("log/db"));
    refuses(&mut node, ["the data folder is damaged", DAMAGED]).await;
}

#[tokio::test]
async fn a_snapshot_with_a_flipped_bit_is_refused_once_the_log_is_purged() {
    let mut node = used().await;
    flip(&newest_snapshot(node.folder()).1);
    refuses(&mut node, [".snap can't be read", DAMAGED]).await;
}

#[tokio::test]
async fn an_older_log_in_its_place_is_refused() {
    let mut node = Server::start().await;
    node.kill9();
    let (log, old) = (node.folder().join("log"), tempfile::tempdir().expect("make a folder"));
    let copy = |from: &Path, to: &Path| {
        for name in ["db", "conf"] {
            fs::copy(from.join(name), to.join(name)).expect("copy it");
        }
    };
    copy(&log, old.path());
    node.restart().await;
    node.kill9();
    fs::remove_dir_all(&log).expect("remove it");
    fs::create_dir(&log).expect("make it");
    copy(old.path(), &log);
    refuses(&mut node, ["has lost what was written last", DAMAGED]).await;
}

#[tokio::test]
async fn a_folder_of_another_program_is_refused_and_left_alone() {
    let mut node = Server::start().await;
    node.kill9();
    for item in fs::read_dir(node.folder()).expect("list it").flatten() {
        let path = item.path();
        let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        removed.expect("remove it");
    }
    fs::write(node.folder().join("letters.txt"), "dear diary").expect("write it");
    refuses(&mut node, ["holds letters.txt", "name the folder of this node, or an empty one"])
        .await;
    assert_eq!(fs::read_dir(node.folder()).expect("list it").count(), 1);
}

#[tokio::test]
async fn a_folder_of_a_newer_version_or_another_node_is_refused() {
    let mut node = Server::start().await;
    node.kill9();
    node.change("NODE_ID", "2");
    refuses(&mut node, ["belongs to node 1, not to node 2", "or start it under its own id"]).await;
    node.change("NODE_ID", "1");
    let header = node.folder().join("header");
    let text = fs::read_to_string(&header).expect("read it");
    fs::write(&header, text.replace("format=1", "format=2")).expect("write it");
    refuses(&mut node, ["has format 2", "start the version that wrote it"]).await;
    fs::write(&header, text).expect("write it");
    node.restart().await;
}

#[tokio::test]
async fn a_node_of_three_with_a_damaged_log_is_refused_and_the_others_go_on() {
    let mut trio = Trio::start().await;
    Callers::on(&trio.nodes, 2).more(60).await;
    let victim = (trio.leader(0).await + 1) % 3;
    trio.nodes[victim].kill9();
    cut(&trio.nodes[victim].folder().join("log/db"));
    refuses(&mut trio.nodes[victim], ["the data folder is damaged", DAMAGED]).await;
    let duel = Duel::paired(&trio.nodes[(victim + 1) % 3]).await;
    duel.ready().await;
}

#[tokio::test]
async fn a_node_of_three_makes_damaged_records_and_snapshots_anew_from_its_log() {
    let eager = |_, options: Options| options.env("RAFT_SNAPSHOT_ENTRIES", "100");
    let mut trio = Trio::start_with(eager).await;
    let callers = Callers::on(&trio.nodes, 1);
    callers.more(150).await;
    let victim = (trio.leader(0).await + 1) % 3;
    let folder = trio.nodes[victim].folder().to_owned();
    let snapshot = || async { newest_snapshot(&folder).0 };
    while snapshot().await == 0 {
        callers.more(30).await;
    }
    trio.nodes[victim].kill9();
    let told = callers.stop().await;
    flip(&newest_snapshot(&folder).1);
    cut(&folder.join("records/db"));
    trio.nodes[victim].restart().await;
    assert!(trio.nodes[victim].says("it is made anew from the log"));
    assert_eq!(missing(&trio.nodes[victim..=victim], &told).await, Vec::<String>::new());
}
