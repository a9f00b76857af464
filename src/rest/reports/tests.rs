//! The routes without any battle: what is refused and how, and who is found. Battles are fought in
//! `tests/it/reports.rs`.

use axum::http::StatusCode;
use serde_json::{Value, json};
use serverv2_machine::{BindEmail, CodeLimits, CreateCode, Email, Purpose};

use crate::rest::tests::Node;

async fn refused(node: &Node, path: &str) -> (u16, Value) {
    let answer = node.get(path).await;
    (answer.status.as_u16(), answer.json())
}

#[tokio::test]
async fn what_is_out_of_range_is_refused_in_the_contracts_words() {
    let node = Node::start().await;
    let limit = json!({"error": "Invalid limit", "message": "Limit must be between 1 and 100"});
    let offset = json!({"error": "Invalid offset", "message": "Offset must be non-negative"});
    for list in ["/api/v1/battles", "/api/v1/players/somebody/battles"] {
        assert_eq!(refused(&node, &format!("{list}?limit=101")).await, (400, limit.clone()));
        assert_eq!(refused(&node, &format!("{list}?offset=-1")).await, (400, offset.clone()));
        let empty = json!({"data": [], "total": 0, "limit": 7, "offset": 3, "has_more": false});
        assert_eq!(refused(&node, &format!("{list}?limit=7x&offset=3")).await, (200, empty));
    }
    let search = "/api/v1/players";
    let limit = json!({"error": "Invalid limit", "message": "Limit must be between 1 and 50"});
    assert_eq!(refused(&node, &format!("{search}?search=a&limit=51")).await, (400, limit));
    let missing =
        json!({"error": "Missing search parameter", "message": "Search query is required"});
    for path in [search.to_owned(), format!("{search}?search=")] {
        assert_eq!(refused(&node, &path).await, (400, missing.clone()));
    }
}

#[tokio::test]
async fn what_does_not_exist_is_said_in_the_contracts_words() {
    let node = Node::start().await;
    for id in ["nobody", "AAAAAAAAAAAAAAAAAAAAA", "2f1c9d3e-0000-4000-8000-000000000001"] {
        for (path, error, message) in [
            (
                format!("/api/v1/battles/{id}"),
                "Battle record not found",
                format!("Battle record with ID {id} does not exist"),
            ),
            (
                format!("/api/v1/players/{id}"),
                "Player not found",
                format!("Player with ID {id} does not exist"),
            ),
            (
                format!("/api/v1/players/{id}/stats"),
                "Player stats not found",
                format!("Stats for player {id} do not exist"),
            ),
        ] {
            let body = json!({"error": error, "message": message});
            assert_eq!(refused(&node, &path).await, (404, body));
        }
    }
    let nothing = json!({
        "total_battles": 0, "total_players": 0, "battles_today": 0, "battles_this_week": 0,
        "avg_battle_duration": 0.0,
    });
    assert_eq!(refused(&node, "/api/v1/statistics").await, (200, nothing));
}

#[tokio::test]
async fn a_player_is_found_by_any_part_of_his_name_as_soon_as_he_has_it() {
    let node = Node::start().await;
    let (ann, bob) = (node.guest().await, node.guest().await);
    let found = async |term: &str| {
        let path = format!("/api/v1/players?search={term}");
        let answer = node.get(&path).await;
        assert_eq!(answer.status, StatusCode::OK);
        let found = answer.json()["data"].as_array().unwrap().clone();
        found.iter().map(|it| it["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(found("firefox").await, [""; 0]);
    for (id, name) in [(&ann, "The Firefox"), (&bob, "FIREFOX Ü")] {
        let body = json!({"playerId": id, "name": name});
        assert_eq!(node.rename(&body).await.status, StatusCode::OK);
        assert!(found("ireFO").await.contains(&name.to_owned()), "{name}");
    }
    assert_eq!(found("firefox").await, ["FIREFOX Ü", "The Firefox"]);
    assert_eq!(found("%C3%BC").await, ["FIREFOX Ü"]);
    assert_eq!(found("%25").await, [""; 0], "no sign is a wildcard");
    assert_eq!(found(&"x".repeat(5_000)).await, [""; 0]);
    let one = node.get("/api/v1/players?search=the%20fire").await.json()["data"][0].clone();
    let right = json!({
        "id": ann, "name": "The Firefox", "total_battles": 0, "wins": 0, "win_rate": 0.0
    });
    assert_eq!(one, right);
}

/// A guest who binds this address.
async fn registered(node: &Node, email: &str) -> String {
    let id = node.guest().await;
    let (email, purpose, player) = (email.parse().unwrap(), Purpose::Bind, id.parse().unwrap());
    let hash = node.app().codes.hash(&email, purpose, "123456");
    let limits = CodeLimits { per_address: 0, per_source: 0 };
    let (source, email_again) = ("test".into(), Email::clone(&email));
    let create = CreateCode { email, purpose, player: Some(player), source, hash, limits };
    node.app().cluster.propose(create, None).await.unwrap();
    let lifetimes = node.app().settings.auth.lifetimes();
    let bind = BindEmail { player, authenticated: false, email: email_again, hash, lifetimes };
    node.app().cluster.propose(bind, None).await.unwrap();
    id
}

#[tokio::test]
async fn nobody_else_is_told_a_players_address() {
    let node = Node::start().await;
    let id = registered(&node, "secret-address@example.com").await;
    let answer = node.get(&format!("/api/v1/players/{id}")).await;
    let row = answer.json();
    assert_eq!((&row["id"], &row["is_registered"]), (&json!(id), &json!(true)));
    assert_eq!((&row["email"], &row["email_bound_at"]), (&Value::Null, &Value::Null));
    for path in
        [format!("/api/v1/players/{id}"), "/api/v1/players?search=".to_owned() + "%E6%B8%B8"]
    {
        assert!(!node.get(&path).await.text().contains("secret-address"), "{path}");
    }
}

#[tokio::test]
async fn without_reports_there_are_no_such_routes() {
    let node = Node::with(&[("ENABLE_BATTLE_REPORTS", "false")]).await;
    for path in ["/api/v1/battles", "/api/v1/players?search=a", "/api/v1/statistics"] {
        let answer = node.get(path).await;
        let known = path.split('?').next().unwrap();
        assert_eq!((answer.status.as_u16(), answer.text()), (404, &*format!("Cannot GET {known}")));
    }
    assert!(!node.app().cluster.read(|machine, _| machine.reports_enabled()).value);
}
