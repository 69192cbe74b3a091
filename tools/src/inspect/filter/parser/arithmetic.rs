//! Comparisons of numbers: lengths, and bytes of headers.

use super::super::lexer::Token;
use super::super::{Expr, Layer, Operator, Relation, Test, Value, names};
use super::{Parsed, Parser, RARP, SCTP};
use crate::capture::link::{ARP, IPV4, IPV6};
use crate::capture::packet::{ICMP, TCP, UDP};

impl Parser {
    /// Returns true if arithmetic begins here: a parenthesis belongs to it if a comparison follows it.
    pub(super) fn compares(&self) -> bool {
        let mut open = 0_u32;
        for (distance, token) in self.tokens.iter().skip(self.at).enumerate() {
            match token {
                Token::Sign("(" | "[") => open += 1,
                Token::Sign(")" | "]") if open == 0 => return false,
                Token::Sign(")" | "]") => {
                    open -= 1;
                    continue;
                }
                Token::Sign("&&" | "||") if open == 0 => return false,
                Token::Sign("<" | ">" | "=" | "<=" | ">=" | "==" | "!=") if open == 0 => {
                    return true;
                }
                Token::Word(word) if open == 0 && (word == "and" || word == "or") => return false,
                Token::Word(word) if word == "and" || word == "or" || word == "not" => {
                    return false;
                }
                _ => {}
            }
            if distance == 0 && matches!(token, Token::Word(word) if word == "not") {
                return false;
            }
        }
        false
    }

    pub(super) fn comparison(&mut self) -> Parsed<Expr> {
        let left = self.value()?;
        let relation = match self.peek() {
            Some(Token::Sign("=" | "==")) => Relation::Equal,
            Some(Token::Sign("!=")) => Relation::Unequal,
            Some(Token::Sign("<")) => Relation::Less,
            Some(Token::Sign("<=")) => Relation::LessOrEqual,
            Some(Token::Sign(">")) => Relation::Greater,
            Some(Token::Sign(">=")) => Relation::GreaterOrEqual,
            _ => return Err(format!("a comparison is missing before {}", self.here())),
        };
        self.at += 1;
        let right = self.value()?;
        Ok(self.is(Test::Compare(left, relation, right)))
    }

    pub(super) fn value(&mut self) -> Parsed<Value> {
        self.deeper(|parser| parser.binary(0))
    }

    /// Operators by precedence, the weakest first.
    fn binary(&mut self, level: usize) -> Parsed<Value> {
        const LEVELS: [&[(&str, Operator)]; 4] = [
            &[
                ("&", Operator::And),
                ("|", Operator::Or),
                ("^", Operator::Xor),
            ],
            &[("<<", Operator::ShiftLeft), (">>", Operator::ShiftRight)],
            &[("+", Operator::Add), ("-", Operator::Subtract)],
            &[
                ("*", Operator::Multiply),
                ("/", Operator::Divide),
                ("%", Operator::Remainder),
            ],
        ];
        let Some(operators) = LEVELS.get(level) else {
            return self.operand();
        };
        let mut left = self.binary(level + 1)?;
        'more: loop {
            for (sign, operator) in *operators {
                if self.sign(sign) {
                    let right = self.binary(level + 1)?;
                    left = Value::Binary(Box::new(left), *operator, Box::new(right));
                    continue 'more;
                }
            }
            return Ok(left);
        }
    }

    fn operand(&mut self) -> Parsed<Value> {
        if self.sign("-") {
            return self.deeper(|parser| Ok(Value::Negative(Box::new(parser.operand()?))));
        }
        if self.sign("(") {
            let inner = self.value()?;
            self.expect(")")?;
            return Ok(inner);
        }
        let Some(word) = self.word().map(str::to_owned) else {
            return Err(format!("a number is missing before {}", self.here()));
        };
        self.at += 1;
        if word == "len" || word == "length" {
            return Ok(Value::Length);
        }
        if let Some(number) = number(&word) {
            return Ok(Value::Number(number));
        }
        if self.sign("[") {
            let layer = layer(&word)
                .ok_or_else(|| format!("the header \"{word}\" is not supported in \"{word}[\""))?;
            let offset = self.value()?;
            let size = if self.sign(":") {
                match self.word().and_then(number) {
                    Some(size @ (1 | 2 | 4)) => {
                        self.at += 1;
                        size as u8
                    }
                    _ => return Err("1, 2 or 4 bytes can be read at once".to_owned()),
                }
            } else {
                1
            };
            self.expect("]")?;
            return Ok(Value::Load(layer, Box::new(offset), size));
        }
        names::constant(&word)
            .map(Value::Number)
            .ok_or_else(|| format!("\"{word}\" is no number"))
    }
}

/// Returns a number in decimal, octal or hexadecimal.
pub(super) fn number(word: &str) -> Option<u32> {
    if let Some(hex) = word.strip_prefix("0x").or_else(|| word.strip_prefix("0X")) {
        return u32::from_str_radix(hex, 16).ok();
    }
    if word.len() > 1
        && let Some(octal) = word.strip_prefix('0')
    {
        return u32::from_str_radix(octal, 8).ok();
    }
    word.parse().ok()
}

fn layer(word: &str) -> Option<Layer> {
    Some(match word {
        "ether" | "link" => Layer::Link,
        "ip" => Layer::Network(IPV4),
        "ip6" => Layer::Network(IPV6),
        "arp" => Layer::Network(ARP),
        "rarp" => Layer::Network(RARP),
        "tcp" => Layer::Transport(TCP),
        "udp" => Layer::Transport(UDP),
        "sctp" => Layer::Transport(SCTP),
        "icmp" => Layer::Transport(ICMP),
        "igmp" => Layer::Transport(2),
        "igrp" => Layer::Transport(9),
        "pim" => Layer::Transport(103),
        "vrrp" => Layer::Transport(112),
        "icmp6" => Layer::Icmp6,
        _ => return None,
    })
}
