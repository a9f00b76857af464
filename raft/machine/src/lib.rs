//! Everything the cluster agrees on, as one total deterministic function.
//!
//! The log is a list of [`Entry`]s. Every node feeds the same entries to its own [`Machine`] and so
//! gets the same machine, the same answers and the same [`Effect`]s; it delivers those that concern
//! the sockets it happens to hold. There is no other way for nodes to agree on a game fact.
//!
//! # The contract
//!
//! * **Pure.** Answers and effects depend on the machine, the records and the entry alone. Time,
//!   randomness and ids come inside the [`Proposal`], stamped by the leader. Nothing here does IO,
//!   and nothing iterates in an order that differs between nodes: `clippy.toml` forbids the means.
//! * **Total.** Whatever decodes can be applied. A refusal is a value ([`Rejection`]) and changes
//!   nothing; bad values are refused or clamped. A broken disk is somebody else's error type.
//! * **Bounded.** Everything that grows has a bound in [`limits`], with what happens when it is
//!   reached. What a bound decides is the same on every node.
//! * **Exactly once.** A request that comes again gets its first answer and has no effects.
//! * **Append-only.** Entries and snapshots of any released version decode for ever. What a build
//!   does differently takes effect by a behaviour level that all nodes support.
//!
//! # Glossary
//!
//! | Word | Meaning |
//! |---|---|
//! | session | a login context of a player: (player, session id). It exists while it is connected |
//! | socket | the one connection by which a session is connected now |
//! | ticket | a session's place in the queue; *suspended* while the loss of its node keeps it aside |
//! | room | two seats, a battle's set-up and its inputs; *live* until an end is recorded |
//! | seat | one side of a room: A is the older ticket. *Lost* during the grace, *gone* after it |
//! | bound | said of a seat whose session took the place of a lost one |
//! | home | the node that proposes a battle's ticks and its end first |
//! | family | all tokens that follow from one login; revoked together |
//! | process | one start of a node, told apart by its incarnation |
//! | window | the answers that are remembered for one process's requests |
//! | code | proof that somebody reads an address's mail; known here by a keyed hash |
//! | source | a client's address, as far as verification codes are counted by it |
//! | outside | in a database that the shells ask, instead of in the records |
//! | report | what is kept of a battle; *open* while it runs, its messages *pending* until rendered |
//! | due | what happens by itself at a log time; [`Machine::next_deadline`] says when |
//!
//! # How to add a command
//!
//! 1. Its struct, a variant at the **end** of [`Command`], its number in `Command::kind`, its
//!    `Display`, and its reply in the list of `applied.rs` (a new kind of reply at the end of [`Reply`]).
//! 2. Its rule, as a method of [`Machine`] in the file of its area, and an arm in `machine.rs`. If
//!    older builds may stand in the same cluster, it has a new behaviour level in `levels.rs`.
//! 3. A script in `testscripts/`, a step in `tests/properties.rs`, its bytes in `tests/golden/`.

mod applied;
mod battles;
mod clock;
mod codec;
mod codes;
mod command;
mod dedup;
mod due;
mod effect;
mod ids;
mod input;
mod levels;
pub mod limits;
mod machine;
mod matchmaking;
mod nodes;
mod outside;
pub mod planted;
mod players;
mod records;
mod reports;
mod rooms;
mod seats;
mod sessions;
mod snapshot;
mod tokens;
mod view;

pub use applied::{
    Abandoned, Applied, AppliedEntry, Done, Ended, Issued, Numbered, Opened, Queued, Rejection,
    Reply, Unexpected,
};
pub use battles::StateDigest;
pub use clock::{LogTime, WallTime};
pub use codec::{CodecError, decode_entry, encode_entry, encoded_len};
pub use codes::{
    BindEmail, CheckCode, CodeHash, CodeLimits, CreateCode, Purpose, RecoverPlayer, UnbindEmail,
};
pub use command::{
    AbandonBattle, AbortBattle, ActivatePack, AppendInput, CloseSession, Command, CreatePlayer,
    EndBattle, EndSessions, Entry, Floor, JoinQueue, KeyScope, LeaveQueue, NodeGone, NodeUp,
    OpenSession, Proposal, RaiseLevel, RenamePlayer, Request, ScopedKey, Tick, TickBattle,
};
pub use effect::Effect;
pub use ids::{
    BadId, ClientKey, Email, FamilyId, Incarnation, NanoId, NodeId, PlayerId, RequestId, RoomId,
    Seat, SessionId, SessionKey, SocketId, TokenId,
};
pub use input::{
    BattleSetup, Clocks, Digest, EndReason, Input, LeaveReason, NumberedInput, Outcome, PackRef,
    SetupSeat,
};
pub use levels::{FIRST_LEVEL, LATEST_LEVEL};
pub use machine::{Machine, Position};
pub use nodes::{DrainNode, ForgetNode};
pub use outside::{IssueTokens, OpenSessionOutside, RecordsHome, RefreshTokensOutside, SetRecords};
pub use records::{KeyValue, Kind, MemoryRecords, Order, Player, RecordIter, Records, Value};
pub use reports::{
    Blob, CloseStaleReports, ExpireReports, PendingReport, PlayerStats, Rendered, ReportEnd,
    ReportId, ReportMessages, ReportResult, ReportRow, ReportStatistics, ReportsView, SetReports,
    StoreReport, Swept, WhyMissing,
};
pub use snapshot::{Snapshot, SnapshotV1};
pub use tokens::{CreateGuestWithTokens, Lifetimes, Login, RefreshTokens, RevokeToken, TokenPair};
pub use view::{Counts, EndView, NodeView, RoomView, SeatView, SessionView, TicketView};
