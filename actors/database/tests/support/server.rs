//! A server of PostgreSQL that belongs to one test: in a directory of its own, with nothing left when it is
//! dropped.

use std::ffi::OsStr;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use url::Url;

use super::notice;

/// The name of the user, of the server and of its database.
const USER: &str = "umbel";
pub(crate) const PASSWORD: &str = "p@ss/word";

pub(crate) struct Server {
    binaries: PathBuf,
    /// Whom it runs as: it refuses to run as root.
    user: Option<(u32, u32)>,
    directory: TempDir,
    /// Where it listens beside its socket.
    port: Option<u16>,
    process: Option<Child>,
}

impl Server {
    /// A server that listens on a socket in its directory only, or nothing and a notice where there is no
    /// PostgreSQL on this machine. With `TEST_POSTGRES_BIN` there must be one.
    pub(crate) fn start() -> Option<Self> {
        let mut server = Self::prepare()?;
        server.go_on();
        Some(server)
    }

    /// One that listens on a loopback port as well, for those who have the password, with this certificate and
    /// key in PEM.
    pub(crate) fn start_with_tls(certificate: &str, key: &str) -> Option<Self> {
        let mut server = Self::prepare()?;
        for (name, text) in [("server.crt", certificate), ("server.key", key)] {
            let path = server.data().join(name);
            fs::write(&path, text).unwrap();
            server.give_away(&path);
            let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
            fs::set_permissions(&path, private).unwrap();
        }
        // The port is free now, and may be taken before the server has it; then it ends, and gets another.
        for _ in 0..10 {
            let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            server.port = Some(free);
            server.go_on();
            if server.listens() {
                return Some(server);
            }
        }
        panic!("no port was to be had");
    }

    fn prepare() -> Option<Self> {
        let Some(binaries) = binaries() else {
            notice("no PostgreSQL on this machine (initdb, postgres): its tests are SKIPPED");
            return None;
        };
        let user = rustix::process::geteuid().is_root().then(|| (id("-u"), id("-g")));
        let directory = TempDir::new().unwrap();
        let server = Self { binaries, user, directory, port: None, process: None };
        server.give_away(server.directory.path());
        let password = server.directory.path().join("password");
        fs::write(&password, PASSWORD).unwrap();
        server.give_away(&password);
        let made = server
            .command("initdb")
            .args(["--username", USER, "--encoding", "UTF8", "--no-locale", "--no-sync"])
            .args(["--auth-local", "trust", "--auth-host", "scram-sha-256", "--pwfile"])
            .arg(&password)
            .arg("--pgdata")
            .arg(server.data())
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        Some(server)
    }

    /// Starts it, where it was stopped.
    pub(crate) fn go_on(&mut self) {
        let log = fs::File::create(self.directory.path().join("log")).unwrap();
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.data()).arg("-k").arg(self.directory.path());
        // Nothing of it is to outlive a crash of the machine.
        command.args(["-F", "-c", "max_connections=200", "-c", "shared_buffers=16MB"]);
        match self.port {
            Some(port) => command
                .args(["-c", "listen_addresses=127.0.0.1", "-c", "ssl=on"])
                .args(["-p".to_owned(), port.to_string()]),
            None => command.args(["-c", "listen_addresses="]),
        };
        self.process = Some(command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap());
    }

    /// Ends it as its administrator would, with all of its connections (a fast shutdown). One that has only
    /// just begun to start may miss the signal, so it is told until it has ended.
    pub(crate) fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            while process.try_wait().unwrap().is_none() {
                let _ = kill_process(Pid::from_child(&process), Signal::INT);
                std::thread::yield_now();
            }
        }
    }

    /// Lets it take no more connections, and say nothing of it.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    pub(crate) fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let process = self.process.as_ref().expect("it runs");
        kill_process(Pid::from_child(process), signal).unwrap();
    }

    /// Over its socket.
    pub(crate) fn url(&self, database: &str) -> Url {
        let host = self.directory.path().display();
        let port = self.port.map(|port| format!("&port={port}")).unwrap_or_default();
        format!("postgres:///{database}?user={USER}&host={host}{port}").parse().unwrap()
    }

    /// Over TCP, by a host name, with the password.
    pub(crate) fn url_by_tcp(&self, host: &str) -> Url {
        let port = self.port.expect("it listens on a port");
        let mut url: Url = format!("postgres://{USER}@{host}:{port}/postgres").parse().unwrap();
        url.set_password(Some(PASSWORD)).unwrap();
        url
    }

    /// Whether it has come to listen, or has ended.
    fn listens(&mut self) -> bool {
        let port = self.port.expect("it listens on a port");
        loop {
            if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return true;
            }
            if self.process.as_mut().is_none_or(|it| it.try_wait().unwrap().is_some()) {
                return false;
            }
            std::thread::yield_now();
        }
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn give_away(&self, path: &Path) {
        if let Some((user, group)) = self.user {
            chown(path, Some(user), Some(group)).unwrap();
        }
    }

    fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(self.binaries.join(program.as_ref()));
        command.stdin(Stdio::null()).current_dir(self.directory.path());
        if let Some((user, group)) = self.user {
            command.uid(user).gid(group);
        }
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(process) = &self.process {
            let _ = kill_process(Pid::from_child(process), Signal::CONT);
        }
        self.stop();
    }
}

/// Where the server's programs are: where `TEST_POSTGRES_BIN` says, on the path, or where Debian has them.
fn binaries() -> Option<PathBuf> {
    let whole = |it: &PathBuf| it.join("initdb").exists() && it.join("postgres").exists();
    if let Some(said) = std::env::var_os("TEST_POSTGRES_BIN").map(PathBuf::from) {
        assert!(whole(&said), "TEST_POSTGRES_BIN names {}, without a server", said.display());
        return Some(said);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places: Vec<_> = std::env::split_paths(&path).collect();
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    places.extend(versions.map(|version| version.path().join("bin")));
    // A link on the path leads to where it finds what belongs to it.
    let found = places.into_iter().find(whole)?;
    Some(found.join("postgres").canonicalize().ok()?.parent()?.to_owned())
}

/// The number of the user that Debian's package makes, or of its group.
fn id(which: &str) -> u32 {
    let said = Command::new("id").args([which, "postgres"]).output().unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    said.trim()
        .parse()
        .expect("there is a user postgres for a server, which refuses to run as root")
}
