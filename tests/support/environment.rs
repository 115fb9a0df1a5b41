//! What the environment asks of the tests, and what it does not let them do.

/// A number from the environment, for the long form of a test.
pub fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap())
}

/// `EVANESCE_SEED`, or a new one.
pub fn seed() -> u64 {
    let new = || u64::from(std::process::id()) ^ jiff::Timestamp::now().as_nanosecond() as u64;
    number("EVANESCE_SEED").unwrap_or_else(new)
}

/// What a test needs of the machine beyond what Cargo brings.
#[derive(Debug, Clone, Copy)]
pub enum Need {
    Root,
    Strace,
    Setpriv,
    Prlimit,
    Immutable,
    Mount,
    Overlay,
    LoopDevice,
    FsError,
    OpenFiles,
    Curl,
    Bash,
    Zsh,
    Fish,
    Browser,
    Man,
    Nginx,
    Python,
}

impl Need {
    /// Its name in `EVANESCE_TEST_MAY_SKIP`, and how it can be had.
    fn describe(self) -> (&'static str, &'static str) {
        match self {
            Self::Root => ("root", "run the tests as root"),
            Self::Strace => ("strace", "install strace; in a container, allow ptrace (CAP_SYS_PTRACE)"),
            Self::Setpriv => ("setpriv", "install util-linux; as root, with CAP_SETPCAP"),
            Self::Prlimit => ("prlimit", "install util-linux"),
            Self::Immutable => (
                "immutable",
                "install e2fsprogs; as root, with CAP_LINUX_IMMUTABLE and TMPDIR on ext4 or xfs",
            ),
            Self::Mount => ("mount", "run as root; in a container, with CAP_SYS_ADMIN"),
            Self::Overlay => ("overlay", "as `mount`, with a kernel that has overlayfs"),
            Self::LoopDevice => {
                ("loop-device", "as `mount`, with loop devices; install e2fsprogs and btrfs-progs")
            }
            Self::OpenFiles => ("open-files", "raise the hard limit to 16384 (ulimit -Hn)"),
            Self::Curl => ("curl", "install curl"),
            Self::Bash => ("bash", "install bash"),
            Self::Zsh => ("zsh", "install zsh"),
            Self::Fish => ("fish", "install fish"),
            Self::Man => ("man", "install man-db"),
            Self::FsError => ("fs-error", "as `loop-device`, with /sys writable"),
            Self::Nginx => ("nginx", "install nginx-light"),
            Self::Python => ("python", "install python3"),
            Self::Browser => ("browser", "install chromium and chromium-driver"),
        }
    }
}

/// Says on the real standard error, past the capture of the test runner, that a test could not be
/// done here. In strict mode (`EVANESCE_TEST_STRICT`) the test fails, unless the need stands in
/// `EVANESCE_TEST_MAY_SKIP`.
pub fn skip(need: Need, what: &str, why: &str) {
    use std::io::Write;
    let (name, how) = need.describe();
    let text = format!("{what}: no {name}: {}. To have it: {how}", why.trim_end());
    let variable = |name| std::env::var(name).unwrap_or_default();
    let may_skip = may_skip(name, &variable("EVANESCE_TEST_STRICT"), &variable("EVANESCE_TEST_MAY_SKIP"));
    assert!(may_skip, "this may not be skipped here: {text}");
    let text = format!("\n*** SKIPPED: {text} ***\n");
    // Nobody is there to be told if even this fails.
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

fn may_skip(name: &str, strict: &str, allowed: &str) -> bool {
    strict.is_empty() || allowed.split([' ', ',']).any(|allowed| allowed == name)
}

/// Whether the tests run as root; skips the test if not.
pub fn is_root(what: &str) -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        skip(Need::Root, what, "another user runs it");
    }
    is_root
}

#[test]
fn in_strict_mode_what_is_not_allowed_to_be_skipped_fails() {
    assert!(may_skip("strace", "", ""));
    assert!(!may_skip("strace", "1", ""));
    assert!(!may_skip("strace", "1", "mount,loop-device"));
    assert!(may_skip("strace", "1", "mount, strace"));
}
