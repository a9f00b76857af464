//! A new pack comes to a running cluster: node by node, then by command.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::control::{operate, refused, said};
use crate::harness::cluster::Trio;
use crate::harness::{Duel, Fighter};

/// The starter pack with other numbers, under another name.
fn spring(folder: &Path) {
    let starter = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/battle/packs/starter");
    let pack = folder.join("spring");
    fs::create_dir(&pack).expect("make it");
    for item in fs::read_dir(starter).expect("list it").flatten() {
        let text = fs::read_to_string(item.path()).expect("read it");
        let text = text.replace("\"id\": \"starter\"", "\"id\": \"spring\"");
        fs::write(pack.join(item.file_name()), text.replace("{hp: ", "{hp: 1")).expect("write it");
    }
}

/// The hit points of all pets of a player, as he sees them.
async fn hit_points(of: &Fighter) -> i64 {
    let state = of.state().await;
    let players = state["players"].as_array().expect("two players");
    let own = players.iter().find(|player| player["id"] == json!(of.id)).expect("he is one");
    let team = own["team"].as_array().expect("he has a team");
    team.iter().filter_map(|pet| pet["maxHp"].as_i64()).sum()
}

#[tokio::test]
async fn a_new_pack_is_activated_once_every_node_has_it_and_running_battles_keep_theirs() {
    let packs = tempfile::tempdir().expect("make a folder");
    spring(packs.path());
    let folder = packs.path().to_str().expect("a plain path");
    // No node is counted out because this machine is busy: who goes says so.
    let trio = Trio::start_with(|_, options| options.env("NODE_GONE_AFTER_MS", "600000"));
    let mut trio = trio.await;
    let a = Fighter::new(&trio.nodes[0], 0).await;
    let b = Fighter::new(&trio.nodes[1], 1).await;
    let mut duel = Duel::pair(a, b).await;
    duel.ready().await;
    let mut asked = duel.attack_once(-1).await;
    let before = hit_points(&duel.a).await;
    let activate = ["cluster", "activate-pack", "spring"];
    for at in 0..3 {
        let text = refused(&operate(&trio.nodes[at], &activate).await);
        assert!(text.contains("no pack called \"spring\": starter"), "{text}");
        assert!(trio.nodes[at].terminate().await.success());
        trio.nodes[at].change("PACKS_DIR", folder);
        trio.nodes[at].restart().await;
        if at < 2 {
            let text = refused(&operate(&trio.nodes[at], &activate).await);
            assert!(text.contains("has not loaded the pack"), "{text}");
        }
        duel.a.reconnect(&trio.nodes[at]).await;
        duel.b.reconnect(&trio.nodes[(at + 1) % 3]).await;
        duel.a.client.resume().await;
        duel.b.client.resume().await;
        duel.a.attack().await;
        duel.b.attack().await;
        let turn = duel.b.message_after(asked, "TURN_END").await.sequence;
        asked = duel.b.wait_until_asked(turn).await;
        duel.a.wait_until_asked(turn).await;
    }
    let text = said(&operate(&trio.nodes[1], &activate).await);
    assert!(text.contains("new battles are played with builtin"), "{text}");
    assert_eq!(hit_points(&duel.a).await, before, "the running one keeps its pack");
    let new = Duel::paired(&trio.nodes[2]).await;
    new.ready().await;
    assert!(hit_points(&new.a).await > before, "a new one has the new pack");
    let (end, same) = duel.play(5, asked, true).await;
    assert_eq!(end.data, same.data);

    // A node that has lost it is not let in.
    assert!(trio.nodes[0].terminate().await.success());
    trio.nodes[0].change("PACKS_DIR", "");
    trio.nodes[0].start_again();
    let log = trio.nodes[0].log();
    assert_eq!(trio.nodes[0].died().await.code(), Some(1), "{}", log.tail());
    assert!(log.find(|line| line.contains("the cluster refuses this node")).is_some());
}
