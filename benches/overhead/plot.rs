//! A line plot as SVG.

use std::fmt::Write as _;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 62.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 44.0;
const COLOURS: [&str; 3] = ["#2a7de1", "#e07b28", "#888"];

pub(crate) struct Line {
    pub(crate) name: &'static str,
    pub(crate) points: Vec<(f64, f64)>,
}

/// Steps of an axis. Logarithmic ones are the decades.
struct Axis {
    low: f64,
    high: f64,
    logarithmic: bool,
    steps: Vec<f64>,
}

impl Axis {
    fn linear(high: f64) -> Self {
        let rough = high / 5.0;
        let decade = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0]
            .map(|factor| factor * decade)
            .into_iter()
            .find(|step| *step >= rough)
            .unwrap_or(rough);
        let count = (high / step).ceil();
        Self {
            low: 0.0,
            high: count * step,
            logarithmic: false,
            steps: (0..=count as u32).map(|n| f64::from(n) * step).collect(),
        }
    }

    fn logarithmic(low: f64, high: f64) -> Self {
        let (from, to) = (low.log10().floor() as i32, high.log10().ceil() as i32);
        Self {
            low: 10_f64.powi(from),
            high: 10_f64.powi(to.max(from + 1)),
            logarithmic: true,
            steps: (from..=to.max(from + 1)).map(|n| 10_f64.powi(n)).collect(),
        }
    }

    /// From 0 to 1.
    fn place(&self, value: f64) -> f64 {
        if self.logarithmic {
            (value / self.low).log10() / (self.high / self.low).log10()
        } else {
            (value - self.low) / (self.high - self.low)
        }
    }
}

/// `x` is drawn by decades; `y` too if it spans more than one and a half.
pub(crate) fn svg(x_label: &str, y_label: &str, lines: &[Line]) -> String {
    let all = || lines.iter().flat_map(|line| line.points.iter().copied());
    let extent = |values: &mut dyn Iterator<Item = f64>| {
        values.fold((f64::MAX, f64::MIN), |(low, high), value| {
            (low.min(value), high.max(value))
        })
    };
    let (x_low, x_high) = extent(&mut all().map(|point| point.0));
    let (y_low, y_high) = extent(&mut all().map(|point| point.1));
    let x = Axis::logarithmic(x_low, x_high);
    let y = if y_high / y_low > 30.0 {
        Axis::logarithmic(y_low, y_high)
    } else {
        Axis::linear(y_high)
    };
    let at_x = |value: f64| LEFT + x.place(value) * (WIDTH - LEFT - RIGHT);
    let at_y = |value: f64| HEIGHT - BOTTOM - y.place(value) * (HEIGHT - TOP - BOTTOM);
    let (left, right, top, bottom) = (LEFT, WIDTH - RIGHT, TOP, HEIGHT - BOTTOM);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" \
         height=\"{HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\" fill=\"#888\">\n"
    );
    let mut add = |text: std::fmt::Arguments<'_>| {
        svg.write_fmt(text).expect("text");
        svg.push('\n');
    };
    for step in &y.steps {
        let at = at_y(*step);
        add(format_args!(
            "<path d=\"M{left} {at:.1}H{right}\" stroke=\"#888\" stroke-opacity=\".3\"/>\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            left - 6.0,
            at + 4.0,
            label(*step)
        ));
    }
    for step in &x.steps {
        let at = at_x(*step);
        add(format_args!(
            "<path d=\"M{at:.1} {top}V{bottom}\" stroke=\"#888\" stroke-opacity=\".15\"/>\
             <text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            bottom + 16.0,
            label(*step)
        ));
    }
    add(format_args!(
        "<text x=\"{:.0}\" y=\"{}\" text-anchor=\"middle\">{x_label}</text><text x=\"8\" y=\"16\">{y_label}</text>",
        (left + right) / 2.0,
        HEIGHT - 8.0
    ));
    for (line, colour) in lines.iter().zip(COLOURS) {
        let points: Vec<String> = line
            .points
            .iter()
            .map(|(px, py)| format!("{:.1},{:.1}", at_x(*px), at_y(*py)))
            .collect();
        add(format_args!(
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            points.join(" ")
        ));
        for point in &points {
            let (px, py) = point.split_once(',').expect("two numbers");
            add(format_args!(
                "<circle cx=\"{px}\" cy=\"{py}\" r=\"3\" fill=\"{colour}\"/>"
            ));
        }
    }
    let mut at = right;
    for (line, colour) in lines.iter().zip(COLOURS).rev() {
        add(format_args!(
            "<text x=\"{at:.0}\" y=\"16\" text-anchor=\"end\" fill=\"{colour}\">{}</text>",
            line.name
        ));
        at -= 7.0 * line.name.len() as f64 + 18.0;
    }
    svg.push_str("</svg>\n");
    svg
}

fn label(value: f64) -> String {
    if value >= 1e6 {
        format!("{}M", value / 1e6)
    } else if value >= 1e3 {
        format!("{}k", value / 1e3)
    } else {
        format!("{}", (value * 1000.0).round() / 1000.0)
    }
}
