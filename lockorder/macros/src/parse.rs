//! The grammar of `lock_order!`.
//!
//! ```text
//! order  := attributes visibility? "domain" Name ";" item*
//! item   := attributes visibility? "level" (attributes Name),+ ";"
//!         | term ("=>" term)+ ";"
//! term   := Name | "{" Name,+ "}"
//! ```
//!
//! `A => B` says that `B` may be taken while `A` is held. A group stands for each of its
//! members: `{A, B} => C` is `A => C; B => C;`.

use proc_macro2::{Delimiter, TokenTree};
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Attribute, Ident, Token, Visibility, braced};

/// One domain, as written.
pub(crate) struct Declaration {
    /// The path of the `lockorder` crate at the call.
    pub(crate) krate: proc_macro2::TokenStream,
    /// The root.
    pub(crate) domain: Node,
    /// The levels in the order written.
    pub(crate) levels: Vec<Node>,
    /// The edges in the order written, groups multiplied out.
    pub(crate) edges: Vec<Edge>,
}

/// The domain or a level: a type that the macro declares.
pub(crate) struct Node {
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) visibility: Visibility,
    pub(crate) name: Ident,
}

impl Node {
    /// The text of the doc comments, lines joined by `\n`.
    pub(crate) fn doc(&self) -> String {
        let mut lines = Vec::new();
        for attribute in &self.attributes {
            if let syn::Meta::NameValue(pair) = &attribute.meta
                && pair.path.is_ident("doc")
                && let syn::Expr::Lit(literal) = &pair.value
                && let syn::Lit::Str(text) = &literal.lit
            {
                lines.push(text.value().trim().to_owned());
            }
        }
        lines.join("\n").trim().to_owned()
    }
}

/// `before => after`.
pub(crate) struct Edge {
    pub(crate) before: Ident,
    pub(crate) after: Ident,
}

mod keyword {
    syn::custom_keyword!(domain);
    syn::custom_keyword!(level);
}

impl Parse for Declaration {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        // `lockorder::lock_order!` puts `($crate)` in front.
        let krate = input.step(|cursor| match cursor.token_tree() {
            Some((TokenTree::Group(group), rest))
                if group.delimiter() == Delimiter::Parenthesis =>
            {
                Ok((group.stream(), rest))
            }
            _ => Err(cursor.error("call this macro as `lockorder::lock_order!`")),
        })?;

        let attributes = input.call(Attribute::parse_outer)?;
        let visibility: Visibility = input.parse()?;
        if !input.peek(keyword::domain) {
            return Err(input.error("a lock order begins with its domain: `domain Name;`"));
        }
        input.parse::<keyword::domain>()?;
        let name: Ident = input.parse()?;
        input.parse::<Token![;]>()?;
        let domain = Node {
            attributes,
            visibility,
            name,
        };

        let mut levels = Vec::new();
        let mut edges = Vec::new();
        while !input.is_empty() {
            if input.peek(keyword::domain) {
                return Err(input.error(
                    "one `lock_order!` declares one domain: declare another one in a call of its own",
                ));
            }
            let begins_chain =
                (input.peek(Ident) && input.peek2(Token![=>])) || input.peek(syn::token::Brace);
            if begins_chain {
                parse_chain(input, &mut edges)?;
            } else {
                parse_levels(input, &domain.visibility, &mut levels)?;
            }
        }
        Ok(Declaration {
            krate,
            domain,
            levels,
            edges,
        })
    }
}

fn parse_levels(
    input: ParseStream<'_>,
    inherited: &Visibility,
    levels: &mut Vec<Node>,
) -> syn::Result<()> {
    let mut attributes = input.call(Attribute::parse_outer)?;
    let visibility = match input.parse()? {
        Visibility::Inherited => inherited.clone(),
        own => own,
    };
    if !input.peek(keyword::level) {
        return Err(input.error("expected `level Name;` or a chain such as `A => B => C;`"));
    }
    input.parse::<keyword::level>()?;
    loop {
        attributes.extend(input.call(Attribute::parse_outer)?);
        levels.push(Node {
            attributes: std::mem::take(&mut attributes),
            visibility: visibility.clone(),
            name: input.parse()?,
        });
        if input.peek(Token![;]) {
            break;
        }
        input.parse::<Token![,]>()?;
        if input.peek(Token![;]) {
            break;
        }
    }
    input.parse::<Token![;]>()?;
    Ok(())
}

fn parse_chain(input: ParseStream<'_>, edges: &mut Vec<Edge>) -> syn::Result<()> {
    let mut before = parse_term(input)?;
    loop {
        input.parse::<Token![=>]>()?;
        let after = parse_term(input)?;
        for earlier in &before {
            for later in &after {
                edges.push(Edge {
                    before: earlier.clone(),
                    after: later.clone(),
                });
            }
        }
        before = after;
        if input.peek(Token![;]) {
            break;
        }
    }
    input.parse::<Token![;]>()?;
    Ok(())
}

fn parse_term(input: ParseStream<'_>) -> syn::Result<Vec<Ident>> {
    if input.peek(syn::token::Brace) {
        let content;
        let brace = braced!(content in input);
        let names = Punctuated::<Ident, Token![,]>::parse_terminated(&content)?;
        if names.is_empty() {
            let message = "a group of levels cannot be empty";
            return Err(syn::Error::new(brace.span.join(), message));
        }
        Ok(names.into_iter().collect())
    } else {
        Ok(vec![input.parse()?])
    }
}
