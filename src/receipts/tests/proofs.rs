//! Signed heads and proofs: made by a chain that signs, checked by whoever has the key.

use super::*;
use crate::hooks::{HookStep, Hooks};
use crate::receipts::tree::{StoredNodes, TreeNodes};

impl TestChain {
    /// Opens the chain once more, as a server does.
    fn signing(self) -> Self {
        let Self { dir, receipts } = self;
        drop(receipts);
        let receipts = ReceiptFile::open(dir.path()).unwrap().signing().unwrap();
        Self { dir, receipts }
    }

    fn signed_heads(&self) -> Vec<SignedTreeHead> {
        let mut heads = Vec::new();
        walk_heads(&self.dir.path().join(HEADS_NAME), |head, _| {
            heads.push(head.clone());
            Ok::<_, ReceiptsError>(())
        })
        .unwrap();
        heads
    }

    /// Proves the erasures of these entries, and checks the proofs.
    fn assert_proven(&self, entries: &[ReceiptEntry]) {
        let key = self.receipts.key().unwrap();
        for entry in entries {
            let ReceiptEntry::Erasure(receipt) = entry else { panic!() };
            let proof = self.receipts.prove(receipt.job).unwrap().unwrap();
            assert_eq!(proof.check(&key), Ok((**receipt).clone()));
        }
    }
}

#[test]
fn every_receipt_is_proven_by_the_head_of_each_append_after_it() {
    let room = TestChain::new(&[erasure(1), erasure(2)]).signing();
    let head = room.receipts.signed_head().unwrap();
    assert_eq!((head.first, head.tree_size, head.chain()), (0, 2, room.receipts.head()));
    let entries: Vec<_> = (3..40).map(erasure).collect();
    for (n, entry) in entries.iter().enumerate() {
        room.receipts.append(std::slice::from_ref(entry)).unwrap();
        room.assert_proven(&entries[..=n]);
        assert_eq!(room.receipts.signed_head().unwrap().chain(), room.receipts.head());
    }
    assert_eq!(room.receipts.prove(JobId::random()).unwrap(), None);
    let (key, heads) = (room.receipts.key().unwrap(), room.signed_heads());
    assert_eq!(heads.len(), 38, "one an append, and one of the start");
    assert!(heads.iter().all(|head| head.is_signed_by(&key)));
    assert_eq!(heads.last(), room.receipts.signed_head().as_ref());
    // A start that finds nothing new signs nothing.
    let room = room.signing();
    assert_eq!((room.signed_heads().len(), room.receipts.key()), (38, Some(key)));
    room.assert_proven(&entries);
}

#[test]
fn a_proof_holds_for_its_key_its_entry_and_its_head_alone() {
    let entries = [erasure(1), pause(2), erasure(3)];
    let room = TestChain::new(&entries).signing();
    let key = room.receipts.key().unwrap();
    let proof = room.receipts.prove(entries[0].job().unwrap()).unwrap().unwrap();
    let other_key = TestChain::new(&[]).signing().receipts.key().unwrap();
    assert_eq!(proof.check(&other_key), Err(ProofError::OtherKey(key.id().to_string())));
    let mut changed = proof.clone();
    changed.erasure.entry = changed.erasure.entry.replace("\"files\":17", "\"files\":16");
    assert_eq!(changed.check(&key), Err(ProofError::NotIncluded));
    let mut changed = proof.clone();
    changed.head.tree_size += 1;
    assert_eq!(changed.check(&key), Err(ProofError::Signature));
    let mut changed = proof.clone();
    changed.head.key_id = other_key.id();
    assert_eq!(changed.check(&other_key), Err(ProofError::Signature));
    // Another entry of the same tree is no receipt.
    let nodes = StoredNodes::open(room.dir.path()).unwrap();
    let mut changed = proof.clone();
    changed.erasure = EntryProof {
        entry: serde_json::to_string(&entries[1]).unwrap(),
        leaf_index: 1,
        inclusion: crate::receipts::tree::inclusion_path(&nodes, 1, 3).unwrap(),
    };
    assert_eq!(changed.check(&key), Err(ProofError::NoReceipt));
}

fn epoch_end(hour: i64, epoch: u64) -> ReceiptEntry {
    ReceiptEntry::Epoch { at: at(hour), epoch }
}

#[test]
fn a_proof_has_the_end_of_its_epoch_once_there_is_one_and_no_other_epochs() {
    let keyed = |hour, epoch| {
        let key = crate::job::KeyDestruction { destroyed_at: at(hour), epoch };
        ReceiptEntry::Erasure(Box::new(Receipt { key: Some(key), ..receipt(hour) }))
    };
    let entries = [keyed(1, 4), keyed(2, 5), epoch_end(3, 4), keyed(4, 5)];
    let room = TestChain::new(&entries).signing();
    let key = room.receipts.key().unwrap();
    let prove = |room: &TestChain, entry: &ReceiptEntry| {
        let proof = room.receipts.prove(entry.job().unwrap()).unwrap().unwrap();
        proof.check(&key).unwrap();
        assert_eq!(prove_erasure(room.dir.path(), entry.job().unwrap()).unwrap(), proof);
        proof
    };
    let of_ended = prove(&room, &entries[0]);
    assert_eq!(of_ended.epoch_ended(), Some(at(3)));
    let of_going_on = prove(&room, &entries[1]);
    assert_eq!(of_going_on.epoch_ended(), None);
    assert_every_byte_counts(&serde_json::to_string_pretty(&of_ended).unwrap(), &key);
    // The end of another epoch is no proof of this one's, nor is another entry.
    let mut changed = of_going_on.clone();
    changed.epoch.clone_from(&of_ended.epoch);
    assert_eq!(changed.check(&key), Err(ProofError::OtherEpoch));
    changed.epoch = Some(of_going_on.erasure.clone());
    assert_eq!(changed.check(&key), Err(ProofError::OtherEpoch));
    room.receipts.append(&[epoch_end(5, 5)]).unwrap();
    assert_eq!(prove(&room, &entries[1]).epoch_ended(), Some(at(5)));
    // Found again by a start, and behind a pruned part.
    let room = room.signing();
    assert_eq!(prove(&room, &entries[0]).epoch_ended(), Some(at(3)));
    assert_eq!(room.prune(2), Some(1));
    assert_eq!(prove(&room, &entries[3]).epoch_ended(), Some(at(5)));
    let room = room.signing();
    assert_eq!(prove(&room, &entries[1]).epoch_ended(), Some(at(5)));
}

/// Every byte of a proof, each with three of its bits turned.
fn assert_every_byte_counts(text: &str, key: &ReceiptKey) {
    let checked = |text: &[u8]| {
        let proof = ReceiptProof::parse(text)?;
        match &proof {
            ReceiptProof::Erasure(proof) => proof.check(key).map(drop)?,
            ReceiptProof::Consistency(proof) => proof.check(key)?,
        }
        Ok::<_, ProofError>(proof)
    };
    let whole = checked(text.as_bytes()).unwrap();
    for place in 0..text.len() {
        for bits in [1, 4, 32] {
            let mut changed = text.as_bytes().to_vec();
            changed[place] ^= bits;
            let Ok(other) = checked(&changed) else { continue };
            assert_eq!(other, whole, "byte {place}, {bits}: {}", String::from_utf8_lossy(&changed));
        }
    }
}

#[test]
fn no_byte_of_a_proof_can_be_changed() {
    let entries: Vec<_> = (1..8).map(erasure).collect();
    let room = TestChain::new(&entries[..3]).signing();
    room.receipts.append(&entries[3..]).unwrap();
    let key = room.receipts.key().unwrap();
    let proof = room.receipts.prove(entries[4].job().unwrap()).unwrap().unwrap();
    assert_every_byte_counts(&serde_json::to_string_pretty(&proof).unwrap(), &key);
    let proof = prove_consistency(room.dir.path(), 3, None).unwrap();
    assert_every_byte_counts(&serde_json::to_string_pretty(&proof).unwrap(), &key);
}

#[test]
fn heads_are_consistent_however_the_chain_is_pruned() {
    let entries: Vec<_> = (1..30).map(erasure).collect();
    let room = TestChain::new(&entries[..3]).signing();
    for pair in entries[3..].chunks(2) {
        room.receipts.append(pair).unwrap();
    }
    let old = room.signed_heads();
    let key = room.receipts.key().unwrap();
    for (n, first) in old.iter().enumerate() {
        for second in &old[n..] {
            let proof = prove_consistency(room.dir.path(), first.tree_size, Some(second.tree_size)).unwrap();
            assert_eq!(proof.check(&key), Ok(()));
            let mut changed = proof.clone();
            changed.earlier = old[(n + 1) % old.len()].clone();
            assert!(changed.check(&key).is_err());
        }
    }
    assert_eq!(room.prune(20), Some(19));
    let room = room.signing();
    // The tree is the same one, and heads of what was pruned are gone.
    let nodes = StoredNodes::open(room.dir.path()).unwrap();
    for head in &old {
        assert_eq!(nodes.range(0, head.tree_size).unwrap(), head.root_hash);
    }
    assert!(room.signed_heads().iter().all(|head| head.chain().count > 19 && head.first == 0));
    assert_eq!(room.signed_heads().last().unwrap().tree_size, 30);
    room.receipts.append(&[erasure(40)]).unwrap();
    assert_eq!(room.signed_heads().last().unwrap().tree_size, 31);
    room.assert_proven(&entries[19..]);
    assert_eq!(room.receipts.prove(entries[0].job().unwrap()).unwrap(), None, "it was pruned");
    prove_consistency(room.dir.path(), 21, Some(31)).unwrap().check(&key).unwrap();
    assert!(matches!(prove_consistency(room.dir.path(), 3, None), Err(ProofLack::NoSuchHead(3))));
}

#[test]
fn a_chain_that_an_earlier_version_pruned_has_a_tree_behind_its_checkpoint() {
    let entries: Vec<_> = (1..9).map(erasure).collect();
    let room = TestChain::new(&entries);
    assert_eq!(room.prune(5), Some(4));
    for name in ["receipts.tree", "receipts.heads", "receipts.key"] {
        let _ = std::fs::remove_file(room.dir.path().join(name));
    }
    let room = room.signing();
    let head = room.receipts.signed_head().unwrap();
    assert_eq!((head.first, head.tree_size, head.chain()), (4, 5, room.receipts.head()));
    room.assert_proven(&entries[4..]);
    // It is pruned again, and the tree goes on from there.
    assert_eq!(room.prune(7), Some(6));
    let room = room.signing();
    assert_eq!(room.receipts.signed_head().unwrap().first, 4);
    room.assert_proven(&entries[6..]);
}

#[test]
fn a_new_key_is_made_for_a_lost_one_and_old_heads_are_checked_with_the_old_one() {
    let entries = [erasure(1), erasure(2)];
    let room = TestChain::new(&entries).signing();
    let (old_key, proof) = (room.receipts.key().unwrap(), room.receipts.prove(entries[0].job().unwrap()));
    std::fs::remove_file(room.dir.path().join("receipts.key")).unwrap();
    let room = room.signing();
    let key = room.receipts.key().unwrap();
    assert_ne!(key, old_key);
    room.assert_proven(&entries);
    assert_eq!(room.receipts.signed_head().unwrap().key_id, key.id());
    assert!(proof.unwrap().unwrap().check(&old_key).is_ok());
    assert_eq!(room.signed_heads().len(), 2, "of both keys");
}

#[test]
fn torn_damaged_and_missing_heads_and_nodes_are_made_anew() {
    let entries = [erasure(1), erasure(2), erasure(3)];
    let mut room = TestChain::new(&entries).signing();
    let whole = std::fs::read(room.dir.path().join(HEADS_NAME)).unwrap();
    let torn = [&whole[..], &whole[..100]].concat();
    let strange = [&whole[..], b"something\n"].concat();
    for (name, content) in [
        (HEADS_NAME, None),
        (HEADS_NAME, Some(&torn)),
        (HEADS_NAME, Some(&strange)),
        (HEADS_NAME, Some(&Vec::new())),
        ("receipts.tree", None),
        ("receipts.tree", Some(&torn)),
    ] {
        let path = room.dir.path().join(name);
        match content {
            Some(content) => std::fs::write(&path, content).unwrap(),
            None => std::fs::remove_file(&path).unwrap(),
        }
        room = room.signing();
        room.assert_proven(&entries);
    }
}

#[test]
fn no_head_is_signed_of_what_is_not_durable() {
    let room = TestChain::new(&[erasure(1)]).signing();
    let before = room.receipts.signed_head();
    let read_only = Arc::new(File::open(room.path()).unwrap());
    let file = room.receipts.end.lock().file.swap(read_only);
    let entry = erasure(2);
    assert!(room.receipts.append(std::slice::from_ref(&entry)).is_err());
    assert_eq!(room.receipts.signed_head(), before);
    assert_eq!(room.receipts.prove(entry.job().unwrap()).unwrap(), None);
    room.receipts.end.lock().file.swap(file);
    assert_eq!(room.signing().signed_heads().len(), 1);

    // The line is written, and the sync is still to come.
    let (seen, steps) = std::sync::mpsc::channel();
    let path = tempfile::tempdir().unwrap();
    let heads = path.path().join(HEADS_NAME);
    let hooks = Hooks::directed(move |step| {
        let length = std::fs::metadata(&heads).map_or(0, |heads| heads.len());
        seen.send((step, length)).unwrap();
    });
    let receipts = ReceiptFile::open(path.path()).unwrap().with_hooks(hooks).signing().unwrap();
    receipts.append(&[erasure(1)]).unwrap();
    let steps: Vec<_> = steps.try_iter().collect();
    let [
        (HookStep::ReceiptSigned, first),
        (HookStep::ReceiptWritten, written),
        (HookStep::ReceiptSigned, signed),
    ] = steps[..]
    else {
        panic!("{steps:?}")
    };
    assert!(first == written && signed > written, "{steps:?}");
}

#[test]
fn a_tree_or_a_list_of_heads_that_cannot_be_written_stops_no_append() {
    let entries = [erasure(1), erasure(2), erasure(3)];
    let room = TestChain::new(&entries[..1]).signing();
    let read_only = Arc::new(File::open(room.path()).unwrap());
    room.receipts.end.lock().heads.as_mut().map(|heads| heads.swap(read_only.clone())).unwrap();
    room.receipts.append(&entries[1..2]).unwrap();
    room.assert_proven(&entries[..2]);
    room.receipts.end.lock().tree.as_mut().map(|tree| tree.swap(read_only)).unwrap();
    room.receipts.append(&entries[2..]).unwrap();
    assert!(room.receipts.has(entries[2].job().unwrap()));
    assert_eq!(room.receipts.prove(entries[2].job().unwrap()).unwrap(), None);
    assert!(room.receipts.cut(room.heads()[0]).is_err(), "the hashes of what would go are not there");
    room.signing().assert_proven(&entries);
}

#[test]
fn a_chain_that_is_mended_while_it_is_open_has_its_tree() {
    let entries = [erasure(1), erasure(2), erasure(3)];
    let room = TestChain::new(&entries[..2]).signing();
    std::fs::remove_file(room.path()).unwrap();
    room.receipts.append(&entries[2..]).unwrap();
    let head = room.receipts.signed_head().unwrap();
    assert_eq!((head.tree_size, head.chain()), (4, room.receipts.head()), "and the entry of the gap");
    room.assert_proven(&entries);
    let heads = room.signed_heads();
    prove_consistency(room.dir.path(), 2, None).unwrap().check(&room.receipts.key().unwrap()).unwrap();
    assert_eq!(heads.len(), 2);
}
