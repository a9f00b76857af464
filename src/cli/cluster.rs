//! `serverv2 cluster …`: who is in the cluster, and how that is changed while it runs.
//!
//! Each command may be given to any node, and given again: what is so already is a success that says so.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use hyper::Method;
use serverv2_raft::{Change, Changed, MemberView, MembersView};

use super::operate::{self, Target, say, with_target};
use crate::control::ChangeOrder;
use crate::control::client::ControlError;

const NODE: &str = "NODE";
const JSON: &str = "JSON";
/// What the node may take beyond the time that it was given.
const ANSWER_SLACK: Duration = Duration::from_secs(3);

pub(super) fn command() -> Command {
    let id = || value_parser!(u64).range(1..=u64::from(u32::MAX));
    let node = |help: &'static str| {
        Arg::new(NODE).value_name("ID").value_parser(id()).required(true).help(help)
    };
    let json = Arg::new(JSON)
        .long("json")
        .action(ArgAction::SetTrue)
        .help("For programs: one JSON object, as the node gives it.");
    Command::new("cluster")
        .about("See who is in the cluster, let nodes join, vote and go, and switch on what a new version brings")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(with_target(
            Command::new("status")
                .about("Show the members: who votes, who leads, who is there, and who is behind")
                .arg(json),
        ))
        .subcommand(with_target(
            Command::new("add")
                .about(
                    "Take a node in as a learner: it carries players and has no vote. Start it first, on an \
                     empty folder and under a new id, with PEERS listing itself and some members",
                )
                .arg(
                    Arg::new(NODE)
                        .value_name("ID=HOST:PORT")
                        .value_parser(newcomer)
                        .required(true)
                        .help("The node's id, and where the members reach its port for peers."),
                ),
        ))
        .subcommand(with_target(
            Command::new("promote")
                .about("Give a learner a vote, once it has the log")
                .arg(node("The learner.")),
        ))
        .subcommand(with_target(
            Command::new("demote")
                .about("Take a voter's vote; it stays as a learner. A leader hands over first")
                .arg(node("The voter.")),
        ))
        .subcommand(with_target(
            Command::new("remove")
                .about(
                    "Take a node out for ever, dead or alive. Its clients go to other nodes; its id is never \
                     used again. Drain it first, to be gentle",
                )
                .arg(node("The member.")),
        ))
        .subcommand(with_target(
            Command::new("transfer-leader")
                .about("Let another voter lead")
                .arg(node("Which one; any, if it is not said.").required(false)),
        ))
}

/// `4=host:port`.
fn newcomer(text: &str) -> Result<(u64, String), String> {
    let wrong = || "it is written like 4=host:18102".to_owned();
    let (node, address) = text.split_once('=').ok_or_else(wrong)?;
    let node = node.parse::<u32>().ok().filter(|node| *node > 0).ok_or_else(wrong)?;
    let (host, port) = address.rsplit_once(':').ok_or_else(wrong)?;
    let is_host =
        (1..=255).contains(&host.len()) && host.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_host || port.parse::<u16>().ok().is_none_or(|port| port == 0) {
        return Err(wrong());
    }
    Ok((u64::from(node), address.to_owned()))
}

pub(super) fn run(flags: &ArgMatches) -> ExitCode {
    let Some((name, flags)) = flags.subcommand() else { unreachable!("a subcommand is required") };
    let full = format!("cluster {name}");
    if name == "status" {
        return operate::command(&full, flags, status);
    }
    let node = || flags.get_one::<u64>(NODE).copied();
    let change = match (name, node_of(name, flags)) {
        ("transfer-leader", _) => Change::TransferLead(node()),
        ("add", Some((node, address))) => Change::Add { node, address },
        ("promote", Some((node, _))) => Change::Promote(node),
        ("demote", Some((node, _))) => Change::Demote(node),
        ("remove", Some((node, _))) => Change::Remove(node),
        _ => unreachable!("a node is required, and these are all"),
    };
    operate::command(&full, flags, async |target: &Target, _: &ArgMatches| {
        let timeout_ms = u64::try_from(target.timeout.as_millis()).unwrap_or(u64::MAX);
        let order = ChangeOrder { change, timeout_ms };
        let patience = target.timeout + ANSWER_SLACK;
        let mut node = target.node().await?;
        let done: Changed = node.ask(Method::POST, "/v1/cluster/change", &order, patience).await?;
        say(&done.message);
        Ok(())
    })
}

fn node_of(name: &str, flags: &ArgMatches) -> Option<(u64, String)> {
    match name {
        "add" => flags.get_one::<(u64, String)>(NODE).cloned(),
        "transfer-leader" => None,
        _ => flags.get_one::<u64>(NODE).map(|node| (*node, String::new())),
    }
}

async fn status(target: &Target, flags: &ArgMatches) -> Result<(), ControlError> {
    let mut node = target.node().await?;
    let view: MembersView = node.ask(Method::GET, "/v1/cluster", &(), target.timeout).await?;
    if flags.get_flag(JSON) {
        let text = serde_json::to_string(&view);
        say(&text.map_err(|error| ControlError::Broken(error.to_string()))?);
    } else {
        say(&table(&view));
    }
    Ok(())
}

/// The view for people.
fn table(view: &MembersView) -> String {
    let leads = match view.leader {
        Some(leader) => format!("node {leader} leads"),
        None => "no node is known to lead".to_owned(),
    };
    let mut text = format!(
        "{leads} in term {}; {} entries are committed; behaviour level {}; seen by node {}\n",
        view.term, view.committed, view.level, view.seen_by
    );
    if view.leader != Some(view.seen_by) {
        text +=
            "The leader was not reached: what others have and when they were heard is not known.\n";
    }
    if view.is_joint {
        text += "A change of the voters is not finished: the next change finishes it.\n";
    }
    let heads = ["node", "role", "state", "level", "has", "heard", "peers at"].map(str::to_owned);
    let rows: Vec<[String; 7]> =
        std::iter::once(heads).chain(view.members.iter().map(|it| row(view, it))).collect();
    for row in &rows {
        let widths = (0..row.len()).map(|at| rows.iter().map(|row| row[at].len()).max());
        let cells = row.iter().zip(widths).map(|(cell, width)| {
            let width = width.unwrap_or(0);
            format!("{cell:<width$}")
        });
        text += cells.collect::<Vec<_>>().join("  ").trim_end();
        text += "\n";
    }
    if !view.removed.is_empty() {
        text += &format!("Removed, and not to be used again: {:?}\n", view.removed);
    }
    text.trim_end().to_owned()
}

fn row(view: &MembersView, member: &MemberView) -> [String; 7] {
    let known = |number: Option<u64>| number.map_or_else(|| "?".to_owned(), |it| it.to_string());
    let role = match (member.is_voter, view.leader == Some(member.node)) {
        (true, true) => "leader",
        (true, false) => "voter",
        (false, _) => "learner",
    };
    let state = match (member.is_live, member.incarnation) {
        (true, _) => "live",
        (false, 0) => "new",
        (false, _) => "gone",
    };
    [
        member.node.to_string(),
        role.to_owned(),
        state.to_owned(),
        if member.level == 0 { "?".to_owned() } else { member.level.to_string() },
        known(member.has),
        member.heard_ms.map_or_else(|| "?".to_owned(), |ms| format!("{ms} ms ago")),
        member.address.clone(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newcomer_is_an_id_and_an_address() {
        assert_eq!(newcomer("4=game4:18102"), Ok((4, "game4:18102".to_owned())));
        assert_eq!(newcomer("4=[::1]:18102"), Ok((4, "[::1]:18102".to_owned())));
        for wrong in ["", "4", "4=", "=h:1", "0=h:1", "4=h", "4=h:", "4=h:0", "4=h:70000", "x=h:1"]
        {
            assert!(newcomer(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_table_has_a_line_for_each_member() {
        let member = |node, is_voter, is_live, heard_ms| MemberView {
            node,
            address: format!("game{node}:18102"),
            folder: "f".to_owned(),
            is_voter,
            is_live,
            incarnation: 7,
            level: 1,
            heard_ms,
            has: heard_ms.map(|_| 1200),
        };
        let view = MembersView {
            seen_by: 1,
            leader: Some(1),
            term: 3,
            committed: 1201,
            level: 1,
            is_joint: false,
            members: vec![member(1, true, true, Some(0)), member(12, false, false, None)],
            removed: vec![2],
        };
        let expected = "\
node 1 leads in term 3; 1201 entries are committed; behaviour level 1; seen by node 1
node  role     state  level  has   heard     peers at
1     leader   live   1      1200  0 ms ago  game1:18102
12    learner  gone   1      ?     ?         game12:18102
Removed, and not to be used again: [2]";
        assert_eq!(table(&view), expected);
    }
}
