//! Settings of e-mail: who sends it, and how many codes may be asked for.

use super::{Problem, Secret};

/// Who sends mails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MailProvider {
    /// Nobody: they are written to the log, for development.
    #[default]
    Console,
    /// An SMTP relay.
    Smtp,
}

/// Everything about e-mail.
#[derive(Clone, Debug, Default)]
pub struct MailSettings {
    /// Who sends mails.
    pub provider: MailProvider,
    /// The address they come from.
    pub from: String,
    /// The name beside it.
    pub from_name: String,
    /// The relay; set where the provider is SMTP.
    pub smtp_host: Option<String>,
    /// The relay's port.
    pub smtp_port: u16,
    /// Whether the relay speaks TLS from the first byte.
    pub smtp_secure: bool,
    /// User name at the relay.
    pub smtp_user: Option<String>,
    /// Password at the relay; set exactly where the user is.
    pub smtp_pass: Option<Secret>,
    /// Codes that one address may be sent in an hour; 0: no limit.
    pub codes_per_address: u32,
    /// Codes that one client address may ask for in an hour; 0: no limit.
    pub codes_per_ip: u32,
}

/// What no single value can show.
pub(super) fn check(mail: &MailSettings, problems: &mut Vec<Problem>) {
    if mail.provider == MailProvider::Smtp && mail.smtp_host.is_none() {
        problems.push(Problem::text(
            "SMTP_HOST is not set: with EMAIL_PROVIDER \"smtp\" it must name the relay".into(),
        ));
    }
    if mail.smtp_user.is_some() != mail.smtp_pass.is_some() {
        problems.push(Problem::text(
            "SMTP_USER and SMTP_PASS belong together: set both, or none of them".into(),
        ));
    }
}
