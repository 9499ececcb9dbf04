//! The secrets of signed keys, from files or the environment: a flag would show them to everybody on the machine.

use std::env;
use std::path::{Path, PathBuf};

use sigver::SignedKeys;

use crate::config::ConfigError;

/// The secret, and one that is taken too while the first replaces it.
const VARIABLES: [&str; 2] = ["SIGVER_SIGNED_KEYS_SECRET", "SIGVER_SIGNED_KEYS_ALSO_SECRET"];

/// A secret, and where it is from.
struct Secret {
    origin: String,
    bytes: Vec<u8>,
}

/// What takes keys that were signed with one of these files' secrets, or else with those of the environment. `None` if
/// there are none.
pub(crate) fn signed_keys(files: Option<&[PathBuf]>) -> Result<Option<SignedKeys>, ConfigError> {
    let secrets = match files {
        // None would let everybody in.
        Some(files) if !(1..=2).contains(&files.len()) => return Err(ConfigError::SecretCount(files.len())),
        Some(files) => files.iter().map(|file| read(file)).collect::<Result<Vec<_>, _>>()?,
        None => from_environment()?,
    };
    let mut secrets = secrets.into_iter();
    let Some(Secret { origin, bytes }) = secrets.next() else { return Ok(None) };
    let mut keys = SignedKeys::new(bytes).map_err(|error| ConfigError::Secret { origin, error })?;
    if let Some(Secret { origin, bytes }) = secrets.next() {
        keys = keys.with_secondary_secret(bytes).map_err(|error| ConfigError::Secret { origin, error })?;
    }
    Ok(Some(keys))
}

/// Whether the environment has a secret.
pub(crate) fn in_environment() -> bool {
    VARIABLES.iter().any(|name| env::var_os(name).is_some())
}

fn from_environment() -> Result<Vec<Secret>, ConfigError> {
    let [first, also] = VARIABLES.map(|name| {
        let bytes = env::var_os(name)?.into_encoded_bytes();
        Some(Secret { origin: name.to_owned(), bytes })
    });
    match (first, also) {
        (None, Some(_)) => Err(ConfigError::Half { given: VARIABLES[1], missing: VARIABLES[0] }),
        (first, also) => Ok(first.into_iter().chain(also).collect()),
    }
}

/// A file's secret, without the end of its line: editors and `echo` write one.
fn read(path: &Path) -> Result<Secret, ConfigError> {
    let mut bytes = std::fs::read(path).map_err(|error| ConfigError::Unreadable {
        what: "--signed-keys-secret-file",
        path: path.to_owned(),
        error: error.to_string(),
    })?;
    for end in [b'\n', b'\r'] {
        bytes.pop_if(|last| *last == end);
    }
    Ok(Secret { origin: path.display().to_string(), bytes })
}
