//! The procedural half of `lockorder::lock_order!`.
//!
//! - **Define:** an `order::Order` is a domain's lock order: a directed graph without a
//!   cycle in which every level is reachable from the root, together with its transitive
//!   closure.
//! - **Enforce:** `order::Order::build` is the only constructor, and refuses unknown
//!   levels, self edges, repeated edges, unreachable levels and every edge that would close
//!   a cycle, each with one error at the tokens that are wrong.
//! - **Consume:** `emit::emit` writes one unsafe trait implementation per ordered pair of
//!   levels. They are right because, and only because, the graph has no cycle.
//!
//! Use the macro through the `lockorder` crate: the re-export passes the crate's own path
//! along, so that it works under any name and without being imported. It also passes the word
//! `unsafe`, which the expansion uses for its implementations: a call by hand, with a path of
//! the caller's choice, has to spell that word out.

mod emit;
mod order;
mod parse;
mod tokens;

use proc_macro::TokenStream;

/// Expands one domain's lock order. Call it as `lockorder::lock_order!`.
#[proc_macro]
pub fn lock_order_impl(input: TokenStream) -> TokenStream {
    let declaration = match parse::Declaration::parse(input) {
        Ok(declaration) => declaration,
        Err(error) => return error.into_tokens(),
    };
    match order::Order::build(&declaration) {
        Ok(order) => emit::emit(&declaration, &order),
        // The types are still declared, so that a mistake in the order is not followed by
        // an error at every place where a level is named.
        Err(errors) => {
            let mut tokens: TokenStream =
                errors.into_iter().map(tokens::Error::into_tokens).collect();
            tokens.extend(emit::emit_types(&declaration));
            tokens
        }
    }
}
