//! The counts on the graph, for drawing.

use std::fmt::Write;
use std::string::String;

use super::Report;

impl Report {
    /// Returns the domain's graph in Graphviz's language, each level with its counts, and coloured
    /// by its contention: green where no acquisition found the lock taken, red where each did.
    ///
    /// ```
    /// # mod levels { lockorder::lock_order! { pub domain D; level A; D => A; } }
    /// let report = lockorder::track::report::<levels::D>();
    /// assert!(report.to_dot().contains("A\\nacquired 0\\ncontended 0"));
    /// ```
    #[must_use]
    pub fn to_dot(&self) -> String {
        let mut dot = String::new();
        // Writing to a string cannot fail. Names are Rust identifiers: they need no escaping.
        let _ = writeln!(dot, "digraph \"{}\" {{", self.domain);
        let _ = writeln!(dot, "    node [shape=box, style=filled];");
        let _ = writeln!(
            dot,
            "    n0 [label=\"{}\", shape=doublecircle, fillcolor=white];",
            self.domain
        );
        for (index, level) in self.levels.iter().enumerate() {
            // The square root spreads the small shares, which are the usual ones. A hue of a
            // third is green, 0 is red.
            let hue = (1.0 - level.contention().clamp(0.0, 1.0).sqrt()) / 3.0;
            let _ = writeln!(
                dot,
                "    n{} [label=\"{}\\nacquired {}\\ncontended {}\\nhold p99 < {} ns\", fillcolor=\"{hue:.3} 0.5 1.0\"];",
                index + 1,
                level.name,
                level.acquired,
                level.contended,
                level.hold_below(0.99),
            );
        }
        for edge in self.graph.edges() {
            let _ = writeln!(dot, "    n{} -> n{};", edge.before, edge.after);
        }
        dot.push_str("}\n");
        dot
    }
}
