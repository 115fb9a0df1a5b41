//! The end of the chain that the store remembers: a chain that does not go through it says so
//! from then on, and holds nothing up.

use super::*;

/// What the last start said of a gap, and whether its metric tells it.
fn alarms(setup: &Setup, server: &Server) -> (usize, bool) {
    let log = setup.settled_log(server);
    let said = log.lines().filter(|line| line.contains("the end of the receipts was cut off or replaced"));
    let metrics = server.metrics();
    (said.count(), metrics.contains("evanesce_receipts_gaps_total 1"))
}

fn gaps(setup: &Setup) -> Vec<Value> {
    setup.chain().into_iter().filter(|entry| entry["kind"] == "gap").collect()
}

fn as_json(head: &ChainHead) -> Value {
    serde_json::to_value(head).unwrap()
}

#[test]
fn an_end_that_was_cut_off_or_replaced_is_bound_into_the_chain_and_holds_nothing_up() {
    let keep = |count: usize| move |text: &str| text.split_inclusive('\n').take(count).collect::<String>();
    let forge = |text: &str| {
        // The last receipt, told otherwise, with all that belongs to it.
        let mut entries: Vec<ReceiptEntry> = json_lines(text)
            .into_iter()
            .map(|line| serde_json::from_value(line["entry"].clone()).unwrap())
            .collect();
        if let Some(ReceiptEntry::Erasure(receipt)) = entries.last_mut() {
            receipt.files = 0;
        }
        std::fs::read_to_string(chain_of(&entries).0.path().join(receipts::FILE_NAME)).unwrap()
    };
    type Damage<'a> = (&'a str, &'a dyn Fn(&str) -> String, u64);
    let cases: [Damage<'_>; 3] =
        [("cut off", &keep(1), 1), ("emptied", &keep(0), 0), ("replaced", &forge, 2)];
    for (what, damage, found) in cases {
        let setup = Setup::new();
        let server = setup.start();
        erase_one(&server);
        erase_one(&server);
        server.kill();
        let expected = head(&setup);
        let path = setup.data_dir().join(receipts::FILE_NAME);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, damage(&text)).unwrap();
        let end = head(&setup);
        assert_eq!(end.count, found, "{what}");

        let server = setup.start();
        assert_eq!(alarms(&setup, &server), (1, true), "{what}");
        let told = gaps(&setup);
        assert_eq!(told.len(), 1, "{what}");
        assert_eq!(
            (&told[0]["expected"], &told[0]["found"]),
            (&as_json(&expected), &as_json(&end)),
            "{what}"
        );
        // Deletions go on, and the next start has nothing new to say.
        erase_one(&server);
        server.kill();
        let server = setup.start();
        assert_eq!(alarms(&setup, &server), (1, false), "{what}");
        assert_eq!(gaps(&setup).len(), 1, "{what}");
        let figures = receipts_of(&setup.data_dir(), &["verify"]);
        assert!(figures.contains("gaps        1"), "{what}: {figures}");
    }
}

#[test]
fn a_chain_that_is_ahead_of_the_store_is_no_gap_and_is_guarded_from_then_on() {
    let setup = Setup::new();
    let server = setup.start();
    erase_one(&server);
    server.kill();
    // Something that the store never heard of: its commit was lost in a crash.
    let chain = ReceiptFile::open(&setup.data_dir()).unwrap();
    let ahead = chain.append(&every_kind()[3..5]).unwrap();
    drop(chain);
    let server = setup.start();
    assert_eq!(alarms(&setup, &server), (0, false));
    server.kill();
    assert_eq!(head(&setup), ahead, "nothing is added");
    // The start has told the store: what is cut off now is missed, and nothing was erased since.
    let path = setup.data_dir().join(receipts::FILE_NAME);
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.split_inclusive('\n').take(2).collect::<String>()).unwrap();
    let server = setup.start();
    assert_eq!(alarms(&setup, &server), (1, true));
    assert_eq!(gaps(&setup)[0]["expected"], as_json(&ahead));
    drop(server);
}

#[test]
fn a_crash_before_the_store_hears_of_a_gap_does_no_harm() {
    let setup = Setup::new();
    let server = setup.start();
    erase_one(&server);
    server.kill();
    let (expected, path) = (head(&setup), setup.data_dir().join(receipts::FILE_NAME));
    std::fs::write(&path, "").unwrap();
    // As if killed after the gap was appended: the store still expects the old end.
    let at = "2026-01-01T00:00:00Z".parse().unwrap();
    let gap = ReceiptEntry::Gap { at, expected, found: ChainHead::EMPTY };
    let chain = ReceiptFile::open(&setup.data_dir()).unwrap();
    chain.append(&[gap]).unwrap();
    drop(chain);
    let server = setup.start();
    erase_one(&server);
    server.kill();
    let server = setup.start();
    assert_eq!(alarms(&setup, &server).0, 1, "told once more, and then no more");
    receipts::verify(&path).unwrap();
}
