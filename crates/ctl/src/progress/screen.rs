//! Progress as text: redrawn in place on a terminal, lines for what changed elsewhere.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use anyhow::Result;
use swarm_api::TaskState;

use super::state::{Slot, Step, Verdict};
use crate::output;
use crate::shape::task::state;

/// More slots than these are summed up.
const MAX_BARS: usize = 20;
/// Characters within a bar's brackets.
const BAR: usize = 50;
/// Where the terminal does not say how wide it is.
const WIDTH: usize = 80;

/// One service on the screen.
pub struct Shown<'a> {
    /// Its name.
    pub name: &'a str,
    /// Where it is.
    pub step: &'a Step,
}

/// What has been drawn.
pub struct Screen {
    quiet: bool,
    terminal: bool,
    /// One service in detail, or several in a line each.
    single: bool,
    /// Lines to be drawn over.
    drawn: usize,
    /// Last text of each line, where lines cannot be drawn over.
    last: BTreeMap<String, String>,
    /// News already told, by service.
    told: BTreeMap<String, Vec<String>>,
}

impl Screen {
    /// An empty one.
    pub fn new(quiet: bool, single: bool) -> Self {
        Screen {
            quiet,
            terminal: output::is_terminal(),
            single,
            drawn: 0,
            last: BTreeMap::new(),
            told: BTreeMap::new(),
        }
    }

    /// Shows where the services are.
    pub fn show(&mut self, services: &[Shown<'_>]) -> Result<()> {
        if self.quiet {
            return Ok(());
        }
        let news = self.news(services);
        let lines: Vec<(String, String)> = match (self.single, services) {
            (true, [one]) => detail(one.step, self.terminal),
            _ => services.iter().map(|s| (s.name.to_owned(), summary(s))).collect(),
        };
        match self.terminal {
            true => self.redraw(&news, &lines),
            false => self.append(&news, lines),
        }
    }

    /// A finished service keeps its last step: its news are told once.
    fn news(&mut self, services: &[Shown<'_>]) -> Vec<String> {
        let mut news = Vec::new();
        for s in services {
            let told = self.told.entry(s.name.to_owned()).or_default();
            if *told != s.step.news {
                news.extend(s.step.news.iter().cloned());
                told.clone_from(&s.step.news);
            }
        }
        news
    }

    fn redraw(&mut self, news: &[String], lines: &[(String, String)]) -> Result<()> {
        let width = terminal_size::terminal_size().map_or(WIDTH, |(w, _)| usize::from(w.0));
        let mut text = String::new();
        if self.drawn > 0 {
            text.push_str(&format!("\x1b[{}A", self.drawn));
        }
        // Down to the end: there may be fewer lines than before.
        text.push_str("\r\x1b[J");
        for line in news {
            text.push_str(&format!("{line}\n"));
        }
        for (_, line) in lines {
            // A line that wraps could not be drawn over.
            text.extend(line.chars().take(width.saturating_sub(1)));
            text.push('\n');
        }
        self.drawn = lines.len();
        let mut out = std::io::stdout().lock();
        out.write_all(text.as_bytes())?;
        Ok(out.flush()?)
    }

    fn append(&mut self, news: &[String], lines: Vec<(String, String)>) -> Result<()> {
        for line in news {
            output::line(line)?;
        }
        for (key, line) in lines {
            if self.last.get(&key) != Some(&line) {
                output::line(&line)?;
                self.last.insert(key, line);
            }
        }
        Ok(())
    }
}

/// Lines about one service, each with what it is about.
fn detail(step: &Step, terminal: bool) -> Vec<(String, String)> {
    let (done, wanted) = step.overall;
    let title = if step.rolling_back { "rolling back update" } else { "overall progress" };
    let mut lines = vec![("overall".to_owned(), format!("{title}: {done} out of {wanted} tasks"))];
    if step.slots.len() <= MAX_BARS {
        for slot in &step.slots {
            lines.push((slot.label.clone(), slot_line(slot, wanted, terminal)));
        }
    } else if !step.reasons().is_empty() {
        lines.push(("reasons".into(), format!("not running{}", step.reasons())));
    }
    if let Verdict::Stabilizing { left, total } = &step.verdict {
        // Without a terminal a countdown would be many lines.
        let seconds = whole_seconds(if terminal { *left } else { *total });
        let text = format!("verify: Waiting {seconds} seconds to verify that tasks are stable...");
        lines.push(("verify".into(), text));
    }
    lines
}

fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

fn slot_line(slot: &Slot, wanted: u64, terminal: bool) -> String {
    let numbered = slot.label.parse::<u64>().is_ok();
    let label = match numbered && slot.label.len() < swarm_api::id::SHORT_LEN {
        true => format!("{}/{wanted}", slot.label),
        false => slot.label.clone(),
    };
    let name = state(slot.state);
    // Elsewhere than on a terminal, failures of the past have been told in lines of their own.
    let why = if terminal || has_own_reason(slot.state) { slot.why.as_str() } else { "" };
    if !why.is_empty() {
        return format!("{label}: {name}: {}", why.replace('\n', " "));
    }
    match terminal {
        true => format!("{label}: {name:<9} {}", bar(slot.state)),
        false => format!("{label}: {name}"),
    }
}

/// Whether the reason is that of the present task, not of the one before it.
fn has_own_reason(at: TaskState) -> bool {
    at <= TaskState::Pending || at > TaskState::Running
}

fn bar(at: TaskState) -> String {
    let steps = [
        TaskState::New,
        TaskState::Pending,
        TaskState::Assigned,
        TaskState::Accepted,
        TaskState::Preparing,
        TaskState::Ready,
        TaskState::Starting,
        TaskState::Running,
    ];
    let Some(step) = steps.iter().position(|s| *s == at) else { return String::new() };
    let filled = BAR * (step + 1) / steps.len();
    let arrow = if filled < BAR { ">" } else { "" };
    format!("[{:<BAR$}]", format!("{}{arrow}", "=".repeat(filled.saturating_sub(arrow.len()))))
}

/// One line about a service among several.
fn summary(shown: &Shown<'_>) -> String {
    let (done, wanted) = shown.step.overall;
    let name = shown.name;
    match &shown.step.verdict {
        Verdict::Done => format!("{name}: {done} out of {wanted} tasks: converged"),
        Verdict::Failed(why) => format!("{name}: failed: {why}"),
        Verdict::Stabilizing { .. } => {
            format!("{name}: {done} out of {wanted} tasks: verifying that they are stable")
        }
        Verdict::Working => {
            format!("{name}: {done} out of {wanted} tasks{}", shown.step.reasons())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step() -> Step {
        Step {
            overall: (1, 2),
            slots: vec![
                Slot { label: "1".into(), state: TaskState::Running, why: String::new() },
                Slot {
                    label: "2".into(),
                    state: TaskState::Pending,
                    why: "no suitable node".into(),
                },
            ],
            ..Step::default()
        }
    }

    #[test]
    fn one_service_is_shown_with_its_slots_and_their_reasons() {
        let lines: Vec<String> = detail(&step(), false).into_iter().map(|(_, l)| l).collect();
        let expected = [
            "overall progress: 1 out of 2 tasks",
            "1/2: running",
            "2/2: pending: no suitable node",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn several_services_have_a_line_each() {
        let text = summary(&Shown { name: "web", step: &step() });
        assert_eq!(text, "web: 1 out of 2 tasks: no suitable node");
    }

    #[test]
    fn a_bar_fills_with_the_state() {
        assert_eq!(bar(TaskState::Running), format!("[{}]", "=".repeat(BAR)));
        assert!(bar(TaskState::Preparing).contains("=>"));
        assert_eq!(bar(TaskState::Failed), "");
    }

    #[test]
    fn many_slots_are_summed_up() {
        let slot =
            |n: usize| Slot { label: n.to_string(), state: TaskState::Running, why: String::new() };
        let many = Step { slots: (0..30).map(slot).collect(), ..step() };
        assert_eq!(detail(&many, false).len(), 1);
    }

    #[test]
    fn a_countdown_is_one_line_where_it_cannot_be_drawn_over() {
        let (left, total) = (Duration::from_millis(1200), Duration::from_secs(5));
        let step = Step { verdict: Verdict::Stabilizing { left, total }, ..Step::default() };
        assert!(detail(&step, true)[1].1.contains("Waiting 2 seconds"));
        assert!(detail(&step, false)[1].1.contains("Waiting 5 seconds"));
    }
}
