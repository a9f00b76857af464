//! Frames: a length, a kind, a body.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Bytes of a handshake message.
pub(crate) const HANDSHAKE_BYTES_MAX: usize = 4 * 1024;
/// Bytes of any other frame: a read of the log for replication and one entry more, with room to spare.
pub(crate) const FRAME_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What a frame is; the reader knows which ones may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Hello = 1,
    Welcome = 2,
    Proof = 3,
    Accepted = 4,
    /// The body is a text for people; the connection ends.
    Refused = 5,
    /// The caller was removed from the cluster; the body proves that the callee is of it.
    Removed = 6,
    Request = 16,
    Response = 17,
    /// A piece of a snapshot.
    Piece = 18,
    /// All pieces came.
    End = 19,
}

impl Kind {
    fn of(byte: u8) -> Option<Self> {
        [
            Self::Hello,
            Self::Welcome,
            Self::Proof,
            Self::Accepted,
            Self::Refused,
            Self::Removed,
            Self::Request,
            Self::Response,
            Self::Piece,
            Self::End,
        ]
        .into_iter()
        .find(|kind| *kind as u8 == byte)
    }
}

/// Writes one frame and sends it off.
pub(crate) async fn write(
    stream: &mut (impl AsyncWrite + Unpin),
    kind: Kind,
    body: &[u8],
) -> io::Result<()> {
    let length = u32::try_from(body.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut head = [0; 5];
    head[..4].copy_from_slice(&length.to_be_bytes());
    head[4] = kind as u8;
    stream.write_all(&head).await?;
    stream.write_all(body).await?;
    stream.flush().await
}

/// Reads one frame of at most `max` bytes.
pub(crate) async fn read(
    stream: &mut (impl AsyncRead + Unpin),
    max: usize,
) -> io::Result<(Kind, Vec<u8>)> {
    let mut head = [0; 5];
    stream.read_exact(&mut head).await?;
    let [a, b, c, d, kind] = head;
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    let kind = Kind::of(kind).ok_or_else(|| invalid("a frame of an unknown kind"))?;
    if length > max {
        return Err(invalid("a frame that is too large"));
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok((kind, body))
}

/// An error of the other side.
pub(crate) fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_written_is_read_and_nothing_larger_than_allowed() {
        let (mut near, mut far) = tokio::io::duplex(1024);
        write(&mut near, Kind::Hello, b"abc").await.unwrap();
        assert_eq!(read(&mut far, 3).await.unwrap(), (Kind::Hello, b"abc".to_vec()));
        write(&mut near, Kind::Piece, b"abcd").await.unwrap();
        assert!(read(&mut far, 3).await.is_err());
    }

    #[tokio::test]
    async fn an_unknown_kind_and_a_cut_frame_are_errors() {
        for bytes in [&[0, 0, 0, 0, 99][..], &[0, 0, 0, 9, 16, 1, 2][..], &[0, 0][..]] {
            assert!(read(&mut &bytes[..], 100).await.is_err(), "{bytes:?}");
        }
    }
}
