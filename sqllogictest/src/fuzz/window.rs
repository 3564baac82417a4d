//! Random window functions. Where peers could be told apart the order is that of all columns.

use rand::Rng;

use super::from::raw;
use super::query::{Column, Queries, all};
use super::reach::Construct;
use super::values::Type;

/// Frames of rows with both ends near.
const NEAR_FRAMES: [(Construct, &str); 5] = [
    (Construct::FrameBefore, " ROWS BETWEEN 2 PRECEDING AND CURRENT ROW"),
    (Construct::FrameBefore, " ROWS BETWEEN 2 PRECEDING AND 1 PRECEDING"),
    (Construct::FrameAfter, " ROWS BETWEEN CURRENT ROW AND 3 FOLLOWING"),
    (Construct::FrameAfter, " ROWS BETWEEN 1 FOLLOWING AND 2 FOLLOWING"),
    (Construct::FrameAround, " ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING"),
];

/// PARTITION BY and ORDER BY of a window function.
struct Over {
    partition: String,
    /// By one column: peers count as one.
    peers: String,
    /// By all columns.
    total: String,
    /// By a column that has distances, with a frame of a distance around the row.
    range: Option<String>,
}

impl Queries<'_> {
    pub(super) fn windowed(&mut self, types: &[Type], outer: &[Column]) -> String {
        let (from, own) = self.from(outer);
        let scope = self.scope(&own, outer);
        let (mut outputs, mut n_windows) = (Vec::new(), 0);
        for (place, kind) in types.iter().enumerate() {
            let sql = match self.one_in(5) {
                true => self.at(Construct::SubqueryInList, |this| this.expression(*kind, &scope, 1)),
                false => {
                    n_windows += 1;
                    self.window(*kind, &own)
                }
            };
            outputs.push(format!("{sql} AS c{place}"));
        }
        // Which of two equal rows comes first is open, and may be another one in each window.
        self.beyond_postgres |= n_windows > 1;
        format!("SELECT {} FROM {from}{}", outputs.join(", "), self.wheres(&scope))
    }

    fn window(&mut self, kind: Type, own: &[Column]) -> String {
        let partition = match self.one_in(3) {
            true => {
                self.uses(Construct::OverAllRows);
                String::new()
            }
            false => format!("PARTITION BY {} ", own[self.rng.random_range(0..own.len())].sql),
        };
        let some = own[self.rng.random_range(0..own.len())].sql.clone();
        let direction = self.one_of(&["", " DESC", " NULLS FIRST"]);
        let peers = format!("{partition}ORDER BY {some}{direction}");
        let over = Over { total: format!("{peers}, {}", all(own)), range: self.range(own, &partition), partition, peers };
        match kind {
            Type::Number if self.one_in(2) => self.ranking(&over),
            Type::Float if self.one_in(4) => {
                self.uses(Construct::PercentRank);
                format!("{}() OVER ({})", self.one_of(&["percent_rank", "cume_dist"]), over.peers)
            }
            Type::Number | Type::Float | Type::Numeric if self.one_in(2) => self.running(kind, own, &over),
            Type::Truth | Type::List | Type::Text if self.one_in(3) => self.collected(kind, own, &over),
            Type::Truth | Type::List => self.neighbour(kind, own, &over),
            _ if self.one_in(4) => self.running_extreme(kind, own, &over),
            _ => self.neighbour(kind, own, &over),
        }
    }

    fn range(&mut self, own: &[Column], partition: &str) -> Option<String> {
        let kind = self.one_of(&[Type::Number, Type::Number, Type::Time]);
        let distance = if kind == Type::Time { "INTERVAL '30 minutes'" } else { "1" };
        let (column, direction) = (self.column(kind, own)?, self.one_of(&["", " DESC", " NULLS FIRST"]));
        let frame = self.one_of(&[
            "# PRECEDING AND # FOLLOWING",
            "# PRECEDING AND CURRENT ROW",
            "CURRENT ROW AND # FOLLOWING",
            "UNBOUNDED PRECEDING AND # PRECEDING",
        ]);
        Some(format!("{partition}ORDER BY {column}{direction} RANGE BETWEEN {}", frame.replace('#', distance)))
    }

    fn ranking(&mut self, over: &Over) -> String {
        use Construct::{DenseRank, Ntile, Rank, RowNumber};
        let construct = self.one_of(&[RowNumber, Rank, DenseRank, Ntile]);
        self.uses(construct);
        // Beside lists of bigint they must be bigint.
        match construct {
            RowNumber => format!("(row_number() OVER ({}))::bigint", over.total),
            Rank => format!("(rank() OVER ({}))::bigint", over.peers),
            DenseRank => format!("(dense_rank() OVER ({}))::bigint", over.peers),
            _ => format!("(ntile({}) OVER ({}))::bigint", self.rng.random_range(1..4), over.total),
        }
    }

    /// The value of another row.
    fn neighbour(&mut self, kind: Type, own: &[Column], over: &Over) -> String {
        use Construct::{FirstValue, Lag, LastValue, Lead, NthValue};
        let (construct, value) = (self.one_of(&[Lag, Lead, FirstValue, LastValue, NthValue]), self.operand(kind, own));
        self.uses(construct);
        let total = &over.total;
        match construct {
            Lag => format!("lag({value}{}) OVER ({total})", self.one_of(&["", ", 0", ", 2"])),
            Lead => format!("lead({value}, {}, {}) OVER ({total})", self.rng.random_range(1..3), kind.literal(self.rng)),
            FirstValue => format!("first_value({value}) OVER ({total}{})", self.frame()),
            LastValue => format!("last_value({value}) OVER ({total}{})", self.frame()),
            _ => format!("nth_value({value}, 2) OVER ({total}{})", self.frame()),
        }
    }

    /// An aggregate up to the row, over the whole partition or over a frame.
    fn running(&mut self, kind: Type, own: &[Column], over: &Over) -> String {
        let filter = match self.one_in(4) {
            true => {
                self.uses(Construct::OverFiltered);
                format!(" FILTER (WHERE {})", self.plain_condition(own))
            }
            false => String::new(),
        };
        let operand = self.operand(kind, own);
        let order = match (self.rng.random_range(0..5), &over.range) {
            (3, Some(range)) => {
                self.uses(Construct::FrameRange);
                range.clone()
            }
            (3 | 4, _) => {
                self.uses(Construct::FrameGroups);
                let frame =
                    self.one_of(&["1 PRECEDING AND 1 FOLLOWING", "1 PRECEDING AND CURRENT ROW", "CURRENT ROW AND UNBOUNDED FOLLOWING"]);
                format!("{} GROUPS BETWEEN {frame}", over.peers)
            }
            (0, _) => {
                self.uses(Construct::OverPartition);
                over.partition.clone()
            }
            (1, _) => {
                self.uses(Construct::OverRunning);
                over.peers.clone()
            }
            _ => format!("{}{}", over.total, self.frame()),
        };
        match kind {
            Type::Number if self.one_in(3) => format!("count(*){filter} OVER ({order})"),
            Type::Number => format!("(sum({operand}){filter} OVER ({order}))::bigint"),
            Type::Numeric => format!("({}({operand}){filter} OVER ({order}))::numeric(12,2)", self.one_of(&["sum", "avg"])),
            _ => {
                self.uses_beyond_postgres(Construct::OverFloat);
                format!("({}({}){filter} OVER ({order}) + 0.0)", self.one_of(&["sum", "avg"]), raw(&operand))
            }
        }
    }

    fn running_extreme(&mut self, kind: Type, own: &[Column], over: &Over) -> String {
        let (function, value) = (self.one_of(&["min", "max"]), self.operand(kind, own));
        match self.one_in(2) {
            true => format!("{function}({value}) OVER ({}{})", over.total, self.frame()),
            false => {
                self.uses(Construct::OverRunning);
                format!("{function}({value}) OVER ({})", over.peers)
            }
        }
    }

    /// An aggregate that cannot take a row back.
    fn collected(&mut self, kind: Type, own: &[Column], over: &Over) -> String {
        self.uses(Construct::OverCollected);
        let call = match kind {
            Type::Truth => format!("{}({})", self.one_of(&["bool_and", "bool_or"]), self.operand(kind, own)),
            Type::List => format!("array_agg({})", self.operand(Type::Number, own)),
            _ => format!("string_agg({}, '/')", self.operand(kind, own)),
        };
        // Over near rows alone: lists of lists of all rows would be larger than what may wait for a subscriber.
        let (construct, frame) = self.one_of(&NEAR_FRAMES);
        self.uses(construct);
        format!("{call} OVER ({}{frame})", over.total)
    }

    /// A frame of rows, or none.
    fn frame(&mut self) -> &'static str {
        if self.one_in(2) {
            let (construct, frame) = self.one_of(&NEAR_FRAMES);
            self.uses(construct);
            return frame;
        }
        self.uses(Construct::FrameUnbounded);
        self.one_of(&[
            " ROWS UNBOUNDED PRECEDING",
            " ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING",
            " ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING",
        ])
    }
}
