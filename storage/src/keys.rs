//! All keys and table names of both databases. No other file spells one.
//!
//! Log entries live in one table for each [`SEGMENT_ENTRIES`] indexes, because dropping a table is some
//! fifty times faster than removing its keys: purging is dropping.

/// Indexes in one table of the log.
pub(crate) const SEGMENT_ENTRIES: u64 = 8192;

/// The table of everything that is not a log entry.
pub(crate) const META: &str = "meta";
/// Id of the folder this database was made in.
pub(crate) const FOLDER: &str = "folder";
/// What the log says of itself.
pub(crate) const TAIL: &str = "tail";

const LOG_PREFIX: &str = "log/";

/// Which table holds this index.
pub(crate) fn segment_of(index: u64) -> u64 {
    index / SEGMENT_ENTRIES
}

/// The name of a segment's table.
pub(crate) fn segment_name(segment: u64) -> String {
    format!("{LOG_PREFIX}{segment}")
}

/// The segment of a table, if it is one of the log.
pub(crate) fn parse_segment(name: &[u8]) -> Option<u64> {
    std::str::from_utf8(name).ok()?.strip_prefix(LOG_PREFIX)?.parse().ok()
}

/// The key of one piece of an entry: sorts by index, then by piece.
pub(crate) fn piece(index: u64, number: u16) -> [u8; 10] {
    let mut key = [0; 10];
    key[..8].copy_from_slice(&index.to_be_bytes());
    key[8..].copy_from_slice(&number.to_be_bytes());
    key
}

/// The index that a piece's key belongs to.
pub(crate) fn piece_index(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(key.get(..8)?.try_into().ok()?))
}

const GENERATION_PREFIX: &str = "records/";

/// The name of a generation's table.
pub(crate) fn generation_name(generation: u64) -> String {
    format!("{GENERATION_PREFIX}{generation}")
}

/// The generation of a table, if it is one of records.
pub(crate) fn parse_generation(name: &[u8]) -> Option<u64> {
    std::str::from_utf8(name).ok()?.strip_prefix(GENERATION_PREFIX)?.parse().ok()
}

/// The position of a generation's records.
pub(crate) fn generation_position(generation: u64) -> String {
    format!("position/{generation}")
}

/// What all pieces of a record start with: the key's length first, so that no key starts another one.
pub(crate) fn record_prefix(key: &[u8]) -> Vec<u8> {
    let length = u8::try_from(key.len()).unwrap_or(u8::MAX);
    [&[length], key].concat()
}

/// The key of one piece of a record.
pub(crate) fn record_piece(key: &[u8], number: usize) -> Vec<u8> {
    let number = u16::try_from(number).expect("values are bounded");
    [&record_prefix(key)[..], &number.to_be_bytes()].concat()
}

/// The key of the last piece that a record can have.
pub(crate) fn last_piece(key: &[u8]) -> Vec<u8> {
    record_piece(key, usize::from(u16::MAX))
}

/// Behind all pieces of the record with this prefix; an empty one is before all records.
pub(crate) fn after_record(prefix: &[u8]) -> Vec<u8> {
    if prefix.is_empty() { Vec::new() } else { [prefix, &[0xff; 3]].concat() }
}

/// The record's key that a piece belongs to.
pub(crate) fn parse_record(stored: &[u8]) -> Option<&[u8]> {
    let (length, rest) = stored.split_first()?;
    let (key, number) = rest.split_at_checked(usize::from(*length))?;
    (number.len() == 2).then_some(key)
}
