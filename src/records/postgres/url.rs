//! Connection strings.

use std::str::FromStr;

use sqlx::ConnectOptions;
use sqlx::postgres::PgConnectOptions;

/// What a connection string may say beside the address, and what the driver holds to. Others, which
/// poolers and other languages' drivers take, are left out: the driver would write their values to the log.
const PARAMETERS: [&str; 12] = [
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "options",
    "statement-cache-capacity",
];
/// What `sslmode` may be. `allow` is not among them: it would mean no TLS at all.
const SSL_MODES: [&str; 5] = ["disable", "prefer", "require", "verify-ca", "verify-full"];
/// Names our connections in the database's own views.
const APPLICATION: &str = "serverv2";

/// Whether this is a connection string that can be used.
pub fn is_database_url(text: &str) -> bool {
    options(text).is_some()
}

/// What the driver makes of a connection string.
pub(super) fn options(text: &str) -> Option<PgConnectOptions> {
    if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
        return None;
    }
    let (address, query) = text.split_once('?').unwrap_or((text, ""));
    let mut kept = Vec::new();
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=')?;
        if name == "sslmode" && !SSL_MODES.contains(&value) {
            return None;
        }
        if PARAMETERS.contains(&name) {
            kept.push(parameter);
        }
    }
    let options = PgConnectOptions::from_str(&format!("{address}?{}", kept.join("&"))).ok()?;
    Some(options.application_name(APPLICATION).disable_statement_logging())
}

#[cfg(test)]
mod tests {
    use sqlx::postgres::PgSslMode;

    use super::*;

    #[test]
    fn a_connection_string_says_where_and_how() {
        let url = "postgresql://ann:p%40ss@db.example:6432/game?sslmode=verify-full&pgbouncer=true";
        let options = options(url).unwrap();
        assert_eq!((options.get_host(), options.get_port()), ("db.example", 6432));
        assert_eq!((options.get_username(), options.get_database()), ("ann", Some("game")));
        assert!(matches!(options.get_ssl_mode(), PgSslMode::VerifyFull));
    }

    #[test]
    fn what_is_no_connection_string_is_refused() {
        for text in [
            "",
            "https://project.supabase.co",
            "mysql://ann@db.example/game",
            "postgres://ann@db.example:port/game",
            "postgres://ann@db.example/game?sslmode=allow",
            "postgres://ann@db.example/game?sslmode=sometimes",
            "postgres://ann@db.example/game?sslmode",
        ] {
            assert!(!is_database_url(text), "{text}");
        }
    }
}
