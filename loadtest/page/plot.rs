//! Plots as SVG: axes with round ticks, lines that differ in colour and in dashes.

use std::fmt::Write as _;

use super::html::escape;

/// The size in which plots are drawn; the page scales them.
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 380.0;
const LEFT: f64 = 84.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 58.0;

/// Colours and dashes that differ also for those who see no colours, and in grey.
pub(super) const STYLES: [(&str, &str); 8] = [
    ("#0b62a4", ""),
    ("#c2410c", "8 4"),
    ("#15803d", "2 4"),
    ("#7e22ce", "12 4 2 4"),
    ("#a16207", "5 3"),
    ("#0e7490", "1 5"),
    ("#be185d", "14 6"),
    ("#4b5563", "4 2 1 2"),
];

/// Most lines of a plot.
pub(super) const LINES_MAX: usize = STYLES.len();

/// How numbers stand on an axis, and what they are called.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Scale {
    /// From zero.
    Linear,
    /// Powers of ten.
    Log,
    /// Shares up to one: as far from one as to the half, the tenth, the hundredth, and so on.
    Nines,
}

/// An axis.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    pub(super) label: &'static str,
    pub(super) scale: Scale,
    /// A value in words.
    pub(super) show: fn(f64) -> String,
}

/// A line.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
}

/// A plot.
#[derive(Clone, Debug)]
pub(super) struct Plot {
    /// Of its elements; unique on the page.
    pub(super) id: String,
    pub(super) title: String,
    /// What it shows, for those who do not see it.
    pub(super) description: String,
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) lines: Vec<Line>,
    /// A place on the x axis, and what is there.
    pub(super) mark: Option<(f64, String)>,
}

/// A range of an axis in its own measure.
#[derive(Clone, Copy)]
struct Range {
    scale: Scale,
    low: f64,
    high: f64,
}

/// The share above which all is the last place: 99.9999 %.
const NINES_MAX: f64 = 6.0;

impl Scale {
    /// The place of a value, before it is scaled to the plot.
    fn place(self, value: f64) -> f64 {
        match self {
            Scale::Linear => value,
            // There is no such place for nothing.
            Scale::Log if value <= 0.0 => f64::NAN,
            Scale::Log => value.log10(),
            Scale::Nines => (-(1.0 - value).max(0.0).log10()).clamp(0.0, NINES_MAX),
        }
    }
}

impl Range {
    fn of(scale: Scale, values: impl Iterator<Item = f64> + Clone) -> Range {
        let places = values
            .map(|value| scale.place(value))
            .filter(|place| place.is_finite());
        let low = places.clone().fold(f64::INFINITY, f64::min);
        let high = places.fold(f64::NEG_INFINITY, f64::max);
        let (low, high) = if low > high { (0.0, 1.0) } else { (low, high) };
        let (low, high) = match scale {
            Scale::Linear => (0.0, nice_end(high)),
            Scale::Log => (
                low.floor(),
                if high.ceil() > low.floor() {
                    high.ceil()
                } else {
                    low.floor() + 1.0
                },
            ),
            Scale::Nines => (0.0, high.max(1.0)),
        };
        Range { scale, low, high }
    }

    /// From 0 to 1, the place of a value that has one.
    fn share(self, value: f64) -> f64 {
        ((self.scale.place(value) - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }

    fn has(self, value: f64) -> bool {
        value.is_finite() && self.scale.place(value).is_finite()
    }

    fn ticks(self) -> Vec<f64> {
        match self.scale {
            Scale::Linear => {
                let step = nice_step(self.high);
                let count = (self.high / step).round() as u32;
                (0..=count).map(|i| f64::from(i) * step).collect()
            }
            Scale::Log => {
                let (low, high) = (self.low as i32, self.high as i32);
                // Some decades have no label where there are too many.
                let step = usize::try_from((high - low) / 8 + 1).unwrap_or(1);
                (low..=high)
                    .step_by(step)
                    .map(|power| 10_f64.powi(power))
                    .collect()
            }
            Scale::Nines => {
                let all = [0.0, 0.9, 0.99, 0.999, 0.9999, 0.99999, 0.999_999];
                all.into_iter()
                    .filter(|share| self.scale.place(*share) <= self.high + 1e-9)
                    .collect()
            }
        }
    }
}

/// A round step of which about five go up to `high`.
fn nice_step(high: f64) -> f64 {
    let rough = (high / 5.0).max(1e-9);
    let power = 10_f64.powf(rough.log10().floor());
    let factor = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .find(|factor| factor * power >= rough * 0.999);
    factor.unwrap_or(10.0) * power
}

/// A round end of an axis from zero, above `high`.
fn nice_end(high: f64) -> f64 {
    if high <= 0.0 {
        return 1.0;
    }
    let step = nice_step(high);
    (high / step * 0.999).ceil().max(1.0) * step
}

impl Plot {
    /// The SVG.
    pub(super) fn svg(&self) -> String {
        let points = || self.lines.iter().flat_map(|line| line.points.iter());
        let marks = self.mark.iter().map(|(at, _)| *at);
        let x = Range::of(self.x.scale, points().map(|point| point.0).chain(marks));
        let y = Range::of(self.y.scale, points().map(|point| point.1));
        let mut out = String::new();
        // Writing to a string cannot fail.
        let _ = write!(
            out,
            "<svg class=\"plot\" id=\"{id}\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" \
             aria-labelledby=\"{id}-title {id}-desc\"><title id=\"{id}-title\">{}</title><desc id=\"{id}-desc\">{}</desc>",
            escape(&self.title),
            escape(&self.description),
            id = self.id,
        );
        self.axes(&mut out, x, y);
        for (line, (colour, dashes)) in self.lines.iter().zip(STYLES) {
            draw(&mut out, line, colour, dashes, x, y);
        }
        if let Some((at, text)) = &self.mark {
            let left = across(x, *at);
            let (anchor, beside) = if left > WIDTH / 2.0 {
                ("end", -6.0)
            } else {
                ("start", 6.0)
            };
            let _ = write!(
                out,
                "<line class=\"mark\" x1=\"{left:.1}\" x2=\"{left:.1}\" y1=\"{TOP}\" y2=\"{:.1}\"/>\
                 <text class=\"note\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{}</text>",
                HEIGHT - BOTTOM,
                left + beside,
                TOP + 14.0,
                escape(text)
            );
        }
        out.push_str("</svg>");
        out
    }

    fn axes(&self, out: &mut String, x: Range, y: Range) {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        for tick in y.ticks() {
            let at = down(y, tick);
            // As in `svg`.
            let _ = write!(
                out,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                LEFT - 8.0,
                at + 5.0,
                escape(&(self.y.show)(tick))
            );
        }
        for tick in x.ticks() {
            let at = across(x, tick);
            let _ = write!(
                out,
                "<line class=\"grid\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{bottom}\"/>\
                 <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"{}\">{}</text>",
                bottom + 20.0,
                // What is wide would end beside the plot.
                if at > right - 24.0 { "end" } else { "middle" },
                escape(&(self.x.show)(tick))
            );
        }
        let _ = write!(
            out,
            "<path class=\"axis\" d=\"M{LEFT} {TOP}V{bottom}H{right}\"/>\
             <text class=\"label\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\
             <text class=\"label upright\" x=\"16\" y=\"{:.1}\" text-anchor=\"middle\" transform=\"rotate(-90 16 {:.1})\">{}</text>",
            f64::midpoint(LEFT, right),
            HEIGHT - 12.0,
            escape(self.x.label),
            f64::midpoint(TOP, bottom),
            f64::midpoint(TOP, bottom),
            escape(self.y.label)
        );
    }
}

fn across(x: Range, value: f64) -> f64 {
    LEFT + x.share(value) * (WIDTH - LEFT - RIGHT)
}

fn down(y: Range, value: f64) -> f64 {
    HEIGHT - BOTTOM - y.share(value) * (HEIGHT - TOP - BOTTOM)
}

fn draw(out: &mut String, line: &Line, colour: &str, dashes: &str, x: Range, y: Range) {
    let shown = line
        .points
        .iter()
        .filter(|point| x.has(point.0) && y.has(point.1));
    let places = shown.map(|point| (across(x, point.0), down(y, point.1)));
    let mut path = String::new();
    let mut count = 0;
    let mut last = (0.0, 0.0);
    for (left, top) in places {
        let letter = if count == 0 { 'M' } else { 'L' };
        // As in `svg`.
        let _ = write!(path, "{letter}{left:.1} {top:.1}");
        count += 1;
        last = (left, top);
    }
    let _ = match count {
        0 => Ok(()),
        1 => write!(
            out,
            "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"4\" fill=\"{colour}\"/>",
            last.0, last.1
        ),
        _ => write!(
            out,
            "<path class=\"line\" d=\"{path}\" stroke=\"{colour}\" stroke-dasharray=\"{}\"/>",
            if dashes.is_empty() { "none" } else { dashes }
        ),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(scale: Scale) -> Axis {
        Axis {
            label: "x & y",
            scale,
            show: |value| format!("{value}"),
        }
    }

    fn plot(scale: Scale, points: Vec<(f64, f64)>) -> Plot {
        Plot {
            id: "p".to_owned(),
            title: "a < b".to_owned(),
            description: "\"what\"".to_owned(),
            x: axis(Scale::Linear),
            y: axis(scale),
            lines: vec![Line {
                name: "l".to_owned(),
                points,
            }],
            mark: Some((1.0, "here".to_owned())),
        }
    }

    #[test]
    fn ticks_are_round() {
        let ticks = |scale, values: &[f64]| Range::of(scale, values.iter().copied()).ticks();
        assert_eq!(
            ticks(Scale::Linear, &[0.0, 9.7]),
            [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]
        );
        assert_eq!(
            ticks(Scale::Linear, &[]),
            [0.0, 0.2, 0.4, 0.6000000000000001, 0.8, 1.0]
        );
        assert_eq!(
            ticks(Scale::Log, &[250.0, 31_000.0]),
            [100.0, 1_000.0, 10_000.0, 100_000.0]
        );
        assert_eq!(ticks(Scale::Log, &[1_000.0]), [1_000.0, 10_000.0]);
        assert_eq!(
            ticks(Scale::Nines, &[0.2, 0.9995]),
            [0.0, 0.5, 0.9, 0.99, 0.999]
        );
        assert!(ticks(Scale::Log, &[1.0, 1e300]).len() < 12);
        assert!(ticks(Scale::Linear, &[f64::MAX]).len() < 12);
    }

    #[test]
    fn places_are_within_the_plot() {
        for scale in [Scale::Linear, Scale::Log, Scale::Nines] {
            for value in [0.0, -5.0, 1e-300, 0.5, 1.0, 1e300, f64::INFINITY] {
                let range = Range::of(scale, [0.1, 100.0].into_iter());
                if !range.has(value) {
                    continue;
                }
                let share = range.share(value);
                assert!((0.0..=1.0).contains(&share), "{scale:?} {value}: {share}");
            }
        }
    }

    #[test]
    fn what_is_drawn_is_well_formed() {
        for points in [
            vec![],
            vec![(1.0, 2.0)],
            vec![(0.0, 1.0), (1.0, f64::NAN), (2.0, 5.0)],
            vec![(1.0, 0.0), (2.0, 0.0)],
        ] {
            for scale in [Scale::Linear, Scale::Log, Scale::Nines] {
                let svg = plot(scale, points.clone()).svg();
                assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
                assert!(
                    svg.contains("a &lt; b")
                        && svg.contains("&quot;what&quot;")
                        && svg.contains("x &amp; y")
                );
                for element in ["svg", "text", "title", "desc"] {
                    let opened = svg.matches(&format!("<{element} ")).count()
                        + svg.matches(&format!("<{element}>")).count();
                    assert_eq!(
                        opened,
                        svg.matches(&format!("</{element}>")).count(),
                        "{element}"
                    );
                }
            }
        }
    }
}
