//! Bytes of entries and snapshots. The only place that knows which encoding is used.
//!
//! Every piece starts with one byte that names its format, so that the encoding can be replaced one
//! day. Decoding takes any bytes: it checks the length first, stops at a limit, and refuses bytes
//! that are left over. Its errors are values; what they mean is for the caller to say (a frame of a
//! peer is refused, a log on disk is broken).

use bincode::config;
use bincode::enc::write::Writer;
use bincode::error::EncodeError;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::command::{Entry, Proposal};
use crate::limits::{
    ENTRY_BYTES_MAX, PENDING_REPORT_BYTES_MAX, RECORD_BYTES_MAX, SNAPSHOT_BYTES_MAX,
};

/// Names the format of entries: bincode 2, standard configuration.
const ENTRY_FORMAT: u8 = 1;

/// The decoder counts sizes in memory, which for small numbers are up to eight times those of the
/// bytes; the bytes themselves are checked before.
const MEMORY_FACTOR: usize = 16;

/// Why bytes are no entry or snapshot. The same bytes give the same error again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// Written by a newer build, or not ours at all.
    #[error("unknown format version {0}")]
    UnknownVersion(u8),
    /// More bytes than there may be.
    #[error("{len} bytes, at most {max} are allowed")]
    TooLarge {
        /// How many there are.
        len: usize,
        /// How many there may be.
        max: usize,
    },
    /// No such value was ever written.
    #[error("malformed: {0}")]
    Malformed(String),
    /// Needs a behaviour level that this build doesn't have.
    #[error("behaviour level {level}, this build knows {known}")]
    UnknownLevel {
        /// The level in force.
        level: u32,
        /// The highest one known here.
        known: u32,
    },
}

/// The bytes of an entry; refused if they are more than [`ENTRY_BYTES_MAX`].
pub fn encode_entry(entry: &Entry) -> Result<Vec<u8>, CodecError> {
    let bytes = encode(ENTRY_FORMAT, entry);
    check_len(bytes.len(), ENTRY_BYTES_MAX)?;
    Ok(bytes)
}

/// The entry in these bytes, whoever wrote them.
pub fn decode_entry(bytes: &[u8]) -> Result<Entry, CodecError> {
    check_len(bytes.len(), ENTRY_BYTES_MAX)?;
    decode::<Entry, { ENTRY_BYTES_MAX * MEMORY_FACTOR }>(ENTRY_FORMAT, bytes)
}

/// How many bytes a proposal takes in an entry: for filling an entry up to its bound.
pub fn encoded_len(proposal: &Proposal) -> usize {
    let mut len = Length(0);
    write(proposal, &mut len);
    len.0
}

/// Bytes that start with their format.
pub(crate) fn encode(format: u8, value: &impl Serialize) -> Vec<u8> {
    let mut bytes = Bytes(vec![format]);
    write(value, &mut bytes);
    bytes.0
}

pub(crate) fn decode_snapshot<T: DeserializeOwned>(
    format: u8,
    bytes: &[u8],
) -> Result<T, CodecError> {
    check_len(bytes.len(), SNAPSHOT_BYTES_MAX)?;
    decode::<T, { SNAPSHOT_BYTES_MAX * MEMORY_FACTOR }>(format, bytes)
}

pub(crate) fn decode_record<T: DeserializeOwned>(
    format: u8,
    bytes: &[u8],
) -> Result<T, CodecError> {
    check_len(bytes.len(), RECORD_BYTES_MAX)?;
    decode::<T, { RECORD_BYTES_MAX * MEMORY_FACTOR }>(format, bytes)
}

pub(crate) fn decode_pending<T: DeserializeOwned>(
    format: u8,
    bytes: &[u8],
) -> Result<T, CodecError> {
    check_len(bytes.len(), PENDING_REPORT_BYTES_MAX)?;
    decode::<T, { PENDING_REPORT_BYTES_MAX * MEMORY_FACTOR }>(format, bytes)
}

/// Writes a value without format byte; the writer must take everything.
pub(crate) fn write(value: &impl Serialize, to: &mut impl Writer) {
    bincode::serde::encode_into_writer(value, to, config::standard())
        .expect("our types know their lengths, and our writers take everything");
}

fn decode<T: DeserializeOwned, const LIMIT: usize>(
    format: u8,
    bytes: &[u8],
) -> Result<T, CodecError> {
    let malformed = |error: String| CodecError::Malformed(error);
    let (first, rest) = bytes.split_first().ok_or_else(|| malformed("no bytes".into()))?;
    if *first != format {
        return Err(CodecError::UnknownVersion(*first));
    }
    let config = config::standard().with_limit::<LIMIT>();
    let (value, read) = bincode::serde::decode_from_slice(rest, config)
        .map_err(|error| malformed(error.to_string()))?;
    if read != rest.len() {
        return Err(malformed(format!("{} bytes left over", rest.len() - read)));
    }
    Ok(value)
}

fn check_len(len: usize, max: usize) -> Result<(), CodecError> {
    if len > max { Err(CodecError::TooLarge { len, max }) } else { Ok(()) }
}

struct Bytes(Vec<u8>);

impl Writer for Bytes {
    fn write(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

struct Length(usize);

impl Writer for Length {
    fn write(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        self.0 += bytes.len();
        Ok(())
    }
}
