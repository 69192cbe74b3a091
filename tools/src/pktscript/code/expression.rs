//! Expressions over whole numbers, with Python's precedence. True is 1, false is 0.

/// Deepest nesting.
const MAX_DEPTH: usize = 64;

/// Evaluates one expression.
pub(super) struct Evaluator<'a> {
    text: &'a str,
    rest: &'a str,
    names: &'a dyn Fn(&str) -> Option<i64>,
    used: Vec<(&'a str, i64)>,
    depth: usize,
}

type Value = Result<i64, String>;

impl<'a> Evaluator<'a> {
    pub(super) fn new(text: &'a str, names: &'a dyn Fn(&str) -> Option<i64>) -> Self {
        Self {
            text,
            rest: text,
            names,
            used: Vec::new(),
            depth: 0,
        }
    }

    /// Evaluates the text up to its end or to the comma before a message.
    pub(super) fn whole(&mut self) -> Value {
        let value = self.any_of()?;
        self.skip();
        if self.rest.is_empty() || self.rest.starts_with(',') {
            return Ok(value);
        }
        Err(format!("the code `{}`", self.rest))
    }

    /// Returns what was evaluated.
    pub(super) fn consumed(&self) -> &'a str {
        self.text
            .get(..self.text.len() - self.rest.len())
            .unwrap_or_default()
    }

    /// Returns the names that were used with their values.
    pub(super) fn values(&self) -> String {
        let list: Vec<String> = self
            .used
            .iter()
            .map(|(name, value)| format!("{name} = {value}"))
            .collect();
        list.join(", ")
    }

    fn skip(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn take(&mut self, text: &str) -> bool {
        self.skip();
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn take_word(&mut self, word: &str) -> bool {
        self.skip();
        let Some(rest) = self.rest.strip_prefix(word) else {
            return false;
        };
        if rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_') {
            return false;
        }
        self.rest = rest;
        true
    }

    fn any_of(&mut self) -> Value {
        let mut value = self.all_of()?;
        while self.take_word("or") {
            let right = self.all_of()?;
            value = i64::from(value != 0 || right != 0);
        }
        Ok(value)
    }

    fn all_of(&mut self) -> Value {
        let mut value = self.negation()?;
        while self.take_word("and") {
            let right = self.negation()?;
            value = i64::from(value != 0 && right != 0);
        }
        Ok(value)
    }

    fn negation(&mut self) -> Value {
        let mut negated = false;
        while self.take_word("not") {
            negated = !negated;
        }
        let value = self.comparison()?;
        Ok(if negated {
            i64::from(value == 0)
        } else {
            value
        })
    }

    fn comparison(&mut self) -> Value {
        let mut left = self.bits()?;
        let mut holds = None;
        loop {
            let test: fn(&i64, &i64) -> bool = if self.take("==") {
                i64::eq
            } else if self.take("!=") {
                i64::ne
            } else if self.take("<=") {
                i64::le
            } else if self.take(">=") {
                i64::ge
            } else if self.take("<") {
                i64::lt
            } else if self.take(">") {
                i64::gt
            } else {
                return Ok(holds.map_or(left, i64::from));
            };
            let right = self.bits()?;
            holds = Some(holds.unwrap_or(true) && test(&left, &right));
            left = right;
        }
    }

    fn bits(&mut self) -> Value {
        let mut value = self.sum()?;
        loop {
            if self.take("|") {
                value |= self.sum()?;
            } else if self.take("&") {
                value &= self.sum()?;
            } else {
                return Ok(value);
            }
        }
    }

    fn sum(&mut self) -> Value {
        let mut value = self.product()?;
        loop {
            let next = if self.take("+") {
                value.checked_add(self.product()?)
            } else if self.take("-") {
                value.checked_sub(self.product()?)
            } else {
                return Ok(value);
            };
            value = next.ok_or("a number that is too large")?;
        }
    }

    fn product(&mut self) -> Value {
        let mut value = self.operand()?;
        loop {
            let next = if self.take("*") {
                value.checked_mul(self.operand()?)
            } else if self.take("//") || self.take("/") {
                value.checked_div_euclid(self.operand()?)
            } else if self.take("%") {
                value.checked_rem_euclid(self.operand()?)
            } else {
                return Ok(value);
            };
            value = next.ok_or("a number that is too large, or a division by zero")?;
        }
    }

    fn operand(&mut self) -> Value {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err("code that is nested too deeply".to_owned());
        }
        let value = self.simple_operand();
        self.depth -= 1;
        value
    }

    fn simple_operand(&mut self) -> Value {
        if self.take("(") {
            let value = self.any_of()?;
            return if self.take(")") {
                Ok(value)
            } else {
                Err(format!("the code `{}`", self.rest))
            };
        }
        if self.take("-") {
            let value = self.operand()?;
            return value
                .checked_neg()
                .ok_or_else(|| "a number that is too large".to_owned());
        }
        self.skip();
        let end = self
            .rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
            .unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        if word.is_empty() {
            return Err(format!("the code `{}`", self.rest));
        }
        self.rest = rest;
        if let Some(digits) = word.strip_prefix("0x") {
            return i64::from_str_radix(digits, 16).map_err(|_| format!("the number `{word}`"));
        }
        if word.starts_with(|c: char| c.is_ascii_digit()) {
            return word.parse().map_err(|_| format!("the number `{word}`"));
        }
        let value = (self.names)(word).ok_or_else(|| format!("the value `{word}`"))?;
        if !self.used.iter().any(|(used, _)| *used == word) {
            self.used.push((word, value));
        }
        Ok(value)
    }
}
