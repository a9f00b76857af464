//! Ways to reach a Redis, and what a node says of one that is away.

use std::process::Command;

use serde_json::Value;

use crate::harness::process::{Options, run_to_end};
use crate::harness::redis::{PASSWORD, Redis};
use crate::harness::{Duel, Http, Server, eventually};

async fn health(server: &Server) -> Value {
    let answer = Http::get(server, "/health").send().await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["cluster"].clone()
}

async fn metrics(server: &Server) -> String {
    let answer = Http::get(server, "/metrics").send().await;
    String::from_utf8(answer.body.to_vec()).expect("the page is UTF-8")
}

/// Waits until the node says of itself that it is so.
pub(super) async fn until(server: &Server, status: &str) -> Value {
    let now = || async { health(server).await };
    eventually(status, now, |health| health["status"] == status).await
}

async fn started_with(url: &str) -> Server {
    Options::default().env("REDIS_URL", url).start().await
}

#[tokio::test]
async fn a_redis_that_hangs_or_dies_degrades_a_node_that_goes_on() {
    let mut redis = Redis::start().await;
    let server = started_with(redis.url()).await;
    let healthy = until(&server, "healthy").await;
    let told = &healthy["details"]["redis"];
    assert_eq!(told["reachable"], true);
    assert!(told["uptime"].is_u64() && told["usedMemory"].is_string(), "{told}");
    assert!(told["connectedClients"].as_u64() >= Some(1), "{told}");

    redis.pause();
    let degraded = until(&server, "degraded").await;
    assert_eq!(degraded["details"]["redis"], serde_json::json!({"reachable": false}));
    assert_eq!(Http::get(&server, "/ready").send().await.status, 200, "players come all the same");
    Duel::started(&server).await.play(1, -1, false).await;
    redis.unpause();
    until(&server, "healthy").await;

    redis.kill();
    until(&server, "degraded").await;
    let metrics = metrics(&server).await;
    assert!(metrics.contains("serverv2_redis_away{instance_id=\"node-1\"} 1"), "{metrics}");
    redis.start_again().await;
    until(&server, "healthy").await;
    let answered =
        "redis_operation_duration_seconds_count{instance_id=\"node-1\",operation=\"heartbeat\"}";
    assert!(self::metrics(&server).await.contains(answered));
}

#[tokio::test]
async fn a_node_starts_without_its_redis_and_finds_it_later() {
    let mut redis = Redis::start().await;
    redis.kill();
    let server = started_with(redis.url()).await;
    until(&server, "degraded").await;
    redis.start_again().await;
    until(&server, "healthy").await;
}

#[tokio::test]
async fn settings_of_the_existing_server_are_taken_or_ignored_with_a_word_and_never_refused() {
    let mut redis = Redis::start().await;
    let all = [
        ("REDIS_MAX_RETRIES", "3"),
        ("REDIS_RETRY_DELAY", "250"),
        ("REDIS_ENABLE_READY_CHECK", "false"),
        ("REDIS_LAZY_CONNECT", "1"),
    ];
    let with = |settings: &[(&str, &str)]| {
        let options = Options::default().env("REDIS_URL", redis.url());
        settings.iter().fold(options, |options, (name, value)| options.env(name, value))
    };
    let server = with(&all).start().await;
    until(&server, "healthy").await;
    for name in ["REDIS_MAX_RETRIES", "REDIS_ENABLE_READY_CHECK=false", "REDIS_LAZY_CONNECT=true"] {
        assert!(server.says(&format!("{name} is ignored: ")), "{name}");
    }
    let apart = ("REDIS_KEY_PREFIX", "apart:");
    let usual = [("REDIS_ENABLE_READY_CHECK", "true"), ("REDIS_LAZY_CONNECT", "false"), apart];
    let other = with(&usual).start().await;
    until(&other, "healthy").await;
    assert!(!other.says("is ignored: "), "what is done anyway is no news");
    redis.kill();
    until(&server, "degraded").await;
    redis.start_again().await;
    until(&server, "healthy").await;
}

/// Whether it says that it is loading.
fn is_loading(redis: &Redis) -> bool {
    let said = redis.try_ask::<String>(&redis::cmd("PING"));
    said.is_err_and(|error| error.to_string().to_uppercase().contains("LOADING"))
}

#[tokio::test]
async fn a_redis_that_loads_its_data_is_not_there_yet() {
    // Three seconds for what follows, and it answers meanwhile.
    let slowly = ["--key-load-delay", "1000", "--loading-process-events-interval-bytes", "1024"];
    let mut redis = Redis::start_with(&slowly).await;
    let fill = "for i = 1, 3000 do redis.call('SET', 'key' .. i, i) end";
    let () = redis.ask(redis::cmd("EVAL").arg(fill).arg(0));
    let () = redis.ask(&redis::cmd("SAVE"));
    let server = started_with(redis.url()).await;
    until(&server, "healthy").await;
    redis.kill();
    until(&server, "degraded").await;
    redis.launch();
    eventually("a Redis that loads", || async { is_loading(&redis) }, |loads| *loads).await;
    let mut looked = 0;
    loop {
        let health = health(&server).await;
        if !is_loading(&redis) {
            break;
        }
        assert_eq!(health["status"], "degraded", "look {looked}");
        looked += 1;
    }
    assert!(looked > 0, "nobody has looked in time");
    until(&server, "healthy").await;
}

#[tokio::test]
async fn a_password_is_used_and_never_told() {
    let redis = Redis::start_with_password().await;
    let wrong =
        started_with(&format!("redis://:wrong-{PASSWORD}@127.0.0.1:{}", redis.port())).await;
    until(&wrong, "degraded").await;
    let parts = [("REDIS_HOST", "127.0.0.1"), ("REDIS_PASSWORD", PASSWORD)];
    let options =
        parts.iter().fold(Options::default(), |options, (name, value)| options.env(name, value));
    let server = options.env("REDIS_PORT", &redis.port().to_string()).start().await;
    until(&server, "healthy").await;
    let () = redis.ask(redis::cmd("ACL").arg(&[
        "SETUSER",
        "game",
        "on",
        ">game-password",
        "~arcadia:*",
        "+@all",
    ]));
    let url = format!("redis://game:game-password@127.0.0.1:{}", redis.port());
    let apart = Options::default().env("REDIS_KEY_PREFIX", "arcadia:b:");
    let named = apart.env("REDIS_URL", &url).start().await;
    until(&named, "healthy").await;
    for node in [&wrong, &server, &named] {
        assert!(!node.says(PASSWORD) && !node.says("game-password"), "the log tells a password");
    }
}

#[tokio::test]
async fn a_bad_address_is_refused_at_the_start_without_being_shown() {
    let url = format!("http://:{PASSWORD}@127.0.0.1:1");
    let output =
        run_to_end(&["dev", "--port", "0", "--data-dir", "."], &[("REDIS_URL", &url)]).await;
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("REDIS_URL") && !text.contains(PASSWORD), "{text}");
    let both = [("REDIS_URL", "redis://a"), ("REDIS_HOST", "b")];
    let output = run_to_end(&["dev", "--port", "0", "--data-dir", "."], &both).await;
    assert_eq!(output.status.code(), Some(2));
}

#[tokio::test]
async fn tls_is_spoken_with_servers_whose_certificate_is_trusted() {
    let folder = tempfile::tempdir().expect("make a temporary folder");
    let script = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -keyout key.pem \
        -out cert.pem -subj /CN=localhost -addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE";
    let made = Command::new("/bin/sh").args(["-c", script]).current_dir(&folder).output();
    assert!(made.expect("openssl is installed by `make setup`").status.success());
    let path = |name: &str| folder.path().join(name).display().to_string();
    let tls = crate::harness::ports::Port::take();
    let args =
        ["--tls-port", &tls.number.to_string(), "--tls-auth-clients", "no"].map(str::to_owned);
    let files = ["--tls-cert-file", &path("cert.pem"), "--tls-key-file", &path("key.pem")]
        .map(str::to_owned);
    let args: Vec<&str> = args.iter().chain(&files).map(String::as_str).collect();
    let _redis = Redis::start_with(&args).await;
    let url = format!("rediss://localhost:{}", tls.number);
    let trusting = Options::default().env("SSL_CERT_FILE", &path("cert.pem"));
    let server = trusting.env("REDIS_URL", &url).start().await;
    until(&server, "healthy").await;
    let doubting = started_with(&url).await;
    until(&doubting, "degraded").await;
}
