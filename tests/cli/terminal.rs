//! A terminal of its own for a command, made by script(1), and what is only there on one: colours,
//! bars, and lines that fit.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use super::{command, done, json};
use crate::support::{Setup, delete, eventually, job_id};

/// A command on a terminal, 100 columns wide.
pub struct Terminal {
    child: Child,
    shown: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl Terminal {
    /// Starts `evanesce ARGUMENTS --data-dir ...`.
    pub fn start(setup: &Setup, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        Self::of_width(100, setup, arguments, environment)
    }

    fn of_width(columns: u16, setup: &Setup, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let command = command(setup, arguments);
        let words = [command.get_program()].into_iter().chain(command.get_args());
        let words: Vec<_> = words.map(|word| format!("'{}'", word.to_str().unwrap())).collect();
        let mut script = Command::new("script");
        script.args(["-qec", &format!("stty cols {columns} rows 30; exec {}", words.join(" ")), "/dev/null"]);
        for (name, _) in command.get_envs() {
            script.env_remove(name);
        }
        script.env("TERM", "xterm").env("SHELL", "/bin/sh").envs(environment.iter().copied());
        let mut child = script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (shown, mut out) = (Arc::new(Mutex::new(Vec::new())), child.stdout.take().unwrap());
        let into = shown.clone();
        let reader = std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(length @ 1..) = out.read(&mut piece) {
                into.lock().unwrap().extend_from_slice(&piece[..length]);
            }
        });
        Self { child, shown, reader }
    }

    fn shown(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().unwrap()).into_owned()
    }

    /// Waits until the terminal has shown this text.
    pub fn wait_for(&self, text: &str) {
        eventually(text, || self.shown().contains(text).then_some(()));
    }

    /// Presses a key.
    pub fn press(&mut self, key: &str) {
        self.child.stdin.as_mut().unwrap().write_all(key.as_bytes()).unwrap();
    }

    /// Waits for the end of the command: its exit code, and all that the terminal has shown.
    pub fn end(self) -> (i32, String) {
        let Self { mut child, shown, reader } = self;
        // Its standard input stays open: the end of it would be typed into the terminal.
        let input = child.stdin.take();
        let code = child.wait().unwrap().code().unwrap();
        drop(input);
        reader.join().unwrap();
        let shown = String::from_utf8_lossy(&shown.lock().unwrap()).into_owned();
        (code, shown)
    }
}

/// What a terminal shows of a command that ends by itself.
fn shown(setup: &Setup, arguments: &[&str], environment: &[(&str, &str)]) -> String {
    let (code, shown) = Terminal::start(setup, arguments, environment).end();
    assert_eq!(code, 0, "{shown}");
    shown
}

#[test]
fn colours_are_for_terminals_and_for_those_who_want_them() {
    let setup = Setup::new();
    let server = setup.start();
    let polling = server.export("$export?_type=Patient").0;
    for arguments in [&["jobs"][..], &["status"], &["jobs", "show", job_id(&polling)]] {
        let plain = done(&setup, arguments);
        assert!(!plain.contains('\x1b'), "in a pipe: {plain:?}");
        let coloured = shown(&setup, arguments, &[]);
        assert!(coloured.contains("\x1b["), "on a terminal: {coloured:?}");
        for wish in [("NO_COLOR", "1"), ("TERM", "dumb"), ("CLICOLOR", "0")] {
            let plain = shown(&setup, arguments, &[wish]);
            assert!(!plain.contains('\x1b'), "{wish:?}: {plain:?}");
        }
        let mut forced = command(&setup, arguments);
        let forced = forced.env("CLICOLOR_FORCE", "1").output().unwrap();
        assert!(String::from_utf8(forced.stdout).unwrap().contains("\x1b["), "{arguments:?}");
    }
    let json = shown(&setup, &["jobs", "-o", "json"], &[]);
    assert!(!json.contains('\x1b'), "{json:?}");
}

#[test]
fn a_table_fits_the_terminal_and_keeps_the_ids_whole() {
    let setup = Setup::new();
    let server = setup.start();
    let [polling, gone] = [0, 1].map(|_| server.export("$export?_type=Patient").0);
    assert_eq!(delete(&gone).status, 202);
    server.wait_erased(job_id(&gone));
    for columns in [80, 100, 200] {
        let terminal = Terminal::of_width(columns, &setup, &["jobs"], &[("NO_COLOR", "1")]);
        let (_, shown) = terminal.end();
        assert!(shown.contains(job_id(&polling)) && shown.contains("default/"), "{shown}");
        assert!(shown.lines().all(|line| line.trim_end().chars().count() <= usize::from(columns)), "{shown}");
        assert!(shown.contains("1 more job whose files are gone: --all"), "{shown}");
        assert_eq!(shown.contains("expires in"), columns == 200, "{shown}");
    }
}

#[test]
fn a_watch_on_a_terminal_redraws_its_bars_in_place_and_ctrl_c_ends_it_well() {
    let setup = Setup::new().set("export.max_bytes_per_second_per_job=60000");
    let server = setup.start();
    let polling = server.kickoff("$export");
    let owner = json(&done(&setup, &["jobs", "--json"]))[0]["owner"].as_str().unwrap().to_owned();
    // On a narrow terminal it is seen who a job is of, and the bar is shorter.
    for (columns, bar) in [(80, true), (100, true), (66, false)] {
        let arguments = ["jobs", "watch", "--interval", "50ms"];
        let mut narrow = Terminal::of_width(columns, &setup, &arguments, &[("NO_COLOR", "1")]);
        narrow.wait_for(&format!("%  default/{owner}"));
        narrow.press("\x03");
        let (_, shown) = narrow.end();
        assert!(shown.contains(job_id(&polling)) && shown.contains('─') == bar, "{columns}: {shown:?}");
    }
    // Wide enough for all that stands behind a bar.
    let mut terminal =
        Terminal::of_width(160, &setup, &["jobs", "watch", "--interval", "50ms"], &[("NO_COLOR", "1")]);
    terminal.wait_for("1 job, 1 at work");
    terminal.wait_for(job_id(&polling));
    terminal.wait_for("/s  ");
    assert_eq!(delete(&polling).status, 202);
    terminal.wait_for("erased");
    terminal.press("\x03");
    let (code, shown) = terminal.end();
    assert_eq!(code, 0, "{shown:?}");
    assert!(shown.contains("\x1b[1A") && shown.contains("─"), "lines are drawn over: {shown:?}");
}
