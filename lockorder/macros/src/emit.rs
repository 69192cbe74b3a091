//! The expansion: types, the graph as data, and one implementation per ordered pair.
//!
//! The closure is written out, pair by pair, instead of being left to a blanket
//! implementation: the solver then has nothing to recurse through, whatever the depth of
//! the graph, and a refused order is one line.
//!
//! Every `unsafe` of the expansion is the token that the caller passed in.

use proc_macro::{Ident, TokenStream, TokenTree};

use crate::order::Order;
use crate::parse::{Declaration, Node};
use crate::tokens::{Template, number, string, unraw, word};

/// Only the types, for use beside an error.
pub(crate) fn emit_types(declaration: &Declaration) -> TokenStream {
    // Without a value: a level is only ever a type.
    let template = Template::new(
        "__attributes
        #[allow(clippy::empty_enums, clippy::exhaustive_enums, dead_code)]
        __visibility enum __name {}",
    );
    let mut seen = std::collections::HashSet::new();
    std::iter::once(&declaration.domain)
        .chain(&declaration.levels)
        .filter(|node| seen.insert(node.name.to_string()))
        .map(|node| emit_type(&template, node))
        .collect()
}

fn emit_type(template: &Template, node: &Node) -> TokenStream {
    let span = node.name.span();
    // The compiler points at the type with the name's span; a visibility that stands
    // elsewhere would make it point at all that lies between.
    let visibility: Vec<TokenTree> = node
        .visibility
        .iter()
        .cloned()
        .map(|mut token| {
            token.set_span(span);
            token
        })
        .collect();
    template.fill(
        Some(span),
        &[
            ("__attributes", &node.attributes),
            ("__visibility", &visibility),
            ("__name", &word(&node.name)),
        ],
    )
}

/// Returns the whole expansion of a checked order.
pub(crate) fn emit(declaration: &Declaration, order: &Order) -> TokenStream {
    let mut tokens = emit_types(declaration);
    tokens.extend(emit_unsafe(declaration));
    let names: Vec<&Ident> = std::iter::once(&declaration.domain.name)
        .chain(declaration.levels.iter().map(|level| &level.name))
        .collect();
    let position = positions(order);
    tokens.extend(emit_domain(declaration, order, &position));
    tokens.extend(emit_places(declaration, &names, &position));
    let unsafety = std::slice::from_ref(&declaration.unsafety);
    // The pair is in the transitive closure of a graph without a cycle.
    let after = Template::new(
        "#[diagnostic::do_not_recommend]
        __unsafe impl __krate::LockAfter<__before> for __name {}",
    );
    let outside = Template::new(
        "#[diagnostic::do_not_recommend]
        __unsafe impl __krate::DomainAfter<__before> for __name {}",
    );
    for node in 1..order.before.len() {
        let (template, name) = match node.checked_sub(order.places()) {
            None => (&after, word(names[node]).to_vec()),
            Some(other) => (&outside, order.externs[other].clone()),
        };
        for (earlier, before) in names.iter().enumerate() {
            if order.before[node].contains(earlier) {
                tokens.extend(template.fill(
                    None,
                    &[
                        ("__unsafe", unsafety),
                        ("__krate", &declaration.krate),
                        ("__before", &word(before)),
                        ("__name", &name),
                    ],
                ));
            }
        }
    }
    tokens
}

/// Returns an empty block of the caller's word `unsafe` alone. The implementations have spans of the
/// expansion, which lints do not look at; this one has the caller's, so that a call by hand does
/// not get past `forbid(unsafe_code)`.
fn emit_unsafe(declaration: &Declaration) -> TokenStream {
    Template::new("#[allow(unused_unsafe)] const _: () = __unsafe {};").fill(
        Some(declaration.unsafety.span()),
        &[("__unsafe", std::slice::from_ref(&declaration.unsafety))],
    )
}

/// Where each node stands in the graph's table of levels.
fn positions(order: &Order) -> Vec<usize> {
    let mut position = vec![0; order.before.len()];
    for (index, node) in order.sorted.iter().enumerate() {
        position[*node] = index;
    }
    position
}

fn emit_domain(declaration: &Declaration, order: &Order, position: &[usize]) -> TokenStream {
    let krate = ("__krate", declaration.krate.as_slice());
    let places = order.places();
    let levels = graph_levels(declaration, order);
    let edges = graph_edges(declaration, order, position);
    let template = Template::new(
        "__unsafe impl __krate::Domain for __domain {
            const GRAPH: &'static __krate::graph::Graph = &__krate::graph::Graph::__composed(
                __krate::__private::concat!(__krate::__private::module_path!(), \"::\", __text),
                __krate::__private::concat!(
                    __krate::__private::file!(), \":\",
                    __krate::__private::line!(), \":\",
                    __krate::__private::column!()
                ),
                &[__levels],
                &[__edges],
                &[__closure],
                &[__externs],
            );

            __krate::__domain_slot! { __count }
        }
        const _: () = __krate::graph::__assert_no_cycle(<__domain as __krate::Domain>::GRAPH);",
    );
    template.fill(
        None,
        &[
            ("__unsafe", std::slice::from_ref(&declaration.unsafety)),
            krate,
            ("__domain", &word(&declaration.domain.name)),
            ("__text", &string(&unraw(&declaration.domain.name))),
            ("__levels", &levels),
            ("__edges", &edges),
            ("__closure", &closure(order)),
            ("__externs", &externs(declaration, order, position)),
            ("__count", &number(places)),
        ],
    )
}

/// Returns the levels of the graph, in its order.
fn graph_levels(declaration: &Declaration, order: &Order) -> Vec<TokenTree> {
    let krate = ("__krate", declaration.krate.as_slice());
    let level = Template::new("__krate::graph::LevelInfo::__new(__name, __doc, __rank),");
    order
        .sorted
        .iter()
        .flat_map(|node| {
            let declared = match node.checked_sub(1) {
                None => &declaration.domain,
                Some(level) => &declaration.levels[level],
            };
            let values = [
                krate,
                ("__name", &string(&unraw(&declared.name))),
                ("__doc", &string(&declared.doc())),
                ("__rank", &number(order.ranks[*node])),
            ];
            level.fill(None, &values)
        })
        .collect()
}

/// Returns the edges of the graph as written, without those to other domains.
fn graph_edges(declaration: &Declaration, order: &Order, position: &[usize]) -> Vec<TokenTree> {
    let krate = ("__krate", declaration.krate.as_slice());
    let places = order.places();
    let edge = Template::new("__krate::graph::Edge::__new(__from, __to),");
    let inside = |(from, to): &&(usize, usize)| *from < places && *to < places;
    order
        .edges
        .iter()
        .filter(inside)
        .flat_map(|(from, to)| {
            let (from, to) = (number(position[*from]), number(position[*to]));
            edge.fill(None, &[krate, ("__from", &from), ("__to", &to)])
        })
        .collect()
}

/// Returns the closure as rows of bits, each in words of 64.
fn closure(order: &Order) -> Vec<TokenTree> {
    let mut words = Vec::new();
    for after in &order.sorted {
        let mut row = vec![0u64; order.places().div_ceil(64)];
        for (place, before) in order.sorted.iter().enumerate() {
            if order.before[*after].contains(*before) {
                row[place / 64] |= 1 << (place % 64);
            }
        }
        words.extend(row);
    }
    let texts: Vec<String> = words.iter().map(u64::to_string).collect();
    let list: TokenStream = texts.join(",").parse().unwrap_or_default();
    list.into_iter().collect()
}

/// Returns the edges that lead to another domain, or from one, closed over the levels of this one.
fn externs(declaration: &Declaration, order: &Order, position: &[usize]) -> Vec<TokenTree> {
    let after = Template::new(
        "__krate::graph::Extern::__after(__place, <__path as __krate::Domain>::GRAPH),",
    );
    let before = Template::new(
        "__krate::graph::Extern::__before(<__path as __krate::Domain>::GRAPH, __place),",
    );
    let between = Template::new(
        "__krate::graph::Extern::__between(<__path as __krate::Domain>::GRAPH, <__other as __krate::Domain>::GRAPH),",
    );
    let mut tokens = Vec::new();
    let krate = ("__krate", declaration.krate.as_slice());
    for (index, path) in order.externs.iter().enumerate() {
        let (node, path) = (order.places() + index, ("__path", path.as_slice()));
        for (place, index) in position.iter().enumerate().take(order.places()) {
            let number = number(*index);
            let values = [krate, path, ("__place", number.as_slice())];
            if place > 0 && order.before[node].contains(place) {
                tokens.extend(after.fill(None, &values));
            }
            if order.before[place].contains(node) {
                tokens.extend(before.fill(None, &values));
            }
        }
        for (later, other) in order.externs.iter().enumerate() {
            if order.before[order.places() + later].contains(node) {
                let values = [krate, path, ("__other", other.as_slice())];
                tokens.extend(between.fill(None, &values));
            }
        }
    }
    tokens
}

fn emit_places(declaration: &Declaration, names: &[&Ident], position: &[usize]) -> TokenStream {
    // The index is the place in the domain's graph, where the root is first.
    let place = Template::new(
        "__unsafe impl __krate::Place for __name {
            type Domain = __domain;
            const NAME: &'static str = __text;
            const INDEX: usize = __index;
        }",
    );
    let level = Template::new("__unsafe impl __krate::Level for __name {}");
    let mut tokens = TokenStream::new();
    for (node, name) in names.iter().enumerate() {
        let word_of = word(name);
        let values: [(&str, &[TokenTree]); 6] = [
            ("__unsafe", std::slice::from_ref(&declaration.unsafety)),
            ("__krate", &declaration.krate),
            ("__name", &word_of),
            ("__domain", &word(&declaration.domain.name)),
            ("__text", &string(&unraw(name))),
            ("__index", &number(position[node])),
        ];
        tokens.extend(place.fill(None, &values));
        if node > 0 {
            tokens.extend(level.fill(None, &values));
        }
    }
    tokens
}
