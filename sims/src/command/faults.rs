//! The list of faults that a user gives.

use std::fs::File;
use std::io::{self, Read};

use umbel_sims::{Planned, Scenario};

use crate::command::Trouble;

/// How long a list may be. One that was drawn has some hundred bytes.
const BYTES_MAX: u64 = 1 << 20;

const EXAMPLE: &str = r#"[{"at_ms":1500,"fault":{"kill":{"node":1,"down_ms":300}}}]"#;

/// What the flag is given: a file, or the list itself, which begins with a bracket.
#[derive(clap::Args)]
pub(crate) struct FaultsArgument {
    /// These faults instead of the seed's own: a JSON file, as `shrink` prints it, or the list itself
    #[arg(long, value_name = "FILE|LIST")]
    faults: Option<String>,
}

impl FaultsArgument {
    /// The faults, where a list is given, and all of it can befall the scenario.
    pub(crate) fn read(
        &self,
        scenario: &Scenario,
        seed: u64,
    ) -> Result<Option<Vec<Planned>>, Trouble> {
        let Some(argument) = &self.faults else { return Ok(None) };
        let (place, text) = if argument.trim_start().starts_with('[') {
            ("--faults", argument.clone())
        } else {
            (argument.as_str(), file(argument)?)
        };
        let faults = parse(place, &text)?;
        let admitted = scenario.admits(seed, &faults);
        admitted.map_err(|why| Trouble::Usage(format!("{place}: {why}")))?;
        Ok(Some(faults))
    }
}

fn file(name: &str) -> Result<String, Trouble> {
    let unread = |why: io::Error| {
        Trouble::Usage(format!(
            "could not read {name}: {why}; --faults takes a file, or a list such as '{EXAMPLE}'"
        ))
    };
    let mut text = String::new();
    let file = File::open(name).map_err(unread)?;
    file.take(BYTES_MAX + 1).read_to_string(&mut text).map_err(unread)?;
    if text.len() as u64 > BYTES_MAX {
        return Err(Trouble::Usage(format!("{name} has more than {BYTES_MAX} bytes")));
    }
    Ok(text)
}

fn parse(place: &str, text: &str) -> Result<Vec<Planned>, Trouble> {
    serde_json::from_str(text).map_err(|why| {
        let (line, column, why) = (why.line(), why.column(), why.to_string());
        let what = why.rsplit_once(" at line ").map_or(why.as_str(), |(what, _)| what);
        Trouble::Usage(format!(
            "{place}, line {line}, column {column}: {what}; a list is like {EXAMPLE}"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_is_a_list() {
        assert_eq!(parse("here", EXAMPLE).map(|faults| faults.len()).ok(), Some(1));
    }

    #[test]
    fn what_is_no_list_is_told_with_its_place_and_what_was_expected() {
        let told = |text: &str| parse("faults.json", text).expect_err("it is none").to_string();
        let misspelt = told("[\n  {\"at_ms\":1,\"fault\":{\"kil\":{\"node\":1}}}]");
        assert!(
            misspelt.starts_with("faults.json, line 2, column 27: unknown variant"),
            "{misspelt}"
        );
        assert!(misspelt.contains("`kill`"), "{misspelt}");
        assert!(
            told(r#"[{"at_ms":1,"fault":{"kill":{"node":1}}}]"#)
                .contains("missing field `down_ms`")
        );
        let surplus = told(r#"[{"at_ms":1,"fault":{"reset":{"a":1,"b":2,"c":3}}}]"#);
        assert!(surplus.contains("unknown field `c`"), "{surplus}");
        assert!(told("[").contains("EOF") && told(&"[".repeat(100_000)).contains("line 1"));
    }
}
