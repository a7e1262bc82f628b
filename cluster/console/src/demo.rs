//! `umbel demo`: counts words on several nodes, one of which is killed.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clap::Args;
use tokio::time::{Instant, MissedTickBehavior};
use umbel_actors::Signal;
use umbel_cluster::{Authority, IssueOptions, Node};
use umbel_protocol::NodeName;

use crate::demo::conductor::{Conductor, Outcome, Score};
use crate::demo::crew::{Crew, CrewPlan, node_name};
use crate::demo::intake::Victim;
use crate::demo::recovery::Recovery;
use crate::demo::report::{Report, counted};
use crate::demo::screen::Screen;
use crate::demo::sources::Sources;
use crate::demo::tally::Tally;
use crate::failure::Failure;

mod batches;
mod conductor;
mod counter;
pub(crate) mod crew;
mod cutter;
mod decoder;
mod intake;
mod ledger;
mod losses;
mod plain;
mod recovery;
mod report;
mod screen;
pub(crate) mod sources;
mod tally;
mod words;
pub(crate) mod worker;

/// How often umbel's own pages are counted where no file is given: so often that it lasts a moment.
const PAGES_REPEAT: u64 = 1000;

/// What `umbel demo` is told.
#[derive(Args, Debug)]
pub(crate) struct DemoArgs {
    /// Text files to count; `-` is standard input. Without any: umbel's own pages
    files: Vec<PathBuf>,
    /// How many nodes count, each a process of its own: 2 to 9
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(2..=9))]
    nodes: u16,
    /// Which node is killed in the middle: `none`, `auto` (the one that is about to get the batch in
    /// the middle), or a node's name, from node-1 on
    #[arg(long, value_name = "none|auto|NODE", default_value = "auto")]
    kill: String,
    /// Print one JSON object at the end, and nothing else
    #[arg(long)]
    json: bool,
    /// How many counters each node has: 1 to 16
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=16))]
    counters: u16,
    /// How many lines a batch has at most: 1 to 1000000; long lines make it fewer
    #[arg(long, value_name = "N", default_value_t = 4096,
          value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    batch_lines: u64,
    /// How often all files are counted: 1 to 1000000 [default: 1; umbel's own pages: 1000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    repeat: Option<u64>,
}

/// Runs the demo. Status 1 says that the counts are wrong.
pub(crate) async fn run(args: DemoArgs) -> Result<ExitCode, Failure> {
    let began = Instant::now();
    let victim = victim(&args.kill, args.nodes)?;
    // Certificates, and copies of what cannot be read twice. Removed when this is dropped.
    let directory = tempfile::Builder::new().prefix("umbel-demo-").tempdir().map_err(|why| {
        let place = std::env::temp_dir();
        let message = format!("could not make a directory in {}: {why}", place.display());
        Failure::new(message, "set TMPDIR to a directory that you may write to")
    })?;
    let sources = tokio::select! {
        signal = Signal::next() => return Err(Failure::Ended(signal?.exit_status())),
        sources = open(&args, directory.path().to_owned()) => Arc::new(sources?),
    };
    let mut screen = Screen::new(args.json);
    let authority = Authority::create("demo".parse().map_err(Failure::unexpected)?)?;
    let desk =
        authority.issue(&"desk".parse().map_err(Failure::unexpected)?, &IssueOptions::new())?;
    let desk = Node::builder().credentials(desk).listen("127.0.0.1:0").start().await?;
    let join = desk.address().unwrap_or_default();
    screen.say(began.elapsed(), &format!("the desk listens on {join}, with mutual TLS"))?;
    let mut crew = Crew::new(CrewPlan {
        authority,
        directory: directory.path().to_owned(),
        join,
        counters: args.counters,
    });
    let score = Score {
        nodes: args.nodes,
        counters: args.counters,
        batch_lines_max: args.batch_lines,
        victim,
    };

    let outcome = tokio::select! {
        signal = Signal::next() => Err(Failure::Ended(signal?.exit_status())),
        outcome = both_counts(began, &score, &desk, &mut crew, &mut screen, sources.clone()) => outcome,
    };
    screen.clear();
    crew.dismiss().await;
    desk.leave(Duration::from_secs(1)).await;
    // What could not be removed is in the directory for temporary files, and holds no key.
    let _ = directory.close();

    let (outcome, plain) = outcome?;
    let correct = outcome.counts.tally == plain;
    if !correct {
        tell_differences(&outcome.counts.tally, &plain);
    }
    let report = report(&args, &sources, &outcome, correct, began.elapsed());
    if args.json {
        let json = serde_json::to_string(&report).map_err(Failure::unexpected)?;
        std::io::Write::write_all(&mut std::io::stdout(), format!("{json}\n").as_bytes())?;
    } else {
        tell(&screen, &outcome, &report)?;
    }
    Ok(if correct { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn victim(kill: &str, nodes: u16) -> Result<Victim, Failure> {
    match kill {
        "none" => Ok(Victim::None),
        "auto" => Ok(Victim::Auto),
        name => (1..=u32::from(nodes))
            .map(node_name)
            .find(|node| node.as_str() == name)
            .map(Victim::Node)
            .ok_or_else(|| {
                Failure::new(
                    format!("there is no node {name:?} to kill"),
                    format!("give --kill none, auto, or one of node-1 to node-{nodes}"),
                )
            }),
    }
}

async fn open(args: &DemoArgs, spool: PathBuf) -> Result<Sources, Failure> {
    if args.files.is_empty() {
        return Ok(Sources::pages(args.repeat.unwrap_or(PAGES_REPEAT)));
    }
    let (files, repeat) = (args.files.clone(), args.repeat.unwrap_or(1));
    let opened = tokio::task::spawn_blocking(move || Sources::open(&files, repeat, &spool)).await;
    Ok(opened.map_err(Failure::unexpected)??)
}

/// The cluster's count, and then the plain one: at the same time, they would take turns on the
/// processors, and neither would show how long it takes.
async fn both_counts(
    began: Instant,
    score: &Score,
    desk: &Node,
    crew: &mut Crew,
    screen: &mut Screen,
    sources: Arc<Sources>,
) -> Result<(Outcome, Tally), Failure> {
    let conductor = Conductor::new(began, score, desk, crew, screen)?;
    let outcome = conductor.run(sources.clone()).await?;
    screen.begin("compared", sources.bytes());
    let read = Arc::new(AtomicU64::new(0));
    let told = read.clone();
    let mut plain = tokio::task::spawn_blocking(move || {
        plain::count(&sources, |bytes| {
            told.fetch_add(bytes, Ordering::Relaxed);
        })
    });
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            plain = &mut plain => {
                let plain = plain.map_err(Failure::unexpected)??;
                screen.say(began.elapsed(), "one thread has counted the same files")?;
                return Ok((outcome, plain));
            }
            _ = ticks.tick() => screen.done(read.load(Ordering::Relaxed)),
        }
    }
}

fn report(
    args: &DemoArgs,
    sources: &Sources,
    outcome: &Outcome,
    correct: bool,
    took: Duration,
) -> Report {
    let tally = &outcome.counts.tally;
    let recovery = outcome.recovery.as_ref();
    Report {
        files: sources.files(),
        lines: tally.lines,
        words: tally.words,
        distinct: tally.distinct(),
        correct,
        nodes: args.nodes,
        killed: recovery.map(|recovery| recovery.killed.to_string()),
        detected_in_ms: recovery.and_then(Recovery::detected_in).map(report::milliseconds),
        recovered_in_ms: recovery.and_then(Recovery::recovered_in).map(report::milliseconds),
        batches_resent: outcome.counts.resent,
        seconds: report::seconds(took),
    }
}

fn tell(screen: &Screen, outcome: &Outcome, report: &Report) -> Result<(), Failure> {
    let killed: Option<&NodeName> = outcome.recovery.as_ref().map(|recovery| &recovery.killed);
    for line in report::table(&outcome.counts.tally, &outcome.counts.by_node, killed) {
        screen.line(&line)?;
    }
    let Report { files, lines, words, distinct, nodes, batches_resent, seconds, .. } = report;
    let (words, lines, files) =
        (counted(*words, "word"), counted(*lines, "line"), counted(*files, "file"));
    screen.line(&format!("{words}, {distinct} of them distinct, on {lines} of {files}"))?;
    let resent = match batches_resent {
        1 => "1 batch sent again, not counted twice".to_owned(),
        _ => format!("{batches_resent} batches sent again, none counted twice"),
    };
    screen.line(&format!("{nodes} nodes, {resent}, in {seconds:.1} s"))?;
    if let (Some(node), Some(detected), Some(recovered)) =
        (&report.killed, report.detected_in_ms, report.recovered_in_ms)
    {
        screen.line(&format!(
            "{node} killed, noticed after {detected:.1} ms, recovered after {recovered:.1} ms"
        ))?;
    }
    let verdict = if report.correct {
        console::style("every count is that of a plain single-threaded count").green()
    } else {
        console::style("the counts are NOT those of a plain single-threaded count").red()
    };
    Ok(screen.line(&verdict.to_string())?)
}

fn tell_differences(cluster: &Tally, plain: &Tally) {
    let (here, there) = (cluster.lines, plain.lines);
    eprintln!("umbel: the counts differ; did a file change meanwhile?");
    if here != there {
        eprintln!("umbel: {here} lines on the cluster, {there} by the plain count");
    }
    for (word, here, there) in cluster.differences(plain, 10) {
        eprintln!("umbel: {word:?}: {here} times on the cluster, {there} by the plain count");
    }
}
