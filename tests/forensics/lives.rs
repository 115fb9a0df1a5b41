//! The lives of exports on the disk, and the instants at which somebody looks at it.

use std::path::PathBuf;

use evanesce::clock::Clock;
use evanesce::config::Config;
use evanesce::hooks::Hooks;
use evanesce::{JobId, keys};
use rustix::process::Signal;
use tempfile::TempDir;

use super::KeyPlace;
use super::attack::Loot;
use super::raw_disk::{RawDisk, files_of};
use crate::support::{Server, Setup, delete, eventually, generate, get, job_id};

/// What is planted, and where.
pub const PLANTED: [(&str, &str); 5] = [
    ("marker in a resource", "Planted-Resource-4711"),
    ("id of a patient", "Planted-Patient-4712"),
    ("name of a source file", "Planted-File-4713"),
    ("parameter of a kick-off", "Planted-Filter-4714"),
    ("id of a group", "Planted-Group-4715"),
];

/// Exports stand still after this many bytes.
const BRAKE: u64 = 150_000;

/// A disk with a server on it, and the source beside it.
pub struct Lives {
    disk: RawDisk,
    source: TempDir,
    keys: TempDir,
    place: KeyPlace,
    is_encrypted: bool,
}

impl Lives {
    pub fn new(mut disk: RawDisk, encryption: &str, place: KeyPlace) -> Self {
        let (source, keys) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        generate(source.path(), 6, 7, &[]);
        let [resource, patient, file, _, group] = PLANTED.map(|(_, text)| text);
        let text = format!(
            "{{\"resourceType\":\"Patient\",\"id\":\"{patient}\",\"name\":[{{\"text\":\"{resource}\"}}]}}\n\
             {{\"resourceType\":\"Group\",\"id\":\"{group}\",\"actual\":true,\"type\":\"person\",\
             \"member\":[{{\"entity\":{{\"reference\":\"Patient/{patient}\"}}}}]}}\n"
        );
        let note = |n| {
            format!(
                "{{\"resourceType\":\"Observation\",\"id\":\"o-{n}\",\"subject\":{{\"reference\":\"Patient/{patient}\"}},\
                 \"valueString\":\"{resource} {n} {}\"}}\n",
                "noted at the bedside ".repeat(40)
            )
        };
        let notes: String = (0..400).map(note).collect();
        std::fs::write(source.path().join(format!("{file}.ndjson")), text + &notes).unwrap();
        disk.setup.source = source.path().into();
        let mut sets = vec![
            format!("storage.encryption={encryption}"),
            "export.part_bytes=65536".into(),
            "retention.orphan_grace=0s".into(),
            "reaper.interval=50ms".into(),
            "download.delete_grace=20ms".into(),
        ];
        if place == KeyPlace::Outside {
            sets.push(format!("keys.folder={}", keys.path().join("keys").display()));
        }
        disk.setup.sets.extend(sets);
        Self { disk, source, keys, place, is_encrypted: encryption != "none" }
    }

    /// Returns all lines of the source.
    pub fn source_lines(&self) -> Vec<Vec<u8>> {
        let files = std::fs::read_dir(self.source.path()).unwrap();
        let texts = files.map(|file| std::fs::read(file.unwrap().path()).unwrap());
        texts
            .flat_map(|text| text.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect::<Vec<_>>())
            .collect()
    }

    /// Returns what a server writes beside its exports that has none of this source.
    pub fn common_text() -> Vec<u8> {
        let source = tempfile::tempdir().unwrap();
        std::fs::write(source.path().join("a.ndjson"), "{\"resourceType\":\"Patient\",\"id\":\"a\"}\n")
            .unwrap();
        let setup = Setup::new().source(source.path());
        let server = setup.start();
        let (polling, _) = server.export("$export");
        assert_eq!(delete(&polling).status, 202);
        setup.receipt(job_id(&polling));
        server.kill();
        let files = files_of(&setup.data_dir());
        let is_beside = |path: &PathBuf| !path.starts_with(setup.data_dir().join("trash"));
        files.iter().filter(|path| is_beside(path)).flat_map(|path| std::fs::read(path).unwrap()).collect()
    }

    /// Ends the epoch, of a server that is stopped.
    fn turn_epoch(&self) {
        let setup = &self.disk.setup;
        let mut sets: Vec<_> = setup.sets.iter().filter(|set| set.starts_with("keys.")).cloned().collect();
        sets.push(format!("storage.data_dir={}", setup.data_dir().display()));
        let config = Config::load(None, &sets).unwrap();
        keys::open(&config, Clock::system(), Hooks::default()).unwrap().turn(|_| true).unwrap();
    }

    /// Lives through everything, and lets `look` look at the disk at each instant. Returns what a thief
    /// has taken.
    pub fn run(self, mut look: impl FnMut(&'static str, &RawDisk)) -> Loot {
        let setup = &self.disk.setup;
        let mut loot = Loot::default();
        let outside = (self.place == KeyPlace::Outside).then(|| self.keys.path());
        let [.., filter, group] = PLANTED.map(|(_, text)| text);
        let queries = [
            format!("Group/{group}/$export"),
            format!("Patient/$export?_typeFilter=Patient%3Fname%3D{filter}"),
            "$export".to_owned(),
        ];

        let server = setup.start();
        setup.brake(BRAKE);
        let cancelled: Vec<_> = queries.iter().map(|query| server.kickoff(query)).collect();
        self.wait_written(&cancelled[0]);
        self.look("while exports run", &server, &mut look);
        loot.take_slots(&self.disk.image());
        for polling in &cancelled {
            delete_job(polling, &mut loot);
        }
        self.wait_erased(&loot);
        self.look("cancelled", &server, &mut look);

        setup.release_brake();
        let complete: Vec<_> = queries.iter().map(|query| server.export(query).0).collect();
        self.look("complete", &server, &mut look);
        loot.take_slots(&self.disk.image());
        for polling in &complete {
            delete_job(polling, &mut loot);
        }
        self.wait_erased(&loot);
        self.look("deleted", &server, &mut look);
        server.kill();

        // The process dies in the middle, and the next one is told to forget the job.
        let mut server = setup.start_with(&["--breakpoint", "part-sealed=kill"]);
        let (killed, _) = server.kickoff_to_the_end(&queries[0]);
        self.disk.write_out();
        loot.take_slots(&self.disk.image());
        look("killed", &self.disk);
        setup.brake(BRAKE);
        let server = setup.start();
        let killed = format!("{}/bulk-api/request/{}", server.base, job_id(&killed));
        delete_job(&killed, &mut loot);
        self.wait_erased(&loot);
        setup.release_brake();
        self.look("killed and cancelled", &server, &mut look);
        server.kill();

        // Time takes it.
        let server = setup.start_with(&["--set", "retention.completed=3s"]);
        loot.erased.push(id(&server.export(&queries[0]).0));
        self.disk.write_out();
        loot.take_slots(&self.disk.image());
        self.wait_erased(&loot);
        self.look("expired", &server, &mut look);
        loot.take_keys_before(&self.disk.image(), outside);

        // The source is another one in the middle.
        setup.brake(BRAKE);
        let failed = server.kickoff(&queries[2]);
        self.wait_written(&failed);
        for file in std::fs::read_dir(self.source.path()).unwrap() {
            std::fs::write(file.unwrap().path(), "").unwrap();
        }
        setup.release_brake();
        let answer = eventually("the end", || Some(get(&failed)).filter(|answer| answer.status != 202));
        assert_eq!(answer.status, 500, "{answer:?}");
        self.look("failed", &server, &mut look);
        loot.take_slots(&self.disk.image());
        delete_job(&failed, &mut loot);
        self.wait_erased(&loot);
        self.look("failed and deleted", &server, &mut look);
        server.kill();

        // The end of the epoch.
        if !self.is_encrypted {
            return loot;
        }
        self.turn_epoch();
        self.disk.write_out();
        loot.take_slots(&self.disk.image());
        loot.take_keys_after(&self.disk.image(), outside);
        look("after the end of the epoch", &self.disk);
        loot
    }

    /// Looks while the server stands still, so that what is on the disk is of one instant.
    fn look(&self, instant: &'static str, server: &Server, look: &mut impl FnMut(&'static str, &RawDisk)) {
        server.signal(Signal::STOP);
        look(instant, &self.disk);
        server.signal(Signal::CONT);
    }

    /// Waits until an export has written something: the rest is held back at the brake.
    fn wait_written(&self, polling: &str) {
        let folder = self.disk.setup.data_dir().join("building").join(job_id(polling));
        let written = || -> u64 {
            files_of(&folder)
                .iter()
                .filter_map(|path| std::fs::metadata(path).ok())
                .map(|file| file.len())
                .sum()
        };
        eventually("what an export writes", || (written() >= 1 << 16).then_some(()));
    }

    fn wait_erased(&self, loot: &Loot) {
        for job in &loot.erased {
            self.disk.setup.receipt(&job.to_string());
        }
    }
}

fn id(polling: &str) -> JobId {
    job_id(polling).parse().unwrap()
}

fn delete_job(polling: &str, loot: &mut Loot) {
    assert_eq!(delete(polling).status, 202, "{polling}");
    loot.erased.push(id(polling));
}
