//! A session as a tree on the terminal.

use std::io::IsTerminal as _;

use honeyhive::server::Event;

/// Prints the events of a session, children below their parents.
pub fn print(events: &[Event], name: &str) {
    let colours = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let start = events
        .iter()
        .map(|event| event.start_time)
        .fold(f64::INFINITY, f64::min);
    let end = events
        .iter()
        .map(|event| event.end_time)
        .fold(0.0, f64::max);
    let bold = |text: &str| {
        if colours {
            format!("\x1b[1m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    };
    println!(
        "{}  {}  {} events",
        bold(&format!("session {name}")),
        duration(end - start),
        events.len()
    );
    let is_root = |event: &&Event| !events.iter().any(|other| event.parent_id == other.event_id);
    below(events, events.iter().filter(is_root).collect(), "", colours);
}

fn below(events: &[Event], mut children: Vec<&Event>, indent: &str, colours: bool) {
    children.sort_by(|a, b| a.start_time.total_cmp(&b.start_time));
    for (number, event) in children.iter().enumerate() {
        let last = number + 1 == children.len();
        let label = format!(
            "{indent}{} {}{}",
            if last { "└─" } else { "├─" },
            event.event_name,
            detail(event)
        );
        let label: String = label.chars().take(66).collect();
        let kind = if event.error.is_some() {
            "error"
        } else {
            event.event_type.as_str()
        };
        let colour = match kind {
            "error" => "31",
            "model" => "35",
            "chain" => "34",
            _ => "36",
        };
        let kind = if colours {
            format!("\x1b[{colour}m{kind:<6}\x1b[0m")
        } else {
            format!("{kind:<6}")
        };
        println!("{label:<68} {kind} {:>9}", duration(event.duration));
        let own: Vec<&Event> = events
            .iter()
            .filter(|other| other.parent_id == event.event_id)
            .collect();
        below(
            events,
            own,
            &format!("{indent}{}", if last { "   " } else { "│  " }),
            colours,
        );
    }
}

/// What distinguishes the event from others of its name.
fn detail(event: &Event) -> String {
    let text = |value: Option<&serde_json::Value>| {
        value.and_then(|value| value.as_str()).map(str::to_owned)
    };
    if let Some(question) = text(event.inputs.get("question")) {
        return format!(" \"{question}\"");
    }
    if let Some(total) = event.metadata.get("candidates") {
        return format!("  top 3 of {total}");
    }
    match text(event.config.get("model")).as_deref() {
        Some("extractive") => "  extractive (set OPENAI_API_KEY for an LLM)".to_owned(),
        Some(model) => format!("  {model}"),
        None => String::new(),
    }
}

fn duration(milliseconds: f64) -> String {
    if milliseconds >= 1000.0 {
        format!("{:.2} s", milliseconds / 1000.0)
    } else if milliseconds >= 10.0 {
        format!("{milliseconds:.0} ms")
    } else {
        format!("{milliseconds:.1} ms")
    }
}
