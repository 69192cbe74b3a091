//! The grammar of `lock_order!`.
//!
//! ```text
//! order  := attributes visibility? "domain" Name ";" item*
//! item   := attributes visibility? "level" (attributes Name),+ ";"
//!         | term ("=>" term)+ ";"
//! term   := single | "{" single,+ "}"
//! single := Name | "extern" path
//! ```
//!
//! `A => B` says that `B` may be taken while `A` is held. A group stands for each of its
//! members: `{A, B} => C` is `A => C; B => C;`. `extern lib::Net` is another domain as a whole.

use proc_macro::{Delimiter, Ident, Span, TokenStream, TokenTree};

use crate::tokens::{Cursor, Error, unescape};

/// One domain, as written.
pub(crate) struct Declaration {
    /// The path of the `lockorder` crate at the call.
    pub(crate) krate: Vec<TokenTree>,
    /// The word `unsafe`, as the caller of the macro wrote it. The expansion implements unsafe
    /// traits with this token and with no other: who calls the macro must have written it.
    pub(crate) unsafety: TokenTree,
    /// The root.
    pub(crate) domain: Node,
    /// The levels in the order written.
    pub(crate) levels: Vec<Node>,
    /// The edges in the order written, groups multiplied out.
    pub(crate) edges: Vec<Edge>,
}

/// The domain or a level: a type that the macro declares.
pub(crate) struct Node {
    /// Each `#[…]`, its two tokens.
    pub(crate) attributes: Vec<TokenTree>,
    pub(crate) visibility: Vec<TokenTree>,
    pub(crate) name: Ident,
}

impl Node {
    /// Returns the text of the doc comments, lines joined by `\n`.
    pub(crate) fn doc(&self) -> String {
        let mut lines = Vec::new();
        for attribute in &self.attributes {
            let TokenTree::Group(group) = attribute else {
                continue;
            };
            let mut inside = group.stream().into_iter();
            if let (
                Some(TokenTree::Ident(name)),
                Some(TokenTree::Punct(_)),
                Some(TokenTree::Literal(text)),
                None,
            ) = (inside.next(), inside.next(), inside.next(), inside.next())
                && name.to_string() == "doc"
                && let Some(text) = unescape(&text)
            {
                lines.push(text.trim().to_owned());
            }
        }
        lines.join("\n").trim().to_owned()
    }
}

/// One end of an edge.
#[derive(Clone)]
pub(crate) enum End {
    /// A level of this domain, or the domain itself.
    Here(Ident),
    /// A domain that is declared elsewhere, by its path.
    Extern(Vec<TokenTree>),
}

impl End {
    pub(crate) fn span(&self) -> Span {
        match self {
            End::Here(name) => name.span(),
            End::Extern(path) => path.last().map_or_else(Span::call_site, TokenTree::span),
        }
    }
}

/// `before => after`.
pub(crate) struct Edge {
    pub(crate) before: End,
    pub(crate) after: End,
}

impl Declaration {
    pub(crate) fn parse(stream: TokenStream) -> Result<Self, Error> {
        let mut input = Cursor::new(stream, Span::call_site());
        // `lockorder::lock_order!` puts `($crate unsafe)` in front.
        let (krate, unsafety) = header(&mut input)?;
        let attributes = parse_attributes(&mut input);
        let visibility = parse_visibility(&mut input);
        if !input.peek_word("domain") {
            return Err(input.error("a lock order begins with its domain: `domain Name;`"));
        }
        input.bump();
        let name = input.ident()?;
        input.sign(';')?;
        let mut declaration = Declaration {
            krate,
            unsafety,
            domain: Node {
                attributes,
                visibility,
                name,
            },
            levels: Vec::new(),
            edges: Vec::new(),
        };
        while !input.is_empty() {
            declaration.parse_item(&mut input)?;
        }
        Ok(declaration)
    }

    fn parse_item(&mut self, input: &mut Cursor) -> Result<(), Error> {
        if input.peek_word("domain") {
            return Err(input.error(
                "one `lock_order!` declares one domain: declare another one in a call of its own",
            ));
        }
        let at = input.span();
        let attributes = parse_attributes(input);
        if begins_chain(input) {
            if !attributes.is_empty() {
                return Err(Error::new(
                    at,
                    "an edge cannot have attributes: the order is the same in every build; \
                     put a `#[cfg]` on the whole `lock_order!`",
                ));
            }
            return parse_chain(input, &mut self.edges);
        }
        if has_cfg(&attributes) {
            return Err(Error::new(
                at,
                "a level cannot be conditional: the order is the same in every build; \
                 put a `#[cfg]` on the whole `lock_order!`, or leave the level unused",
            ));
        }
        self.parse_levels(input, attributes)
    }

    fn parse_levels(
        &mut self,
        input: &mut Cursor,
        mut attributes: Vec<TokenTree>,
    ) -> Result<(), Error> {
        let mut visibility = parse_visibility(input);
        if visibility.is_empty() {
            visibility.clone_from(&self.domain.visibility);
        }
        if !input.peek_word("level") {
            return Err(input.error("expected `level Name;` or a chain such as `A => B => C;`"));
        }
        input.bump();
        loop {
            attributes.extend(parse_attributes(input));
            self.levels.push(Node {
                attributes: std::mem::take(&mut attributes),
                visibility: visibility.clone(),
                name: input.ident()?,
            });
            if input.peek_sign(';') {
                break;
            }
            input.sign(',')?;
            if input.peek_sign(';') {
                break;
            }
        }
        input.sign(';')
    }
}

fn header(input: &mut Cursor) -> Result<(Vec<TokenTree>, TokenTree), Error> {
    let Some(group) = input.group(Delimiter::Parenthesis) else {
        return Err(input.error("call this macro as `lockorder::lock_order!`"));
    };
    let mut tokens: Vec<TokenTree> = group.stream().into_iter().collect();
    match tokens.pop() {
        Some(word @ TokenTree::Ident(_)) if word.to_string() == "unsafe" => Ok((tokens, word)),
        _ => Err(Error::new(
            group.span(),
            "call this macro as `lockorder::lock_order!`: by hand it needs the word `unsafe` \
             after the path of the crate, because the path is trusted",
        )),
    }
}

fn begins_chain(input: &Cursor) -> bool {
    let name = matches!(input.peek(), Some(TokenTree::Ident(_)));
    (name && input.peek_signs(1, ['=', '>']))
        || input.peek_word("extern")
        || input.peek_group(Delimiter::Brace).is_some()
}

fn parse_attributes(input: &mut Cursor) -> Vec<TokenTree> {
    let mut attributes = Vec::new();
    while input.peek_sign('#') {
        attributes.extend(input.bump());
        attributes.extend(input.group(Delimiter::Bracket).map(TokenTree::Group));
    }
    attributes
}

/// Returns whether an attribute is `#[cfg(…)]`, or may turn into one.
fn has_cfg(attributes: &[TokenTree]) -> bool {
    attributes.iter().any(|token| match token {
        TokenTree::Group(group) => {
            let mut tokens = group.stream().into_iter();
            let first = tokens.next().map(|first| first.to_string());
            match first.as_deref() {
                Some("cfg") => true,
                Some("cfg_attr") => tokens.any(|token| applies_cfg(&token)),
                _ => false,
            }
        }
        _ => false,
    })
}

/// Returns whether the arguments of a `cfg_attr` have a `cfg(…)` among the attributes, which come
/// after the first comma.
fn applies_cfg(arguments: &TokenTree) -> bool {
    let TokenTree::Group(group) = arguments else {
        return false;
    };
    let mut attributes = group
        .stream()
        .into_iter()
        .skip_while(|token| token.to_string() != ",");
    attributes.any(|token| {
        matches!(token.to_string().as_str(), "cfg" | "cfg_attr") || applies_cfg(&token)
    })
}

/// `pub`, `pub(…)`, or nothing.
fn parse_visibility(input: &mut Cursor) -> Vec<TokenTree> {
    let mut visibility = Vec::new();
    if input.peek_word("pub") {
        visibility.extend(input.bump());
        visibility.extend(input.group(Delimiter::Parenthesis).map(TokenTree::Group));
    }
    visibility
}

fn parse_chain(input: &mut Cursor, edges: &mut Vec<Edge>) -> Result<(), Error> {
    let mut before = parse_term(input)?;
    loop {
        input.arrow()?;
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
        if input.peek_sign(';') {
            break;
        }
    }
    input.sign(';')
}

fn parse_term(input: &mut Cursor) -> Result<Vec<End>, Error> {
    let Some(group) = input.group(Delimiter::Brace) else {
        return Ok(vec![parse_single(input)?]);
    };
    let mut content = Cursor::new(group.stream(), group.span_close());
    let mut ends = Vec::new();
    while !content.is_empty() {
        ends.push(parse_single(&mut content)?);
        if !content.is_empty() {
            content.sign(',')?;
        }
    }
    if ends.is_empty() {
        return Err(Error::new(
            group.span(),
            "a group of levels cannot be empty",
        ));
    }
    Ok(ends)
}

fn parse_single(input: &mut Cursor) -> Result<End, Error> {
    if !input.peek_word("extern") {
        return input.ident().map(End::Here);
    }
    input.bump();
    let mut path = Vec::new();
    loop {
        while input.peek_sign(':') || input.peek_sign('$') {
            path.extend(input.bump());
        }
        match input.peek() {
            Some(TokenTree::Ident(_)) => path.extend(input.bump()),
            _ => return Err(input.error("expected the path of a domain after `extern`")),
        }
        if !input.peek_signs(0, [':', ':']) {
            return Ok(End::Extern(path));
        }
    }
}
