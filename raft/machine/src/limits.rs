//! Every bound of the machine, and what happens when it is reached.
//!
//! A bound here decides outcomes, so it is part of the replicated behaviour: changing one needs a
//! higher behaviour level (see `snapshot.rs`).

/// Proposals in one log entry; the batcher closes the entry.
pub const ENTRY_PROPOSALS_MAX: usize = 1024;
/// Encoded bytes of one log entry; the batcher closes the entry.
pub const ENTRY_BYTES_MAX: usize = 256 * 1024;
/// Encoded bytes of one proposal; refused before it is proposed.
pub const PROPOSAL_BYTES_MAX: usize = 64 * 1024;
/// Encoded bytes of a snapshot; a larger one is not decoded.
pub const SNAPSHOT_BYTES_MAX: usize = 8 << 30;
/// Normalized team as JSON text, bytes; the join is refused.
pub const TEAM_BYTES_MAX: usize = 16 * 1024;
/// One selection as JSON text, bytes; the input is refused.
pub const SELECTION_BYTES_MAX: usize = 1024;
/// Source of an animation (a pet or skill id), bytes; the input is refused.
pub const ANIMATION_TEXT_MAX: usize = 64;
/// Session ids, bytes; a longer one is no session id.
pub const SESSION_ID_LEN_MAX: usize = 64;
/// Socket ids, bytes.
pub const SOCKET_ID_LEN_MAX: usize = 64;
/// Client-chosen request ids, bytes (contract 3.3).
pub const KEY_LEN_MAX: usize = 64;
/// Client addresses, bytes; longer ones are cut by the gateway.
pub const ADDRESS_LEN_MAX: usize = 64;
/// E-mail addresses, bytes (contract 1.7).
pub const EMAIL_LEN_MAX: usize = 254;
/// Player names, characters (contract 6.2); the name is refused.
pub const NAME_CHARS_MAX: usize = 50;

/// Accounts in the records; creating another is refused (`PLAYERS_FULL`).
pub const PLAYERS_MAX: u64 = 10_000_000;
/// Bytes of one record; ours are far smaller.
pub const RECORD_BYTES_MAX: usize = 16 * 1024;
/// Connected sessions in the cluster; opening another is refused (`SESSIONS_FULL`).
pub const SESSIONS_MAX: usize = 200_000;
/// Connected sessions of one player; opening another is refused (`SESSIONS_FULL`).
pub const SESSIONS_PER_PLAYER_MAX: usize = 64;
/// Tickets in the queue; joining is refused (`QUEUE_FULL`).
pub const TICKETS_MAX: usize = 100_000;
/// Rooms, ended ones included; pairing waits until one is removed.
pub const ROOMS_MAX: usize = 50_000;
/// Inputs of one battle; one more aborts it.
pub const INPUTS_MAX: u32 = 5_000;
/// Log time after which a room is aborted whatever happens in it.
pub const ROOM_AGE_MAX_MS: u64 = 4 * 3_600_000;
/// How long an ended room stays readable after a regular end.
pub const ENDED_ROOM_LINGER_MS: u64 = 5_000;
/// How long it stays readable after an end by leaving or aborting.
pub const LEFT_ROOM_LINGER_MS: u64 = 2_000;
/// Grace after the loss of a *node*, even where the setting gives players none: it is not their doing.
pub const NODE_LOSS_GRACE_MIN_MS: u64 = 60_000;
/// Longest grace a proposal may ask for.
pub const GRACE_MAX_MS: u64 = 3_600_000;
/// Client-chosen request ids remembered for one player (or one address); the oldest is forgotten.
pub const CLIENT_KEYS_PER_SCOPE_MAX: usize = 64;
/// Scopes with remembered client-chosen ids; the scope whose newest id is oldest is forgotten.
pub const CLIENT_KEY_SCOPES_MAX: usize = 200_000;
/// How long a client-chosen request id is remembered, log time.
pub const CLIENT_KEY_MS: u64 = 600_000;
/// Token families whose newest refresh token is known; the one refreshed least recently is forgotten,
/// and whoever presents a token of it begins a new one.
pub const TOKEN_FAMILIES_MAX: usize = 200_000;
/// Revocations in force; another is refused (`REVOCATIONS_FULL`), and none is ever forgotten early.
pub const REVOCATIONS_MAX: usize = 1_000_000;
/// How long the refresh token that was exchanged last gets the same pair again, log time.
pub const REFRESH_REPEAT_MS: u64 = 600_000;
/// Nodes the machine remembers, members and learners, gone ones included.
pub const NODES_MAX: usize = 64;
/// Packs one node may announce.
pub const PACKS_PER_NODE_MAX: usize = 16;
/// Engine names in pack references, bytes; the node is refused.
pub const PACK_ENGINE_LEN_MAX: usize = 64;
/// Answers remembered for one node's requests; a node with more in flight is refused (`WINDOW_FULL`).
pub const ANSWERS_PER_NODE_MAX: usize = 16_384;

/// How long a verification code is good, log time (contract 9).
pub const CODE_LIFE_MS: u64 = 600_000;
/// How long the next code of an address and purpose has to wait (contract 9); it is refused.
pub const CODE_RESEND_MS: u64 = 60_000;
/// Wrong tries after which a code is void.
pub const CODE_TRIES_MAX: u8 = 5;
/// How long codes of an address and of a source are counted together, log time.
pub const CODE_WINDOW_MS: u64 = 3_600_000;
/// Codes, void ones included; another one is refused (`CODES_FULL`).
pub const CODES_MAX: usize = 100_000;
/// Addresses and sources that are counted; a code of another one is refused (`CODES_FULL`).
pub const CODE_WINDOWS_MAX: usize = 400_000;

/// Reports; one more takes the place of the oldest, or is not written while that one's battle runs.
pub const REPORTS_MAX: u64 = 10_000_000;
/// Ended battles whose reports wait to be written in the database that keeps the players; while there are
/// that many, new battles get no report.
pub const REPORTS_WAITING_MAX: u64 = 500_000;
/// Bytes of what is rendered of one battle; the report stays without messages. Reports are the one kind of
/// proposal that may be larger than [`PROPOSAL_BYTES_MAX`]: each has an entry of its own.
pub const REPORT_BYTES_MAX: usize = ENTRY_BYTES_MAX - 4096;
/// Ended battles that wait to be rendered; the next one's report stays without messages.
pub const PENDING_REPORTS_MAX: u64 = 2_000;
/// Bytes of their set-ups and inputs; the next one's report stays without messages.
pub const PENDING_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// The same of a single one; its report stays without messages.
pub const PENDING_REPORT_BYTES_MAX: usize = 1024 * 1024;
/// Reports that one command deletes or looks at.
pub const REPORTS_SWEPT_MAX: u32 = 100;

const _: () = assert!(PROPOSAL_BYTES_MAX < REPORT_BYTES_MAX && REPORT_BYTES_MAX < ENTRY_BYTES_MAX);
const _: () = assert!(PENDING_REPORT_BYTES_MAX / RECORD_BYTES_MAX < u16::MAX as usize);
const _: () = assert!(PROPOSAL_BYTES_MAX < ENTRY_BYTES_MAX);
const _: () = assert!(TEAM_BYTES_MAX < PROPOSAL_BYTES_MAX);
const _: () = assert!(CODE_RESEND_MS < CODE_LIFE_MS && CODE_LIFE_MS < CODE_WINDOW_MS);
const _: () = assert!(LEFT_ROOM_LINGER_MS <= ENDED_ROOM_LINGER_MS);
const _: () = assert!(NODE_LOSS_GRACE_MIN_MS <= GRACE_MAX_MS);
