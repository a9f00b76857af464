//! Namespaces, and the wires from each to the bridge.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd as _;
use std::process::Stdio;

use crate::broken::{Broken, Doing as _};
use crate::cluster::host::{CLIENTS, Host, run, tool};
use crate::cluster::links::End;

const BRIDGE: &str = "br0";
/// What this program has on the bridge. Nobody outside sees these addresses.
const OWN_ADDRESS: &str = "10.77.0.254";
/// Who Redis is among the addresses; nodes are their numbers.
const REDIS_NUMBER: u8 = 9;
/// In the new namespace: its end of the wire, the other one for whoever started this. Packets have the size that they
/// have on a real wire, so that each is lost by itself. It waits until somebody else holds the namespace.
const LAY: &str = "set -e
ip link set lo up
ip link add eth0 gso_max_segs 1 type veth peer name \"$1\" netns \"$2\"
ip addr add \"$3/24\" dev eth0
ip link set eth0 up
ip route add \"$4\" via \"$5\"
echo ready
read -r _ || true";

/// The namespace of one end.
pub(super) struct Space {
    pub(super) address: Ipv4Addr,
    /// Where the end listens.
    pub(super) port: u16,
    /// The interface on the bridge, over which all comes that is sent to this end.
    pub(super) wire: String,
    namespace: File,
}

impl Space {
    pub(super) fn host(&self) -> Host {
        let (own, held) = (std::process::id(), self.namespace.as_raw_fd());
        Host::apart(self.address, format!("/proc/{own}/fd/{held}").into())
    }
}

/// A small number for each end.
pub(super) fn number(end: End) -> u8 {
    match end {
        End::Node(at) => u8::try_from(at + 1).unwrap_or(u8::MAX),
        End::Redis => REDIS_NUMBER,
    }
}

pub(super) fn lay(targets: &[(End, u16)]) -> Result<BTreeMap<End, Space>, Broken> {
    let own = [
        format!("link add {BRIDGE} type bridge"),
        format!("addr add {OWN_ADDRESS}/24 dev {BRIDGE}"),
        format!("link set {BRIDGE} up"),
        format!("route add local {CLIENTS} dev lo"),
    ];
    run(tool("ip").args(["-batch", "-"]), &own.join("\n"))?;
    let each = targets.iter().map(|(end, port)| Ok((*end, space(*end, *port)?)));
    each.collect()
}

/// Takes away what is in this program's namespace. The others are gone with those who are in them.
pub(super) fn lift(spaces: &BTreeMap<End, Space>) {
    let wires = spaces.values().map(|space| space.wire.as_str());
    for link in wires.chain([BRIDGE]) {
        let _ = run(tool("ip").args(["link", "delete", link]), "");
    }
    let _ = run(tool("ip").args(["route", "delete", "local", CLIENTS, "dev", "lo"]), "");
}

fn space(end: End, port: u16) -> Result<Space, Broken> {
    let doing = format!("make a network namespace for {end}");
    let number = number(end);
    let (address, wire) = (Ipv4Addr::new(10, 77, 0, number), format!("wire{number}"));
    let mut child = tool("unshare")
        .args(["--net", "--", "sh", "-c", LAY, "sh", &wire])
        .args([std::process::id().to_string(), address.to_string()])
        .args([CLIENTS, OWN_ADDRESS])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .doing(&doing)?;
    let mut said = String::new();
    if let Some(out) = child.stdout.take() {
        BufReader::new(out).read_line(&mut said).doing(&doing)?;
    }
    if said.trim() != "ready" {
        let mut why = String::new();
        let _ = child.stderr.take().map(|mut err| err.read_to_string(&mut why));
        let _ = child.wait();
        return Err(Broken::new(doing, why.trim()));
    }
    let namespace = File::open(format!("/proc/{}/ns/net", child.id())).doing(&doing)?;
    // From now on this program holds it.
    drop(child.stdin.take());
    child.wait().doing(&doing)?;
    run(tool("ip").args(["link", "set", &wire, "master", BRIDGE, "up"]), "")?;
    Ok(Space { address, port, wire, namespace })
}
