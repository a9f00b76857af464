//! Commands about players who are kept in a database, as scripts write them.

use goldenscript::ArgumentConsumer;
use serverv2_machine::{
    Command, IssueTokens, Lifetimes, OpenSession, OpenSessionOutside, Player, RecordsHome,
    RefreshTokens, RefreshTokensOutside, SetRecords, WallTime,
};

use crate::world::{Failure, World, positional};

const LIFETIMES: Lifetimes = Lifetimes { access_ms: 20_000, refresh_ms: 50_000 };

impl World {
    /// `records cluster|x`, `open-outside ann/1 NAME`, `issue ann`, `refresh-outside ann tN`; a database
    /// is named by a letter.
    pub(crate) fn outside_command(
        &mut self,
        name: &str,
        args: &mut ArgumentConsumer<'_>,
    ) -> Result<Command, Failure> {
        let text = positional(args)?;
        Ok(match name {
            "records" => {
                let home = match text {
                    "cluster" => RecordsHome::Cluster,
                    letter => RecordsHome::Database([letter.bytes().next().unwrap_or(0); 16]),
                };
                SetRecords { home }.into()
            }
            "open-outside" => {
                let open = OpenSession {
                    session: self.session(text)?,
                    socket: text.replace('/', "-").parse()?,
                    address: "home".into(),
                    chosen: true,
                    authenticated: false,
                };
                OpenSessionOutside { open, name: positional(args)?.into() }.into()
            }
            "issue" => {
                let name = "é".repeat(args.take_key("length").map_or(Ok(1), str::parse)?);
                let player = self.outside_player(text, &name);
                IssueTokens { player, lifetimes: LIFETIMES }.into()
            }
            _ => {
                let player = self.player(text);
                let token = self.token(positional(args)?)?;
                let found = args.take_key("found").unwrap_or(text);
                let refresh =
                    RefreshTokens { player, token, remaining_ms: 10_000, lifetimes: LIFETIMES };
                let player = self.outside_player(found, found);
                RefreshTokensOutside { refresh, player }.into()
            }
        })
    }

    fn outside_player(&mut self, id: &str, name: &str) -> Player {
        Player {
            id: self.player(id),
            name: name.into(),
            created: WallTime(0),
            last_login: WallTime(0),
            email: None,
            email_bound: None,
        }
    }
}
