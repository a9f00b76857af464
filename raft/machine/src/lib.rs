//! Everything the cluster agrees on, as one total deterministic function.

mod applied;
mod battles;
mod clock;
mod codec;
mod command;
mod dedup;
mod due;
mod effect;
mod ids;
mod input;
pub mod limits;
mod machine;
mod matchmaking;
mod nodes;
mod players;
mod records;
mod rooms;
mod seats;
mod sessions;
mod snapshot;
mod view;

pub use applied::{
    Abandoned, Applied, AppliedEntry, Done, Numbered, Opened, Queued, Rejection, Reply, Unexpected,
};
pub use clock::{LogTime, WallTime};
pub use codec::{CodecError, decode_entry, encode_entry, encoded_len};
pub use command::{
    AbandonBattle, AbortBattle, ActivatePack, AppendInput, CloseSession, Command, CreatePlayer,
    EndBattle, Entry, Floor, JoinQueue, KeyScope, LeaveQueue, NodeGone, NodeUp, OpenSession,
    Proposal, RaiseLevel, RenamePlayer, Request, ScopedKey, Tick, TickBattle,
};
pub use effect::Effect;
pub use ids::{
    BadId, ClientKey, Incarnation, NanoId, NodeId, PlayerId, RequestId, RoomId, Seat, SessionId,
    SessionKey, SocketId,
};
pub use input::{
    BattleSetup, Clocks, Digest, EndReason, Input, LeaveReason, NumberedInput, Outcome, PackRef,
    SetupSeat,
};
pub use machine::{Machine, Position};
pub use records::{MemoryRecords, Player, Records, RecordsFull};
pub use snapshot::{LATEST_LEVEL, Snapshot, SnapshotV1};
pub use view::{Counts, EndView, NodeView, RoomView, SeatView, SessionView, TicketView};
