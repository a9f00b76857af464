//! TLS to a database with a certificate of the operator's own making.

use std::process::{Command, Stdio};

use super::refusal;
use crate::harness::guest;
use crate::harness::postgres::{Postgres, give};
use crate::harness::process::Options;

const SETTINGS: [&str; 3] = ["ssl = on", "ssl_cert_file = 'cert.pem'", "ssl_key_file = 'key.pem'"];

/// A server that speaks TLS, and the certificate of whoever vouches for it.
async fn with_certificate() -> (Postgres, String) {
    let mut postgres = Postgres::start().await;
    postgres.kill();
    let data = postgres.data();
    let openssl = |args: &[&str]| {
        let made = Command::new("openssl")
            .args(args)
            .current_dir(&data)
            .stderr(Stdio::piped())
            .output()
            .expect("openssl is installed by `make setup`");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    };
    let ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];
    let authority = ["-x509", "-keyout", "ca-key.pem", "-out", "ca.pem", "-subj", "/CN=studio"];
    openssl(&[&["req"][..], &ec, &authority].concat());
    let asked = ["-keyout", "key.pem", "-out", "asked.pem", "-subj", "/CN=localhost"];
    openssl(&[&["req"][..], &ec[..5], &asked].concat());
    std::fs::write(data.join("names"), "subjectAltName = DNS:localhost\n").expect("write it");
    openssl(&[
        "x509",
        "-req",
        "-in",
        "asked.pem",
        "-CA",
        "ca.pem",
        "-CAkey",
        "ca-key.pem",
        "-CAcreateserial",
        "-days",
        "2",
        "-extfile",
        "names",
        "-out",
        "cert.pem",
    ]);
    for name in ["cert.pem", "key.pem"] {
        give(&data.join(name));
    }
    let conf = data.join("postgresql.conf");
    let text = std::fs::read_to_string(&conf).expect("initdb has written it");
    std::fs::write(&conf, format!("{text}\n{}\n", SETTINGS.join("\n"))).expect("write it");
    // Nobody without TLS.
    let access = "hostnossl all all all reject\nhostssl all all all scram-sha-256\n";
    std::fs::write(data.join("pg_hba.conf"), access).expect("write it");
    postgres.start_again().await;
    let authority = data.join("ca.pem").to_str().expect("it is ASCII").to_owned();
    (postgres, authority)
}

#[tokio::test]
async fn what_sslmode_wants_of_a_self_made_certificate_is_wanted() {
    let (postgres, authority) = with_certificate().await;
    let database = postgres.database();
    let by_name = database.url.replace("127.0.0.1", "localhost");
    let url = |mode: &str| format!("{by_name}?sslmode={mode}");
    let options = |url: &str| Options::default().env("DATABASE_URL", url);

    // Encrypted, whoever it is; or by the certificate of the one who vouches for it.
    let readable = std::env::temp_dir().join(format!("serverv2-ca-{}.pem", postgres.port()));
    std::fs::copy(&authority, &readable).expect("copy the certificate");
    let vouched = format!("{}&sslrootcert={}", url("verify-full"), readable.display());
    for url in [url("require"), url("prefer"), vouched.clone()] {
        let server = options(&url).start().await;
        guest(&server).await;
        let ssl = "select bool_and(ssl) from pg_stat_ssl join pg_stat_activity using (pid) \
            where application_name = 'serverv2'";
        assert_eq!(database.sql(ssl), "t", "{url}");
    }

    // Nobody known vouches for it; it is not who it should be; and it wants TLS.
    let elsewhere = vouched.replace("localhost", "127.0.0.1");
    for url in [url("verify-full"), url("verify-ca"), elsewhere, url("disable")] {
        let (code, text) = refusal(options(&url)).await;
        assert_eq!(code, Some(1), "{url}: {text}");
        assert!(text.contains("can't connect to the database"), "{url}: {text}");
    }
    let _ = std::fs::remove_file(readable);

    // A server without TLS is not spoken to where TLS is wanted.
    let plain = Postgres::start().await;
    let (code, text) = refusal(options(&format!("{}?sslmode=require", plain.database().url))).await;
    assert_eq!(code, Some(1), "{text}");
}
