//! Cuts a value into pieces of at most 4 KiB and puts it together again.
//!
//! sled writes a page that outgrows its limit into a file of its own, which it never syncs; values of
//! 24 KiB were seen to end there. Small pieces keep every page far below that limit.
//!
//! The first piece starts with the value's length and checksum, so a value of which only some pieces
//! reached the disk is recognised, and so is one whose bytes changed. The checksum may go on from
//! another value's (its *link*): then a value is also recognised that is not the one that followed.

/// Bytes of one stored piece, its head included.
pub(crate) const PIECE_BYTES_MAX: usize = 4096;
/// Largest value: what two bytes of piece number can count, and far above any entry.
pub(crate) const VALUE_BYTES_MAX: usize = 16 * 1024 * 1024;

const HEAD_BYTES: usize = 8;

const _: () = assert!(VALUE_BYTES_MAX / PIECE_BYTES_MAX < u16::MAX as usize);

/// What became of a value's pieces.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Joined {
    /// All of it, unchanged, and its link.
    Whole(Vec<u8>, u32),
    /// Pieces are missing at the end: it was being written when the process died.
    Incomplete,
    /// The bytes are not those that were written.
    Damaged,
}

/// What a value's checksum starts from that follows no other.
pub(crate) const NO_LINK: u32 = 0;

/// A value's link, going on from that of the one before.
pub(crate) fn link(before: u32, value: &[u8]) -> u32 {
    let mut hash = crc32fast::Hasher::new_with_initial(before);
    hash.update(value);
    hash.finalize()
}

/// The link in a value's first piece.
pub(crate) fn link_in(first: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(first.get(4..HEAD_BYTES)?.try_into().ok()?))
}

/// The pieces of a value, in order. `None`: it is too large.
pub(crate) fn cut(before: u32, value: &[u8]) -> Option<Vec<Vec<u8>>> {
    if value.len() > VALUE_BYTES_MAX {
        return None;
    }
    let length = u32::try_from(value.len()).expect("the limit is below 4 GiB");
    let (start, rest) = value.split_at(value.len().min(PIECE_BYTES_MAX - HEAD_BYTES));
    let mut first = Vec::with_capacity(HEAD_BYTES + start.len());
    first.extend_from_slice(&length.to_be_bytes());
    first.extend_from_slice(&link(before, value).to_be_bytes());
    first.extend_from_slice(start);
    let mut pieces = vec![first];
    pieces.extend(rest.chunks(PIECE_BYTES_MAX).map(<[u8]>::to_vec));
    Some(pieces)
}

/// Puts pieces together, given in order.
pub(crate) fn join<'a>(before: u32, pieces: impl IntoIterator<Item = &'a [u8]>) -> Joined {
    let mut pieces = pieces.into_iter();
    let Some(first) = pieces.next() else { return Joined::Incomplete };
    let Some((head, start)) = first.split_at_checked(HEAD_BYTES) else { return Joined::Damaged };
    let (length, crc) = head.split_at(4);
    let length = u32::from_be_bytes(length.try_into().expect("split at 4")) as usize;
    let crc = u32::from_be_bytes(crc.try_into().expect("4 of 8 are left"));
    if length > VALUE_BYTES_MAX {
        return Joined::Damaged;
    }
    let mut value = Vec::with_capacity(length);
    value.extend_from_slice(start);
    for piece in pieces {
        if value.len() + piece.len() > length {
            return Joined::Damaged;
        }
        value.extend_from_slice(piece);
    }
    match value.len().cmp(&length) {
        std::cmp::Ordering::Less => Joined::Incomplete,
        std::cmp::Ordering::Equal if link(before, &value) == crc => Joined::Whole(value, crc),
        std::cmp::Ordering::Equal | std::cmp::Ordering::Greater => Joined::Damaged,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(length: usize) -> Vec<u8> {
        (0..length).map(|at| (at % 251) as u8).collect()
    }

    fn joined(pieces: &[Vec<u8>]) -> Joined {
        join(7, pieces.iter().map(Vec::as_slice))
    }

    #[test]
    fn values_of_every_size_come_back_in_small_pieces() {
        for length in [0, 1, 200, 4087, 4088, 4089, 8184, 8185, 24 * 1024, 256 * 1024] {
            let pieces = cut(7, &value(length)).unwrap();
            assert!(pieces.iter().all(|piece| piece.len() <= PIECE_BYTES_MAX), "{length}");
            let whole = value(length);
            let link = link(7, &whole);
            assert_eq!(link_in(&pieces[0]), Some(link));
            assert_eq!(joined(&pieces), Joined::Whole(whole, link), "{length}");
            if length > 0 {
                let elsewhere = join(8, pieces.iter().map(Vec::as_slice));
                assert_eq!(elsewhere, Joined::Damaged, "it follows another one");
            }
        }
    }

    #[test]
    fn a_missing_end_is_incomplete_and_a_changed_byte_is_damage() {
        let mut pieces = cut(7, &value(24 * 1024)).unwrap();
        assert_eq!(joined(&pieces[..3]), Joined::Incomplete);
        assert_eq!(joined(&[]), Joined::Incomplete);
        pieces[2][7] ^= 1;
        assert_eq!(joined(&pieces), Joined::Damaged);
        assert_eq!(joined(&[vec![1, 2, 3]]), Joined::Damaged);
        assert_eq!(joined(&[vec![255; 8]]), Joined::Damaged);
    }

    #[test]
    fn a_value_beyond_the_limit_is_not_cut() {
        assert!(cut(7, &vec![0; VALUE_BYTES_MAX + 1]).is_none());
    }
}
