//! The sequence of events: which kind event `n` is, and which persons and auctions exist when it happens.
//!
//! Every 50 events are 1 person, 3 auctions and 46 bids, in that order, as in the official generator.

use std::ops::Range;

/// Events after which the pattern of kinds repeats.
pub const EVENTS_PER_ROUND: u64 = 50;

/// The three kinds of events; the number is the source's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// Someone registers.
    Person = 0,
    /// An item is put up for auction.
    Auction = 1,
    /// Someone bids on an item.
    Bid = 2,
}

impl EventKind {
    /// All kinds, by output.
    pub const ALL: [Self; 3] = [Self::Person, Self::Auction, Self::Bid];

    /// The name of the stream.
    pub fn name(self) -> &'static str {
        ["person", "auction", "bid"][self as usize]
    }

    /// Events of this kind per round.
    pub fn share(self) -> u64 {
        [1, 3, 46][self as usize]
    }

    /// Position in the round of the first event of this kind.
    fn first(self) -> u64 {
        [0, 1, 4][self as usize]
    }

    /// How many events of this kind are among the first `n_events`.
    pub fn count_before(self, n_events: u64) -> u64 {
        let in_round = (n_events % EVENTS_PER_ROUND).saturating_sub(self.first()).min(self.share());
        n_events / EVENTS_PER_ROUND * self.share() + in_round
    }

    /// The numbers of the events of this kind in `range`, in order.
    pub fn numbers(self, range: &Range<u64>) -> Vec<u64> {
        let ordinals = self.count_before(range.start)..self.count_before(range.end);
        ordinals.map(|ordinal| ordinal / self.share() * EVENTS_PER_ROUND + self.first() + ordinal % self.share()).collect()
    }
}

/// The last person there is when event `number` happens, from 0; its own one for a person.
pub fn last_person(number: u64) -> u64 {
    EventKind::Person.count_before(number + 1) - 1
}

/// The last auction there is when event `number`, an auction or a bid, happens, from 0; its own one for an auction.
pub fn last_auction(number: u64) -> u64 {
    EventKind::Auction.count_before(number + 1) - 1
}

/// The largest end such that `start..end` has at most `max_rows` events of the wanted kinds, but at least one row and at
/// least one event, and not more than `max_events` events.
pub fn end_for_rows(start: u64, wanted: &[EventKind], max_rows: u64, max_events: u64) -> u64 {
    let per_round: u64 = wanted.iter().map(|kind| kind.share()).sum();
    let rows = |end: u64| -> u64 { wanted.iter().map(|kind| kind.count_before(end) - kind.count_before(start)).sum() };
    let max_rows = max_rows.max(1);
    let mut end = start + (max_rows / per_round.max(1)).min(max_events / EVENTS_PER_ROUND) * EVENTS_PER_ROUND;
    // At most one round is missing to the exact number of rows.
    while end < start + max_events && rows(end + 1) <= max_rows {
        end += 1;
        if rows(end) == max_rows {
            break;
        }
    }
    end.max(start + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind_of(number: u64) -> EventKind {
        match number % EVENTS_PER_ROUND {
            0 => EventKind::Person,
            1..=3 => EventKind::Auction,
            _ => EventKind::Bid,
        }
    }

    #[test]
    fn numbers_agree_with_the_definition_for_every_range() {
        for start in 0..130 {
            for end in start..160 {
                for kind in EventKind::ALL {
                    let expected: Vec<u64> = (start..end).filter(|n| kind_of(*n) == kind).collect();
                    assert_eq!(kind.numbers(&(start..end)), expected, "{kind:?} in {start}..{end}");
                }
            }
        }
    }

    #[test]
    fn last_ids_are_those_of_the_events_so_far() {
        for number in 1..500 {
            let so_far = |kind| (0..=number).filter(|n| kind_of(*n) == kind).count() as u64;
            assert_eq!(last_person(number), so_far(EventKind::Person) - 1);
            assert_eq!(last_auction(number), so_far(EventKind::Auction) - 1);
        }
    }

    #[test]
    fn a_span_has_the_rows_asked_for() {
        for (wanted, start) in [(vec![EventKind::Bid], 0), (vec![EventKind::Person], 1), (EventKind::ALL.to_vec(), 7)] {
            for max_rows in [1, 2, 45, 46, 47, 50, 51, 1000] {
                let end = end_for_rows(start, &wanted, max_rows, 1_000_000);
                let rows: u64 = wanted.iter().map(|kind| kind.numbers(&(start..end)).len() as u64).sum();
                assert_eq!(rows, max_rows, "{wanted:?} from {start}, at most {max_rows}");
            }
        }
        assert_eq!(end_for_rows(10, &[EventKind::Person], 1000, 3), 13);
    }
}
