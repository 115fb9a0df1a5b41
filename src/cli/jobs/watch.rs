//! `evanesce jobs watch`: the jobs while they change. On a terminal there is a bar a job, redrawn in
//! place; elsewhere a line a change. Ctrl-C ends it, and that is no failure.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IsTerminal};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use dialoguer::console::{Term, measure_text_width};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::Timestamp;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::spawn_blocking;
use tokio::time::MissedTickBehavior;

use super::{JobFilter, jobs, note, percent, state, who};
use crate::JobOverview;
use crate::cli::CliError;
use crate::cli::data_dir::DataDirArgs;
use crate::cli::output::{OutputArgs, print_live};
use crate::cli::table::{NOTHING, TextTone, counted, size, toned};
use crate::job::{JobId, StateName};

/// The most bars that are drawn (P13); what is beyond the height of the terminal is not.
const MOST_BARS: usize = 100;

/// The columns of a bar.
const SHORTEST_BAR: usize = 5;
const LONGEST_BAR: usize = 20;

/// How long a job that was erased stays in sight.
const AFTERGLOW: Duration = Duration::from_secs(5);

/// The arguments of `evanesce jobs watch`.
#[derive(Debug, clap::Args)]
pub struct JobWatchArgs {
    #[command(flatten)]
    filter: JobFilter,
    /// How often the server is asked.
    #[arg(long, value_name = "DURATION", default_value = "500ms", value_parser = humantime::parse_duration)]
    interval: Duration,
    #[command(flatten)]
    output: OutputArgs,
}

/// Watches until Ctrl-C.
pub fn run(server: &DataDirArgs, args: &JobWatchArgs) -> Result<(), CliError> {
    // The first look fails as any other command would.
    let first = jobs(server, &args.filter)?;
    let mut screen: Box<dyn JobScreen> = if args.output.is_json() || !io::stdout().is_terminal() {
        Box::new(ChangeLog { seen: BTreeMap::new(), is_json: args.output.is_json() })
    } else {
        Box::new(LiveTable::new())
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(CliError::failed)?;
    let watched = runtime.block_on(async {
        // Before the first line: whoever has read it may interrupt.
        let mut interrupt = signal(SignalKind::interrupt()).map_err(CliError::failed)?;
        tokio::select! {
            watched = look_again_and_again(server, args, first, &mut *screen) => watched,
            _ = interrupt.recv() => Ok(()),
        }
    });
    screen.close();
    // A server that does not answer keeps nobody here.
    runtime.shutdown_background();
    watched
}

async fn look_again_and_again(
    server: &DataDirArgs,
    args: &JobWatchArgs,
    first: Vec<JobOverview>,
    screen: &mut dyn JobScreen,
) -> Result<(), CliError> {
    let mut ticks = tokio::time::interval(args.interval.max(Duration::from_millis(20)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut seen = first;
    loop {
        if screen.show(&seen)?.is_break() {
            return Ok(());
        }
        ticks.tick().await;
        let (server, filter) = (server.clone(), args.filter.clone());
        let looked = spawn_blocking(move || jobs(&server, &filter)).await.map_err(CliError::failed)?;
        seen = looked.map_err(|error| CliError::failed(format!("the server has gone: {}", error.message)))?;
    }
}

/// Where the jobs are shown.
trait JobScreen {
    /// Shows the jobs as they are now. Breaks if nobody looks any more.
    fn show(&mut self, jobs: &[JobOverview]) -> Result<ControlFlow<()>, CliError>;

    /// Leaves the terminal as it should be.
    fn close(&mut self);
}

/// One line a change.
struct ChangeLog {
    seen: BTreeMap<JobId, JobOverview>,
    is_json: bool,
}

impl JobScreen for ChangeLog {
    fn show(&mut self, jobs: &[JobOverview]) -> Result<ControlFlow<()>, CliError> {
        let now = Timestamp::now();
        let mut changes = Vec::new();
        // A job that is not known any more is forgotten here too.
        let before = std::mem::take(&mut self.seen);
        for job in jobs {
            if !before.get(&job.job).is_some_and(|before| is_same(before, job)) {
                changes.push(if self.is_json { document(job, now)? } else { line(job, now) });
            }
            self.seen.insert(job.job, job.clone());
        }
        print_live(&changes)
    }

    fn close(&mut self) {}
}

/// Returns whether nothing happened that is worth a line: progress counts by the percent.
fn is_same(before: &JobOverview, now: &JobOverview) -> bool {
    let shown = |job: &JobOverview| (job.state, job.held, job.percent.map(|percent| percent as u64));
    shown(before) == shown(now)
}

fn document(job: &JobOverview, now: Timestamp) -> Result<String, CliError> {
    let mut document = serde_json::to_value(job).map_err(CliError::failed)?;
    document["at"] = json!(now);
    Ok(document.to_string())
}

fn line(job: &JobOverview, now: Timestamp) -> String {
    let nothing = || NOTHING.to_owned();
    let done = job.percent.map_or_else(nothing, percent);
    let bytes = job.bytes.map_or_else(nothing, size);
    format!(
        "{now:.0}  {}  {:<9}  {done:>4}  {bytes:>11}  {}  {}",
        job.job,
        job.state.as_str(),
        who(job),
        note(job, now)
    )
    .trim_end()
    .to_owned()
}

/// A bar a job, redrawn in place.
struct LiveTable {
    bars: MultiProgress,
    head: ProgressBar,
    jobs: BTreeMap<JobId, LiveJob>,
}

struct LiveJob {
    bar: ProgressBar,
    /// The bytes at the last look, and when that was.
    seen: (u64, Instant),
    /// Since when it has been erased.
    erased: Option<Instant>,
}

impl LiveTable {
    fn new() -> Self {
        let bars = MultiProgress::with_draw_target(ProgressDrawTarget::stdout());
        let head = bars.add(ProgressBar::new(0).with_style(style("{wide_msg}")));
        Self { bars, head, jobs: BTreeMap::new() }
    }

    /// Returns the bar of a job, a new one below the others.
    fn job(&mut self, job: &JobOverview, now: Instant) -> &mut LiveJob {
        self.jobs.entry(job.job).or_insert_with(|| LiveJob {
            bar: self.bars.add(ProgressBar::new(1000)),
            seen: (job.bytes.unwrap_or(0), now),
            erased: None,
        })
    }
}

/// Returns the style of all rows, whose messages are these: the bars are as long as the terminal allows.
fn row_style(told: &[(String, String)]) -> ProgressStyle {
    let longest = |length: &dyn Fn(&(String, String)) -> usize| told.iter().map(length).max().unwrap_or(0);
    let first = longest(&|(first, _)| measure_text_width(first));
    let whole = longest(&|(first, rest)| measure_text_width(first) + measure_text_width(rest));
    let columns = Term::stdout().size_checked().map_or(usize::MAX, |(_, columns)| columns.into());
    style(&match bar_length(columns, first, whole) {
        0 => "{prefix} {wide_msg}".to_owned(),
        length => format!("{{prefix}} {{bar:{length}.cyan/dim}} {{wide_msg}}"),
    })
}

/// Returns how long the bars are. Where a line does not fit, they are shortened first; then its end is cut;
/// and they go altogether before `first` is cut, which ends with who it is.
fn bar_length(columns: usize, first: usize, whole: usize) -> usize {
    // Behind the id, and with a space on both sides.
    let room = columns.saturating_sub(36 + 2);
    let wanted = room.saturating_sub(whole).clamp(SHORTEST_BAR, LONGEST_BAR);
    wanted.min(room.saturating_sub(first))
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("━╸─")
}

impl JobScreen for LiveTable {
    fn show(&mut self, jobs: &[JobOverview]) -> Result<ControlFlow<()>, CliError> {
        let (now, wall) = (Instant::now(), Timestamp::now());
        let live = jobs.iter().filter(|job| job.state != StateName::Erased);
        // Those that are at work are the last to be beyond the bound.
        let (active, rest): (Vec<_>, Vec<_>) = live.partition(|job| job.state.is_active());
        let (at_work, all) = (active.len(), active.len() + rest.len());
        let more = if all > MOST_BARS { format!(", {MOST_BARS} of them here") } else { String::new() };
        let head = format!("{}, {at_work} at work{more}  (Ctrl-C ends this)", counted(all as u64, "job"));
        self.head.set_message(toned(TextTone::Strong, head));
        let shown: Vec<_> = active.into_iter().chain(rest).take(MOST_BARS).collect();
        let told: Vec<_> = shown.iter().map(|job| self.job(job, now).message(job, now, wall)).collect();
        let style = row_style(&told);
        for (job, (first, rest)) in shown.iter().zip(told) {
            let live = self.job(job, now);
            live.bar.set_style(style.clone());
            live.bar.set_position((job.percent.unwrap_or(0.0) * 10.0) as u64);
            live.bar.set_prefix(job.job.to_string());
            live.bar.set_message(format!("{first}{rest}"));
        }
        let shown = shown.iter().map(|job| job.job).collect();
        self.take_leave(jobs, &shown, now);
        Ok(ControlFlow::Continue(()))
    }

    fn close(&mut self) {
        // What was seen last stays on the screen.
        self.head.abandon();
        self.jobs.values().for_each(|job| job.bar.abandon());
    }
}

impl LiveTable {
    /// Removes the bars of jobs that are not shown any more. One that was erased says so first, for a
    /// while, if there is room.
    fn take_leave(&mut self, jobs: &[JobOverview], shown: &BTreeSet<JobId>, now: Instant) {
        let (bars, is_crowded) = (&self.bars, self.jobs.len() > MOST_BARS);
        self.jobs.retain(|id, live| {
            if shown.contains(id) {
                return true;
            }
            let erased = jobs.iter().find(|job| job.job == *id && job.state == StateName::Erased);
            if let Some(job) = erased {
                live.bar.set_message(format!("{}  {}", state(job.state), who(job)));
            }
            let is_fresh = now.duration_since(*live.erased.get_or_insert(now)) < AFTERGLOW;
            let stays = erased.is_some() && is_fresh && !is_crowded;
            if !stays {
                bars.remove(&live.bar);
            }
            stays
        });
    }
}

impl LiveJob {
    /// Returns what stands behind the bar: state, percent and who; then, where there is room, size, rate and
    /// what else is worth knowing.
    fn message(&mut self, job: &JobOverview, now: Instant, wall: Timestamp) -> (String, String) {
        let bytes = job.bytes.unwrap_or(0);
        let (before, at) = std::mem::replace(&mut self.seen, (bytes, now));
        let passed = now.duration_since(at).as_secs_f64();
        let mut first = vec![state(job.state)];
        first.extend(job.percent.map(percent));
        first.push(who(job));
        let mut rest = vec![String::new()];
        rest.extend(job.bytes.map(size));
        if job.state == StateName::Running && passed > 0.0 {
            let rate = bytes.saturating_sub(before) as f64 / passed;
            rest.push(format!("{}/s", size(rate as u64)));
        }
        let note = note(job, wall);
        rest.extend(Some(note).filter(|note| !note.is_empty()));
        (first.join("  "), rest.join("  "))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn job(state: &str) -> JobOverview {
        let job = json!({
            "job": JobId::random(), "state": state, "tenant": "t", "owner": "o", "submitted_at": "2026-01-01T00:00:00Z",
            "percent": 1.0, "held": false, "files": 1, "bytes": 1, "seconds_left": null, "finished_at": null,
            "expires_at": null, "reason": null, "failure": null,
        });
        serde_json::from_value(job).unwrap()
    }

    #[test]
    fn p13_there_are_not_more_bars_than_the_bound_and_those_at_work_come_first() {
        let mut screen = LiveTable::new();
        let mut jobs: Vec<_> = (0..MOST_BARS).map(|_| job("complete")).collect();
        assert!(screen.show(&jobs).unwrap().is_continue());
        assert_eq!(screen.jobs.len(), MOST_BARS);
        assert!(!screen.head.message().contains("of them here"));
        jobs.push(job("running"));
        assert!(screen.show(&jobs).unwrap().is_continue());
        assert_eq!(screen.jobs.len(), MOST_BARS);
        assert!(screen.jobs.contains_key(&jobs[MOST_BARS].job));
        assert!(screen.head.message().contains("101 jobs, 1 at work, 100 of them here"));
        // A job that was erased is seen a little longer.
        jobs.truncate(1);
        jobs[0].state = StateName::Erased;
        assert!(screen.show(&jobs).unwrap().is_continue());
        assert_eq!(screen.jobs.keys().collect::<Vec<_>>(), [&jobs[0].job]);
    }

    #[test]
    fn a_bar_is_shortened_before_it_is_cut_who_a_job_is_of() {
        // "running  45%  default/acme" and "  12.34 MiB  1.20 MiB/s".
        let lengths = [200, 100, 80, 68, 60].map(|columns| bar_length(columns, 26, 49));
        assert_eq!(lengths, [20, 13, 5, 4, 0]);
        assert_eq!(bar_length(usize::MAX, 26, 49), LONGEST_BAR);
    }

    #[test]
    fn a_change_is_one_of_state_hold_or_percent() {
        let first = job("running");
        let with = |change: &dyn Fn(&mut JobOverview)| {
            let mut changed = first.clone();
            change(&mut changed);
            is_same(&first, &changed)
        };
        assert!(with(&|job| job.bytes = Some(9)) && with(&|job| job.percent = Some(1.9)));
        assert!(!with(&|job| job.percent = Some(2.0)) && !with(&|job| job.percent = None));
        assert!(!with(&|job| job.held = true) && !with(&|job| job.state = StateName::Complete));
        let told: Value = serde_json::from_str(&document(&first, Timestamp::UNIX_EPOCH).unwrap()).unwrap();
        assert_eq!((&told["at"], &told["state"]), (&"1970-01-01T00:00:00Z".into(), &"running".into()));
    }
}
