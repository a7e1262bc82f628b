//! `umbel-sim list`: what there is.

use std::io::{self, Write};

use umbel_sims::scenarios;

use crate::command::{Ending, Trouble};

pub(crate) fn list() -> Result<Ending, Trouble> {
    let mut out = io::stdout().lock();
    for scenario in scenarios() {
        writeln!(out, "{:<12}{}", scenario.name, scenario.about)?;
        let mutants = scenario.mutants();
        if !mutants.is_empty() {
            writeln!(out, "{:<12}  bugs to plant: {}", "", mutants.join(", "))?;
        }
    }
    Ok(Ending::Well)
}
