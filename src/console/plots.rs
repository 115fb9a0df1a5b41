//! Plots over time: SVG that is made here and stands in the page, so that it needs no script. The colours are
//! those of a light page, and the stylesheet replaces them by roles. Each plot says in words what it shows,
//! for whoever does not see it, and shows how it is now in large figures.

use std::error::Error;
use std::ops::Range;

use jiff::Timestamp;
use maud::{Markup, PreEscaped, html};
use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint};
use plotters::prelude::*;

use crate::clock::between;

/// The size in pixels, about that of a phone's width: on a larger page plots stand side by side.
const SIZE: (u32, u32) = (360, 150);

/// The inks. `console.css` has the same codes, and what stands for them in the dark.
const LINES: [RGBColor; 2] = [RGBColor(0x0B, 0x5C, 0xAD), RGBColor(0xB3, 0x5A, 0x00)];
const GRID: RGBColor = RGBColor(0xE3, 0xE6, 0xEA);
const TEXT: RGBColor = RGBColor(0x57, 0x60, 0x6A);

/// The most steps of an axis.
const STEPS: f64 = 3.0;

/// What the values of a plot are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlotUnit {
    /// Whole things.
    Count,
    /// Things a minute.
    PerMinute,
    /// A time, in seconds.
    Seconds,
    /// Bytes.
    Bytes,
    /// Bytes a second.
    BytesPerSecond,
}

/// One line of a plot.
#[derive(Debug, Clone)]
pub struct PlotLine {
    /// Its name, if there are several.
    pub name: &'static str,
    /// Its values in the order of time; where there is none, the line has a gap.
    pub values: Vec<(Timestamp, Option<f64>)>,
}

/// A plot of one or two lines.
#[derive(Debug, Clone)]
pub struct TimePlot {
    /// What it shows.
    pub title: &'static str,
    /// What its values are.
    pub unit: PlotUnit,
    /// Its lines.
    pub lines: Vec<PlotLine>,
    /// Its right end.
    pub now: Timestamp,
    /// The time that it covers, in seconds.
    pub span: f64,
}

impl TimePlot {
    /// Returns the plot with its caption.
    pub fn figure(&self) -> Markup {
        html! {
            figure.plot {
                figcaption {
                    span.plot-title { (self.title) }
                    @for (n, line) in self.lines.iter().enumerate() {
                        span.plot-now {
                            @if !line.name.is_empty() { span class={ "plot-key plot-key-" (n) } { (line.name) } " " }
                            strong { (self.latest(line)) }
                        }
                    }
                }
                @match self.draw() {
                    Ok(svg) => {
                        svg viewBox={ "0 0 " (SIZE.0) " " (SIZE.1) } role="img" aria-label=(self.in_words()) {
                            (PreEscaped(svg))
                        }
                    }
                    Err(_) => p { (self.in_words()) },
                }
            }
        }
    }

    fn latest(&self, line: &PlotLine) -> String {
        let latest = line.values.iter().rev().find_map(|(_, value)| *value);
        latest.map_or_else(|| "none yet".into(), |value| self.unit.text(value))
    }

    /// Returns what the plot shows, as a sentence.
    fn in_words(&self) -> String {
        let mut words = format!("{} in the last {}", self.title, age(self.span));
        for line in &self.lines {
            let values: Vec<_> = line.values.iter().filter_map(|(_, value)| *value).collect();
            let name = if line.name.is_empty() { String::new() } else { format!(" {}", line.name) };
            match values.last() {
                None => words.push_str(&format!(".{name} Nothing was measured yet")),
                Some(latest) => {
                    let (least, most) = values.iter().fold((f64::MAX, 0.0_f64), |(least, most), value| {
                        (least.min(*value), most.max(*value))
                    });
                    let [latest, least, most] = [*latest, least, most].map(|value| self.unit.text(value));
                    words.push_str(&format!(".{name} Latest {latest}, between {least} and {most}"));
                }
            }
        }
        words
    }

    /// Returns what stands inside of the SVG element.
    fn draw(&self) -> Result<String, Box<dyn Error>> {
        let values = || self.lines.iter().flat_map(|line| &line.values);
        let most = values().filter_map(|(_, value)| *value).fold(0.0_f64, f64::max);
        let step = self.unit.step(most);
        let top = step * (most / step).ceil().max(1.0);
        let ticks: Vec<f64> = (0..=(top / step).round() as u32).map(|n| f64::from(n) * step).collect();
        let time_step = step_of_time(self.span);
        let times: Vec<f64> =
            (0..=(self.span / time_step) as u32).map(|n| -f64::from(n) * time_step).collect();

        let mut svg = String::new();
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let mut chart = ChartBuilder::on(&area)
            .margin_top(10)
            .margin_right(24)
            .x_label_area_size(22)
            .y_label_area_size(62)
            .build_cartesian_2d(
                TickedAxis { range: -self.span..0.0, ticks: times },
                TickedAxis { range: 0.0..top, ticks },
            )?;
        let text = TextStyle::from(("sans-serif", 15).into_font()).color(&TEXT);
        chart
            .configure_mesh()
            .disable_x_mesh()
            .axis_style(GRID)
            .bold_line_style(GRID)
            .light_line_style(TRANSPARENT)
            .label_style(text)
            .x_label_formatter(&|seconds| {
                if *seconds > -1.0 { "now".into() } else { format!("−{}", age(-seconds)) }
            })
            .y_label_formatter(&|value| self.unit.text(*value))
            .draw()?;
        for (line, ink) in self.lines.iter().zip(LINES) {
            for run in line.values.split(|(_, value)| value.is_none()) {
                let place = |(at, value): &(Timestamp, Option<f64>)| {
                    (-between(*at, self.now).as_secs_f64(), value.unwrap_or_default())
                };
                let points: Vec<_> = run.iter().map(place).filter(|(at, _)| *at >= -self.span).collect();
                match &points[..] {
                    [] => {}
                    // A single value has no line.
                    [point] => drop(chart.draw_series([Circle::new(*point, 2, ink.filled())])?),
                    _ => drop(chart.draw_series(LineSeries::new(points, ink.stroke_width(2)))?),
                }
            }
        }
        area.present()?;
        drop(chart);
        drop(area);
        // The page has an SVG element of its own, with a text.
        let inside = svg.split_once('>').and_then(|(_, rest)| rest.rsplit_once("</svg>"));
        Ok(inside.map_or_else(String::new, |(inside, _)| inside.trim().into()))
    }
}

/// An axis whose ticks stand where human units have round numbers.
struct TickedAxis {
    range: Range<f64>,
    ticks: Vec<f64>,
}

impl Ranged for TickedAxis {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (from, to): (i32, i32)) -> i32 {
        let share = (value - self.range.start) / (self.range.end - self.range.start);
        from + (f64::from(to - from) * share).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        if hint.weight().allow_light_points() { Vec::new() } else { self.ticks.clone() }
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

impl PlotUnit {
    /// Returns a value as people read it.
    pub fn text(self, value: f64) -> String {
        match self {
            Self::Count => format!("{value:.0}"),
            Self::PerMinute => format!("{}/min", short(value)),
            Self::Seconds => age(value),
            Self::Bytes => bytes(value),
            Self::BytesPerSecond => format!("{}/s", bytes(value)),
        }
    }

    /// Returns the distance of the ticks of an axis that reaches up to `most`.
    fn step(self, most: f64) -> f64 {
        let fits = |step: &f64| most / step <= STEPS;
        let decimal = |least: i32| {
            (least..18).flat_map(|power| [1.0, 2.0, 5.0].map(|one| one * 10_f64.powi(power))).find(fits)
        };
        let step = match self {
            Self::Count => decimal(0),
            Self::PerMinute => decimal(-1),
            Self::Seconds => (-3..1)
                .flat_map(|power| [1.0, 2.0, 5.0].map(|one| one * 10_f64.powi(power)))
                .chain(TIMES.iter().copied())
                .find(fits),
            Self::Bytes | Self::BytesPerSecond => (1..6)
                .flat_map(|power| {
                    [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0]
                        .map(|one| one * 1024_f64.powi(power))
                })
                .find(fits),
        };
        step.unwrap_or(most.max(1.0))
    }
}

/// The steps of an axis of time, in seconds.
const TIMES: [f64; 21] = [
    1.0,
    2.0,
    5.0,
    10.0,
    15.0,
    30.0,
    60.0,
    120.0,
    300.0,
    600.0,
    900.0,
    1800.0,
    3600.0,
    7200.0,
    10_800.0,
    21_600.0,
    43_200.0,
    86_400.0,
    172_800.0,
    604_800.0,
    2_592_000.0,
];

/// Returns the distance of the ticks below a plot that covers `span` seconds.
fn step_of_time(span: f64) -> f64 {
    TIMES.into_iter().find(|step| span / step <= 4.0).unwrap_or(span)
}

/// Returns a number with as few digits as tell it.
fn short(value: f64) -> String {
    if value == 0.0 || value >= 10.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.1}").replace(".0", "")
    }
}

/// Returns a time as people read it, with one unit.
fn age(seconds: f64) -> String {
    let (value, unit) = match seconds {
        0.0 => (0.0, "s"),
        s if s < 1.0 => (s * 1e3, "ms"),
        s if s < 60.0 => (s, "s"),
        s if s < 3600.0 => (s / 60.0, "min"),
        s if s < 86_400.0 => (s / 3600.0, "h"),
        s => (s / 86_400.0, "d"),
    };
    format!("{} {unit}", short(value))
}

/// Returns a size as people read it.
fn bytes(value: f64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let power = (0..units.len() - 1).find(|power| value < 1024_f64.powi(*power as i32 + 1));
    let power = power.unwrap_or(units.len() - 1);
    format!("{} {}", short(value / 1024_f64.powi(power as i32)), units[power])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(unit: PlotUnit, values: &[Option<f64>]) -> TimePlot {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let first = 1_000_001 - values.len() as i64;
        let at = |n: usize| Timestamp::from_second(first + n as i64).unwrap();
        let values = values.iter().enumerate().map(|(n, value)| (at(n), *value)).collect();
        TimePlot { title: "Backlog", unit, lines: vec![PlotLine { name: "", values }], now, span: 600.0 }
    }

    #[test]
    fn an_axis_has_round_steps_and_human_units() {
        let labels = |unit: PlotUnit, most: f64| {
            let step = unit.step(most);
            let top = (most / step).ceil().max(1.0) as u32;
            (0..=top).map(|n| unit.text(f64::from(n) * step)).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(labels(PlotUnit::Count, 0.0), "0 1");
        assert_eq!(labels(PlotUnit::Count, 3.0), "0 1 2 3");
        assert_eq!(labels(PlotUnit::Count, 1234.0), "0 500 1000 1500");
        assert_eq!(labels(PlotUnit::PerMinute, 0.4), "0/min 0.2/min 0.4/min");
        assert_eq!(labels(PlotUnit::Seconds, 0.004), "0 s 2 ms 4 ms");
        assert_eq!(labels(PlotUnit::Seconds, 150.0), "0 s 1 min 2 min 3 min");
        assert_eq!(labels(PlotUnit::Seconds, 5.0 * 86_400.0), "0 s 2 d 4 d 6 d");
        assert_eq!(labels(PlotUnit::Bytes, 3e9), "0 B 1 GiB 2 GiB 3 GiB");
        assert_eq!(labels(PlotUnit::BytesPerSecond, 1e6), "0 B/s 500 KiB/s 1000 KiB/s");
        assert_eq!(labels(PlotUnit::Bytes, 0.0), "0 B 1 KiB");
    }

    #[test]
    fn a_plot_says_in_words_what_it_shows() {
        let words = plot(PlotUnit::Count, &[Some(1.0), Some(14.0), None, Some(2.0)]).in_words();
        assert_eq!(words, "Backlog in the last 10 min. Latest 2, between 1 and 14");
        assert_eq!(
            plot(PlotUnit::Count, &[]).in_words(),
            "Backlog in the last 10 min. Nothing was measured yet"
        );
    }

    #[test]
    fn a_line_has_a_gap_where_nothing_was_measured() {
        let svg = plot(PlotUnit::Count, &[Some(1.0), Some(2.0), None, Some(2.0), None]).draw().unwrap();
        let lines = svg.lines().filter(|line| line.starts_with("<polyline") && line.contains("#0B5CAD"));
        assert_eq!(lines.count(), 1, "{svg}");
        assert_eq!(svg.matches("<circle").count(), 1, "{svg}");
        assert!(svg.contains("−2.5 min") || svg.contains("−5 min"), "{svg}");
        assert!(!svg.contains("svg"), "only what stands inside: {svg}");
        assert!(!svg.contains("style="), "which the policy of the pages forbids");
    }
}
