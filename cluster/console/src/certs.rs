//! `umbel certs`: an authority for a cluster, and certificates for its nodes.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Subcommand;
use time::OffsetDateTime;
use umbel_actors::{Clock, WallClock};
use umbel_cluster::{Authority, CertificateView, CertsError, IssueOptions, Overwrite, Validity};
use umbel_protocol::{ClusterName, NodeName};

use crate::failure::Failure;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What `umbel certs` is told.
#[derive(Debug, Subcommand)]
pub(crate) enum CertsCommand {
    /// Make an authority, which admits nodes to one cluster
    NewCa {
        /// The cluster's name: a-z, 0-9 and inner hyphens
        #[arg(long)]
        cluster: ClusterName,
        /// Where to keep it; made if it is not there. Keep ca-key.pem from everybody
        #[arg(long)]
        dir: PathBuf,
    },
    /// Issue a certificate and a key to a node
    Issue {
        /// Where the authority is
        #[arg(long)]
        dir: PathBuf,
        /// The node's name, unique in its cluster: a-z, 0-9 and inner hyphens
        #[arg(long)]
        node: NodeName,
        /// For how many days it is valid: 1 to 3650
        #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u64).range(1..=3650))]
        days: u64,
        /// Where to write it, if not beside the authority
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Make the list of certificates that are let in no more
    Revoke {
        /// Where the authority is
        #[arg(long)]
        dir: PathBuf,
        /// The certificates: all that are to be refused, not only new ones, for the list is complete
        #[arg(required = true)]
        certificates: Vec<PathBuf>,
        /// For how many days it is current
        #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3650))]
        days: u64,
        /// The file to write; one that is there is replaced
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Show what stands in a certificate
    Show {
        /// A file with certificates in PEM
        file: PathBuf,
    },
}

/// Does what it is told.
pub(crate) fn run(command: CertsCommand) -> Result<(), Failure> {
    match command {
        CertsCommand::NewCa { cluster, dir } => new_authority(cluster, &dir),
        CertsCommand::Issue { dir, node, days, out } => {
            issue(&dir, &node, days, out.as_deref().unwrap_or(&dir))
        }
        CertsCommand::Revoke { dir, certificates, days, out } => {
            revoke(&dir, &certificates, days, &out.unwrap_or_else(|| dir.join("revoked.pem")))
        }
        CertsCommand::Show { file } => show(&file),
    }
}

fn new_authority(cluster: ClusterName, directory: &Path) -> Result<(), Failure> {
    Authority::create(cluster.clone())?.save(directory, Overwrite::Refuse)?;
    let shown = directory.display();
    let mut out = io::stdout();
    writeln!(out, "the authority of cluster {cluster} is in {shown}")?;
    writeln!(out, "  ca.pem      goes to every node")?;
    writeln!(out, "  ca-key.pem  goes nowhere: whoever has it can admit nodes")?;
    writeln!(out, "next: umbel certs issue --dir {shown} --node NAME")?;
    Ok(())
}

fn authority(directory: &Path) -> Result<Authority, Failure> {
    let shown = directory.display();
    let advice = if directory.is_file() {
        "give the directory that the authority is in".to_owned()
    } else if directory.join("ca.pem").exists() {
        "issue certificates where the authority's ca-key.pem is: beside its ca.pem".to_owned()
    } else {
        format!("make an authority first, with `umbel certs new-ca --cluster NAME --dir {shown}`")
    };
    Authority::load(directory).map_err(|why| match why {
        CertsError::Read { ref source, .. } if source.kind() != io::ErrorKind::PermissionDenied => {
            Failure::new(why.to_string(), advice)
        }
        why => why.into(),
    })
}

fn lasting(days: u64) -> IssueOptions {
    IssueOptions::new().valid_for(DAY * u32::try_from(days).unwrap_or(u32::MAX))
}

fn issue(directory: &Path, node: &NodeName, days: u64, to: &Path) -> Result<(), Failure> {
    let credentials = authority(directory)?.issue(node, &lasting(days))?;
    credentials.save(to, Overwrite::Refuse)?;
    let (identity, shown) = (credentials.identity(), to.display());
    let until = date(credentials.validity().not_after.as_secs());
    let mut out = io::stdout();
    writeln!(out, "{identity} is certified until {until}, in {shown}")?;
    writeln!(out, "  {node}.pem      its certificate")?;
    writeln!(out, "  {node}-key.pem  its key, for it alone")?;
    writeln!(out, "  ca.pem      whom it trusts")?;
    writeln!(out, "next: name the three in its configuration: umbel node --example-config")?;
    Ok(())
}

fn revoke(directory: &Path, certificates: &[PathBuf], days: u64, to: &Path) -> Result<(), Failure> {
    let authority = authority(directory)?;
    let mut serials = Vec::new();
    for file in certificates {
        let first = CertificateView::read(file)?.into_iter().next();
        serials.extend(first.map(|certificate| certificate.serial));
    }
    let list = authority.revocation_list(&serials, &lasting(days))?;
    // Whole or not at all: a node may read it at any time.
    let beside = to.parent().filter(|parent| !parent.as_os_str().is_empty());
    let mut draft = tempfile::NamedTempFile::new_in(beside.unwrap_or(Path::new(".")))?;
    draft.write_all(list.as_bytes())?;
    draft.persist(to).map_err(|why| why.error)?;
    let mut out = io::stdout();
    writeln!(
        out,
        "{} of cluster {} refused by {}",
        serials.len(),
        authority.cluster(),
        to.display()
    )?;
    writeln!(out, "next: give it to every node, as `revoked` in its configuration")?;
    Ok(())
}

fn show(file: &Path) -> Result<(), Failure> {
    let mut out = io::stdout();
    let certificates = CertificateView::read(file).map_err(|why| match why {
        CertsError::Misplaced { .. } => {
            Failure::new(why.to_string(), "give the certificate of NAME-key.pem, which is NAME.pem")
        }
        why => why.into(),
    })?;
    for certificate in certificates {
        match &certificate.node {
            Some(node) => writeln!(out, "node {node}")?,
            None if certificate.is_authority => writeln!(out, "an authority")?,
            None => writeln!(out, "a certificate that names no node of umbel's")?,
        }
        writeln!(out, "  subject  {}", certificate.subject)?;
        writeln!(out, "  issuer   {}", certificate.issuer)?;
        writeln!(out, "  serial   {}", certificate.serial)?;
        for uri in &certificate.uris {
            writeln!(out, "  uri      {uri}")?;
        }
        let Validity { not_before, not_after } = certificate.validity;
        writeln!(out, "  from     {}", date(not_before.as_secs()))?;
        let status = standing(&certificate.validity, WallClock.now().as_secs());
        writeln!(out, "  until    {}{status}", date(not_after.as_secs()))?;
    }
    Ok(())
}

/// What is to be said of a certificate's dates.
pub(crate) fn standing(validity: &Validity, now: u64) -> String {
    let (from, until) = (validity.not_before.as_secs(), validity.not_after.as_secs());
    if now < from {
        return " (not valid yet)".to_owned();
    }
    match until.checked_sub(now) {
        None => " (expired)".to_owned(),
        Some(left) => days_left(left),
    }
}

/// A certificate for 30 days has 30 days left a second after it was issued.
fn days_left(seconds: u64) -> String {
    match seconds.div_ceil(DAY.as_secs()) {
        _ if seconds < DAY.as_secs() => " (less than a day left)".to_owned(),
        1 => " (1 day left)".to_owned(),
        days => format!(" ({days} days left)"),
    }
}

/// A time since 1970, in UTC.
pub(crate) fn date(seconds: u64) -> String {
    let time = i64::try_from(seconds).ok();
    let Some(time) = time.and_then(|time| OffsetDateTime::from_unix_timestamp(time).ok()) else {
        return format!("{seconds} s after 1970");
    };
    let (date, hour, minute) = (time.date(), time.hour(), time.minute());
    format!("{date} {hour:02}:{minute:02} UTC")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_that_has_begun_counts_among_those_that_are_left_but_for_the_last() {
        let day = DAY.as_secs();
        for (left, said) in [
            (30 * day, " (30 days left)"),
            (30 * day - 1, " (30 days left)"),
            (29 * day, " (29 days left)"),
            (day, " (1 day left)"),
            (day - 1, " (less than a day left)"),
            (0, " (less than a day left)"),
        ] {
            assert_eq!(days_left(left), said);
        }
    }

    #[test]
    fn dates_are_written_so_that_they_sort() {
        assert_eq!(date(0), "1970-01-01 00:00 UTC");
        assert_eq!(date(1_795_323_600), "2026-11-22 05:00 UTC");
        assert_eq!(date(u64::MAX), "18446744073709551615 s after 1970");
    }
}
