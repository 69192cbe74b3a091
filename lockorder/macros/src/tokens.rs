//! Reading and writing tokens with the compiler's own `proc_macro` and nothing else.
//!
//! The usual crates for this cost more to build than the rest of `lockorder` together, and the
//! grammar of a lock order needs little of what they offer.

use proc_macro::{Delimiter, Group, Ident, Literal, Punct, Spacing, Span, TokenStream, TokenTree};

/// An error at a place in the caller's code.
pub(crate) struct Error {
    span: Span,
    message: String,
}

impl Error {
    pub(crate) fn new(span: Span, message: impl Into<String>) -> Self {
        Error {
            span,
            message: message.into(),
        }
    }

    /// `::core::compile_error! { "message" }`, reported at the error's span.
    pub(crate) fn into_tokens(self) -> TokenStream {
        let punct = |c, spacing| {
            let mut punct = Punct::new(c, spacing);
            punct.set_span(self.span);
            TokenTree::Punct(punct)
        };
        let mut message = Literal::string(&self.message);
        message.set_span(self.span);
        let mut body = Group::new(Delimiter::Brace, TokenTree::Literal(message).into());
        body.set_span(self.span);
        [
            punct(':', Spacing::Joint),
            punct(':', Spacing::Alone),
            TokenTree::Ident(Ident::new("core", self.span)),
            punct(':', Spacing::Joint),
            punct(':', Spacing::Alone),
            TokenTree::Ident(Ident::new("compile_error", self.span)),
            punct('!', Spacing::Alone),
            TokenTree::Group(body),
        ]
        .into_iter()
        .collect()
    }
}

/// A position in a sequence of tokens.
pub(crate) struct Cursor {
    tokens: Vec<TokenTree>,
    next: usize,
    /// Where the sequence ends, for errors about what is missing there.
    end: Span,
}

impl Cursor {
    pub(crate) fn new(stream: TokenStream, end: Span) -> Self {
        let mut tokens = Vec::new();
        flatten(stream, &mut tokens);
        Cursor {
            tokens,
            next: 0,
            end,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.next >= self.tokens.len()
    }

    pub(crate) fn peek(&self) -> Option<&TokenTree> {
        self.peek_at(0)
    }

    fn peek_at(&self, ahead: usize) -> Option<&TokenTree> {
        self.tokens.get(self.next + ahead)
    }

    pub(crate) fn bump(&mut self) -> Option<TokenTree> {
        let token = self.tokens.get(self.next).cloned();
        self.next += 1;
        token
    }

    /// Returns the span of the next token.
    pub(crate) fn span(&self) -> Span {
        self.peek().map_or(self.end, TokenTree::span)
    }

    pub(crate) fn error(&self, message: impl Into<String>) -> Error {
        Error::new(self.span(), message)
    }

    pub(crate) fn peek_word(&self, word: &str) -> bool {
        matches!(self.peek(), Some(TokenTree::Ident(ident)) if ident.to_string() == word)
    }

    /// Returns whether the token at that distance begins that pair of signs, `=>` for instance.
    pub(crate) fn peek_signs(&self, ahead: usize, signs: [char; 2]) -> bool {
        let sign = |ahead| match self.peek_at(ahead) {
            Some(TokenTree::Punct(punct)) => Some(punct.as_char()),
            _ => None,
        };
        sign(ahead) == Some(signs[0]) && sign(ahead + 1) == Some(signs[1])
    }

    pub(crate) fn peek_sign(&self, sign: char) -> bool {
        matches!(self.peek(), Some(TokenTree::Punct(punct)) if punct.as_char() == sign)
    }

    pub(crate) fn peek_group(&self, delimiter: Delimiter) -> Option<&Group> {
        match self.peek() {
            Some(TokenTree::Group(group)) if group.delimiter() == delimiter => Some(group),
            _ => None,
        }
    }

    pub(crate) fn group(&mut self, delimiter: Delimiter) -> Option<Group> {
        let group = self.peek_group(delimiter).cloned();
        self.next += usize::from(group.is_some());
        group
    }

    pub(crate) fn ident(&mut self) -> Result<Ident, Error> {
        match self.peek() {
            Some(TokenTree::Ident(ident)) => {
                let ident = ident.clone();
                self.next += 1;
                Ok(ident)
            }
            _ => Err(self.error("expected the name of a level")),
        }
    }

    pub(crate) fn sign(&mut self, sign: char) -> Result<(), Error> {
        if self.peek_sign(sign) {
            self.next += 1;
            Ok(())
        } else {
            Err(self.error(format!("expected `{sign}`")))
        }
    }

    pub(crate) fn arrow(&mut self) -> Result<(), Error> {
        if self.peek_signs(0, ['=', '>']) {
            self.next += 2;
            Ok(())
        } else {
            Err(self.error("expected `=>`"))
        }
    }
}

/// Takes fragments of `macro_rules` (`$vis`, say) out of their invisible groups.
fn flatten(stream: TokenStream, tokens: &mut Vec<TokenTree>) {
    for token in stream {
        match token {
            TokenTree::Group(group) if group.delimiter() == Delimiter::None => {
                flatten(group.stream(), tokens);
            }
            other => tokens.push(other),
        }
    }
}

/// Returns the name without the `r#` of a raw identifier.
pub(crate) fn unraw(ident: &Ident) -> String {
    let text = ident.to_string();
    text.strip_prefix("r#").map(str::to_owned).unwrap_or(text)
}

/// Returns the value of a string literal.
pub(crate) fn unescape(literal: &Literal) -> Option<String> {
    let text = literal.to_string();
    if let Some(raw) = text.strip_prefix('r') {
        let raw = raw.trim_matches('#');
        return Some(raw.strip_prefix('"')?.strip_suffix('"')?.to_owned());
    }
    let mut rest = text.strip_prefix('"')?.strip_suffix('"')?.chars();
    let mut value = String::new();
    while let Some(c) = rest.next() {
        if c != '\\' {
            value.push(c);
            continue;
        }
        match rest.next()? {
            'n' => value.push('\n'),
            't' => value.push('\t'),
            'r' => value.push('\r'),
            '0' => value.push('\0'),
            'x' => {
                let digits: String = rest.by_ref().take(2).collect();
                value.push(char::from(u8::from_str_radix(&digits, 16).ok()?));
            }
            'u' => {
                let digits: String = rest
                    .by_ref()
                    .skip(1)
                    .take_while(|c| *c != '}')
                    .filter(|c| *c != '_')
                    .collect();
                value.push(char::from_u32(u32::from_str_radix(&digits, 16).ok()?)?);
            }
            // A line that goes on in the next one.
            '\n' => {
                let skipped = rest.as_str().trim_start();
                rest = skipped.chars();
            }
            other => value.push(other),
        }
    }
    Some(value)
}

/// A piece of the expansion. Identifiers that begin with `__` and have a value in
/// [`fill`](Template::fill) are replaced by it.
pub(crate) struct Template(Vec<TokenTree>);

impl Template {
    pub(crate) fn new(text: &str) -> Self {
        // The texts are this crate's own, and each is expanded by the tests.
        let stream: TokenStream = text.parse().unwrap_or_default();
        Template(stream.into_iter().collect())
    }

    /// Returns the tokens, with `values` in their places; those of the template itself get `span`.
    pub(crate) fn fill(&self, span: Option<Span>, values: &[(&str, &[TokenTree])]) -> TokenStream {
        fill(&self.0, span, values)
    }
}

fn fill(tokens: &[TokenTree], span: Option<Span>, values: &[(&str, &[TokenTree])]) -> TokenStream {
    let mut filled = Vec::with_capacity(tokens.len());
    for token in tokens {
        let mut token = match token {
            TokenTree::Ident(ident) => {
                let text = ident.to_string();
                let value = text
                    .starts_with("__")
                    .then(|| values.iter().find(|(name, _)| *name == text))
                    .flatten();
                if let Some((_, value)) = value {
                    filled.extend_from_slice(value);
                    continue;
                }
                token.clone()
            }
            TokenTree::Group(group) => {
                let inside: Vec<TokenTree> = group.stream().into_iter().collect();
                TokenTree::Group(Group::new(group.delimiter(), fill(&inside, span, values)))
            }
            other => other.clone(),
        };
        if let Some(span) = span {
            token.set_span(span);
        }
        filled.push(token);
    }
    filled.into_iter().collect()
}

/// Returns a string literal as a value for a template.
pub(crate) fn string(text: &str) -> [TokenTree; 1] {
    [TokenTree::Literal(Literal::string(text))]
}

/// Returns a number without a suffix as a value for a template.
pub(crate) fn number(value: usize) -> [TokenTree; 1] {
    [TokenTree::Literal(Literal::usize_unsuffixed(value))]
}

/// Returns an identifier as a value for a template.
pub(crate) fn word(ident: &Ident) -> [TokenTree; 1] {
    [TokenTree::Ident(ident.clone())]
}
