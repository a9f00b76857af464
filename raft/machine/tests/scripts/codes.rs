//! Commands about verification codes as scripts write them. A code is any short word, and so is its hash.

use goldenscript::ArgumentConsumer;
use serverv2_machine::{
    BindEmail, CheckCode, CodeHash, CodeLimits, Command, CreateCode, Lifetimes, Purpose,
    RecoverPlayer, UnbindEmail,
};

use crate::world::{Failure, World, number, positional};

const LIFETIMES: Lifetimes = Lifetimes { access_ms: 20_000, refresh_ms: 50_000 };

impl World {
    pub(crate) fn code_command(
        &mut self,
        name: &str,
        args: &mut ArgumentConsumer<'_>,
    ) -> Result<Command, Failure> {
        Ok(match name {
            "code" => {
                let purpose = purpose(positional(args)?)?;
                let email = positional(args)?.parse()?;
                let hash = hash(positional(args)?);
                let player = args.take_key("of").map(|name| self.player(name));
                let source = args.take_key("from").unwrap_or("home").into();
                let limits = CodeLimits {
                    per_address: args.take_key("per-address").map_or(Ok(0), number)?,
                    per_source: args.take_key("per-source").map_or(Ok(0), number)?,
                };
                CreateCode { email, purpose, player, source, hash, limits }.into()
            }
            "check" => {
                let purpose = purpose(positional(args)?)?;
                let email = positional(args)?.parse()?;
                CheckCode { email, purpose, hash: hash(positional(args)?) }.into()
            }
            "bind" => {
                let player = self.player(positional(args)?);
                let email = positional(args)?.parse()?;
                let hash = hash(positional(args)?);
                let authenticated = args.next_pos() == Some("token");
                BindEmail { player, authenticated, email, hash, lifetimes: LIFETIMES }.into()
            }
            "recover" => {
                let email = positional(args)?.parse()?;
                let hash = hash(positional(args)?);
                RecoverPlayer { email, hash, lifetimes: LIFETIMES }.into()
            }
            _ => UnbindEmail { player: self.player(positional(args)?) }.into(),
        })
    }
}

fn purpose(text: &str) -> Result<Purpose, Failure> {
    match text {
        "bind" => Ok(Purpose::Bind),
        "recover" => Ok(Purpose::Recover),
        _ => Err("not a purpose".into()),
    }
}

fn hash(code: &str) -> CodeHash {
    let mut hash = [0; 32];
    for (slot, byte) in hash.iter_mut().zip(code.bytes()) {
        *slot = byte;
    }
    CodeHash(hash)
}
