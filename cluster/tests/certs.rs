//! Certificates and keys: what is issued, what is written and by whom it can be read, what is refused.

#[path = "certs/contents.rs"]
mod contents;
#[path = "certs/files.rs"]
mod files;
#[path = "certs/races.rs"]
mod races;

use umbel_cluster::{Authority, Credentials, IssueOptions};

fn authority(cluster: &str) -> Authority {
    Authority::create(cluster.parse().unwrap()).unwrap()
}

fn issue(authority: &Authority, node: &str) -> Credentials {
    authority.issue(&node.parse().unwrap(), &IssueOptions::new()).unwrap()
}
