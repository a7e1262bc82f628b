//! Which modules run together in a process.

use clap::ValueEnum;

/// How the shop's modules are spread over processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Layout {
    /// All in one process.
    Monolith,
    /// Each in a process of its own.
    Microservices,
    /// Catalog and ordering in one process, payment and notification in another.
    Mixed,
}

/// One process of a layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// The process's name, which is its node's.
    pub(crate) name: &'static str,
    /// The modules that run in it.
    pub(crate) modules: &'static [&'static str],
}

impl Layout {
    /// Its processes, in the order in which they are started.
    pub(crate) fn parts(self) -> &'static [Part] {
        match self {
            Self::Monolith => &[Part {
                name: "shop",
                modules: &["catalog", "payment", "ordering", "notification"],
            }],
            Self::Microservices => &[
                Part { name: "catalog", modules: &["catalog"] },
                Part { name: "payment", modules: &["payment"] },
                Part { name: "ordering", modules: &["ordering"] },
                Part { name: "notification", modules: &["notification"] },
            ],
            Self::Mixed => &[
                Part { name: "front", modules: &["catalog", "ordering"] },
                Part { name: "back", modules: &["payment", "notification"] },
            ],
        }
    }
}
