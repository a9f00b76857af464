//! The command line and the settings, as an operator meets them.

use crate::harness::process::{Options, run_to_end};
use crate::harness::{Http, Server, guest};

/// Settings that an operator must find in `--help`, by their names in the environment.
const SETTINGS: &[&str] = &[
    "PORT",
    "CORS_ORIGIN",
    "NODE_ID",
    "DATA_DIR",
    "CLUSTER_ENABLED",
    "CLUSTER_NAME",
    "CLUSTER_SECRET",
    "CLUSTER_INSTANCE_ID",
    "CLUSTER_INSTANCE_HOST",
    "JWT_SECRET",
    "JWT_SECRET_PREVIOUS",
    "JWT_EXPIRES_IN",
    "REFRESH_TOKEN_EXPIRES_IN",
    "GUEST_AUTH",
    "ADMIN_EMAILS",
    "RATE_LIMIT_AUTH",
    "RATE_LIMIT_EMAIL",
    "TRUST_PROXY",
    "RAFT_HEARTBEAT_MS",
    "RAFT_ELECTION_MIN_MS",
    "RAFT_ELECTION_MAX_MS",
    "RAFT_SNAPSHOT_ENTRIES",
    "RAFT_KEEP_ENTRIES",
    "PACKS_DIR",
    "TURN_TIME_LIMIT",
    "TOTAL_TIME_LIMIT",
    "DISCONNECT_GRACE_PERIOD_TTL",
    "EMAIL_PROVIDER",
    "EMAIL_FROM",
    "EMAIL_FROM_NAME",
    "SMTP_HOST",
    "SMTP_PORT",
    "SMTP_SECURE",
    "SMTP_USER",
    "SMTP_PASS",
    "LOG_FORMAT",
];

#[tokio::test]
async fn help_explains_each_setting_with_its_flag() {
    for command in ["dev", "run"] {
        let output = run_to_end(&[command, "--help"], &[]).await;
        assert!(output.status.success());
        let help = String::from_utf8_lossy(&output.stdout).into_owned();
        for name in SETTINGS {
            let flag = format!("--{}", name.to_lowercase().replace('_', "-"));
            assert!(
                help.contains(name) && help.contains(&flag),
                "{name} in {command} --help:\n{help}"
            );
        }
        assert!(help.contains("--config"));
    }
    let output = run_to_end(&["--help"], &[]).await;
    let help = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success());
    for command in ["dev", "run", "demo"] {
        assert!(help.contains(command), "{command} in --help:\n{help}");
    }
}

#[tokio::test]
async fn a_bad_setting_is_refused_with_its_name_its_value_and_what_is_allowed() {
    let rows = [
        ("PORT", "abc"),
        ("PORT", "65536"),
        ("PORT", "-1"),
        ("TURN_TIME_LIMIT", "soon"),
        ("TURN_TIME_LIMIT", "0"),
        ("TOTAL_TIME_LIMIT", "-5"),
        ("DISCONNECT_GRACE_PERIOD_TTL", "1.5"),
        ("NODE_ID", "0"),
        ("CLUSTER_ENABLED", "perhaps"),
        ("LOG_FORMAT", "xml"),
        ("CORS_ORIGIN", "not an origin"),
        ("RAFT_ELECTION_MIN_MS", "1"),
        ("RAFT_SNAPSHOT_ENTRIES", "many"),
    ];
    for (name, value) in rows {
        let flag = format!("--{}={value}", name.to_lowercase().replace('_', "-"));
        let as_env = run_to_end(&["dev"], &[(name, value)]).await;
        let as_flag = run_to_end(&["dev", &flag], &[]).await;
        for output in [as_env, as_flag] {
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(!output.status.success(), "{name}={value} was accepted");
            assert!(
                text.contains(name) && text.contains(value) && text.contains("allowed"),
                "{name}={value}: {text}"
            );
        }
    }
}

#[tokio::test]
async fn all_bad_settings_are_told_at_once() {
    let output = run_to_end(&["dev"], &[("PORT", "x"), ("NODE_ID", "y")]).await;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("PORT") && text.contains("NODE_ID"), "{text}");
}

#[tokio::test]
async fn unknown_flags_and_commands_are_refused() {
    for args in [&["dev", "--no-such-flag"][..], &["fly"], &[]] {
        assert!(!run_to_end(args, &[]).await.status.success(), "{args:?} was accepted");
    }
}

#[tokio::test]
async fn in_cluster_mode_it_does_not_start_without_its_secrets() {
    let loopback = ("BIND_HOST", "127.0.0.1");
    let output = run_to_end(&["run", "--port", "0"], &[loopback]).await;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && text.contains("JWT_SECRET"), "{text}");

    let output =
        run_to_end(&["run", "--port", "0"], &[("JWT_SECRET", "s3cret-s3cret-s3cret")]).await;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && text.contains("CLUSTER_SECRET"), "off loopback: {text}");
}

#[tokio::test]
async fn a_secret_is_never_shown() {
    let secret = "too-short-but-secret";
    let output = run_to_end(
        &["run"],
        &[("CLUSTER_SECRET", &secret[..9]), ("JWT_SECRET", secret), ("PORT", "x")],
    )
    .await;
    let all = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&all).into_owned();
    assert!(!output.status.success());
    assert!(!text.contains(&secret[..9]), "{text}");
}

#[tokio::test]
async fn a_flag_wins_over_the_environment_and_that_over_the_file() {
    let folder = tempfile::tempdir().expect("make a temporary folder");
    let file = folder.path().join("serverv2.toml");
    std::fs::write(
        &file,
        "turn_time_limit = 7\ntotal_time_limit = 700\ncors_origin = \"https://file.example\"\n",
    )
    .unwrap();
    let options = Options::default().arg("--config").arg(file.to_str().unwrap());
    let server = options.env("TOTAL_TIME_LIMIT", "800").env("CORS_ORIGIN", "https://env.example");
    let server = server.arg("--cors-origin=https://flag.example").start().await;
    let origin =
        |origin: &'static str| Http::get(&server, "/health").header("origin", origin).send();
    assert_eq!(
        origin("https://flag.example").await.header("access-control-allow-origin"),
        "https://flag.example"
    );
    assert_eq!(origin("https://env.example").await.header("access-control-allow-origin"), "");
    let duel = crate::harness::Duel::paired(&server).await;
    let config = duel.a.client.ok("getTimerConfig", &[]).await;
    assert_eq!((&config["turnTimeLimit"], &config["totalTimeLimit"]), (&7.into(), &800.into()));
}

#[tokio::test]
async fn a_mistake_in_the_file_is_refused() {
    let folder = tempfile::tempdir().expect("make a temporary folder");
    let file = folder.path().join("serverv2.toml");
    for text in ["turn_time_limt = 7", "port = \"x\"", "port = ["] {
        std::fs::write(&file, text).unwrap();
        let output = run_to_end(&["dev", "--config", file.to_str().unwrap()], &[]).await;
        assert!(!output.status.success(), "{text} was accepted");
    }
    assert!(!run_to_end(&["dev", "--config", "/nowhere.toml"], &[]).await.status.success());
}

#[tokio::test]
async fn two_servers_do_not_share_a_folder() {
    let server = Server::start().await;
    let folder = server.folder().to_str().expect("a readable path").to_owned();
    let second = run_to_end(&["dev", "--port", "0", "--data-dir", &folder], &[]).await;
    assert!(!second.status.success(), "the second one must not start");
    guest(&server).await;
}

#[tokio::test]
async fn a_port_that_is_taken_is_said() {
    let server = Server::start().await;
    let port = server.address().port().to_string();
    let output = run_to_end(&["dev", "--port", &port], &[]).await;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(!output.status.success() && text.contains(&port), "{text}");
}
