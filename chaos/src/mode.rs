//! How the cluster is joined: by proxies on loopback, by wires between network namespaces, or as containers.

use std::fmt;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::broken::Broken;
use crate::cluster::host::{path, tool};
use crate::cluster::links::wires;
use crate::faults::Kind;

/// One of these ways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Mode {
    /// Processes on loopback, a TCP proxy for each pair; needs no rights.
    #[default]
    Proxy,
    /// A network namespace for each process; faults are packets that are dropped. As root on Linux.
    Netns,
    /// The containers of docker-compose.yml in an engine of its own. As root on Linux, from the project's folder.
    Compose,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Proxy => "proxy",
            Self::Netns => "netns",
            Self::Compose => "compose",
        })
    }
}

/// Which process has already a network of its own: whoever becomes another program keeps its id.
const ENTERED: &str = "SERVERV2_CHAOS_ENTERED";
/// The program's own addresses, and then the program.
const ENTER: &str = "ip link set lo up && exec \"$0\" \"$@\"";
/// What is called, and Debian's package for it.
const WIRES: &[(&str, &str)] = &[
    ("unshare", "util-linux"),
    ("nsenter", "util-linux"),
    ("ip", "iproute2"),
    ("tc", "iproute2"),
    ("nft", "nftables"),
    ("iptables", "iptables"),
];

const CONTAINERS: &[(&str, &str)] = &[
    ("unshare", "util-linux"),
    ("ip", "iproute2"),
    ("docker", "docker.io"),
    ("dockerd", "docker.io"),
    ("docker-compose", "docker-compose"),
];

/// What can be done to containers.
const IN_CONTAINERS: [Kind; 12] = [
    Kind::KillLeader,
    Kind::KillAny,
    Kind::KillAll,
    Kind::Rolling,
    Kind::PauseHalf,
    Kind::PauseDouble,
    Kind::PauseTen,
    Kind::PauseAny,
    Kind::Disconnect,
    Kind::RedisKill,
    Kind::RedisFlush,
    Kind::RedisPause,
];

impl Mode {
    /// Goes where the cluster of this mode can be: into a network namespace of this program's own, by becoming this
    /// program once more. Then all that is made is gone with the program, and its clients reach the nodes.
    pub(crate) fn enter(self) -> Result<(), Broken> {
        let own = std::process::id().to_string();
        if self == Self::Proxy || std::env::var(ENTERED).is_ok_and(|entered| entered == own) {
            return Ok(());
        }
        let doing = format!("run in mode {self}");
        let missing = missing(if self == Self::Netns { WIRES } else { CONTAINERS });
        if !missing.is_empty() {
            return Err(Broken::new(doing, missing.join("; ")));
        }
        let program = std::env::current_exe().map_err(|error| Broken::new(&doing, error))?;
        let failed = tool("unshare")
            .args(["--net", "--", "sh", "-c", ENTER])
            .arg(program)
            .args(std::env::args_os().skip(1))
            .env(ENTERED, own)
            .exec();
        Err(Broken::new(doing, failed))
    }

    /// Why a kind of fault can't happen in this mode; nothing if it can.
    pub(crate) fn refuses(self, kind: Kind) -> Option<&'static str> {
        match (self, kind) {
            (Self::Compose, kind) if !IN_CONTAINERS.contains(&kind) => {
                Some("containers and their network are whole, or not there")
            }
            (Self::Proxy | Self::Netns, Kind::Disconnect) => Some("there is no container"),
            (Self::Proxy, Kind::Loss) => Some("proxies have no packets to lose"),
            (Self::Netns, Kind::SlowLink) if !wires::can_delay() => {
                Some("this kernel hands out no packets (NFQUEUE)")
            }
            _ => None,
        }
    }
}

/// What network namespaces need and this machine or user lacks.
fn missing(programs: &[(&str, &str)]) -> Vec<String> {
    let mut missing = Vec::new();
    if !rustix::process::geteuid().is_root() {
        missing.push("network namespaces can be made by root alone".to_owned());
    }
    for (program, package) in programs {
        let is_there = Command::new("sh")
            .args(["-c", "command -v \"$0\"", program])
            .env("PATH", path())
            .stdout(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        if !is_there {
            missing.push(format!("there is no {program} (Debian's package {package})"));
        }
    }
    missing
}
