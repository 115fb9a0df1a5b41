//! The store's files are damaged while the server is down: bits turned over, pages zeroed,
//! files cut off or put back to an older state. The next start heals it by the join (P1, P2,
//! P6, P7, P11) or refuses with exit code 2 and says what to do; it never serves what was
//! deleted, loses what is live, panics or hangs.
//!
//! `EVANESCE_TEST_DAMAGES` is how many damages are tried (default 40).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

use super::copy_folder;
use crate::support::*;

/// A data directory with a job in each stage that a store may have to be healed of.
struct Base {
    setup: Setup,
    whole: PathBuf,
    /// The store when there was nothing but the first complete job.
    older: PathBuf,
    complete: Vec<Exported>,
    /// Its 202 is out, its files are in `trash/`.
    marked: Exported,
    erased: Exported,
    running: String,
    /// What the join does about a store that is whole.
    usual: BTreeSet<String>,
}

impl Base {
    fn new() -> Self {
        let setup = Setup::new().set("export.part_bytes=65536").set("source.watch=false");
        let server = setup.start();
        let export = |server: &Server, path: &str| {
            let (polling, manifest) = server.export(path);
            Exported::of(&polling, &manifest)
        };
        let mut complete = vec![export(&server, "$export?_type=Patient")];
        server.kill();
        let older = setup.folder.path().join("older");
        copy_folder(&setup.data_dir().join("store"), &older);

        let server = setup.start();
        complete.push(export(&server, "$export?_type=Patient,Encounter,Condition"));
        let erased = export(&server, "$export?_type=Patient");
        assert_eq!(delete(&polling_url(&server, &erased.id)).status, 202);
        setup.receipt(&erased.id);
        crate::support::wait_settled(&setup, &server, &complete.iter().map(|job| job.id.clone()).collect());
        server.kill();
        // One process does the rest, so that much of the log is younger than any snapshot.
        let mut server = setup.start_with(&[
            "--breakpoint",
            "sweep-begins=hold",
            "--breakpoint",
            "acknowledged>part-sealed:3=kill",
            "--set",
            "export.max_bytes_per_second=1000000",
        ]);
        let marked = export(&server, "$export?_type=Patient,Location");
        assert_eq!(delete(&polling_url(&server, &marked.id)).status, 202);
        let (running, _) = server.kickoff_to_the_end("$export");
        let whole = setup.folder.path().join("whole");
        std::fs::rename(setup.data_dir(), &whole).unwrap();
        let usual = BTreeSet::new();
        let mut base = Self { setup, whole, older, complete, marked, erased, running, usual };
        base.try_with(|_| "nothing".into());
        base.usual = base.cures();
        base
    }

    /// Starts a server on a copy of the data directory with a damaged store.
    fn try_with(&self, damage: impl FnOnce(&Path) -> String) -> Fate {
        let data = self.setup.data_dir();
        let _ = std::fs::remove_dir_all(&data);
        copy_folder(&self.whole, &data);
        let what = damage(&data.join("store"));
        std::fs::write(self.setup.folder.path().join("log"), "").unwrap();
        let files = self.setup.disk().files();
        let server = match self.setup.try_launch(self.setup.command()) {
            Ok(server) => server,
            Err(end) => {
                let said = self.setup.log();
                assert_eq!(end.code(), Some(2), "{what}: {end:?}: {said}");
                assert!(said.contains("fsck --rebuild"), "{what}: it does not say what to do: {said}");
                assert_eq!(self.setup.disk().files(), files, "{what}: something was removed");
                return Fate::Refused;
            }
        };
        self.check(&what, &server);
        server.kill();
        let jobs = BTreeSet::from([self.erased.id.clone(), self.marked.id.clone()]);
        crate::support::assert_receipts(&self.setup, &jobs);
        assert_disk_equals_store(&self.setup);
        if self.cures() == self.usual { Fate::Unharmed } else { Fate::Healed }
    }

    /// What the join found, and did about it.
    fn cures(&self) -> BTreeSet<String> {
        let log = self.setup.log();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let joined = lines.filter(|line| line["message"] == "the witnesses of a job differ and are joined");
        joined.map(|line| format!("{} {} {}", line["job"], line["testimony"], line["cure"])).collect()
    }

    fn check(&self, what: &str, server: &Server) {
        for job in &self.complete {
            let status = get(&polling_url(server, &job.id)).status;
            assert_eq!(status, 200, "{what}: a complete job is gone: {}", self.setup.log());
            job.assert_intact(server);
        }
        for job in [&self.erased, &self.marked] {
            assert_hidden(server, &job.id, &job.files);
        }
        assert_erased(&self.setup, server, &self.marked.id, &self.marked.files, &["deleted", "recovered"]);
        let running = Exported::wait(server, &self.running);
        running.assert_is_the_source(&self.setup.source, |_| true);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    /// It started as if nothing had happened.
    Unharmed,
    /// It started, and the join had something to do.
    Healed,
    /// Exit code 2.
    Refused,
}

/// The store's files, by their names.
fn files(store: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(store).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files.filter(|path| path.is_file()).collect();
    files.sort();
    files
}

/// Damages one file of the store and says how.
fn damage(random: &mut Pcg64, store: &Path, older: &Path) -> String {
    let files = files(store);
    let log = store.join("db");
    let path = if random.random_bool(0.7) { &log } else { &files[random.random_range(0..files.len())] };
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    let mut content = std::fs::read(path).unwrap();
    // Most of a log is zeros: rather where there is something.
    let used: Vec<_> = (0..content.len()).filter(|n| content[*n] != 0).collect();
    let from = if random.random_bool(0.5) { used.len() / 2 } else { 0 };
    let at = if used.is_empty() { 0 } else { used[random.random_range(from..used.len())] };
    let what = match random.random_range(0..10) {
        0..6 if !content.is_empty() => {
            let bit = random.random_range(0..8);
            content[at] ^= 1 << bit;
            format!("bit {bit} of byte {at} of {name}")
        }
        6 | 7 if !content.is_empty() => {
            let (start, end) = (at & !4095, ((at & !4095) + 4096).min(content.len()));
            content[start..end].fill(0);
            format!("zeros from {start} to {end} of {name}")
        }
        8 if older.join(&name).exists() => {
            content = std::fs::read(older.join(&name)).unwrap();
            format!("an older {name}")
        }
        _ => {
            content.truncate(at);
            format!("{name} cut off at {at}")
        }
    };
    std::fs::write(path, content).unwrap();
    what
}

#[test]
fn a_damaged_store_is_healed_by_the_join_or_refused_and_nothing_is_lost_or_comes_back() {
    let base = Base::new();
    let count = std::env::var("EVANESCE_TEST_DAMAGES").map_or(40, |count| count.parse().unwrap());
    let seed = std::env::var("EVANESCE_TEST_SEED").map_or(1, |seed| seed.parse().unwrap());
    let mut random = Pcg64::seed_from_u64(seed);
    let mut fates = std::collections::BTreeMap::<_, u32>::new();
    for n in 0..count {
        let mut what = String::new();
        let fate = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            base.try_with(|store| {
                what = damage(&mut random, store, &base.older);
                what.clone()
            })
        }));
        match fate {
            Ok(fate) => *fates.entry(fate).or_default() += 1,
            Err(panic) => {
                eprintln!("damage {n} of seed {seed}: {what}");
                std::panic::resume_unwind(panic);
            }
        }
    }
    println!("{count} damaged stores: {fates:?}");
}

#[test]
fn a_snapshot_of_the_store_that_was_only_begun_is_no_damage() {
    let setup = Setup::new();
    let server = setup.start();
    let (polling, manifest) = server.export("$export?_type=Patient");
    let job = Exported::of(&polling, &manifest);
    server.kill();
    for begun in ["", "half of a snapsh"] {
        let name = "snap.00000000FFFFFFFF.generating";
        std::fs::write(setup.data_dir().join("store").join(name), begun).unwrap();
        let server = setup.start();
        job.assert_intact(&server);
        server.kill();
    }
}
