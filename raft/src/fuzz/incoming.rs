//! A snapshot that comes in, from a peer that gets it wrong and means it: its checksums hold.

use std::sync::Arc;

use serverv2_machine::{Machine, NanoId, Player, PlayerId, Snapshot, WallTime};

use crate::checkpoint::{self, Head, Opened};
use crate::codec;
use crate::disk::Disk;
use crate::log_adapter::Stores;
use crate::transport::snapshot::{Incoming, Part};
use crate::types::SnapshotMeta;

/// What the parts are out of.
struct Sent {
    machine: Vec<u8>,
    records: Vec<u8>,
}

impl Sent {
    fn new() -> Self {
        let player = Player {
            id: PlayerId(NanoId::from_entropy(&[7; 32])),
            name: "someone".into(),
            created: WallTime(1),
            last_login: WallTime(1),
            email: None,
            email_bound: None,
        };
        let mut records = Vec::new();
        checkpoint::push_record(&mut records, b"key", &player.encode());
        Self { machine: Snapshot::without_records(&Machine::new()).encode(), records }
    }

    /// Receives these pieces behind a head that promises so many bytes of machine.
    async fn received(
        &self,
        stores: &Arc<Stores>,
        machine_bytes: u64,
        pieces: &[&[u8]],
    ) -> Result<(), String> {
        let head = Head { generation: 1, from: 0, machine_bytes, changes: 0 };
        let meta = codec::encode_snapshot_meta(&SnapshotMeta::default());
        let incoming = Incoming::begin(Disk::Folder(Arc::clone(stores)), meta, 5, head);
        let mut hash = crc32fast::Hasher::new();
        for piece in pieces {
            hash.update(piece);
            if !incoming.add(Part::Piece(piece.to_vec())).await {
                break;
            }
        }
        let records = u64::from(pieces.iter().any(|piece| piece.ends_with(&self.records)));
        incoming.add(Part::End { crc: hash.finalize(), records }).await;
        let file = incoming.end().await?.into_file().unwrap();
        let (head, machine, _) =
            Opened::of(&file).and_then(Opened::read).expect("what is accepted can be installed");
        assert_eq!(head.machine_bytes, self.machine.len() as u64);
        assert_eq!(machine.encode(), self.machine);
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_whole_machine_is_taken_however_it_is_cut() {
    let dir = tempfile::tempdir().unwrap();
    let (stores, _) = Stores::open(dir.path(), 1).unwrap();
    let sent = Sent::new();
    let (machine, records) = (&sent.machine[..], &sent.records[..]);
    let whole = machine.len() as u64;
    let (front, back) = machine.split_at(machine.len() / 2);
    let good: &[&[&[u8]]] = &[
        &[machine, records],
        &[front, back, records],
        &[&[], machine, records],
        &[front, &[], &[], back, &[], records],
    ];
    for (case, pieces) in good.iter().enumerate() {
        sent.received(&stores, whole, pieces).await.unwrap_or_else(|why| panic!("{case}: {why}"));
    }
    let joined = [machine, records].concat();
    let bad: &[(u64, &[&[u8]])] = &[
        (whole, &[]),
        (whole, &[&[]]),
        (whole, &[&[], &[], records]),
        (whole, &[front]),
        (whole, &[front, &[]]),
        (whole, &[front, records]),
        (whole, &[&joined]),
        (whole, &[records, machine]),
        (whole, &[machine, &records[..records.len() - 1]]),
        (0, &[machine, records]),
        (whole - 1, &[machine, records]),
        (whole + 1, &[machine, records]),
        (u64::MAX, &[machine, records]),
        (u64::MAX, &[&[]]),
    ];
    for (case, (promised, pieces)) in bad.iter().enumerate() {
        let received = sent.received(&stores, *promised, pieces).await;
        assert!(received.is_err(), "{case}: {promised} bytes were promised");
    }
    sent.received(&stores, whole, &[machine, records]).await.expect("a good one still comes in");
}
