//! Going back in time: the data directory is as a whole that of an earlier time, or its store alone is. With a head
//! that is kept elsewhere (`receipts.witness`) nothing that was erased since is served again (P2): the start
//! is refused, and a newer copy of the receipts has the erasures done again.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::support::{
    Exported, Server, Setup, assert_erased, delete, evanesce_command, eventually, file_url, generate, get,
    polling_url, run, wait_settled,
};

fn copy_with_modes(from: &Path, to: &Path) {
    run(Command::new("cp").arg("-a").arg(from).arg(to)).unwrap();
}

/// A data directory, what it was before two deletions, and what is kept elsewhere.
struct History {
    setup: Setup,
    _source: TempDir,
    elsewhere: TempDir,
    jobs: [Exported; 2],
    kept: Exported,
}

impl History {
    /// Two deletions behind the old state, with or without a witness.
    fn begin(is_witnessed: bool) -> Self {
        let (source, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        generate(source.path(), 2, 7, &[]);
        let mut setup = Setup::new().source(source.path());
        if is_witnessed {
            setup = setup.set(&format!("receipts.witness={}", elsewhere.path().join("head").display()));
        }
        let server = setup.start();
        let export = || {
            let (polling, manifest) = server.export("$export?_type=Patient");
            Exported::of(&polling, &manifest)
        };
        let [gone, first, second, kept] = [export(), export(), export(), export()];
        assert_eq!(delete(&polling_url(&server, &gone.id)).status, 202);
        server.wait_erased(&gone.id);
        server.kill();
        let history = Self { setup, _source: source, elsewhere, jobs: [first, second], kept };
        copy_with_modes(&history.setup.data_dir(), &history.old());
        let server = history.setup.start();
        for job in &history.jobs {
            assert_eq!(delete(&polling_url(&server, &job.id)).status, 202);
            server.wait_erased(&job.id);
        }
        history.kill(server);
        std::fs::copy(history.setup.data_dir().join("receipts.ndjson"), history.copy()).unwrap();
        history
    }

    fn old(&self) -> PathBuf {
        self.setup.folder.path().join("old")
    }

    /// The newer receipts, elsewhere.
    fn copy(&self) -> PathBuf {
        self.elsewhere.path().join("receipts.ndjson")
    }

    fn head(&self) -> PathBuf {
        self.elsewhere.path().join("head")
    }

    /// The entries that the witness has seen.
    fn witnessed(&self) -> u64 {
        let text = std::fs::read_to_string(self.head()).unwrap_or_default();
        let head: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        head["tree_size"].as_u64().unwrap_or_default()
    }

    /// Ends a server once its witness has seen everything.
    fn kill(&self, server: Server) {
        if self.setup.sets.iter().any(|set| set.starts_with("receipts.witness=/")) {
            let entries = self.setup.chain().len() as u64;
            eventually("the witness", || (self.witnessed() == entries).then_some(()));
        }
        server.kill();
    }

    /// The machine is back at the old state: all of the data directory is.
    fn go_back(&self) {
        std::fs::remove_dir_all(self.setup.data_dir()).unwrap();
        copy_with_modes(&self.old(), &self.setup.data_dir());
    }

    fn run(&self, arguments: &[&str]) -> (i32, String) {
        let mut command = evanesce_command();
        command.args(arguments).arg("--data-dir").arg(self.setup.data_dir());
        for set in self.setup.sets.iter().filter(|set| set.starts_with("receipts.")) {
            command.args(["--set", set]);
        }
        let output = command.output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8(text).unwrap())
    }

    fn replay(&self, from: &Path) -> (i32, String) {
        self.run(&["receipts", "replay", "--from", from.to_str().unwrap()])
    }

    /// A start ends before it serves or changes anything, and says what to do.
    fn assert_refused(&self) {
        let receipts = || std::fs::read(self.setup.data_dir().join("receipts.ndjson")).unwrap();
        let before = receipts();
        let Err(status) = self.setup.try_launch(self.setup.command()) else { panic!("it serves") };
        assert_eq!(status.code(), Some(2), "{}", self.setup.log());
        assert!(self.setup.log().contains("evanesce receipts replay --from FILE"), "{}", self.setup.log());
        assert!(receipts() == before, "the receipts were changed");
        let (code, said) = self.run(&["fsck", "--repair"]);
        assert_eq!(code, 4, "{said}");
        assert!(said.contains("evanesce receipts replay --from FILE"), "{said}");
        assert!(receipts() == before, "fsck has changed the receipts");
    }

    /// Both are gone, and their files with them; what was never deleted is as it was.
    fn assert_gone(&self, receipts: usize) {
        let server = self.setup.start();
        for job in &self.jobs {
            for url in [polling_url(&server, &job.id), file_url(&server, &job.id, &job.files[0].0)] {
                assert_eq!(get(&url).status, 404, "{url}");
            }
            assert_erased(&self.setup, &server, &job.id, &job.files, &["deleted"]);
        }
        self.kept.assert_intact(&server);
        wait_settled(&self.setup, &server, &BTreeSet::from([self.kept.id.clone()]));
        self.kill(server);
        evanesce::receipts::verify(&self.setup.data_dir().join("receipts.ndjson")).unwrap();
        let all: Vec<_> = self.setup.receipts().iter().map(|receipt| receipt["job"].to_string()).collect();
        assert_eq!(all.len(), receipts, "{all:?}");
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), receipts, "a job has two receipts");
    }
}

#[test]
fn a_data_directory_that_went_back_is_refused_until_newer_receipts_are_replayed() {
    let history = History::begin(true);
    history.go_back();
    history.assert_refused();
    let (code, said) = history.replay(&history.copy());
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("2 erasures among them; the next start erases these jobs"), "{said}");
    let (code, said) = history.replay(&history.copy());
    assert!(code == 0 && said.contains("nothing was changed"), "{said}");
    history.assert_gone(3);
    history.assert_gone(3);
}

/// Nobody can know: the manual says so, and so does `fsck`.
#[test]
fn without_a_witness_a_data_directory_that_went_back_is_served_and_fsck_says_what_cannot_be_known() {
    let history = History::begin(false);
    history.go_back();
    let (code, said) = history.run(&["fsck"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("nobody can know whether this is the newest data directory"), "{said}");
    let server = history.setup.start();
    history.jobs[0].assert_intact(&server);
    server.kill();
    // Somebody remembers the copy after all.
    history.go_back();
    assert_eq!(history.replay(&history.copy()).0, 0);
    history.assert_gone(3);
}

#[test]
fn an_old_store_alone_undoes_no_erasure_with_a_witness_or_without() {
    for is_witnessed in [true, false] {
        let history = History::begin(is_witnessed);
        let store = history.setup.data_dir().join("store");
        std::fs::remove_dir_all(&store).unwrap();
        copy_with_modes(&history.old().join("store"), &store);
        history.assert_gone(3);
    }
}

/// It went back unseen and lived on: both chains have entries of their own.
#[test]
fn a_history_that_went_on_after_going_back_takes_over_the_erasures_that_it_lacks() {
    let mut history = History::begin(false);
    let newest =
        history.setup.start_with(&["--set", &format!("receipts.witness={}", history.head().display())]);
    eventually("the witness", || (history.witnessed() == 3).then_some(()));
    newest.kill();
    history.go_back();
    let server = history.setup.start();
    let (polling, _) = server.export("$export?_type=Patient");
    assert_eq!(delete(&polling).status, 202);
    server.wait_erased(crate::support::job_id(&polling));
    server.kill();
    history.setup.sets.push(format!("receipts.witness={}", history.head().display()));
    history.assert_refused();
    let (code, said) = history.replay(&history.copy());
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("2 erasures of it were taken over"), "{said}");
    history.assert_gone(4);
    assert!(history.setup.chain().iter().any(|entry| entry["kind"] == "gap"));
    history.assert_gone(4);
}

#[test]
fn a_replay_takes_no_broken_copy_no_running_server_and_says_when_the_copy_is_too_old() {
    let history = History::begin(true);
    history.go_back();
    let broken = history.elsewhere.path().join("broken");
    let text = std::fs::read_to_string(history.copy()).unwrap();
    std::fs::write(&broken, text.replacen("deleted", "expired", 1)).unwrap();
    let before = std::fs::read(history.setup.data_dir().join("receipts.ndjson")).unwrap();
    let (code, said) = history.replay(&broken);
    assert!(code == 1 && said.contains("was not replayed: "), "{code} {said}");
    assert_eq!(history.replay(Path::new("/nowhere")).0, 2);
    assert!(std::fs::read(history.setup.data_dir().join("receipts.ndjson")).unwrap() == before);

    // One that lacks the last erasure itself.
    let old = history.elsewhere.path().join("older");
    let lines: Vec<_> = text.split_inclusive('\n').collect();
    std::fs::write(&old, lines[..lines.len() - 1].concat()).unwrap();
    let (code, said) = history.replay(&old);
    assert!(code == 1 && said.contains("it lacks erasures"), "{code} {said}");
    history.assert_refused();

    // A replay that dies in the middle of a line is done again.
    let path = history.setup.data_dir().join("receipts.ndjson");
    let mut torn = std::fs::read(&path).unwrap();
    torn.extend_from_slice(&lines.last().unwrap().as_bytes()[..40]);
    std::fs::write(&path, torn).unwrap();
    let other = Setup::new();
    let server = other.start();
    let (code, said) = {
        let mut command = evanesce_command();
        command.args(["receipts", "replay", "--from"]).arg(history.copy());
        let output = command.arg("--data-dir").arg(&server.data_dir).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    assert!(code == 2 && said.contains("a server uses the data directory"), "{code} {said}");
    let (code, said) = history.replay(&history.copy());
    assert_eq!(code, 0, "{said}");
    history.assert_gone(3);
}

/// Answers each request with this text, as long as the test runs.
fn serve(text: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/heads", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let _ = lines.map_while(Result::ok).take_while(|line| !line.is_empty()).count();
            let head =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", text.len());
            let _ = stream.write_all((head + &text).as_bytes());
        }
    });
    url
}

#[test]
fn a_witness_may_be_a_url_and_one_that_says_nothing_refuses_the_start() {
    let mut history = History::begin(false);
    let heads = std::fs::read_to_string(history.setup.data_dir().join("receipts.heads")).unwrap();
    let url = serve(heads);
    history.setup.sets.push(format!("receipts.witness={url}"));
    history.assert_gone(3);
    history.go_back();
    history.assert_refused();
    assert_eq!(history.replay(&history.copy()).0, 0);
    history.assert_gone(3);

    for witness in
        ["http://127.0.0.1:1/heads".to_owned(), "/nowhere/at/all/head".into(), serve("no head".into())]
    {
        history.setup.sets.pop();
        history.setup.sets.push(format!("receipts.witness={witness}"));
        let Err(status) = history.setup.try_launch(history.setup.command()) else { panic!("{witness}") };
        assert_eq!(status.code(), Some(2));
        history.setup.wait_logged(&format!("cannot read the tree head that {witness} keeps"));
    }
}
