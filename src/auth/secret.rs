//! The secret that tokens are signed with. A cluster is given one; a node that stands alone makes its
//! own once and keeps it in its data folder, so that its tokens survive a restart.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::config::{Secret, Settings};
use crate::random;

/// Name in the data folder.
const FILE: &str = "jwt-secret";
/// Nobody could guess a shorter one either; what is in the file beyond is not ours.
const SECRET_LEN: usize = 63;

/// Why there is no secret.
#[derive(Debug, thiserror::Error)]
#[error("keep the secret of the tokens in {path}: {error}; give JWT_SECRET to do without the file")]
pub struct SecretError {
    path: PathBuf,
    error: io::Error,
}

/// The secret from the settings, or this data folder's own. The folder must be this process's already.
pub fn signing_secret(settings: &Settings) -> Result<Secret, SecretError> {
    if let Some(secret) = &settings.jwt_secret {
        return Ok(secret.clone());
    }
    let path = settings.data_dir.join(FILE);
    let kept = keep(&path).map_err(|error| SecretError { path: path.clone(), error })?;
    tracing::info!(
        file = %path.display(),
        "JWT_SECRET is not set: tokens are signed with a secret of this node's own"
    );
    Ok(Secret::new(kept))
}

/// What the file says; it is made if it is missing. One that was cut short is refused: a new secret would
/// end all tokens without a word.
fn keep(path: &Path) -> io::Result<String> {
    match fs::read_to_string(path) {
        Ok(text) if text.len() == SECRET_LEN => return Ok(text),
        Ok(_) => {
            let text = format!("not {SECRET_LEN} characters; remove it to make a new one");
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let secret: String = (0..3).map(|_| random::nano_id().to_string()).collect();
    let temporary = path.with_extension("tmp");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(secret.as_bytes())?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    File::open(path.parent().unwrap_or_else(|| Path::new(".")))?.sync_all()?;
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_secret_is_made_once_and_is_nobody_elses_business() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let first = keep(&path).unwrap();
        assert_eq!(keep(&path).unwrap(), first);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(&path, &first[1..]).unwrap();
        assert_eq!(keep(&path).unwrap_err().kind(), io::ErrorKind::InvalidData);
        fs::remove_file(&path).unwrap();
        assert_ne!(keep(&path).unwrap(), first);
    }
}
