//! The choice among nodes: a function of what they say.

use serverv2_machine::NodeId;

use super::Condition;

/// A node that may be named.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) id: NodeId,
    /// Whether it is the one that is asked: the client has reached it already.
    pub(super) is_asked: bool,
    pub(super) condition: Condition,
    /// Clients on their way there.
    pub(super) coming: usize,
}

/// Where one more client costs least; among equals the node that is asked, then the one with the lowest id.
pub(super) fn best(candidates: impl Iterator<Item = Candidate>) -> Option<NodeId> {
    let takers = candidates.filter(|it| it.condition.takes_more());
    let cheapest = takers.min_by(|a, b| {
        let cost = |it: &Candidate| it.condition.cost(it.coming);
        let rank = |it: &Candidate| (!it.is_asked, it.id);
        cost(a).total_cmp(&cost(b)).then_with(|| rank(a).cmp(&rank(b)))
    });
    cheapest.map(|it| it.id)
}

#[cfg(test)]
mod tests {
    use super::super::condition::testing::with;
    use super::super::{Condition, Health};
    use super::*;

    /// The place of the best of these nodes, of which the second is asked; the last number of each is on its way.
    fn best_of(nodes: &[(Condition, usize)]) -> Option<usize> {
        let candidates = nodes.iter().enumerate().map(|(at, (condition, coming))| Candidate {
            id: NodeId(at as u64),
            is_asked: at == 1,
            condition: *condition,
            coming: *coming,
        });
        best(candidates).map(|id| id.0 as usize)
    }

    #[test]
    fn it_is_the_emptiest_of_idle_nodes_and_the_most_idle_of_equal_ones() {
        let idle = [(with(12, 0.0), 0), (with(10, 0.0), 0), (with(4, 0.0), 0)];
        assert_eq!(best_of(&idle), Some(2));
        let busy = [(with(10, 30.0), 0), (with(10, 60.0), 0), (with(10, 90.0), 0)];
        assert_eq!(best_of(&busy), Some(0));
        let both = [(with(9, 80.0), 0), (with(20, 10.0), 0), (with(30, 0.0), 0)];
        assert_eq!(best_of(&both), Some(1), "neither the emptiest nor the most idle");
        let larger = Condition { connections_max: 1_000, ..with(40, 0.0) };
        assert_eq!(best_of(&[(larger, 0), (with(9, 0.0), 0)]), Some(0), "room is what counts");
    }

    #[test]
    fn those_on_their_way_count_so_that_a_crowd_is_spread() {
        let mut nodes = [(with(3, 0.0), 0), (with(0, 0.0), 0), (with(0, 0.0), 0)];
        for _ in 0..12 {
            let named = best_of(&nodes).unwrap();
            nodes[named].1 += 1;
        }
        assert_eq!(nodes.map(|(condition, coming)| condition.connections + coming), [5, 5, 5]);
    }

    #[test]
    fn among_equals_it_is_the_one_that_is_asked_and_then_the_first() {
        let equal = (with(5, 5.0), 0);
        assert_eq!(best_of(&[equal; 3]), Some(1));
        assert_eq!(best_of(&[equal, (with(6, 5.0), 0), equal]), Some(0));
    }

    #[test]
    fn who_does_not_serve_or_is_full_is_never_named() {
        let with_health = |health| (Condition { health, ..with(0, 0.0) }, 0);
        let stopping = with_health(Health::Stopping);
        let starting = with_health(Health::Unhealthy);
        assert_eq!(best_of(&[stopping, starting, (with(99, 99.0), 0)]), Some(2));
        assert_eq!(best_of(&[stopping, starting, (with(100, 0.0), 0)]), None);
        assert_eq!(best_of(&[]), None);
        let sent = (with(0, 0.0), 1_000);
        assert_eq!(best_of(&[stopping, sent]), Some(1), "whoever asks for nothing fills no node");
    }
}
