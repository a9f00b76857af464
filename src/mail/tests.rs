//! What becomes of a mail that the relay does not take. What a relay gets of one that it takes is seen by
//! a real one, in `tests/it`.

use std::net::SocketAddr;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::*;
use crate::config::Secret;

/// What a relay does with those who come.
#[derive(Clone, Copy)]
enum Manner {
    /// Says nothing.
    Hang,
    /// Breaks off after its greeting.
    Close,
    /// Speaks, but no SMTP.
    Babble,
    /// Refuses this command with this line.
    Refuse(&'static str, &'static str),
    /// Offers to log in without TLS, and takes everything.
    Take,
}

async fn relay(manner: Manner) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let (read, mut write) = stream.split();
                let mut lines = BufReader::new(read).lines();
                match manner {
                    Manner::Hang => while lines.next_line().await.unwrap_or(None).is_some() {},
                    Manner::Babble => drop(write.write_all(b"hello\r\nwho are you?\r\n").await),
                    Manner::Close => drop(write.write_all(b"220 relay.test\r\n").await),
                    Manner::Refuse(..) | Manner::Take => {
                        let _ = write.write_all(b"220 relay.test\r\n").await;
                        while let Ok(Some(line)) = lines.next_line().await {
                            let answer = match manner {
                                Manner::Refuse(what, how) if line.starts_with(what) => how,
                                _ if line.starts_with("EHLO") => "250-relay.test\r\n250 AUTH PLAIN",
                                _ if line.starts_with("AUTH") => "235 welcome",
                                _ if line.starts_with("DATA") => "354 go on",
                                // Lines of the mail itself are not answered.
                                _ if line == "." || line.starts_with("MAIL") => "250 fine",
                                _ if line.starts_with("RCPT") || line == "QUIT" => "250 fine",
                                _ => continue,
                            };
                            let _ = write.write_all(format!("{answer}\r\n").as_bytes()).await;
                        }
                    }
                }
            });
        }
    });
    (address, task)
}

fn settings(port: u16) -> MailSettings {
    MailSettings {
        provider: MailProvider::Smtp,
        from: "noreply@game.example".into(),
        from_name: "Game".into(),
        smtp_host: Some("127.0.0.1".into()),
        smtp_port: port,
        ..MailSettings::default()
    }
}

fn mailer(port: u16) -> Mailer {
    Mailer::new(&settings(port)).unwrap()
}

async fn send(mailer: &Mailer, to: &str) -> Result<(), MailError> {
    mailer.send_code(&to.parse().unwrap(), "123456", Purpose::Bind, Some("Ann")).await
}

#[tokio::test]
async fn each_way_to_fail_has_a_name_and_none_names_the_receiver() {
    for (manner, wanted) in [
        (Manner::Refuse("RCPT", "550 5.1.1 <ann@x.example>: nobody here"), "refused with 550"),
        (Manner::Refuse("DATA", "451 <ann@x.example> later"), "refused with 451"),
        (Manner::Close, "can't be used"),
        (Manner::Babble, "its answer can't be read"),
    ] {
        let (address, task) = relay(manner).await;
        let error = send(&mailer(address.port()), "ann@x.example").await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains(wanted), "{text}");
        assert!(!format!("{text} {error:?}").contains("ann"), "{error:?}");
        task.abort();
    }
    let (address, task) = relay(Manner::Hang).await;
    task.abort();
    let _ = task.await;
    let error = send(&mailer(address.port()), "ann@x.example").await.unwrap_err();
    assert!(matches!(error, MailError::Relay(_)), "{error:?}");
}

#[tokio::test]
async fn a_relay_that_hangs_costs_its_time_and_no_more() {
    let (address, task) = relay(Manner::Hang).await;
    let mut mailer = mailer(address.port());
    mailer.patience = Duration::from_millis(200);
    let sent = send(&mailer, "ann@x.example").await;
    assert!(matches!(sent, Err(MailError::TimedOut)), "{sent:?}");
    assert_eq!(mailer.places.available_permits(), SENDING_MAX, "its place is free again");
    task.abort();
}

#[tokio::test]
async fn a_mail_waits_for_its_turn_and_not_for_ever() {
    let (address, task) = relay(Manner::Take).await;
    let mut mailer = mailer(address.port());
    mailer.patience = Duration::from_millis(200);
    let others = mailer.places.acquire_many(u32::try_from(SENDING_MAX).unwrap()).await.unwrap();
    let sent = send(&mailer, "ann@x.example").await;
    assert!(matches!(sent, Err(MailError::TimedOut)), "{sent:?}");
    drop(others);
    mailer.patience = PATIENCE;
    send(&mailer, "ann@x.example").await.unwrap();
    task.abort();
}

#[tokio::test]
async fn an_address_that_no_envelope_takes_is_refused_before_anybody_is_asked() {
    let (address, task) = relay(Manner::Take).await;
    let mailer = mailer(address.port());
    for bad in ["a..b@x.example", "nobody", "a@-x.example"] {
        let refused = send(&mailer, bad).await;
        assert!(matches!(refused, Err(MailError::Address)), "{bad}: {refused:?}");
    }
    send(&mailer, "ann@x.example").await.unwrap();
    task.abort();
}

#[tokio::test]
async fn a_password_goes_to_no_other_machine_without_tls() {
    // Leads here, and doesn't say so.
    const OTHER: &str = "0.0.0.0";
    let (address, task) = relay(Manner::Take).await;
    for (host, wanted) in [("127.0.0.1", true), (OTHER, false)] {
        let mut settings = settings(address.port());
        settings.smtp_host = Some(host.into());
        settings.smtp_user = Some("user".into());
        settings.smtp_pass = Some(Secret::new("password"));
        let sent = send(&Mailer::new(&settings).unwrap(), "ann@x.example").await;
        assert_eq!(sent.is_ok(), wanted, "{host}: {sent:?}");
    }
    task.abort();
}
