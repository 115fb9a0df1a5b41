//! What the console remembers of the past: a bounded series of samples in memory since the start of the
//! process. A task takes them from what the server knows anyway, the status and the metrics.
//!
//! The bound is [`MOST_SAMPLES`], about 0.3 MB. At first there is one every four seconds. When they are too
//! many, each two neighbours become one, and from then on they are taken half as often; at one a minute they
//! cover a day, and the oldest go. Two become one in such a way that no peak is lost.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Duration;

use jiff::Timestamp;
use maud::{Markup, html};
use metrics_exporter_prometheus::PrometheusHandle;
use parking_lot::Mutex;

use super::plots::{PlotLine, PlotUnit, TimePlot};
use super::{ROOT, parts};
use crate::Evanesce;
use crate::clock::between;
use crate::evanesce::InstanceUsage;

/// The most samples that are kept (P13).
const MOST_SAMPLES: usize = 1440;

/// How often samples are taken at first.
const FIRST_INTERVAL: Duration = Duration::from_secs(4);

/// How often they are taken at last; then they cover 25 hours.
const LAST_INTERVAL: Duration = Duration::from_secs(64);

/// The most points of a plotted line.
const MOST_POINTS: usize = 180;

/// The upper bounds of the buckets of `evanesce_erase_seconds`, and how many erasures each has, with all
/// below it.
type LatencyBuckets = Vec<(f64, f64)>;

/// What is known of one moment. Counters are since the start of the process; what the metrics would tell is
/// absent if there are none.
#[derive(Debug, Clone, PartialEq)]
struct HistorySample {
    at: Timestamp,
    usage: InstanceUsage,
    /// Jobs that are marked and not erased yet.
    marked: usize,
    /// How long the oldest mark that is not held has waited, in seconds.
    oldest_mark: f64,
    /// Jobs that were swept.
    swept: u64,
    free_bytes: Option<f64>,
    written_bytes: Option<f64>,
    /// The sum of all times from a mark to the files gone, in seconds.
    erase_seconds: f64,
    erase_buckets: LatencyBuckets,
}

impl HistorySample {
    /// Returns one sample for both: the counters of the later one, and the peaks of both.
    fn merged(self, later: Self) -> Self {
        let usage = InstanceUsage {
            active: self.usage.active.max(later.usage.active),
            stored_bytes: self.usage.stored_bytes.max(later.usage.stored_bytes),
        };
        let free_bytes = [self.free_bytes, later.free_bytes].into_iter().flatten().reduce(f64::min);
        let (marked, oldest_mark) = (self.marked.max(later.marked), self.oldest_mark.max(later.oldest_mark));
        Self { usage, marked, oldest_mark, free_bytes, ..later }
    }
}

/// The samples.
#[derive(Debug)]
struct SampleSeries {
    samples: VecDeque<HistorySample>,
    interval: Duration,
}

impl Default for SampleSeries {
    fn default() -> Self {
        Self { samples: VecDeque::new(), interval: FIRST_INTERVAL }
    }
}

impl SampleSeries {
    fn add(&mut self, sample: HistorySample) {
        if self.samples.len() == MOST_SAMPLES {
            if self.interval < LAST_INTERVAL {
                self.interval *= 2;
                self.samples = in_groups(&self.samples, 2).into();
            } else {
                self.samples.pop_front();
            }
        }
        self.samples.push_back(sample);
    }
}

/// Returns one sample for each `size` neighbours.
fn in_groups(samples: &VecDeque<HistorySample>, size: usize) -> Vec<HistorySample> {
    let mut groups: Vec<HistorySample> = Vec::with_capacity(samples.len().div_ceil(size));
    for (n, sample) in samples.iter().enumerate() {
        match groups.pop() {
            Some(group) if n % size != 0 => groups.push(group.merged(sample.clone())),
            last => groups.extend(last.into_iter().chain([sample.clone()])),
        }
    }
    groups
}

/// What the console remembers of the past. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct History(Arc<Mutex<SampleSeries>>);

impl History {
    /// Starts to take samples, for as long as the instance runs and somebody has the history.
    pub fn start(evanesce: &Evanesce, metrics: Option<PrometheusHandle>) -> Self {
        let history = Self::default();
        let sampling = sample(Arc::downgrade(&history.0), evanesce.clone(), metrics);
        evanesce.runtime().spawn(sampling);
        history
    }

    /// Returns the plots of the erasures: backlog, oldest mark, rate and latency, and the disk.
    pub fn of_erasures(&self, now: Timestamp) -> Vec<TimePlot> {
        let past = self.past(now);
        vec![
            past.plot("Jobs that wait for their erasure", PlotUnit::Count, |it| Some(it.marked as f64)),
            past.plot("Oldest mark", PlotUnit::Seconds, |it| Some(it.oldest_mark)),
            past.rates("Jobs erased", PlotUnit::PerMinute, 60.0, |it| Some(it.swept as f64)),
            past.latency(),
            past.plot("Bytes of exports on the disk", PlotUnit::Bytes, |it| {
                Some(it.usage.stored_bytes as f64)
            }),
            past.plot("Free bytes on the disk", PlotUnit::Bytes, |it| it.free_bytes),
        ]
    }

    /// Returns the plots of the exports: how many are active, and what they write.
    pub fn of_exports(&self, now: Timestamp) -> Vec<TimePlot> {
        let past = self.past(now);
        vec![
            past.plot("Active exports", PlotUnit::Count, |it| Some(it.usage.active as f64)),
            past.rates("Written", PlotUnit::BytesPerSecond, 1.0, |it| it.written_bytes),
        ]
    }

    /// Returns what is said below plots.
    pub fn note(&self, started_at: Timestamp) -> Markup {
        html! {
            p class="quiet" {
                "The plots are kept in memory since this process began at " (parts::instant(started_at))
                ", for a day at most. A restart begins anew; what was erased before it is in the "
                a href={ (ROOT) "/receipts" } { "receipts" } "."
            }
        }
    }

    fn past(&self, now: Timestamp) -> PlottedPast {
        let series = self.0.lock();
        let size = series.samples.len().div_ceil(MOST_POINTS).max(1);
        let samples = in_groups(&series.samples, size);
        let covered = samples.first().map_or(0.0, |first| between(first.at, now).as_secs_f64());
        let hours = [1.0 / 30.0, 1.0 / 6.0, 0.5, 1.0, 3.0, 6.0, 12.0];
        let span = hours.map(|hours| hours * 3600.0).into_iter().find(|span| covered <= *span);
        PlottedPast { samples, now, span: span.unwrap_or(24.0 * 3600.0) }
    }
}

/// The samples as a page shows them, at most [`MOST_POINTS`].
struct PlottedPast {
    samples: Vec<HistorySample>,
    now: Timestamp,
    span: f64,
}

impl PlottedPast {
    fn of(&self, title: &'static str, unit: PlotUnit, lines: Vec<PlotLine>) -> TimePlot {
        TimePlot { title, unit, lines, now: self.now, span: self.span }
    }

    fn plot(
        &self,
        title: &'static str,
        unit: PlotUnit,
        value: impl Fn(&HistorySample) -> Option<f64>,
    ) -> TimePlot {
        let values = self.samples.iter().map(|sample| (sample.at, value(sample))).collect();
        self.of(title, unit, vec![PlotLine { name: "", values }])
    }

    /// Plots how fast a counter grows, in so many seconds.
    fn rates(
        &self,
        title: &'static str,
        unit: PlotUnit,
        seconds: f64,
        counter: impl Fn(&HistorySample) -> Option<f64>,
    ) -> TimePlot {
        let rate = |pair: &[HistorySample]| {
            let more = counter(&pair[1])? - counter(&pair[0])?;
            let took = between(pair[0].at, pair[1].at).as_secs_f64();
            (took > 0.0).then(|| more.max(0.0) * seconds / took)
        };
        let values = self.samples.windows(2).map(|pair| (pair[1].at, rate(pair))).collect();
        self.of(title, unit, vec![PlotLine { name: "", values }])
    }

    /// Plots the time from a mark to the files gone: the mean, and what 95 % do not exceed.
    fn latency(&self) -> TimePlot {
        let mean = |pair: &[HistorySample]| {
            let counts = erased_between(&pair[0], &pair[1]);
            let count = counts.last().map_or(0.0, |(_, count)| *count);
            (count > 0.0).then(|| (pair[1].erase_seconds - pair[0].erase_seconds).max(0.0) / count)
        };
        let most = |pair: &[HistorySample]| percentile(&erased_between(&pair[0], &pair[1]), 0.95);
        let line = |name, value: &dyn Fn(&[HistorySample]) -> Option<f64>| {
            let values = self.samples.windows(2).map(|pair| (pair[1].at, value(pair))).collect();
            PlotLine { name, values }
        };
        let lines = vec![line("mean", &mean), line("95 % within", &most)];
        self.of("From mark to gone", PlotUnit::Seconds, lines)
    }
}

/// Returns the buckets of the erasures between two samples.
fn erased_between(before: &HistorySample, after: &HistorySample) -> LatencyBuckets {
    let known = |n: usize| before.erase_buckets.get(n).map_or(0.0, |(_, count)| *count);
    let buckets = after.erase_buckets.iter().enumerate();
    buckets.map(|(n, (bound, count))| (*bound, (count - known(n)).max(0.0))).collect()
}

/// Returns the bound of the first bucket that has this share of all with those below it. What is beyond the
/// last bound counts as that.
fn percentile(buckets: &LatencyBuckets, share: f64) -> Option<f64> {
    let all = buckets.last().map(|(_, count)| *count).filter(|all| *all > 0.0)?;
    let found = buckets.iter().find(|(_, count)| *count >= share * all).map(|(bound, _)| *bound)?;
    let largest =
        buckets.iter().map(|(bound, _)| *bound).filter(|bound| bound.is_finite()).fold(0.0, f64::max);
    Some(found.min(largest))
}

async fn sample(series: Weak<Mutex<SampleSeries>>, evanesce: Evanesce, metrics: Option<PrometheusHandle>) {
    loop {
        let Some(sample) = take_sample(&evanesce, metrics.clone()).await else { return };
        let Some(shared) = series.upgrade() else { return };
        let interval = {
            let mut series = shared.lock();
            series.add(sample);
            series.interval
        };
        drop(shared);
        tokio::time::sleep(interval).await;
    }
}

/// Returns how things are; `None` when the instance goes down.
async fn take_sample(evanesce: &Evanesce, metrics: Option<PrometheusHandle>) -> Option<HistorySample> {
    let reaper = evanesce.reaper_status().await?;
    let usage = evanesce.usage().await;
    let text = match metrics {
        Some(metrics) => tokio::task::spawn_blocking(move || metrics.render()).await.ok()?,
        None => String::new(),
    };
    let at = evanesce.now();
    let oldest_mark = reaper.oldest_mark.map_or(0.0, |oldest| between(oldest, at).as_secs_f64());
    Some(HistorySample {
        at,
        usage,
        marked: reaper.marked,
        oldest_mark,
        swept: reaper.swept,
        free_bytes: metric(&text, "evanesce_free_bytes"),
        written_bytes: metric(&text, "evanesce_written_bytes_total"),
        erase_seconds: metric(&text, "evanesce_erase_seconds_sum").unwrap_or_default(),
        erase_buckets: buckets(&text, "evanesce_erase_seconds_bucket"),
    })
}

/// Returns the value of a metric without labels, from the text that Prometheus reads.
fn metric(text: &str, name: &str) -> Option<f64> {
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    lines.find(|(series, _)| *series == name).and_then(|(_, value)| value.parse().ok())
}

/// Returns the sum of a metric over all of its labels.
pub fn metric_sum(text: &str, name: &str) -> f64 {
    let is_meant =
        |series: &str| series.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('{'));
    let lines = text.lines().filter_map(|line| line.rsplit_once(' '));
    lines.filter(|(series, _)| is_meant(series)).filter_map(|(_, value)| value.parse::<f64>().ok()).sum()
}

fn buckets(text: &str, name: &str) -> LatencyBuckets {
    let bucket = |line: &str| {
        let bound = line.strip_prefix(name)?.strip_prefix("{le=\"")?;
        let (bound, count) = bound.split_once("\"} ")?;
        let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().ok()? };
        Some((bound, count.parse().ok()?))
    };
    text.lines().filter_map(bucket).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const METRICS: &str = "\
# TYPE evanesce_free_bytes gauge
evanesce_free_bytes 1024
evanesce_erase_seconds_bucket{le=\"0.5\"} 90
evanesce_erase_seconds_bucket{le=\"1\"} 94
evanesce_erase_seconds_bucket{le=\"5\"} 99
evanesce_erase_seconds_bucket{le=\"+Inf\"} 100
evanesce_erase_seconds_sum 25.5
evanesce_sweep_failures_total{errno=\"EIO\"} 3
";

    fn sample(second: i64) -> HistorySample {
        HistorySample {
            at: Timestamp::from_second(second).unwrap(),
            usage: InstanceUsage { active: 0, stored_bytes: 0 },
            marked: 0,
            oldest_mark: 0.0,
            swept: u64::try_from(second).unwrap(),
            free_bytes: Some(9.0),
            written_bytes: Some(second as f64),
            erase_seconds: 0.0,
            erase_buckets: Vec::new(),
        }
    }

    #[test]
    fn p13_the_samples_are_bounded_and_cover_a_day_at_last() {
        let mut series = SampleSeries::default();
        let (mut second, end) = (0, 3 * 86_400);
        while second < end {
            series.add(sample(second));
            assert!(series.samples.len() <= MOST_SAMPLES);
            // Two that became one stand where the later one stood.
            let interval = i64::try_from(series.interval.as_secs()).unwrap();
            let covered = second - series.samples[0].at.as_second() + interval;
            assert!(covered >= second.min(86_400), "{covered} of {second}");
            second += interval;
        }
        assert_eq!(series.interval, LAST_INTERVAL);
    }

    #[test]
    fn a_peak_outlives_the_thinning_and_rates_are_right_after_it() {
        let history = History::default();
        let peak = 3 * 3600;
        let mut second = 0;
        while second < 86_400 {
            let is_peak = (peak..peak + 64).contains(&second);
            let usage = InstanceUsage { active: if is_peak { 7 } else { 1 }, stored_bytes: 0 };
            let mut series = history.0.lock();
            series.add(HistorySample { usage, marked: if is_peak { 5 } else { 0 }, ..sample(second) });
            second += i64::try_from(series.interval.as_secs()).unwrap();
        }
        let now = Timestamp::from_second(86_400).unwrap();
        let most = |plot: &TimePlot| {
            let values = plot.lines[0].values.iter().filter_map(|(_, value)| *value);
            values.fold(0.0_f64, f64::max)
        };
        let [erasures, exports] = [history.of_erasures(now), history.of_exports(now)];
        assert_eq!((most(&erasures[0]), most(&exports[0])), (5.0, 7.0));
        assert_eq!((most(&erasures[2]), most(&exports[1])), (60.0, 1.0), "one a second");
        assert!(erasures[0].lines[0].values.len() <= MOST_POINTS);
        assert_eq!(erasures[0].span, 86_400.0);
    }

    #[test]
    fn metrics_are_read_from_their_text() {
        assert_eq!(metric(METRICS, "evanesce_free_bytes"), Some(1024.0));
        assert_eq!(metric(METRICS, "evanesce_free"), None);
        assert_eq!(metric_sum(METRICS, "evanesce_sweep_failures_total"), 3.0);
        let found = buckets(METRICS, "evanesce_erase_seconds_bucket");
        assert_eq!(found.len(), 4);
        assert_eq!(percentile(&found, 0.5), Some(0.5));
        assert_eq!(percentile(&found, 0.95), Some(5.0));
        assert_eq!(percentile(&found, 1.0), Some(5.0), "beyond the last bound");
        assert_eq!(percentile(&Vec::new(), 0.5), None);
    }

    #[test]
    fn the_latency_of_a_moment_is_that_of_its_own_erasures() {
        let buckets = |fast: f64, all: f64| vec![(0.5, fast), (5.0, all), (f64::INFINITY, all)];
        let first = HistorySample { erase_buckets: buckets(10.0, 10.0), erase_seconds: 1.0, ..sample(0) };
        let second = HistorySample { erase_buckets: buckets(10.0, 12.0), erase_seconds: 7.0, ..sample(60) };
        let none = HistorySample { at: Timestamp::from_second(120).unwrap(), ..second.clone() };
        let past = PlottedPast { now: none.at, samples: vec![first, second, none], span: 600.0 };
        let plot = past.latency();
        let values = |n: usize| plot.lines[n].values.iter().map(|(_, value)| *value).collect::<Vec<_>>();
        assert_eq!(values(0), [Some(3.0), None]);
        assert_eq!(values(1), [Some(5.0), None]);
    }
}
