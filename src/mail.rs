//! E-mail: what is sent (contract 9), and by whom.
//!
//! With the provider `console` a mail is a line of the log, for development. With `smtp` it goes to a
//! relay, over a connection of its own: a mail a player waits for is rare, and a kept connection would
//! be one more thing to break. At most [`SENDING_MAX`] mails are on their way at once; each has
//! [`PATIENCE`], the wait for its turn included, and what did not get through by then has failed.
//!
//! A password is sent over TLS alone, except to this machine: whoever sits between could else strip
//! the relay's offer of TLS and read it. Without a password TLS is used where the relay offers it.
//!
//! Errors say what happened and never to whom: a relay's own words may quote the address, so they are
//! not kept.

use std::error::Error as _;
use std::time::Duration;

use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::{Address, AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use serverv2_machine::{Email, Purpose};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::config::{MailProvider, MailSettings};
use crate::random;

mod message;
#[cfg(test)]
mod tests;

/// Mails on their way at once; more wait for their turn.
const SENDING_MAX: usize = 16;
/// Time for a mail to get through. Its player is waiting for the answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why a mail was not sent. It may have been if the time was up.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    /// The address can't stand on an envelope.
    #[error("the address is none that mail can be sent to")]
    Address,
    /// The message can't be put together.
    #[error("the message can't be put together: {0}")]
    Message(#[from] lettre::error::Error),
    /// The time was up.
    #[error("no answer of the relay within {PATIENCE:?}")]
    TimedOut,
    /// The relay said no, with this code.
    #[error("the relay refused with {0}")]
    Refused(String),
    /// The relay can't be reached, or breaks off.
    #[error("the relay can't be used: {0}")]
    Relay(String),
}

/// Why there is nobody to send mails.
#[derive(Debug, thiserror::Error)]
pub enum MailSetupError {
    /// The sender's address is none.
    #[error("EMAIL_FROM is no address: {0}")]
    From(#[from] lettre::address::AddressError),
    /// TLS can't be set up.
    #[error("set up TLS for the SMTP relay: {0}")]
    Tls(#[from] lettre::transport::smtp::Error),
}

/// Sends mails.
pub struct Mailer {
    from: Mailbox,
    way: Way,
    places: Semaphore,
    patience: Duration,
}

enum Way {
    Console,
    Smtp(AsyncSmtpTransport<Tokio1Executor>),
}

impl Mailer {
    /// Whoever the settings name; nothing is connected yet.
    pub fn new(settings: &MailSettings) -> Result<Self, MailSetupError> {
        let from = Mailbox::new(Some(settings.from_name.clone()), settings.from.parse()?);
        let way = match (settings.provider, &settings.smtp_host) {
            (MailProvider::Smtp, Some(host)) => Way::Smtp(relay(settings, host)?),
            // The settings are refused where SMTP has no host.
            (MailProvider::Console | MailProvider::Smtp, _) => Way::Console,
        };
        Ok(Self { from, way, places: Semaphore::new(SENDING_MAX), patience: PATIENCE })
    }

    /// Sends a verification code. `player_name` is for the greeting.
    pub async fn send_code(
        &self,
        to: &Email,
        code: &str,
        purpose: Purpose,
        player_name: Option<&str>,
    ) -> Result<(), MailError> {
        let letter = message::letter(code, purpose, player_name);
        let relay = match &self.way {
            Way::Smtp(relay) => relay,
            Way::Console => {
                tracing::info!(
                    mail.to = to.as_str(),
                    mail.subject = letter.subject,
                    mail.text = letter.text,
                    "a mail that nobody sends: EMAIL_PROVIDER is console"
                );
                return Ok(());
            }
        };
        let to = Mailbox::new(None, to.as_str().parse().map_err(|_| MailError::Address)?);
        let message_id = format!("<{}@{}>", random::nano_id(), self.from.email.domain());
        let message = Message::builder()
            .from(self.from.clone())
            .to(to)
            .subject(letter.subject)
            .message_id(Some(message_id))
            .multipart(MultiPart::alternative_plain_html(letter.text, letter.html))?;
        let sending = async {
            let _place = self.places.acquire().await;
            relay.send(message).await
        };
        match timeout(self.patience, sending).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(failure(&error)),
            Err(_) => Err(MailError::TimedOut),
        }
    }
}

/// Whether mail can come from here.
pub(crate) fn is_address(text: &str) -> bool {
    text.parse::<Address>().is_ok()
}

fn relay(
    settings: &MailSettings,
    host: &str,
) -> Result<AsyncSmtpTransport<Tokio1Executor>, lettre::transport::smtp::Error> {
    let tls = TlsParameters::new(host.to_owned())?;
    let credentials = settings.smtp_user.clone().zip(settings.smtp_pass.as_ref());
    let tls = match (settings.smtp_secure, &credentials) {
        (true, _) => Tls::Wrapper(tls),
        (false, Some(_)) if !is_this_machine(host) => Tls::Required(tls),
        (false, _) => Tls::Opportunistic(tls),
    };
    let mut relay = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host)
        .port(settings.smtp_port)
        .timeout(Some(PATIENCE))
        .tls(tls);
    if let Some((user, password)) = credentials {
        relay = relay.credentials(Credentials::new(user, password.reveal().to_owned()));
    }
    Ok(relay.build())
}

fn is_this_machine(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}

/// What may be said of a failure: see the module's text.
fn failure(error: &lettre::transport::smtp::Error) -> MailError {
    if let Some(code) = error.status() {
        return MailError::Refused(code.to_string());
    }
    if error.is_timeout() {
        return MailError::TimedOut;
    }
    if error.is_response() {
        return MailError::Relay("its answer can't be read".into());
    }
    MailError::Relay(error.source().map_or_else(|| "no reason given".into(), ToString::to_string))
}
