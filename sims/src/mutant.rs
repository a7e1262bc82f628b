//! Bugs on purpose, in worlds of whole nodes: what the invariants must catch.

/// A bug that is planted in the network, in the machines, or in the application that runs on them. An
/// invariant that catches none would be worth nothing. For tests of the simulator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mutant {
    /// The network delivers some of what is written twice.
    Repeats,
    /// The network delivers some of what is written before what was written earlier.
    Overtakes,
    /// The network never mends one way between two machines.
    NeverMends,
    /// A process that is killed goes on, unseen.
    Undead,
    /// All processes on a machine find its wall clock where the first one found it.
    StoppedClock,
    /// What a node was told of a member it is told again, after that one's end.
    OldNews,
    /// A player, or a clerk, answers with what it was asked before.
    MixedAnswers,
    /// Whoever asks waits as long as it takes, and players keep some questions, and clerks some calls.
    NoDeadlines,
    /// A player's mailbox takes more than it should.
    Roomy,
    /// Each question leaves a task behind.
    LeakedTasks,
    /// A task does not heed the end of its node.
    LeftTask,
    /// A subscriber is told that it is none any more, and still hears.
    HearsOn,
    /// A supervisor bears more than it says.
    Lenient,
    /// A player's life goes on after its end.
    Lingers,
    /// Players are not started again.
    Mortal,
    /// Services say of what they have executed that it was not.
    Denies,
    /// Services say of what they have not executed that it was.
    Boasts,
    /// What may be executed once is called as if it could be again.
    Overeager,
    /// Services do not remember what they have executed.
    Forgetful,
    /// Instances that are replaced are given no time to finish what they have.
    Abrupt,
    /// A version of a module that is ill says that it is well.
    Rash,
    /// An instance of each module that was replaced is left behind.
    Leftover,
}

impl Mutant {
    /// Those of the cast, and of what it runs on.
    pub const ALL: [Self; 15] = [
        Self::Repeats,
        Self::Overtakes,
        Self::NeverMends,
        Self::Undead,
        Self::StoppedClock,
        Self::OldNews,
        Self::MixedAnswers,
        Self::NoDeadlines,
        Self::Roomy,
        Self::LeakedTasks,
        Self::LeftTask,
        Self::HearsOn,
        Self::Lenient,
        Self::Lingers,
        Self::Mortal,
    ];

    /// Those of the office where it has clerks.
    pub const OF_SERVICES: [Self; 6] = [
        Self::MixedAnswers,
        Self::NoDeadlines,
        Self::Denies,
        Self::Boasts,
        Self::Overeager,
        Self::Forgetful,
    ];

    /// Those of the office where it has departments.
    pub const OF_MODULES: [Self; 3] = [Self::Abrupt, Self::Rash, Self::Leftover];

    /// The invariant that is there for it.
    #[must_use]
    pub fn caught_by(self) -> &'static str {
        match self {
            Self::Repeats | Self::Overtakes => "once-in-order",
            Self::NeverMends => "settles",
            Self::Undead => "living-entries",
            Self::StoppedClock => "lives-grow",
            Self::OldNews => "down-is-final",
            Self::MixedAnswers | Self::NoDeadlines => "asks-end",
            Self::Roomy | Self::LeakedTasks => "bounds",
            Self::LeftTask => "tasks-end",
            Self::HearsOn => "silence",
            Self::Lenient => "intensity",
            Self::Lingers | Self::Mortal => "no-orphans",
            Self::Denies | Self::Boasts => "executed-as-told",
            Self::Overeager | Self::Forgetful => "executed-once",
            Self::Abrupt => "sure-calls",
            Self::Rash => "old-serves",
            Self::Leftover => "no-leftovers",
        }
    }
}
