//! The ways the corpus is run. The answers are the same in each: what differs is how the work is split.

/// One way of running the server under the corpus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// One timely worker: no exchange.
    OneWorker,
    /// Two timely workers: every key lives on one of them.
    TwoWorkers,
    /// Three timely workers: rows go to where their keys are not.
    ThreeWorkers,
    /// Each row its own epoch, so that every intermediate state is emitted and retracted.
    RowPerEpoch,
    /// The sequential driver over the same kernels.
    Sequential,
    /// `kill -9` after each statement, and a start on the same data.
    Restart,
}

impl Mode {
    /// Every mode of the corpus, in the order in which they run.
    pub const ALL: [Self; 5] = [Self::OneWorker, Self::TwoWorkers, Self::RowPerEpoch, Self::Sequential, Self::Restart];

    /// The ways in which a random script is run.
    pub const FUZZ: [Self; 5] = [Self::OneWorker, Self::TwoWorkers, Self::ThreeWorkers, Self::RowPerEpoch, Self::Sequential];

    /// As written in test names and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::OneWorker => "workers-1",
            Self::TwoWorkers => "workers-2",
            Self::ThreeWorkers => "workers-3",
            Self::RowPerEpoch => "row-per-epoch",
            Self::Sequential => "sequential",
            Self::Restart => "restart",
        }
    }

    /// The mode of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().chain(Self::FUZZ).find(|mode| mode.name() == name)
    }

    /// The flags of `thalweg serve`.
    pub fn server_flags(self) -> &'static [&'static str] {
        match self {
            Self::OneWorker | Self::Restart => &["--workers", "1"],
            Self::TwoWorkers => &["--workers", "2"],
            Self::ThreeWorkers => &["--workers", "3"],
            Self::RowPerEpoch => &["--workers", "2", "--max-epoch-rows", "1"],
            Self::Sequential => &["--driver", "sequential"],
        }
    }

    /// True when the server is killed after each statement that may change something.
    pub fn restarts(self) -> bool {
        self == Self::Restart
    }
}
