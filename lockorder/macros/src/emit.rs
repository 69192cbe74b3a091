//! The expansion: types, the graph as data, and one implementation per ordered pair.
//!
//! The closure is written out, pair by pair, instead of being left to a blanket
//! implementation: the solver then has nothing to recurse through, whatever the depth of
//! the graph, and a refused order is one line.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote, quote_spanned};

use syn::ext::IdentExt;

use crate::order::Order;
use crate::parse::{Declaration, Node};

/// Only the types, for use beside an error.
pub(crate) fn emit_types(declaration: &Declaration) -> TokenStream {
    let mut seen = std::collections::HashSet::new();
    std::iter::once(&declaration.domain)
        .chain(&declaration.levels)
        .filter(|node| seen.insert(node.name.to_string()))
        .map(emit_type)
        .collect()
}

fn emit_type(node: &Node) -> TokenStream {
    let Node {
        attributes,
        visibility,
        name,
    } = node;
    // The compiler points at the type with the name's span; a visibility that stands
    // elsewhere would make it point at all that lies between.
    let visibility: TokenStream = visibility
        .to_token_stream()
        .into_iter()
        .map(|mut token| {
            token.set_span(name.span());
            token
        })
        .collect();
    // Without a value: a level is only ever a type.
    quote_spanned! { name.span() =>
        #(#attributes)*
        #[allow(clippy::empty_enums, clippy::exhaustive_enums, dead_code)]
        #visibility enum #name {}
    }
}

/// The whole expansion of a checked order.
pub(crate) fn emit(declaration: &Declaration, order: &Order) -> TokenStream {
    let krate = &declaration.krate;
    let nodes: Vec<&Node> = std::iter::once(&declaration.domain)
        .chain(&declaration.levels)
        .collect();
    let mut tokens = emit_types(declaration);

    // Where each node stands in the graph's table.
    let mut position = vec![0; nodes.len()];
    for (index, node) in order.sorted.iter().enumerate() {
        position[*node] = index;
    }
    let levels = order.sorted.iter().map(|node| {
        let name = nodes[*node].name.unraw().to_string();
        let doc = nodes[*node].doc();
        let rank = order.ranks[*node];
        quote! { #krate::graph::LevelInfo::__new(#name, #doc, #rank) }
    });
    let edges = order.edges.iter().map(|(from, to)| {
        let (from, to) = (position[*from], position[*to]);
        quote! { #krate::graph::Edge::__new(#from, #to) }
    });
    let closure = order.sorted.iter().flat_map(|after| {
        let mut row = vec![0u64; nodes.len().div_ceil(64)];
        for (place, before) in order.sorted.iter().enumerate() {
            if order.before[*after].contains(*before) {
                row[place / 64] |= 1 << (place % 64);
            }
        }
        row
    });
    let count = proc_macro2::Literal::usize_unsuffixed(nodes.len());
    let domain = &declaration.domain.name;
    tokens.extend(quote! {
                // SAFETY: the macro has checked that the graph has no cycle and that the domain is
        // its root, and the slot is this domain's own thread-local.
        unsafe impl #krate::Domain for #domain {
            const GRAPH: &'static #krate::graph::Graph = &#krate::graph::Graph::__new(
                &[#(#levels),*],
                &[#(#edges),*],
                &[#(#closure),*],
            );
            #krate::__domain_slot! { #count }
        }
    });

    for (node, place) in nodes.iter().enumerate() {
        let name = &place.name;
        let text = name.unraw().to_string();
        let index = position[node];
        tokens.extend(quote! {
                        // SAFETY: the index is the place in the domain's graph, where the root is first.
            unsafe impl #krate::Place for #name {
                type Domain = #domain;
                const NAME: &'static str = #text;
                const INDEX: usize = #index;
            }
        });
        if node > 0 {
            tokens.extend(quote! {
                                // SAFETY: a level, not the root.
                unsafe impl #krate::Level for #name {}
            });
        }
        for (earlier, before) in nodes.iter().enumerate() {
            if order.before[node].contains(earlier) {
                let before = &before.name;
                tokens.extend(quote! {
                                        #[diagnostic::do_not_recommend]
                    // SAFETY: the pair is in the transitive closure of a graph without a cycle.
                    unsafe impl #krate::LockAfter<#before> for #name {}
                });
            }
        }
    }
    tokens
}
