//! In which order modules are started.

use std::collections::{BTreeMap, BTreeSet};

use petgraph::Graph;
use petgraph::algo::{astar, toposort};
use petgraph::graph::NodeIndex;
use thiserror::Error;

/// Why modules do not fit together. Nothing was started.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OrderError {
    /// A module requires one that there is not.
    #[error("module '{module}' requires '{requires}' but it is not registered")]
    Missing {
        /// The module.
        module: String,
        /// What it requires.
        requires: String,
    },
    /// Two modules have the same name.
    #[error("module '{module}' is registered twice")]
    Duplicate {
        /// The name.
        module: String,
    },
    /// Modules require one another in a circle, so none of them can be first.
    #[error("modules require one another in a circle: {}", circle.join(" -> "))]
    Cycle {
        /// The circle, from a module to itself.
        circle: Vec<String>,
    },
}

/// The modules in an order in which each comes after all that it requires; of those that do not
/// depend on each other, the one that was registered first comes first. What runs `elsewhere` is taken
/// to be up.
pub(crate) fn order(
    modules: &[(String, Vec<String>)],
    elsewhere: &BTreeSet<String>,
) -> Result<Vec<String>, OrderError> {
    let mut graph = Graph::<&str, ()>::new();
    let mut nodes = BTreeMap::<&str, NodeIndex>::new();
    // A topological sort that begins with the last leaves the first first.
    for (module, _) in modules.iter().rev() {
        if nodes.insert(module, graph.add_node(module)).is_some() {
            return Err(OrderError::Duplicate { module: module.clone() });
        }
    }
    for (module, requires) in modules {
        for required in requires {
            let Some(&before) = nodes.get(required.as_str()) else {
                if elsewhere.contains(required) {
                    continue;
                }
                let (module, requires) = (module.clone(), required.clone());
                return Err(OrderError::Missing { module, requires });
            };
            graph.update_edge(before, nodes[module.as_str()], ());
        }
    }
    match toposort(&graph, None) {
        Ok(sorted) => Ok(sorted.into_iter().map(|node| graph[node].to_owned()).collect()),
        Err(cycle) => Err(OrderError::Cycle { circle: circle(&graph, cycle.node_id()) }),
    }
}

/// The shortest circle through a node that is in one, as who requires whom.
fn circle(graph: &Graph<&str, ()>, node: NodeIndex) -> Vec<String> {
    let through = graph.neighbors(node).filter_map(|next| {
        let (_, path) = astar(graph, next, |at| at == node, |_| 1, |_| 0)?;
        Some(path)
    });
    let path = through.min_by_key(Vec::len).expect("it is in a circle");
    // Edges go from what is required to whoever requires it.
    let whole = std::iter::once(node).chain(path);
    let mut circle: Vec<_> = whole.map(|node| graph[node].to_owned()).collect();
    circle.reverse();
    circle
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn modules(list: &[(&str, &[&str])]) -> Vec<(String, Vec<String>)> {
        let owned = |(name, requires): &(&str, &[&str])| {
            ((*name).to_owned(), requires.iter().map(ToString::to_string).collect())
        };
        list.iter().map(owned).collect()
    }

    fn ordered(list: &[(&str, &[&str])]) -> Result<Vec<String>, String> {
        order(&modules(list), &BTreeSet::new()).map_err(|why| why.to_string())
    }

    #[test]
    fn each_comes_after_what_it_requires() {
        let order = ordered(&[
            ("ordering", &["catalog", "infra"]),
            ("catalog", &["infra"]),
            ("infra", &[]),
        ]);
        assert_eq!(order.unwrap(), ["infra", "catalog", "ordering"]);
    }

    #[test]
    fn those_that_do_not_depend_on_each_other_stay_as_they_were_registered() {
        let order = ordered(&[("c", &[]), ("a", &[]), ("b", &[]), ("d", &["a"])]);
        assert_eq!(order.unwrap(), ["c", "a", "b", "d"]);
    }

    #[test]
    fn what_is_missing_or_twice_there_is_named() {
        assert_eq!(
            ordered(&[("ordering", &["infra"])]).unwrap_err(),
            "module 'ordering' requires 'infra' but it is not registered",
        );
        assert_eq!(
            ordered(&[("infra", &[]), ("infra", &[])]).unwrap_err(),
            "module 'infra' is registered twice",
        );
    }

    #[test]
    fn what_runs_elsewhere_is_not_missing() {
        let elsewhere = BTreeSet::from(["infra".to_owned()]);
        let order = order(&modules(&[("ordering", &["infra"])]), &elsewhere);
        assert_eq!(order.unwrap(), ["ordering"]);
    }

    #[test]
    fn a_circle_is_named_as_a_path() {
        let why =
            ordered(&[("a", &["b"]), ("b", &["c"]), ("c", &["a"]), ("d", &["a"])]).unwrap_err();
        let circles = ["a -> b -> c -> a", "b -> c -> a -> b", "c -> a -> b -> c"];
        let named = circles.iter().any(|circle| why.ends_with(&format!("in a circle: {circle}")));
        assert!(named, "{why}");
        assert_eq!(
            ordered(&[("a", &["a"])]).unwrap_err(),
            "modules require one another in a circle: a -> a",
        );
    }

    proptest! {
        /// Held against the definition: an order, or a circle that is one.
        #[test]
        fn there_is_an_order_or_a_circle(edges in proptest::collection::vec((0..8_usize, 0..8_usize), 0..14)) {
            let name = |index: usize| format!("m{index}");
            let requires = |module: usize| -> Vec<String> {
                edges.iter().filter(|(from, _)| *from == module).map(|(_, to)| name(*to)).collect()
            };
            let modules: Vec<_> = (0..8).map(|index| (name(index), requires(index))).collect();
            let requires: BTreeMap<_, _> = modules.iter().cloned().collect();
            match order(&modules, &BTreeSet::new()) {
                Ok(order) => {
                    prop_assert_eq!(order.len(), 8);
                    for (at, module) in order.iter().enumerate() {
                        prop_assert!(requires[module].iter().all(|one| order[..at].contains(one)));
                    }
                }
                Err(OrderError::Cycle { circle }) => {
                    prop_assert_eq!(circle.first(), circle.last());
                    prop_assert!(circle.len() > 1);
                    for pair in circle.windows(2) {
                        prop_assert!(requires[&pair[0]].contains(&pair[1]), "{:?}", circle);
                    }
                }
                Err(other) => prop_assert!(false, "{}", other),
            }
        }
    }
}
