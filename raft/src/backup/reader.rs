//! Reads a backup's file, and believes nothing in it before its checksum held.

use std::io::{self, Read};

use serverv2_machine::{LATEST_LEVEL, Snapshot};

use super::{ABOUT_BYTES_MAX, BackupAbout, FORMAT, MAGIC, PIECE_BYTES_MAX};
use crate::checkpoint::{self, MACHINE_BYTES_MAX};
use crate::codec;
use crate::transport::snapshot::Part;

/// A file, piece by piece.
pub(crate) struct Reader<R> {
    file: R,
    /// What it says of itself.
    pub(crate) about: BackupAbout,
    ended: bool,
}

impl<R: Read> Reader<R> {
    /// Reads how it begins; says why it is no backup that this build could restore.
    pub(crate) fn open(mut file: R) -> Result<Self, String> {
        let magic: [u8; 8] = take(&mut file).map_err(|_| "it is no backup of this server")?;
        if &magic != MAGIC {
            return Err("it is no backup of this server".to_owned());
        }
        let format = u32::from_be_bytes(take(&mut file)?);
        if format > FORMAT {
            return Err(format!(
                "it has format {format}, this version reads formats up to {FORMAT}: use the version that \
                 made it, or a newer one"
            ));
        }
        if format != FORMAT {
            return Err(damaged("its format"));
        }
        let length = u32::from_be_bytes(take(&mut file)?);
        let about = checked(&mut file, length, ABOUT_BYTES_MAX)?;
        let about: BackupAbout = codec::decode(&about)?;
        if about.level > LATEST_LEVEL {
            return Err(format!(
                "it is of behaviour level {} (build {}), this version knows {LATEST_LEVEL}: use a newer one",
                about.level, about.build
            ));
        }
        if about.machine_bytes > MACHINE_BYTES_MAX || about.index == 0 {
            return Err(damaged("what it says of itself"));
        }
        Ok(Self { file, about, ended: false })
    }

    /// The next part as a peer would send it; `None` behind the end, and nothing follows.
    pub(crate) fn next(&mut self) -> Result<Option<Part>, String> {
        if self.ended {
            return Ok(None);
        }
        let length = u32::from_be_bytes(take(&mut self.file)?);
        if length > 0 {
            return checked(&mut self.file, length, PIECE_BYTES_MAX)
                .map(|bytes| Some(Part::Piece(bytes)));
        }
        let crc = u32::from_be_bytes(take(&mut self.file)?);
        let records = u64::from_be_bytes(take(&mut self.file)?);
        match self.file.read(&mut [0]) {
            Ok(0) => {}
            Ok(_) => return Err(damaged("something behind its end")),
            Err(error) => return Err(error.to_string()),
        }
        self.ended = true;
        Ok(Some(Part::End { crc, records }))
    }

    /// Reads it to its end without keeping anything but the machine, which is decoded.
    pub(crate) fn check(mut self) -> Result<BackupAbout, String> {
        let (mut hash, mut count) = (crc32fast::Hasher::new(), 0);
        let mut machine = Vec::new();
        let wanted = usize::try_from(self.about.machine_bytes).map_err(|_| damaged("a length"))?;
        while let Some(part) = self.next()? {
            match part {
                Part::Piece(bytes) => {
                    hash.update(&bytes);
                    // The machine's pieces end where it ends.
                    if machine.len() < wanted {
                        machine.extend_from_slice(&bytes);
                        continue;
                    }
                    let mut bytes = &bytes[..];
                    while let Some((key, _)) =
                        checkpoint::read_record(&mut bytes).map_err(|error| error.to_string())?
                    {
                        if !(1..=serverv2_storage::RECORD_KEY_MAX).contains(&key.len()) {
                            return Err(damaged("a record's key"));
                        }
                        count += 1;
                    }
                }
                Part::End { crc, records } => {
                    if crc != hash.clone().finalize() || records != count {
                        return Err(damaged("the whole of it"));
                    }
                }
            }
        }
        if machine.len() != wanted {
            return Err(damaged("the machine in it"));
        }
        Snapshot::decode(&machine).map_err(|error| error.to_string())?;
        Ok(self.about)
    }
}

fn take<const N: usize>(file: &mut impl Read) -> Result<[u8; N], String> {
    let mut bytes = [0; N];
    file.read_exact(&mut bytes).map_err(|error| cut(&error))?;
    Ok(bytes)
}

/// A length was read; the checksum and the bytes follow.
fn checked(file: &mut impl Read, length: u32, max: u32) -> Result<Vec<u8>, String> {
    let crc = u32::from_be_bytes(take(file)?);
    if length > max {
        return Err(damaged("a length"));
    }
    let mut bytes = Vec::new();
    file.take(u64::from(length)).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() != length as usize {
        return Err(cut(&io::ErrorKind::UnexpectedEof.into()));
    }
    if crc32fast::hash(&bytes) == crc { Ok(bytes) } else { Err(damaged("a checksum")) }
}

fn cut(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        "it ends too early: it is cut off, or was never finished".to_owned()
    } else {
        error.to_string()
    }
}

fn damaged(what: &str) -> String {
    format!("it is damaged: {what} is not what was written")
}
