//! Figures as JSON lines, as they come, and as a table at the end. Pure but for the printing of lines.

use serde_json::json;

/// One figure of one system.
#[derive(Debug, Clone)]
pub struct Line {
    /// As the table calls it; the same for all systems.
    measure: String,
    system: &'static str,
    unit: String,
    /// In the order measured.
    values: Vec<f64>,
}

const KIB_PER_MB: f64 = 1000.0 * 1000.0 / 1024.0;

impl Line {
    /// A figure of ours that another program measured: its name, unit and values, with tabs between
    /// and commas between values. `None` for any other line.
    pub fn parse(text: &str) -> Option<Self> {
        let [measure, unit, values] = text.split('\t').collect::<Vec<_>>()[..] else { return None };
        let values = values.split(',').map(|value| value.parse().ok()).collect::<Option<_>>()?;
        Some(Self { measure: measure.into(), system: "swarm", unit: unit.into(), values })
    }

    /// Seconds from `service create` to all running.
    pub fn speed(system: &'static str, nodes: usize, tasks: usize, values: Vec<f64>) -> Self {
        let on = if nodes == 1 { "one node".into() } else { format!("{nodes} nodes") };
        Self {
            measure: format!("create to running: {tasks} on {on}"),
            system,
            unit: "s".into(),
            values,
        }
    }

    /// KiB of a node's daemons, with so many tasks on it.
    pub fn daemons(system: &'static str, tasks: usize, kib: u64) -> Self {
        let measure = format!("memory of the daemon with {tasks} tasks");
        Self { measure, system, unit: "MB".into(), values: vec![kib as f64 / KIB_PER_MB] }
    }

    /// KiB of what supervises one task.
    pub fn supervisor(system: &'static str, kib: f64) -> Self {
        let measure = "memory of the shim per task".into();
        Self { measure, system, unit: "MB".into(), values: vec![kib / KIB_PER_MB] }
    }

    /// The middle value.
    fn median(&self) -> f64 {
        let mut sorted = self.values.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
    }

    fn json(&self) -> String {
        let round = |value: &f64| (value * 1000.0).round() / 1000.0;
        json!({
            "measure": self.measure,
            "system": self.system,
            "unit": self.unit,
            "median": round(&self.median()),
            "values": self.values.iter().map(round).collect::<Vec<_>>(),
        })
        .to_string()
    }
}

/// All figures of a run.
#[derive(Debug, Default)]
pub struct Report {
    lines: Vec<Line>,
}

impl Report {
    /// Prints the figure and keeps it for the table.
    pub fn add(&mut self, line: Line) {
        println!("{}", line.json());
        self.lines.push(line);
    }

    /// One row per measure, one column per system, and how many times the second is the first.
    pub fn table(&self) -> String {
        let mut systems: Vec<&str> = Vec::new();
        let mut measures: Vec<&str> = Vec::new();
        for line in &self.lines {
            push_new(&mut systems, line.system);
            push_new(&mut measures, &line.measure);
        }
        let width = measures.iter().map(|measure| measure.len()).max().unwrap_or(0).max(38);
        let mut text = format!("{:width$}", "");
        text.extend(systems.iter().map(|system| format!("{system:>12}")));
        if systems.len() == 2 {
            text.push_str(&format!("{:>9}", "ratio"));
        }
        for measure in measures {
            text.push_str(&format!("\n{measure:width$}"));
            let found = systems.iter().map(|system| self.find(measure, system));
            let values: Vec<Option<&Line>> = found.collect();
            for value in &values {
                let cell = value.map_or("-".into(), |l| format!("{:.2} {}", l.median(), l.unit));
                text.push_str(&format!("{cell:>12}"));
            }
            if let [Some(ours), Some(theirs)] = values[..] {
                text.push_str(&format!("{:>8.1}x", theirs.median() / ours.median()));
            }
        }
        text
    }

    fn find(&self, measure: &str, system: &str) -> Option<&Line> {
        self.lines.iter().find(|line| line.measure == measure && line.system == system)
    }
}

fn push_new<'a>(list: &mut Vec<&'a str>, word: &'a str) {
    if !list.contains(&word) {
        list.push(word);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_every_value_and_their_middle() {
        let line = Line::speed("swarm", 3, 30, vec![0.9, 0.5, 0.6]);
        let expected = [
            r#"{"measure":"create to running: 30 on 3 nodes","median":0.6,"#,
            r#""system":"swarm","unit":"s","values":[0.9,0.5,0.6]}"#,
        ];
        assert_eq!(line.json(), expected.concat());
    }

    #[test]
    fn a_figure_of_another_program_is_read() {
        let line = Line::parse("write\tms\t1.5,2").unwrap();
        let expected =
            r#"{"measure":"write","median":2.0,"system":"swarm","unit":"ms","values":[1.5,2.0]}"#;
        assert_eq!(line.json(), expected);
        assert!(Line::parse("a line of text").is_none());
        assert!(Line::parse("write\tms\tfast").is_none());
    }

    #[test]
    fn two_systems_are_compared() {
        let mut report = Report::default();
        report.add(Line::speed("swarm", 1, 1, vec![0.2]));
        report.add(Line::supervisor("swarm", 1953.125));
        report.add(Line::speed("docker", 1, 1, vec![0.8]));
        let table = report.table();
        let lines: Vec<&str> = table.lines().collect();
        assert!(lines[1].ends_with("0.20 s      0.80 s     4.0x"), "{table}");
        assert!(lines[2].ends_with("2.00 MB           -"), "{table}");
    }
}
