//! The settings file: TOML, one flat table, keys as in the environment but in lower case.

use std::collections::BTreeMap;
use std::path::Path;

use super::{Problem, SETTINGS};

/// Values of the file as text, by the setting's name.
#[derive(Debug, Default)]
pub(super) struct FileSettings(BTreeMap<&'static str, String>);

impl FileSettings {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

/// Reads the file; what is wrong with it goes to `problems`.
pub(super) fn read(path: &Path, problems: &mut Vec<Problem>) -> FileSettings {
    let shown = path.display();
    let table = std::fs::read_to_string(path)
        .map_err(|error| format!("--config is \"{shown}\": it can't be read: {error}"))
        .and_then(|text| {
            text.parse::<toml::Table>().map_err(|error| {
                // The library's own text quotes the line, which may hold a secret.
                let before = text.get(..error.span().map_or(0, |span| span.start)).unwrap_or("");
                let line = before.matches('\n').count() + 1;
                format!("--config is \"{shown}\": it is no TOML: line {line}: {}", error.message())
            })
        });
    let mut settings = FileSettings::default();
    let table = match table {
        Ok(table) => table,
        Err(text) => {
            problems.push(Problem::text(text));
            return settings;
        }
    };
    for (key, value) in table {
        let Some(setting) = SETTINGS.iter().find(|setting| setting.file_key() == key) else {
            problems.push(Problem::text(format!(
                "\"{key}\" in \"{shown}\" is no setting; allowed are the names that --help lists, in \
                 lower case"
            )));
            continue;
        };
        let text = match value {
            toml::Value::String(text) => text,
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Boolean(flag) => flag.to_string(),
            toml::Value::Array(parts) if parts.iter().all(toml::Value::is_str) => {
                parts.iter().filter_map(toml::Value::as_str).collect::<Vec<_>>().join(",")
            }
            other => {
                problems.push(Problem::text(format!(
                    "{} is a {} (from the file): allowed is {}",
                    setting.name,
                    other.type_str(),
                    setting.allowed()
                )));
                continue;
            }
        };
        settings.0.insert(setting.name, text);
    }
    settings
}
