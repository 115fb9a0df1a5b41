//! What clients find in the next process, and in the end.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use super::{Clients, Known, STARTS};
use crate::support::{
    Answer, Exported, Server, Setup, assert_hidden, delete, eventually, file_url, get, polling_url,
};

impl Clients {
    /// After a start: all that was acknowledged is as it was.
    pub fn check(&self, server: &Server) {
        for (id, known) in &mut *self.jobs.lock().unwrap() {
            if known.hidden < STARTS {
                self.check_job(server, id, known);
            }
        }
    }

    fn check_job(&self, server: &Server, id: &str, known: &mut Known) {
        let files = known.exported.as_ref().map(|exported| &exported.files[..]).unwrap_or_default();
        let all_answered = known.asked > 0 && known.asked == known.answered;
        assert!(!all_answered || known.is_gone() || known.may_expire, "{id}: no DELETE of it got a 202");
        let answer = get(&polling_url(server, id));
        if answer.status == 404 {
            // If it was not acknowledged the mark was durable, and only its 202 was lost.
            assert!(known.may_be_gone(), "{id} is lost: {answer:?}");
            assert_hidden(server, id, files);
            // Its files need not be asked for after every kill.
            known.exported = None;
            known.seen_gone = true;
            known.hidden += 1;
        } else {
            assert!(!known.is_gone(), "{id} is back: {answer:?}");
            self.assert_follows(id, known, answer.status);
            for (name, before) in files {
                self.check_file(known, &get(&file_url(server, id, name)), before);
            }
        }
        (known.asked, known.answered) = (0, 0);
    }

    fn check_file(&self, known: &Known, now: &Answer, before: &[u8]) {
        let intact = now.status == 200 && now.body == before;
        assert!(intact || known.may_expire && now.status == 404, "a file is not what it was: {now:?}");
    }

    /// Waits for what still runs, then deletes all that is there, known to clients or not.
    pub fn delete_all(&self, setup: &Setup, server: &Server) {
        for id in self.ids() {
            let polling = polling_url(server, &id);
            let answer = eventually("the end of the export", || {
                Some(get(&polling)).filter(|answer| answer.status != 202)
            });
            let known = self.with(&id, |known| known.clone());
            if answer.status == 404 {
                assert!(known.may_be_gone(), "{id} is lost: {answer:?}");
                assert_hidden(server, &id, &[]);
                continue;
            }
            assert!(!known.is_gone(), "{id} is back: {answer:?}");
            self.assert_follows(&id, &known, answer.status);
            self.with(&id, |known| known.failed |= answer.status >= 500);
            if answer.status == 200 {
                self.seen(Exported::of(&polling, &answer.json()));
            }
            assert_eq!(delete(&polling).status, 202);
        }
        let failed = self.jobs.lock().unwrap().values().filter(|known| known.failed).count();
        assert!(failed <= self.faults.load(Ordering::Relaxed) as usize, "{failed} exports have failed");
        // Their 202 was lost: they were resumed all the same, unless they are orphans.
        let disk = setup.disk();
        for id in [disk.jobs("building"), disk.jobs("ready")].concat() {
            let answer = delete(&polling_url(server, &id));
            assert!(matches!(answer.status, 202 | 404), "{answer:?}");
        }
    }

    /// Every receipt says what has happened to its job (P9). Gives how many of each reason.
    pub fn check_receipts(&self, setup: &Setup) -> BTreeMap<String, u32> {
        let jobs = self.jobs.lock().unwrap();
        let mut reasons = BTreeMap::new();
        for receipt in setup.receipts() {
            let known = jobs.get(receipt["job"].as_str().unwrap());
            let reason = receipt["reason"].as_str().unwrap();
            let fits = match (reason, known) {
                ("deleted" | "cancelled", _) => receipt["by"].is_string(),
                ("expired", Some(known)) => known.may_expire && !known.accepted,
                ("expired", None) => true,
                // Nobody was told of it.
                ("orphan", known) => known.is_none(),
                // No kill takes anything from the store that was acknowledged.
                _ => false,
            };
            assert!(fits, "{receipt}");
            *reasons.entry(reason.to_string()).or_default() += 1;
        }
        reasons
    }
}
