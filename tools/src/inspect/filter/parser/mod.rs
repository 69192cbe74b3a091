//! Expressions from words and signs.

mod arithmetic;
mod identifiers;

use self::arithmetic::number;
use super::lexer::Token;
use super::{Behind, Expr, Relation, Test, Value, Which, names};

const RARP: u16 = 0x8035;
const SCTP: u8 = 132;
/// Deepest nesting of an expression.
const MAX_DEPTH: u32 = 64;

type Parsed<T> = Result<T, String>;

/// The protocol in front of a test.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Proto {
    Ether,
    Net(u16),
    Transport(u8),
}

/// The kind of thing that an identifier names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Host,
    Net,
    Port,
    PortRange,
    Proto,
    ProtoChain,
}

/// The qualifiers in front of an identifier, which hold for bare identifiers after it, too.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Qualifiers {
    proto: Option<Proto>,
    which: Option<Which>,
    kind: Option<Kind>,
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    depth: u32,
    behind: Behind,
    last: Option<Qualifiers>,
}

/// Parses an expression; `None` if it is empty.
pub(super) fn parse(tokens: Vec<Token>) -> Parsed<Option<Expr>> {
    if tokens.is_empty() {
        return Ok(None);
    }
    let mut parser = Parser {
        tokens,
        at: 0,
        depth: 0,
        behind: Behind::default(),
        last: None,
    };
    let expr = parser.expression()?;
    match parser.peek() {
        None => Ok(Some(expr)),
        Some(_) => Err(format!("{} is not expected there", parser.here())),
    }
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn word(&self) -> Option<&str> {
        match self.peek() {
            Some(Token::Word(word)) => Some(word),
            _ => None,
        }
    }

    fn here(&self) -> String {
        match self.peek() {
            None => "the end".to_owned(),
            Some(Token::Word(word) | Token::Escaped(word)) => format!("\"{word}\""),
            Some(Token::Sign(sign)) => format!("\"{sign}\""),
        }
    }

    fn sign(&mut self, sign: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Sign(other)) if *other == sign);
        self.at += usize::from(found);
        found
    }

    fn keyword(&mut self, word: &str) -> bool {
        let found = self.word() == Some(word);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, sign: &'static str) -> Parsed<()> {
        if self.sign(sign) {
            return Ok(());
        }
        Err(format!("\"{sign}\" is missing before {}", self.here()))
    }

    fn and(&mut self) -> bool {
        self.keyword("and") || self.sign("&&")
    }

    fn or(&mut self) -> bool {
        self.keyword("or") || self.sign("||")
    }

    fn deeper<T>(&mut self, inner: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth >= MAX_DEPTH {
            return Err(format!("more than {MAX_DEPTH} levels of parentheses"));
        }
        self.depth += 1;
        let result = inner(self);
        self.depth -= 1;
        result
    }

    /// Terms with `and` and `or`, which bind equally, from left to right.
    fn expression(&mut self) -> Parsed<Expr> {
        let mut left = self.term()?;
        loop {
            if self.and() {
                left = Expr::And(Box::new(left), Box::new(self.term()?));
            } else if self.or() {
                left = Expr::Or(Box::new(left), Box::new(self.term()?));
            } else {
                return Ok(left);
            }
        }
    }

    fn term(&mut self) -> Parsed<Expr> {
        if self.keyword("not") {
            return self.deeper(|parser| Ok(Expr::Not(Box::new(parser.term()?))));
        }
        if self.compares() {
            return self.comparison();
        }
        if self.sign("(") {
            return self.deeper(|parser| {
                let inner = parser.expression()?;
                parser.expect(")")?;
                Ok(inner)
            });
        }
        self.primitive()
    }

    fn is(&self, test: Test) -> Expr {
        Expr::Is(test, self.behind)
    }

    fn primitive(&mut self) -> Parsed<Expr> {
        let Some(word) = self.word().map(str::to_owned) else {
            return Err(format!("a test is missing before {}", self.here()));
        };
        if names::UNSUPPORTED.contains(&word.as_str()) {
            return Err(format!("\"{word}\" is not supported"));
        }
        match word.as_str() {
            "broadcast" => return Ok(self.single(Test::Ether(Which::Destination, [0xff; 6]))),
            "multicast" => return Ok(self.single(Test::EtherMulticast)),
            "less" | "greater" => {
                self.at += 1;
                let bound = self.number("a length")?;
                let relation = if word == "less" {
                    Relation::LessOrEqual
                } else {
                    Relation::GreaterOrEqual
                };
                return Ok(self.is(Test::Compare(Value::Length, relation, Value::Number(bound))));
            }
            "vlan" | "mpls" | "pppoes" => return self.tag(&word),
            _ => {}
        }
        self.qualified()
    }

    fn single(&mut self, test: Test) -> Expr {
        self.at += 1;
        self.is(test)
    }

    fn number(&mut self, what: &str) -> Parsed<u32> {
        let found = self.word().and_then(number);
        let found = found.ok_or_else(|| format!("{what} is missing before {}", self.here()))?;
        self.at += 1;
        Ok(found)
    }

    /// A tag with an optional number; what comes later in the expression is behind it.
    fn tag(&mut self, word: &str) -> Parsed<Expr> {
        self.at += 1;
        let id = self.word().and_then(number);
        self.at += usize::from(id.is_some());
        let small = |id: Option<u32>| -> Parsed<Option<u16>> {
            id.map(|id| u16::try_from(id).map_err(|_| format!("{word} {id} is too large")))
                .transpose()
        };
        let behind = self.behind;
        let (test, counter) = match word {
            "vlan" => (Test::Vlan(small(id)?), &mut self.behind.vlan),
            "mpls" => (Test::Mpls(id), &mut self.behind.mpls),
            _ => (Test::Pppoe(small(id)?), &mut self.behind.pppoe),
        };
        *counter = counter.saturating_add(1);
        Ok(Expr::Is(test, behind))
    }
}
