//! What an operator does to a running node from its command line, over the socket in its data folder.

use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Output};

use crate::harness::cluster::Trio;
use crate::harness::process::{BINARY, run_to_end, signal};
use crate::harness::{Http, Server, connected_guest, eventually};
use crate::tokens::is_cut;

/// Runs a command on the node of this server to its end.
pub(crate) async fn operate(server: &Server, command: &[&str]) -> Output {
    let folder = server.folder().to_str().expect("a temporary folder has a plain path");
    run_to_end(&[command, &["--data-dir", folder]].concat(), &[]).await
}

/// What it said, if it succeeded.
pub(crate) fn said(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(output.status.success(), "{out}{err}");
    out.into_owned()
}

/// Why it did not succeed.
pub(crate) fn refused(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    assert_eq!(output.status.code(), Some(1), "{out}{err}");
    err.into_owned()
}

#[tokio::test]
async fn a_node_that_is_drained_by_command_has_ended_when_the_command_has() {
    let mut server = Server::start().await;
    let socket = server.folder().join("control.sock");
    let mode = std::fs::metadata(&socket).expect("it is there").mode();
    assert_eq!(mode & 0o777, 0o600);
    let (_, client) = connected_guest(&server).await;
    let said = said(&operate(&server, &["drain"]).await);
    assert!(said.contains("node 1 (process ") && said.contains("node 1 has ended"), "{said}");
    is_cut(&client).await;
    assert!(server.died().await.success());
    assert!(!socket.exists(), "nothing is left of it");
    assert!(refused(&operate(&server, &["drain"]).await).contains("no node serves"));
}

#[tokio::test]
async fn draining_twice_is_draining_once() {
    let slow = |_, options: crate::harness::process::Options| options.env("DRAIN_NOTICE", "1");
    let mut trio = Trio::start_with(slow).await;
    let leader = trio.leader(0).await;
    let node = &trio.nodes[leader];
    let again = async {
        let state = || async { Http::get(node, "/ready").send().await.json()["state"].clone() };
        eventually("draining", state, |state| state == "draining").await;
        operate(node, &["drain"]).await
    };
    let (first, second) = tokio::join!(operate(node, &["drain"]), again);
    for drained in [first, second] {
        assert!(said(&drained).contains("has ended"));
    }
    assert!(trio.nodes[leader].died().await.success(), "it was not ended by force");
    assert_ne!(trio.leader((leader + 1) % 3).await, leader, "the lead was handed over");
}

#[tokio::test]
async fn a_health_check_says_what_the_node_says_at_ready() {
    let slow = |_, options: crate::harness::process::Options| options.env("DRAIN_NOTICE", "60");
    let trio = Trio::start_with(slow).await;
    let node = &trio.nodes[0];
    assert!(said(&operate(node, &["ready"]).await).contains("node 1 is ready"));
    signal("TERM", node.pid());
    let check = || async { operate(node, &["ready"]).await };
    let draining = eventually("a failed check", check, |check| !check.status.success()).await;
    assert!(refused(&draining).contains("node 1 is draining"));
}

#[tokio::test]
async fn what_a_killed_node_left_behind_is_no_node() {
    let mut server = Server::start().await;
    server.kill9();
    assert!(server.folder().join("control.sock").exists(), "it had no time to clean up");
    assert!(refused(&operate(&server, &["drain"]).await).contains("no node serves"));
    server.restart().await;
    said(&operate(&server, &["drain"]).await);
    assert!(server.died().await.success());
}

#[tokio::test]
async fn a_folder_that_is_none_and_a_hanging_node_are_told_apart() {
    let none = run_to_end(&["drain", "--data-dir", "nowhere"], &[]).await;
    assert!(refused(&none).contains("no node serves with the data folder nowhere"));
    let server = Server::start().await;
    server.pause();
    let late = operate(&server, &["drain", "--timeout", "1"]).await;
    server.unpause();
    assert!(refused(&late).contains("did not answer within 1 s"));
}

#[tokio::test]
async fn another_user_cannot_operate_a_node() {
    if std::fs::metadata("/proc/self").expect("there is /proc").uid() != 0 {
        // Only root can be somebody else.
        return;
    }
    let server = Server::start().await;
    // The folder may be entered; the socket is what keeps others out.
    std::fs::set_permissions(server.folder(), Permissions::from_mode(0o755)).expect("it is ours");
    let mut command = Command::new(BINARY);
    command.args(["drain", "--data-dir"]).arg(server.folder()).env_clear().uid(65_534).gid(65_534);
    let output = command.output().expect("the binary can be started");
    assert!(refused(&output).contains("only by the user that runs it"));
    let ready = Http::get(&server, "/ready").send().await;
    assert_eq!(ready.status, 200);
}
