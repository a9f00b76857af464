//! A real mail relay that is not ours: aiosmtpd, run by `tests/py/relay.py`. What it got it says as
//! Python's own mail parser reads it.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;

use parking_lot::Mutex;
use serde_json::Value;

use super::eventually;
use super::process::Options;

/// A started relay; gone with its handle, and with this process.
pub(crate) struct Relay {
    child: Child,
    port: u16,
    mails: Arc<Mutex<Vec<Value>>>,
}

impl Relay {
    /// One that takes every mail.
    pub(crate) async fn start() -> Self {
        Self::launch(&[]).await
    }

    /// One that takes no recipient.
    pub(crate) async fn that_refuses() -> Self {
        Self::launch(&["refuse"]).await
    }

    async fn launch(args: &[&str]) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/py");
        let python: PathBuf = folder.join(".venv/bin/python");
        assert!(
            python.exists(),
            "`make setup` installs what this test needs: {}",
            python.display()
        );
        let mut child = Command::new(python)
            .args(["-B", "relay.py"])
            .args(args)
            .current_dir(folder)
            // It ends when this closes, which the kernel sees to.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start the relay");
        let out = child.stdout.take().expect("stdout is piped");
        let (port, mails) = (Arc::new(Mutex::new(None)), Arc::<Mutex<Vec<Value>>>::default());
        let (found, taken) = (port.clone(), mails.clone());
        thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                match line.strip_prefix("PORT ") {
                    Some(number) => *found.lock() = number.parse::<u16>().ok(),
                    None => taken.lock().push(serde_json::from_str(&line).expect("a mail as JSON")),
                }
            }
        });
        let listening = || async { *port.lock() };
        let port = eventually("the relay's port", listening, Option::is_some).await;
        Self { child, port: port.expect("waited for"), mails }
    }

    /// A server's options, sending through this relay. Requests are not counted: only codes are.
    pub(crate) fn used_by(&self, options: Options) -> Options {
        options
            .env("RATE_LIMIT_EMAIL", "0")
            .env("EMAIL_PROVIDER", "smtp")
            .env("SMTP_HOST", "127.0.0.1")
            .env("SMTP_PORT", &self.port.to_string())
    }

    /// The newest mail to this address: it may be on its way still.
    pub(crate) async fn mail_to(&self, address: &str) -> Value {
        let newest = || async {
            let mails = self.mails.lock();
            mails.iter().rev().find(|mail| mail["to"] == address).cloned()
        };
        eventually("a mail", newest, Option::is_some).await.expect("waited for")
    }

    /// The code in the newest mail to this address; it is the same in both parts.
    pub(crate) async fn code_to(&self, address: &str) -> String {
        let mail = self.mail_to(address).await;
        let codes = ["text/plain", "text/html"].map(|part| {
            let text = mail["parts"][part].as_str().expect("a mail has both parts").to_owned();
            let words = text.split(|c: char| !c.is_ascii_digit());
            words.filter(|word| word.len() == 6).map(str::to_owned).next().expect("six digits")
        });
        assert_eq!(codes[0], codes[1]);
        codes[0].clone()
    }

    /// How many mails it has taken.
    pub(crate) fn count(&self) -> usize {
        self.mails.lock().len()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
