//! What a setting is: its names, its default, what it may be, and how it gets its value.

use super::{Mode, Settings};

/// One setting: all that `--help`, the refusals and the parser say about it.
pub struct Setting {
    /// Name in the environment, and in lower case in the file.
    pub name: &'static str,
    /// The flag: the name in kebab case.
    pub flag: &'static str,
    /// A one-letter flag, where the existing server has one.
    pub short: Option<char>,
    /// Under which heading `--help` lists it.
    pub section: &'static str,
    /// What it is for.
    pub help: &'static str,
    /// The value without any source.
    pub default: Preset,
    /// Whether its value may never be shown.
    pub secret: bool,
    pub(super) kind: Kind,
}

/// A default.
#[derive(Clone, Copy)]
pub enum Preset {
    /// There is none.
    Unset(&'static str),
    /// The same for all modes.
    Always(&'static str),
    /// One for `dev`, one for `run`.
    ByMode {
        /// For `dev`.
        dev: &'static str,
        /// For `run`.
        run: &'static str,
    },
}

impl Preset {
    /// The default in this mode.
    pub fn of(self, mode: Mode) -> Option<&'static str> {
        match (self, mode) {
            (Self::Unset(_), _) => None,
            (Self::Always(text), _)
            | (Self::ByMode { dev: text, .. }, Mode::Dev)
            | (Self::ByMode { run: text, .. }, Mode::Run) => Some(text),
        }
    }
}

/// How a text becomes a value: the range that is checked is the range that is printed.
pub(super) enum Kind {
    Number { unit: &'static str, min: u64, max: u64, put: fn(&mut Settings, u64) },
    Switch { put: fn(&mut Settings, bool) },
    Text { allowed: &'static str, put: fn(&mut Settings, &str) -> Option<()> },
}

impl Setting {
    /// What may be given.
    pub fn allowed(&self) -> String {
        match self.kind {
            Kind::Number { unit, min, max, .. } => {
                format!("a whole number from {min} to {max}{unit}")
            }
            Kind::Switch { .. } => "true or false".into(),
            Kind::Text { allowed, .. } => allowed.into(),
        }
    }

    /// Whether the flag may stand without a value.
    pub fn is_switch(&self) -> bool {
        matches!(self.kind, Kind::Switch { .. })
    }

    /// The whole explanation that `--help` prints.
    pub fn explain(&self, mode: Mode) -> String {
        let default = match self.default {
            Preset::Unset(meaning) => meaning,
            preset => preset.of(mode).unwrap_or("none"),
        };
        let (help, name) = (self.help, self.name);
        format!("{help}\n[env: {name}] [default: {default}] [allowed: {}]", self.allowed())
    }

    pub(super) fn file_key(&self) -> String {
        self.name.to_ascii_lowercase()
    }

    /// Puts a value in its place; false if it is none.
    pub(super) fn set(&self, settings: &mut Settings, text: &str) -> bool {
        match self.kind {
            Kind::Number { min, max, put, .. } => match text.trim().parse() {
                Ok(number) if (min..=max).contains(&number) => {
                    put(settings, number);
                    true
                }
                _ => false,
            },
            Kind::Switch { put } => match text.trim() {
                "true" => {
                    put(settings, true);
                    true
                }
                "false" => {
                    put(settings, false);
                    true
                }
                _ => false,
            },
            Kind::Text { put, .. } => put(settings, text.trim()).is_some(),
        }
    }
}

/// A setting that is neither secret nor has a short flag.
pub(super) const fn row(
    name: &'static str,
    flag: &'static str,
    section: &'static str,
    default: Preset,
    kind: Kind,
    help: &'static str,
) -> Setting {
    Setting { name, flag, short: None, section, help, default, secret: false, kind }
}

/// A whole number in a range.
pub(super) const fn number(
    unit: &'static str,
    min: u64,
    max: u64,
    put: fn(&mut Settings, u64),
) -> Kind {
    Kind::Number { unit, min, max, put }
}

/// A text that has a meaning or not.
pub(super) const fn text(
    allowed: &'static str,
    put: fn(&mut Settings, &str) -> Option<()>,
) -> Kind {
    Kind::Text { allowed, put }
}
