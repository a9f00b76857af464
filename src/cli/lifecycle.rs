//! `serverv2 backup`, `restore`, and of `serverv2 cluster` what changes its life: `recover`, `upgrade`,
//! `activate-pack`.
//!
//! `recover` and `restore` work on a folder on which no node runs; its lock keeps them off otherwise.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use hyper::Method;
use serverv2_machine::{NodeId, WallTime};
use serverv2_raft::{BackupAbout, Standing};

use super::operate::{self, Target, say};
use super::{BAD_SETTINGS, FAILED};
use crate::control::client::ControlError;
use crate::control::{ActivePack, LevelsState, WantedPack};
use crate::rest::time::zulu;

const TO: &str = "TO";
const FROM: &str = "FROM";
const NODE_ID: &str = "NODE_ID";
const PEERS: &str = "PEERS";
const PACK: &str = "PACK";
const LOSE_THE_OTHERS: &str = "LOSE_THE_OTHERS";

fn path(id: &'static str, flag: &'static str, help: &'static str) -> Arg {
    Arg::new(id)
        .long(flag)
        .value_name("FILE")
        .required(true)
        .value_parser(value_parser!(PathBuf))
        .help(help)
}

pub(super) fn backup_command() -> Command {
    let to = path(TO, "to", "The file to make; one that is there is not overwritten.");
    operate::with_target(
        Command::new("backup")
            .about("Back the whole state of a running cluster up to one file, through any of its nodes")
            .arg(to),
    )
}

pub(super) fn restore_command() -> Command {
    let from = path(FROM, "from", "The backup.");
    let node = Arg::new(NODE_ID)
        .long("node-id")
        .value_name("NUMBER")
        .value_parser(value_parser!(u64).range(1..))
        .help("The id of the node that will run on the folder.\n[env: NODE_ID] [default: 1]");
    let peers = Arg::new(PEERS)
        .long("peers")
        .value_name("LIST")
        .help(
            "As the node will be started with: it says where others will reach this node.\n[env: PEERS]",
        );
    operate::with_folder(
        Command::new("restore")
            .about("Make a new data folder of a backup: the first node of a new cluster")
            .args([from, node, peers]),
    )
}

/// The commands of `serverv2 cluster` that are made here.
pub(super) fn cluster_commands() -> [Command; 3] {
    let sure = Arg::new(LOSE_THE_OTHERS).long("lose-the-others").action(ArgAction::SetTrue).help(
        "Do it. Nodes of the former cluster are shut out for ever, and what only they had is lost. \
         Without this flag it is said what would be done.",
    );
    let pack = Arg::new(PACK).value_name("PACK").required(true).help(
        "The pack's id as its pack.json has it, or the beginning of its digest where two have the same id.",
    );
    [
        operate::with_folder(
            Command::new("recover")
                .about(
                    "Make a cluster of one out of a survivor's data folder, when most nodes are lost for \
                     ever. The node must be stopped",
                )
                .arg(sure),
        ),
        operate::with_target(Command::new("upgrade").about(
            "Switch on what the running version brings, once all nodes run it; no older one can join then",
        )),
        operate::with_target(
            Command::new("activate-pack")
                .about("Play new battles with this pack, once all nodes have loaded it")
                .arg(pack),
        ),
    ]
}

/// Runs one of [`cluster_commands`]; `None` if it is another one.
pub(super) fn cluster(name: &str, flags: &ArgMatches) -> Option<ExitCode> {
    Some(match name {
        "recover" => recover(flags),
        "upgrade" => operate::command("cluster upgrade", flags, upgrade),
        "activate-pack" => operate::command("cluster activate-pack", flags, activate_pack),
        _ => return None,
    })
}

async fn upgrade(target: &Target, _flags: &ArgMatches) -> Result<(), ControlError> {
    let mut node = target.node().await?;
    let before: LevelsState = node.ask(Method::GET, "/v1/levels", &(), target.timeout).await?;
    let now: LevelsState = node.ask(Method::POST, "/v1/upgrade", &(), target.timeout).await?;
    let (was, is) = (before.in_force, now.in_force);
    if was == is {
        say(&format!("the behaviour level is {is} already, the highest one of this version"));
    } else {
        say(&format!(
            "the behaviour level was {was} and is {is}: nodes of older versions are refused"
        ));
    }
    Ok(())
}

async fn activate_pack(target: &Target, flags: &ArgMatches) -> Result<(), ControlError> {
    let pack = flags.get_one::<String>(PACK).cloned().unwrap_or_default();
    let mut node = target.node().await?;
    let wanted = WantedPack { pack };
    let active: ActivePack =
        node.ask(Method::POST, "/v1/packs/activate", &wanted, target.timeout).await?;
    say(&format!("new battles are played with {}; running ones keep their pack", active.pack));
    Ok(())
}

pub(super) async fn backup(target: &Target, flags: &ArgMatches) -> Result<(), ControlError> {
    let to = flags.get_one::<PathBuf>(TO).cloned().unwrap_or_default();
    let failed = |error: &dyn std::fmt::Display| {
        ControlError::Broken(format!("write {}: {error}", to.display()))
    };
    if to.exists() {
        return Err(failed(&"it is there already"));
    }
    let mut node = target.node().await?;
    // Beside it, so that it can be given its name; by process, so that two don't meet.
    let mut unfinished = to.clone().into_os_string();
    unfinished.push(format!(".{}.unfinished", std::process::id()));
    let unfinished = Unfinished(PathBuf::from(unfinished));
    let mut open = OpenOptions::new();
    open.write(true).create_new(true).mode(0o600);
    let mut file = open.open(&unfinished.0).map_err(|error| failed(&error))?;
    node.download("/v1/backup", &mut file, target.timeout).await?;
    file.sync_all().map_err(|error| failed(&error))?;
    let about = serverv2_raft::check_backup(&unfinished.0).map_err(|error| failed(&error))?;
    // Unlike a rename this fails if somebody has made it meanwhile.
    fs::hard_link(&unfinished.0, &to).map_err(|error| failed(&error))?;
    drop(unfinished);
    let folder =
        to.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    fs::File::open(folder).and_then(|it| it.sync_all()).map_err(|error| failed(&error))?;
    let bytes = file.metadata().map(|it| it.len()).unwrap_or_default();
    say(&format!("{}: {}, {bytes} bytes", to.display(), tell(&about)));
    Ok(())
}

/// A file that goes when this is dropped.
struct Unfinished(PathBuf);

impl Drop for Unfinished {
    fn drop(&mut self) {
        // It is named so that anybody may remove it.
        let _ = fs::remove_file(&self.0);
    }
}

fn tell(about: &BackupAbout) -> String {
    let BackupAbout { cluster_name, node, index, level, wall_ms, .. } = about;
    let when = zulu(WallTime(*wall_ms));
    format!(
        "cluster {cluster_name:?} as of {when} (node {node}, index {index}, behaviour level {level})"
    )
}

fn fail(name: &str, why: &dyn std::fmt::Display) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "serverv2 {name}: {why}");
    ExitCode::from(FAILED)
}

pub(super) fn restore(flags: &ArgMatches) -> ExitCode {
    let folder = match operate::folder(flags) {
        Ok(folder) => folder,
        Err(bad) => return super::refused(&bad),
    };
    let from = flags.get_one::<PathBuf>(FROM).cloned().unwrap_or_default();
    let env = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let node = flags.get_one::<u64>(NODE_ID).copied().map_or_else(
        || env(NODE_ID).map_or(Ok(1), |id| id.parse().map_err(|_| format!("NODE_ID is {id:?}"))),
        Ok,
    );
    let peers = flags.get_one::<String>(PEERS).cloned().or_else(|| env(PEERS)).unwrap_or_default();
    let (node, address) = match node.and_then(|node| Ok((node, address_of(node, &peers)?))) {
        Ok(found) => found,
        Err(why) => {
            let _ = writeln!(std::io::stderr(), "serverv2 restore: {why}");
            return ExitCode::from(BAD_SETTINGS);
        }
    };
    match serverv2_raft::restore(&from, &folder, NodeId(node), &address) {
        Ok(about) => {
            say(&format!(
                "{} is the data folder of node {node}, the only node of a new cluster: {}",
                folder.display(),
                tell(&about)
            ));
            ExitCode::SUCCESS
        }
        Err(error) => fail("restore", &error),
    }
}

/// Where the list says that this node is reached; nowhere if there is no list.
fn address_of(node: u64, peers: &str) -> Result<String, String> {
    if peers.is_empty() {
        return Ok(String::new());
    }
    let found = peers.split(',').find_map(|peer| {
        let (id, address) = peer.trim().split_once('=')?;
        (id.trim().parse() == Ok(node)).then(|| address.trim().to_owned())
    });
    found.ok_or_else(|| format!("PEERS lists no node {node}: {peers:?}"))
}

fn recover(flags: &ArgMatches) -> ExitCode {
    let folder = match operate::folder(flags) {
        Ok(folder) => folder,
        Err(bad) => return super::refused(&bad),
    };
    if !flags.get_flag(LOSE_THE_OTHERS) {
        return match serverv2_raft::look_at(&folder) {
            Ok(standing) => {
                show("now", &standing);
                say(&format!(
                    "Nothing was done. With --lose-the-others this becomes a cluster of one: everything in \
                     this node's log counts from then on, entries behind {} too, which may not have been \
                     acknowledged to anybody; what only other nodes had is lost; they are shut out and \
                     must start on empty folders under new ids.",
                    standing.committed
                ));
                ExitCode::from(BAD_SETTINGS)
            }
            Err(error) => fail("cluster recover", &error),
        };
    }
    match serverv2_raft::recover(&folder) {
        Ok((before, after)) => {
            show("before", &before);
            show("now", &after);
            say("Start it, wipe the others, and add them under new ids.");
            ExitCode::SUCCESS
        }
        Err(error) => fail("cluster recover", &error),
    }
}

fn show(when: &str, standing: &Standing) {
    let Standing { node, cluster, members, term, last, committed, checkpoint } = standing;
    let members: Vec<String> = members.iter().map(|member| member.0.to_string()).collect();
    say(&format!(
        "{when}: node {} of cluster {:032x}, members {}; last index {last}, term {term}, committed \
         {committed}, checkpoint {checkpoint}",
        node.0,
        u128::from_be_bytes(*cluster),
        members.join(" "),
    ));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_peers_says_where_the_node_is_reached() {
        assert_eq!(address_of(2, ""), Ok(String::new()));
        assert_eq!(address_of(2, "1=a:1, 2 = b:2"), Ok("b:2".to_owned()));
        assert!(address_of(3, "1=a:1,2=b:2").is_err());
    }
}
