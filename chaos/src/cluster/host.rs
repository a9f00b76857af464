//! Where a process of the cluster runs: on this machine like any other, in a network namespace of its own, or in a
//! container.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use super::containers::Container;
use super::disk::library;
use crate::broken::{Broken, Doing as _};

/// Makes a process's connections come from an address of its own.
const SOURCE: &str = include_str!("../../../tests/faults/source.c");

/// Where the tools of a network are, which ordinary users seldom have in their path.
const TOOLS: &str = "/usr/local/sbin:/usr/sbin:/sbin";

/// Where this suite's clients are, as seen from namespaces: all of it belongs to this program.
pub(crate) const CLIENTS: &str = "10.78.0.0/16";

/// One such place.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    pub(crate) address: IpAddr,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    /// This one, where each process may be known by an address that it calls from.
    Machine(Option<Ipv4Addr>),
    /// A namespace, as a file that can be entered.
    Namespace(PathBuf),
    Container(Container),
}

impl Host {
    /// Nothing special.
    pub(crate) fn this_machine() -> Self {
        Self { address: Ipv4Addr::LOCALHOST.into(), kind: Kind::Machine(None) }
    }

    /// This machine, but what runs there calls others from this address. It takes a C compiler.
    pub(crate) fn calling_from(source: Ipv4Addr) -> Self {
        Self { kind: Kind::Machine(Some(source)), ..Self::this_machine() }
    }

    pub(crate) fn apart(address: Ipv4Addr, namespace: PathBuf) -> Self {
        Self { address: address.into(), kind: Kind::Namespace(namespace) }
    }

    pub(crate) fn container(container: &Container) -> Self {
        Self { address: container.address.into(), kind: Kind::Container(container.clone()) }
    }

    /// The container that it is, if it is one.
    pub(crate) fn as_container(&self) -> Option<&Container> {
        match &self.kind {
            Kind::Container(container) => Some(container),
            Kind::Machine(_) | Kind::Namespace(_) => None,
        }
    }

    /// What a process there must find in its environment; a name may be somebody else's, too.
    pub(crate) fn env(&self) -> Vec<(&'static str, PathBuf)> {
        static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
        let Kind::Machine(Some(source)) = self.kind else { return Vec::new() };
        let library = LIBRARY.get_or_init(|| library::compiled("source", SOURCE));
        vec![("LD_PRELOAD", library.clone()), ("SOURCE_ADDRESS", source.to_string().into())]
    }

    /// The same command, run there. Streams and the process group are to be set afterwards.
    ///
    /// Whoever enters the namespace becomes the command: its process has the id that was started. It gets the
    /// command's variables only then, since libraries that are preloaded are meant for no other program. A
    /// container knows its command already.
    pub(crate) fn inside(&self, command: Command) -> Command {
        let namespace = match &self.kind {
            Kind::Machine(_) => return command,
            Kind::Namespace(namespace) => namespace,
            Kind::Container(container) => return container.start(),
        };
        let mut entering = tool("nsenter");
        entering.arg(format!("--net={}", namespace.display())).args(["--", "env"]);
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => {
                    let mut pair = name.to_owned();
                    pair.push("=");
                    pair.push(value);
                    entering.arg(pair);
                }
                None => drop(entering.arg("-u").arg(name)),
            }
        }
        entering.arg(command.get_program()).args(command.get_args());
        if let Some(folder) = command.get_current_dir() {
            entering.current_dir(folder);
        }
        entering
    }
}

/// From where a client with this address of the loopback reaches a node: from there, or with the same last numbers
/// from what is this suite's own.
pub(crate) fn client_address(from: Ipv4Addr, to: SocketAddr) -> Ipv4Addr {
    let [.., high, low] = from.octets();
    if to.ip().is_loopback() { from } else { Ipv4Addr::new(10, 78, high, low) }
}

/// A tool of the network, wherever it is.
pub(crate) fn tool(name: &str) -> Command {
    let mut command = Command::new(name);
    command.env("PATH", path());
    command
}

/// Where programs are looked for.
pub(crate) fn path() -> String {
    let own = std::env::var("PATH").unwrap_or_default();
    if own.is_empty() { TOOLS.to_owned() } else { format!("{own}:{TOOLS}") }
}

/// Runs a tool to its end with this input, and gives what it wrote.
pub(crate) fn run(command: &mut Command, input: &str) -> Result<String, Broken> {
    let doing = format!("run {command:?}");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().doing(&doing)?;
    if let Some(mut stdin) = child.stdin.take() {
        // Who does not read it says why in what follows.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().doing(&doing)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(Broken::new(doing, format!("{}: {}", output.status, said.trim())));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_gets_its_variables_only_behind_the_door() {
        let host = Host::apart(Ipv4Addr::new(10, 0, 0, 1), "/proc/1/fd/7".into());
        let mut command = Command::new("/bin/server");
        command.arg("run").env("LD_PRELOAD", "a.so").current_dir("/tmp");
        let inside = host.inside(command);
        let words: Vec<_> = inside.get_args().map(|word| word.to_string_lossy()).collect();
        let wanted = ["--net=/proc/1/fd/7", "--", "env", "LD_PRELOAD=a.so", "/bin/server", "run"];
        assert_eq!(words, wanted);
        assert!(inside.get_envs().all(|(name, _)| name == "PATH"), "nothing is preloaded into it");
        assert_eq!(inside.get_current_dir(), Some("/tmp".as_ref()));
    }
}
