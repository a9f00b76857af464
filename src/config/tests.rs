//! What wins, what is refused, and in which words.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write;

use super::{BadSettings, LogFormat, MailProvider, Mode, SETTINGS, Settings, Sources, load};

/// Loads from flags, environment and file text.
fn with(
    mode: Mode,
    flags: &[(&'static str, &str)],
    env: &[(&str, &str)],
    file: Option<&str>,
) -> Result<Settings, BadSettings> {
    let env: BTreeMap<String, OsString> =
        env.iter().map(|(name, value)| ((*name).to_owned(), OsString::from(value))).collect();
    let file = file.map(|text| {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    });
    load(
        mode,
        &Sources {
            flags: flags.iter().map(|(name, value)| (*name, (*value).to_owned())).collect(),
            env: &|name| env.get(name).cloned(),
            file: file.as_ref().map(|file| file.path().to_owned()),
        },
    )
}

fn refusal(
    mode: Mode,
    flags: &[(&'static str, &str)],
    env: &[(&str, &str)],
    file: Option<&str>,
) -> String {
    with(mode, flags, env, file).expect_err("the settings are refused").to_string()
}

const SECRETS: [(&str, &str); 2] =
    [("JWT_SECRET", "tell nobody"), ("CLUSTER_SECRET", "a shared secret of nodes")];

#[test]
fn a_flag_beats_the_environment_beats_the_file_beats_the_default() {
    let port = |flags: &[(&'static str, &str)], env: &[(&str, &str)], file| {
        with(Mode::Dev, flags, env, file).unwrap().port
    };
    let (flag, env, file) = ([("PORT", "1")], [("PORT", "2")], Some("port = 3"));
    assert_eq!(port(&flag, &env, file), 1);
    assert_eq!(port(&[], &env, file), 2);
    assert_eq!(port(&[], &[], file), 3);
    assert_eq!(port(&[], &[], None), 8102);
}

#[test]
fn dev_needs_nothing_and_stays_on_loopback() {
    let settings = with(Mode::Dev, &[], &[], None).unwrap();
    assert_eq!(settings.bind_host.to_string(), "127.0.0.1");
    assert_eq!(settings.data_dir.to_str(), Some("./data/single"));
    assert!(settings.jwt_secret.is_none() && settings.cluster_secret.is_none());
    assert_eq!(settings.instance_id, "node-1");
    assert_eq!(settings.log_format, LogFormat::Pretty);
}

#[test]
fn an_empty_variable_counts_as_not_set() {
    assert_eq!(with(Mode::Dev, &[], &[("PORT", "")], None).unwrap().port, 8102);
}

#[test]
fn a_list_may_be_an_array_in_the_file() {
    let settings =
        with(Mode::Dev, &[], &[], Some("cors_origin = ['https://a.example', 'http://b:1/']"))
            .unwrap();
    assert_eq!(settings.cors_origins, ["https://a.example", "http://b:1"]);
}

#[test]
fn a_bad_value_is_refused_with_its_name_its_value_and_what_is_allowed() {
    let rows: &[(&'static str, &str, &str)] = &[
        ("PORT", "70000", "a whole number from 0 to 65535"),
        ("PORT", "80x", "a whole number from 0 to 65535"),
        ("PORT", "-1", "a whole number from 0 to 65535"),
        ("BIND_HOST", "example.org", "an IP address"),
        ("CORS_ORIGIN", "*", "a comma-separated list of origins"),
        ("CORS_ORIGIN", "http://a/path", "a comma-separated list of origins"),
        ("NODE_ID", "0", "a whole number from 1 to 4294967295"),
        ("CLUSTER_ENABLED", "maybe", "true or false"),
        ("CLUSTER_NAME", "with space", "1 to 64 characters"),
        ("AGENT_BIND", "9102", "an IP address and a port"),
        ("RAFT_HEARTBEAT_MS", "0", "(milliseconds)"),
        ("TURN_TIME_LIMIT", "0", "(seconds)"),
        ("EMAIL_PROVIDER", "sendgrid", "Amazon SES have SMTP relays"),
        ("EMAIL_PROVIDER", "ses", "console or smtp"),
        ("EMAIL_FROM", "nobody", "an e-mail address"),
        ("EMAIL_FROM_NAME", "x".repeat(65).leak(), "1 to 64 characters"),
        ("SMTP_PORT", "0", "a whole number from 1 to 65535"),
        ("SMTP_SECURE", "yes", "true or false"),
        ("EMAIL_CODES_PER_ADDRESS", "-1", "0: no limit"),
        ("LOG_FORMAT", "xml", "pretty or json"),
        ("LOG_LEVEL", "verbose", "off, error, warn, info, debug, trace"),
    ];
    for (name, value, allowed) in rows {
        for (text, origin) in [
            (refusal(Mode::Dev, &[(name, value)], &[], None), "from the command line"),
            (refusal(Mode::Dev, &[], &[(name, value)], None), "from the environment"),
            (
                refusal(
                    Mode::Dev,
                    &[],
                    &[],
                    Some(&format!("{} = '{value}'", name.to_ascii_lowercase())),
                ),
                "from the file",
            ),
        ] {
            assert!(text.contains(&format!("{name} is \"{value}\" ({origin})")), "{text}");
            assert!(text.contains(allowed), "{text}");
        }
    }
}

#[test]
fn all_bad_settings_are_reported_at_once() {
    let text = refusal(Mode::Dev, &[("PORT", "x")], &[("NODE_ID", "y")], Some("no_such = 1"));
    for part in ["PORT is", "NODE_ID is", "\"no_such\" in"] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn a_file_that_is_missing_or_no_toml_is_refused() {
    assert!(refusal(Mode::Dev, &[], &[], Some("port = = 1")).contains("it is no TOML"));
    assert!(refusal(Mode::Dev, &[], &[], Some("[port]\nx = 1")).contains("PORT is a table"));
    let missing = Sources {
        flags: BTreeMap::new(),
        env: &|_| None,
        file: Some("/nonexistent/serverv2.toml".into()),
    };
    let text = load(Mode::Dev, &missing).unwrap_err().to_string();
    assert!(text.contains("it can't be read"), "{text}");
}

#[test]
fn a_broken_file_is_named_by_line_without_showing_what_it_holds() {
    let text = refusal(Mode::Run, &[], &[], Some("port = 1\njwt_secret = \"tell nobody\nx = 1"));
    assert!(text.contains("it is no TOML: line 2: "), "{text}");
    assert!(!text.contains("nobody"), "{text}");
}

#[test]
fn a_cluster_without_its_secrets_is_refused() {
    let text = refusal(Mode::Run, &[], &[], None);
    assert!(text.contains("JWT_SECRET is not set"), "{text}");
    assert!(text.contains("CLUSTER_SECRET is not set"), "{text}");

    let text = refusal(Mode::Run, &[], &SECRETS[..1], None);
    assert!(!text.contains("JWT_SECRET is not set"), "{text}");
    assert!(text.contains("CLUSTER_SECRET is not set"), "{text}");

    assert!(with(Mode::Run, &[], &SECRETS, None).is_ok());
    assert!(with(Mode::Run, &[("BIND_HOST", "127.0.0.1")], &SECRETS[..1], None).is_ok());
    assert!(with(Mode::Run, &[("CLUSTER_ENABLED", "false")], &[], None).is_ok());
}

#[test]
fn nodes_with_peers_must_list_themselves_and_know_where_to_listen() {
    let peers = ("PEERS", "1=10.0.0.1:18102,2=10.0.0.2:18102,3=10.0.0.3:18102");
    let settings = with(Mode::Run, &[peers, ("NODE_ID", "2")], &SECRETS, None).unwrap();
    assert_eq!(settings.peers.len(), 3);
    assert_eq!(settings.peer_address().to_string(), "0.0.0.0:18102");
    for (flags, wanted) in [
        (vec![peers, ("NODE_ID", "4")], "it must list NODE_ID"),
        (vec![peers, ("PORT", "0")], "PEER_BIND must be set"),
        (vec![("PEERS", "1=a:1,1=b:2")], "different ids"),
        (vec![("PEERS", "1=nowhere")], "1=host:port"),
        (vec![peers, ("CLUSTER_ENABLED", "false")], "CLUSTER_ENABLED must not be"),
    ] {
        let text = refusal(Mode::Run, &flags, &SECRETS, None);
        assert!(text.contains(wanted), "{flags:?}: {text}");
    }
    assert!(with(Mode::Dev, &[peers], &SECRETS, None).is_ok());
    let text = refusal(Mode::Dev, &[peers], &[], None);
    assert!(text.contains("JWT_SECRET must be set"), "{text}");
}

#[test]
fn settings_of_one_node_are_refused_where_several_are_started() {
    let check = |flags: &[(&'static str, &str)]| {
        with(Mode::Dev, flags, &SECRETS, None).unwrap().check_for_several(3)
    };
    assert!(check(&[]).is_ok());
    assert!(check(&[("PORT", "0")]).is_ok());
    assert!(check(&[("PORT", "55533")]).is_ok());
    for (flag, wanted) in [
        (("PORT", "55534"), "PORT is \"55534\": allowed is at most 55533"),
        (("NODE_ID", "2"), "NODE_ID must not be set"),
        (("PEER_BIND", "127.0.0.1:1"), "PEER_BIND must not be set"),
        (("AGENT_BIND", "127.0.0.1:1"), "AGENT_BIND must not be set"),
        (("PEERS", "1=127.0.0.1:1"), "PEERS must not be set"),
        (("CLUSTER_INSTANCE_ID", "mine"), "CLUSTER_INSTANCE_ID must not be set"),
        (("CLUSTER_ENABLED", "false"), "CLUSTER_ENABLED must not be"),
    ] {
        let text = check(&[flag]).unwrap_err().to_string();
        assert!(text.contains(wanted), "{flag:?}: {text}");
    }
}

#[test]
fn dev_off_loopback_is_refused() {
    let text = refusal(Mode::Dev, &[("BIND_HOST", "0.0.0.0")], &SECRETS, None);
    assert!(text.contains("BIND_HOST is \"0.0.0.0\""), "{text}");
    let text = refusal(Mode::Dev, &[("AGENT_BIND", "0.0.0.0:9102")], &SECRETS, None);
    assert!(text.contains("AGENT_BIND is \"0.0.0.0:9102\""), "{text}");
    assert!(with(Mode::Dev, &[("AGENT_BIND", "[::1]:9102")], &[], None).is_ok());
    assert!(with(Mode::Dev, &[("BIND_HOST", "::1")], &[], None).is_ok());
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    for (flags, part) in [
        ([("RAFT_ELECTION_MIN_MS", "400"), ("PORT", "0")], "less than RAFT_ELECTION_MAX_MS"),
        ([("RAFT_HEARTBEAT_MS", "150"), ("PORT", "0")], "half of RAFT_ELECTION_MIN_MS"),
        ([("TURN_TIME_LIMIT", "60"), ("TOTAL_TIME_LIMIT", "30")], "at most TOTAL_TIME_LIMIT"),
    ] {
        let text = refusal(Mode::Dev, &flags, &[], None);
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn a_relay_is_named_where_mails_are_sent_and_a_user_has_a_password() {
    let smtp = ("EMAIL_PROVIDER", "smtp");
    let (user, password) = (("SMTP_USER", "ann"), ("SMTP_PASS", "tell nobody"));
    let text = refusal(Mode::Dev, &[], &[smtp], None);
    assert!(text.contains("SMTP_HOST is not set"), "{text}");
    for one in [user, password] {
        let text = refusal(Mode::Dev, &[], &[smtp, ("SMTP_HOST", "mail"), one], None);
        assert!(text.contains("SMTP_USER and SMTP_PASS belong together"), "{text}");
        assert!(!text.contains("nobody"), "{text}");
    }
    let env = [smtp, ("SMTP_HOST", "mail"), user, password, ("SMTP_SECURE", "true")];
    let mail = with(Mode::Dev, &[], &env, None).unwrap().mail;
    assert_eq!((mail.provider, mail.smtp_port), (MailProvider::Smtp, 587));
    assert!(mail.smtp_secure, "also from the environment");
    assert_eq!((&*mail.from, &*mail.from_name), ("noreply@yuuinih.com", "阿卡迪亚永恒"));
}

#[test]
fn a_secret_is_never_shown() {
    let text = refusal(Mode::Run, &[], &[("CLUSTER_SECRET", "short one")], None);
    assert!(text.contains("CLUSTER_SECRET is (hidden)"), "{text}");
    assert!(!text.contains("short one"), "{text}");
    let settings = with(Mode::Run, &[], &SECRETS, None).unwrap();
    let shown = format!("{settings:?}");
    for (_, secret) in SECRETS {
        assert!(!shown.contains(secret));
    }
}

#[test]
fn every_default_is_allowed_and_every_flag_is_its_name_in_kebab_case() {
    for setting in SETTINGS {
        assert_eq!(setting.flag, setting.name.to_ascii_lowercase().replace('_', "-"));
        assert!(setting.help.ends_with('.'), "{}", setting.name);
        for mode in [Mode::Dev, Mode::Run] {
            if let Some(default) = setting.default.of(mode) {
                assert!(setting.set(&mut Settings::blank(mode), default), "{}", setting.name);
            }
        }
    }
}
