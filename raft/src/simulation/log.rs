//! openraft's log storage on a simulated disk, with the bytes that a real one would have.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::{LogState, OptionalSend, RaftLogReader};
use serverv2_storage::Record as _;

use super::disk::{Disk, Write};
use super::{Planted, is_planted};
use crate::codec::LogRecord;
use crate::types::{LogEntry, LogId, TypeConfig, Vote};

/// The log of one disk; clones share it.
#[derive(Clone)]
pub(crate) struct Log(Disk);

impl Disk {
    pub(crate) fn log(&self) -> Log {
        Log(self.clone())
    }
}

fn decode(bytes: &[u8]) -> io::Result<LogEntry> {
    LogRecord::decode(bytes).map(|record| record.0).map_err(io::Error::other)
}

impl RaftLogReader<TypeConfig> for Log {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<LogEntry>, io::Error> {
        let bounds: (Bound<u64>, Bound<u64>) =
            (range.start_bound().cloned(), range.end_bound().cloned());
        let found: Vec<Arc<[u8]>> = self
            .0
            .read(|files| files.entries.range(bounds).map(|(_, entry)| entry.clone()).collect());
        found.iter().map(|bytes| decode(bytes)).collect()
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.0.read(|files| files.vote))
    }
}

impl RaftLogStorage<TypeConfig> for Log {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        let (last_purged_log_id, last) =
            self.0.read(|files| (files.purged, files.entries.values().next_back().cloned()));
        let last = last.map(|bytes| decode(&bytes)).transpose()?.map(|entry| entry.log_id);
        Ok(LogState { last_purged_log_id, last_log_id: last.or(last_purged_log_id) })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        if is_planted(Planted::VoteUnsynced) {
            self.0.write(Write::Vote(*vote), None);
            return Ok(());
        }
        self.0.write_durably(Write::Vote(*vote)).await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        if let Some(committed) = committed {
            self.0.write(Write::Committed(committed), None);
        }
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        Ok(self.0.read(|files| files.committed))
    }

    async fn append<I>(
        &mut self,
        entries: I,
        callback: IOFlushed<TypeConfig>,
    ) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = LogEntry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let encode = |entry: LogEntry| {
            let record = LogRecord(entry);
            let bytes = record.encode().map_err(io::Error::other)?;
            Ok((record.index(), bytes.into()))
        };
        let entries = entries.into_iter().map(encode).collect::<Result<_, io::Error>>()?;
        if is_planted(Planted::AppendUnsynced) {
            self.0.write(Write::Entries(entries), None);
            callback.io_completed(Ok(()));
        } else {
            let done = Box::new(move || callback.io_completed(Ok(())));
            self.0.write(Write::Entries(entries), Some(done));
        }
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), io::Error> {
        let from = last.map_or(0, |last| last.index + 1);
        self.0.write(Write::TruncateFrom(from), None);
        Ok(())
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), io::Error> {
        self.0.write(Write::Purge(upto), None);
        Ok(())
    }
}
