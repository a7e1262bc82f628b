//! The authority that makes the first start work: made on the spot, kept in the user's state directory.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use umbel_protocol::{ClusterName, NodeName};

use super::files;
use super::{AUTHORITY_FILE, Authority, CertsError, Credentials, IssueOptions, Overwrite};

/// The cluster of all nodes that use the development authority.
const DEVELOPMENT: &str = "dev";

/// How long a development node can run before it must be started again to be let in by others.
const DEVELOPMENT_LASTS: Duration = Duration::from_secs(30 * 24 * 60 * 60);

impl Credentials {
    /// Credentials of a node of the cluster `dev`, issued now by the development authority
    /// ([`Authority::development`]), valid for 30 days, and kept in memory only: the next start issues
    /// others.
    ///
    /// # Errors
    /// As of [`Authority::development`] and [`Authority::issue`].
    pub fn development(node: &NodeName) -> Result<Self, CertsError> {
        let options = IssueOptions::new().valid_for(DEVELOPMENT_LASTS);
        Authority::development()?.issue(node, &options)
    }
}

impl Authority {
    /// The development authority of this user, for the cluster `dev`: kept in the directory `dev` of
    /// [`state_directory`], made on first use, also where several processes come first at the same moment.
    ///
    /// Whoever can read its key can be any node of such a cluster: it is for one's own machine.
    /// [`Credentials::development`] issues from it.
    ///
    /// # Errors
    /// [`CertsError::Development`], naming the file, where it can be neither read nor made.
    pub fn development() -> Result<Self, CertsError> {
        let cluster = ClusterName::new(DEVELOPMENT).expect("a name of three letters is allowed");
        let directory = state_directory()?.join(DEVELOPMENT);
        Self::load_or_create(&directory, cluster)
            .map_err(|why| CertsError::Development { directory, source: Box::new(why) })
    }

    /// The authority in `directory`, or, where that does not exist or is empty, a new one that is kept
    /// there. Of several processes that do this at once, all get the same one.
    ///
    /// # Errors
    /// As of [`load`](Self::load) and [`save`](Self::save); [`CertsError::OtherCluster`] where the one
    /// that is there is not for `cluster`.
    pub fn load_or_create(
        directory: impl AsRef<Path>,
        cluster: ClusterName,
    ) -> Result<Self, CertsError> {
        let directory = directory.as_ref();
        if !directory.join(AUTHORITY_FILE).exists() {
            Self::offer(directory, cluster.clone())?;
        }
        let authority = Self::load(directory)?;
        if authority.cluster() != &cluster {
            return Err(CertsError::OtherCluster {
                directory: directory.to_owned(),
                found: authority.cluster().clone(),
                wanted: cluster,
            });
        }
        Ok(authority)
    }

    /// Puts a new authority into `directory`, unless somebody else's is there first. It is made in a
    /// directory beside it, whose renaming is the one step that counts: it fails where the name is taken
    /// by a directory with anything in it, so nobody ever sees a key without its certificate.
    fn offer(directory: &Path, cluster: ClusterName) -> Result<(), CertsError> {
        if let Some(parent) = directory.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            files::make_directory(parent)?;
        }
        let draft = files::sibling(directory)?;
        let taken = Self::create(cluster)?.save(&draft, Overwrite::Refuse).and_then(|()| {
            fs::rename(&draft, directory)
                .map_err(|source| CertsError::Write { file: directory.to_owned(), source })
        });
        if taken.is_err() {
            let _ = fs::remove_dir_all(&draft);
        }
        // Whoever was first has made what we wanted.
        if directory.join(AUTHORITY_FILE).exists() { Ok(()) } else { taken }
    }
}

/// Where Umbel keeps what must outlive a process: `$UMBEL_STATE_DIR`, else `$XDG_STATE_HOME/umbel`, else
/// `$HOME/.local/state/umbel` (XDG Base Directory Specification 0.8). It is not made here.
///
/// # Errors
/// [`CertsError::NoStateDirectory`] where none of the three is set.
pub fn state_directory() -> Result<PathBuf, CertsError> {
    state_directory_in(|name| std::env::var_os(name)).ok_or(CertsError::NoStateDirectory)
}

fn state_directory_in(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let set = |name| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(directory) = set("UMBEL_STATE_DIR") {
        return Some(directory);
    }
    // The specification says to ignore it where it is not absolute.
    match set("XDG_STATE_HOME").filter(|directory| directory.is_absolute()) {
        Some(directory) => Some(directory.join("umbel")),
        None => set("HOME").map(|home| home.join(".local/state/umbel")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(variables: &[(&str, &str)]) -> Option<PathBuf> {
        state_directory_in(|wanted| {
            let found = variables.iter().find(|(name, _)| *name == wanted);
            found.map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn the_state_directory_is_taken_from_the_most_particular_variable() {
        let all = [("UMBEL_STATE_DIR", "/u"), ("XDG_STATE_HOME", "/x"), ("HOME", "/h")];
        assert_eq!(directory(&all), Some("/u".into()));
        assert_eq!(directory(&all[1..]), Some("/x/umbel".into()));
        assert_eq!(directory(&all[2..]), Some("/h/.local/state/umbel".into()));
        assert_eq!(directory(&[]), None);
    }

    #[test]
    fn empty_variables_and_a_relative_xdg_directory_are_ignored() {
        let set = [("UMBEL_STATE_DIR", ""), ("XDG_STATE_HOME", "x"), ("HOME", "/h")];
        assert_eq!(directory(&set), Some("/h/.local/state/umbel".into()));
    }
}
