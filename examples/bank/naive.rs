//! The bank as one writes it first: where no answer came, ask again.

use umbel_cluster::Node;

use crate::branch::{Deeds, TransferError, until_answered};
use crate::{Bank, Transfer};

/// The bank as one writes it first.
#[derive(Clone, Copy)]
pub(crate) struct Naive;

impl Bank for Naive {
    const NAME: &'static str = "naive";

    async fn transfer(self, node: Node, transfer: Transfer) -> Result<(), TransferError> {
        let Transfer { from, to, cents, .. } = transfer;
        until_answered(&node, from, |reply| Deeds::Add(from, -cents, reply)).await?;
        until_answered(&node, to, |reply| Deeds::Add(to, cents, reply)).await?;
        Ok(())
    }
}
