//! Notices when the wall clock jumps, while the server runs and over a restart. Nothing then
//! expires until the clock has been steady for an hour or an operator confirms it (P8). The last
//! readings of the clocks are kept in `clock.json` in the data directory.
//!
//! Within one boot of the machine, the time since that boot is the truth. Over a reboot nobody can
//! tell whether the machine was off or its clock jumped. A gap of more than an hour therefore holds
//! expiry as well: files go an hour late, which is better than days early. Small jumps add up, also
//! over restarts and reboots. Gains from slow corrections of the clock are forgiven as they come.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::Clock;
use crate::plain_file::{self, LinkPolicy};

/// A larger jump is not believed until the clock has been steady for this long.
const JUMP: Duration = Duration::from_secs(3600);

/// The part of a gain or loss of the wall clock that is forgiven per second. It is twice what NTP
/// slews (500 ppm, adjtimex(2)), so honest corrections never add up.
const FORGIVEN_PER_SECOND: f64 = 0.001;

const NAME: &str = "clock.json";

/// Largest size of the file in bytes.
const MAX_BYTES: u64 = 1 << 16;

/// What the clocks show at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockReading {
    wall: Timestamp,
    /// The id of the machine's boot.
    boot: String,
    /// The time since that boot, including sleep.
    up_milliseconds: u64,
}

/// The id of this boot and, where the system does not tell the time since it, the start of this
/// process.
static BOOT: LazyLock<(String, Option<Instant>)> = LazyLock::new(|| {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    match id.trim() {
        id if cfg!(target_os = "linux") && !id.is_empty() => (id.into(), None),
        _ => (uuid::Uuid::new_v4().to_string(), Some(Instant::now())),
    }
});

#[cfg(target_os = "linux")]
fn since_boot() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::try_from(time).unwrap_or_default()
}

#[cfg(not(target_os = "linux"))]
fn since_boot() -> Duration {
    Duration::ZERO
}

impl ClockReading {
    /// Reads the clocks.
    pub fn take(clock: &Clock) -> Self {
        let (boot, began) = &*BOOT;
        let up = began.map_or_else(since_boot, |began| began.elapsed());
        let up_milliseconds = u64::try_from(up.as_millis()).unwrap_or(u64::MAX);
        Self { wall: clock.now(), boot: boot.clone(), up_milliseconds }
    }

    /// Returns the wall time.
    pub fn wall(&self) -> Timestamp {
        self.wall
    }

    /// Returns the time that has certainly passed since an earlier reading, or `None` if that is
    /// unknown.
    fn since(&self, earlier: &Self) -> Option<Duration> {
        let passed = self.up_milliseconds.checked_sub(earlier.up_milliseconds)?;
        (self.boot == earlier.boot).then_some(Duration::from_millis(passed))
    }
}

/// Decides whether the wall clock may be believed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JumpGuard {
    last: Option<ClockReading>,
    /// How much the wall clock gained on the time that passed, less what was forgiven. Negative if
    /// it lost.
    #[serde(default)]
    gained: SignedDuration,
    /// While expiry is held: how long the clock has been steady.
    steady_for: Option<Duration>,
}

impl JumpGuard {
    /// Loads the guard of the last process on this data directory, or creates a new one.
    pub fn load(data_dir: &Path) -> Self {
        let read = || {
            let text = plain_file::read(&data_dir.join(NAME), LinkPolicy::Refuse, MAX_BYTES)?;
            Ok(serde_json::from_slice(&text)?)
        };
        read().unwrap_or_else(|error: io::Error| {
            if error.kind() == io::ErrorKind::NotFound {
                return Self::default();
            }
            tracing::error!(%error, "{NAME} cannot be read: nothing expires for an hour");
            Self { steady_for: Some(Duration::ZERO), ..Self::default() }
        })
    }

    /// Saves the guard for the next process.
    pub fn save(&self, data_dir: &Path) -> io::Result<()> {
        let temporary = data_dir.join(format!("{NAME}.tmp"));
        match std::fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        // This need not be durable: an older reading serves as well.
        std::fs::rename(temporary, data_dir.join(NAME))
    }

    /// Takes a reading. Returns whether the wall time may be believed.
    pub fn is_steady(&mut self, now: ClockReading) -> bool {
        if let Some(last) = self.last.replace(now.clone()) {
            let passed = now.since(&last);
            let shown = now.wall.duration_since(last.wall);
            let expected = passed.and_then(|passed| SignedDuration::try_from(passed).ok());
            let expected = expected.unwrap_or_default();
            let gained = self.gained.saturating_add(shown.saturating_sub(expected));
            if gained.unsigned_abs() > JUMP {
                let rebooted = passed.is_none();
                tracing::error!(
                    last = %last.wall, now = %now.wall, rebooted, ?gained,
                    "the clock jumped, or the machine was off: nothing expires until it is steady for an hour or confirmed"
                );
                self.gained = SignedDuration::ZERO;
                self.steady_for = Some(Duration::ZERO);
            } else {
                self.gained = forgive(gained, expected);
                if let Some(steady_for) = &mut self.steady_for {
                    *steady_for = steady_for.saturating_add(passed.unwrap_or_default());
                }
            }
        }
        if self.steady_for.is_some_and(|time| time >= JUMP) {
            tracing::info!("the clock has been steady for an hour and is believed again");
            self.steady_for = None;
        }
        self.steady_for.is_none()
    }

    /// Believes the clock, because an operator confirms it. Returns whether it had been doubted.
    pub fn confirm(&mut self) -> bool {
        self.gained = SignedDuration::ZERO;
        self.steady_for.take().is_some()
    }
}

/// Returns what is left of a gain after some time.
fn forgive(gained: SignedDuration, passed: SignedDuration) -> SignedDuration {
    let forgiven = passed.as_secs_f64() * FORGIVEN_PER_SECOND;
    let gained = gained.as_secs_f64();
    SignedDuration::try_from_secs_f64((gained.abs() - forgiven).max(0.0).copysign(gained)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3600;

    /// Seconds of the wall clock, and since the boot.
    fn reading(wall: i64, boot: &str, up: u64) -> ClockReading {
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let wall = start + SignedDuration::from_secs(wall);
        ClockReading { wall, boot: boot.into(), up_milliseconds: up * 1000 }
    }

    /// The guard as another process finds it.
    fn restarted(guard: &JumpGuard) -> JumpGuard {
        let folder = tempfile::tempdir().unwrap();
        guard.save(folder.path()).unwrap();
        let loaded = JumpGuard::load(folder.path());
        assert_eq!(loaded, *guard);
        loaded
    }

    #[test]
    fn a_jump_in_either_direction_holds_expiry_for_an_hour_whatever_restarts() {
        for (jump, restarts) in [(2 * HOUR, false), (-2 * HOUR, false), (2 * HOUR, true), (-2 * HOUR, true)] {
            let mut guard = JumpGuard::default();
            let mut steady = |wall: i64, up: u64| {
                if restarts {
                    guard = restarted(&guard);
                }
                guard.is_steady(reading(wall, "a", up))
            };
            assert!(steady(0, 100));
            assert!(steady(60, 160));
            assert!(!steady(90 + jump, 190), "{jump}");
            assert!(!steady(3000 + jump, 3100));
            assert!(!steady(90 + HOUR - 1 + jump, 190 + 3599));
            assert!(steady(90 + HOUR + jump, 190 + 3600));
        }
    }

    #[test]
    fn a_machine_that_was_off_or_asleep_holds_expiry_only_if_nobody_can_vouch_for_the_gap() {
        let after = |wall, boot, up| {
            let mut guard = JumpGuard::default();
            assert!(guard.is_steady(reading(0, "a", 100)));
            restarted(&guard).is_steady(reading(wall, boot, up))
        };
        // The process was down, the machine was not.
        assert!(after(50 * HOUR, "a", 100 + 50 * 3600));
        assert!(!after(50 * HOUR, "a", 200));
        // A reboot: a short one is no reason to doubt, a long one is.
        assert!(after(HOUR - 1, "b", 5));
        assert!(after(-HOUR, "b", 5));
        assert!(!after(HOUR + 1, "b", 5));
        assert!(!after(-HOUR - 1, "b", 5));
        // The time of another boot tells nothing, nor does one that runs backwards.
        assert!(!after(50 * HOUR, "b", 100 + 50 * 3600));
        assert!(!after(50 * HOUR, "a", 50));
    }

    #[test]
    fn small_jumps_add_up_over_restarts_and_reboots() {
        let minutes = 60;
        for (step, restarts, reboots) in [
            (59 * minutes, false, false),
            (-59 * minutes, false, false),
            (59 * minutes, true, false),
            (10 * minutes, true, false),
            (59 * minutes, true, true),
        ] {
            let mut guard = JumpGuard::default();
            assert!(guard.is_steady(reading(0, "a", 0)));
            let mut unnoticed = 0;
            for n in 1..=25 {
                if restarts {
                    guard = restarted(&guard);
                }
                let boot = if reboots { n.to_string() } else { "a".into() };
                let wall = n * (step + 2);
                if !guard.is_steady(reading(wall, &boot, n.unsigned_abs() * 2)) {
                    break;
                }
                unnoticed = wall.abs();
            }
            assert!(
                unnoticed < HOUR + 60,
                "{step}: the clock went wrong by {unnoticed} s and nobody noticed"
            );
        }
    }

    #[test]
    fn a_clock_that_is_corrected_slowly_is_believed_for_ever() {
        // 500 ppm in either direction for a year, looked at every minute or every ten.
        for (ppm, every) in [(500, 60), (-500, 60), (500, 600)] {
            let mut guard = JumpGuard::default();
            for n in 0..365 * 86_400 / every {
                let passed = n * every;
                let wall = passed + passed * ppm / 1_000_000;
                assert!(guard.is_steady(reading(wall, "a", passed.unsigned_abs())), "{ppm} ppm, {passed} s");
            }
            assert!(guard.gained.unsigned_abs() < Duration::from_secs(2), "{:?}", guard.gained);
        }
        // A step of ten minutes is forgiven within a week or so, and the next one is the first.
        let mut guard = JumpGuard::default();
        assert!(guard.is_steady(reading(0, "a", 0)));
        for week in 1..=52 {
            let passed = week * 8 * 86_400;
            assert!(guard.is_steady(reading(passed + week * 600, "a", passed.unsigned_abs())));
        }
    }

    #[test]
    fn the_file_of_an_earlier_version_is_understood() {
        let folder = tempfile::tempdir().unwrap();
        let text =
            r#"{"last":{"wall":"2026-01-01T00:00:00Z","boot":"a","up_milliseconds":5000},"steady_for":null}"#;
        std::fs::write(folder.path().join(NAME), text).unwrap();
        let mut guard = JumpGuard::load(folder.path());
        assert_eq!(guard.last, Some(reading(0, "a", 5)));
        assert!(guard.is_steady(reading(60, "a", 65)));
    }

    #[test]
    fn what_an_operator_confirms_is_believed_until_the_next_jump() {
        let mut guard = JumpGuard::default();
        assert!(!guard.confirm());
        assert!(guard.is_steady(reading(0, "a", 0)));
        assert!(!guard.is_steady(reading(9 * HOUR, "a", 1)));
        assert!(guard.confirm());
        assert!(guard.is_steady(reading(9 * HOUR + 1, "a", 2)));
        assert!(!guard.is_steady(reading(0, "a", 3)));
    }

    #[test]
    fn a_file_that_cannot_be_understood_holds_expiry_for_an_hour() {
        for text in ["", "{\"last\":", "{\"last\":{\"wall\":5}}", "\0\0\0"] {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join(NAME), text).unwrap();
            let mut guard = JumpGuard::load(folder.path());
            assert!(!guard.is_steady(reading(0, "a", 0)), "{text}");
            assert!(guard.is_steady(reading(HOUR, "a", 3600)));
        }
    }

    #[test]
    fn the_file_is_its_owners_alone_and_no_link_is_followed() {
        use std::os::unix::fs::{MetadataExt, symlink};
        let folder = tempfile::tempdir().unwrap();
        let victim = folder.path().join("victim");
        std::fs::write(&victim, "text").unwrap();
        for name in [NAME.to_string(), format!("{NAME}.tmp")] {
            symlink(&victim, folder.path().join(name)).unwrap();
        }
        JumpGuard::default().save(folder.path()).unwrap();
        assert_eq!(std::fs::read(&victim).unwrap(), b"text");
        let metadata = std::fs::symlink_metadata(folder.path().join(NAME)).unwrap();
        assert!(metadata.is_file());
        assert_eq!(metadata.mode() & 0o777, 0o600);
    }

    #[test]
    fn the_clocks_of_this_machine_go_forward() {
        let clock = Clock::system();
        let (first, second) = (ClockReading::take(&clock), ClockReading::take(&clock));
        assert!(second.since(&first).unwrap() < Duration::from_secs(60));
        assert!(cfg!(not(target_os = "linux")) || first.up_milliseconds > 0);
    }
}
