//! The bank with the fix: each order has a number, and is carried out once, however often it comes.

use umbel_cluster::Node;

use crate::branch::{Deeds, TransferError, until_answered};
use crate::{Bank, Transfer};

/// The bank with the fix.
#[derive(Clone, Copy)]
pub(crate) struct Careful;

impl Bank for Careful {
    const NAME: &'static str = "careful";

    async fn transfer(self, node: Node, transfer: Transfer) -> Result<(), TransferError> {
        let Transfer { number, from, to, cents } = transfer;
        // Two orders a transfer. They are at different branches, or of different accounts.
        let (take, give) = (2 * number, 2 * number + 1);
        let once =
            |order, account, cents| move |reply| Deeds::AddOnce { order, account, cents, reply };
        until_answered(&node, from, once(take, from, -cents)).await?;
        until_answered(&node, to, once(give, to, cents)).await?;
        Ok(())
    }
}
