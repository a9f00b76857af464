//! Everything the cluster agrees on, as one total deterministic function.

mod applied;
mod clock;
mod command;
mod effect;
mod ids;
mod input;
pub mod limits;
mod records;

pub use applied::{
    Abandoned, Applied, AppliedEntry, Done, Numbered, Opened, Queued, Rejection, Reply, Unexpected,
};
pub use clock::{LogTime, WallTime};
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
pub use records::{MemoryRecords, Player, Records, RecordsFull};
