//! Finds a cycle in a directed graph.

use std::collections::{BTreeMap, BTreeSet};

/// The edges of a graph: each node with the nodes that it points to.
pub(crate) type Graph = BTreeMap<String, BTreeSet<String>>;

/// Returns the nodes of one cycle in order, with the first one repeated at the end. `None` if the graph has no cycle.
pub(crate) fn find_cycle(graph: &Graph) -> Option<Vec<&str>> {
    let mut finished = BTreeSet::new();
    graph.keys().find_map(|node| search(graph, node, &mut Vec::new(), &mut finished))
}

/// Searches depth first. `path` leads to `node`; no node in `finished` is part of a cycle.
fn search<'a>(
    graph: &'a Graph,
    node: &'a str,
    path: &mut Vec<&'a str>,
    finished: &mut BTreeSet<&'a str>,
) -> Option<Vec<&'a str>> {
    if finished.contains(node) {
        return None;
    }
    if let Some(start) = path.iter().position(|&visited| visited == node) {
        return Some([&path[start..], &[node]].concat());
    }
    path.push(node);
    let cycle = graph.get(node).into_iter().flatten().find_map(|next| search(graph, next, path, finished));
    path.pop();
    finished.insert(node);
    cycle
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(edges: &[(&str, &str)]) -> Graph {
        let mut graph = Graph::new();
        for (from, to) in edges {
            graph.entry((*from).to_owned()).or_default().insert((*to).to_owned());
        }
        graph
    }

    #[test]
    fn found_cycle_excludes_the_path_that_leads_to_it() {
        let graph = graph(&[("a", "b"), ("b", "c"), ("c", "d"), ("d", "b"), ("c", "e")]);
        assert_eq!(find_cycle(&graph), Some(vec!["b", "c", "d", "b"]));
    }

    #[test]
    fn two_paths_to_one_node_are_not_a_cycle() {
        assert_eq!(find_cycle(&graph(&[("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")])), None);
    }
}
