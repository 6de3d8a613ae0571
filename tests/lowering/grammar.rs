//! Random values and expressions from bytes: the same for the property test and for the fuzzer.

/// Choices that bytes make; once they are used up, every choice is the first.
pub(crate) struct Source<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Variables that may be named.
    bound: Vec<&'static str>,
}

impl<'a> Source<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Source<'a> {
        Source {
            bytes,
            at: 0,
            bound: Vec::new(),
        }
    }

    fn byte(&mut self) -> usize {
        let byte = self.bytes.get(self.at).copied().unwrap_or(0);
        self.at += 1;
        usize::from(byte)
    }

    fn one<'o>(&mut self, options: &[&'o str]) -> &'o str {
        options[self.byte() % options.len()]
    }

    /// A JSON value.
    pub(crate) fn value(&mut self, depth: usize) -> String {
        let kinds = if depth == 0 { 8 } else { 16 };
        match self.byte() % kinds {
            0 => self.one(&["null", "true", "false"]).to_owned(),
            1..=4 => self.number().to_owned(),
            5..=7 => format!("\"{}\"", self.text()),
            8..=11 => {
                let mut members = Vec::new();
                let mut names = vec!["a", "b", "c", "price", "qty", "name", "n 1"];
                for _ in 0..self.byte() % 5 {
                    let name = names.remove(self.byte() % names.len());
                    members.push(format!("\"{name}\":{}", self.value(depth - 1)));
                }
                format!("{{{}}}", members.join(","))
            }
            12 => {
                // Objects of one shape.
                let items: Vec<String> = (0..self.byte() % 5)
                    .map(|_| {
                        format!(
                            "{{\"price\":{},\"qty\":{},\"name\":\"{}\",\"a\":{}}}",
                            self.number(),
                            self.number(),
                            self.text(),
                            self.value(depth - 1)
                        )
                    })
                    .collect();
                format!("[{}]", items.join(","))
            }
            _ => {
                let count = self.byte() % 4;
                let items: Vec<String> = (0..count).map(|_| self.value(depth - 1)).collect();
                format!("[{}]", items.join(","))
            }
        }
    }

    fn number(&mut self) -> &'static str {
        const NUMBERS: [&str; 20] = [
            "0",
            "1",
            "2",
            "3",
            "-1",
            "0.10",
            "1E2",
            "2.5",
            "-0.5",
            "1.005",
            "100",
            "1e-7",
            "1e21",
            "123456789.125",
            "0.30000000000000004",
            "-0",
            "18446744073709551616",
            "7",
            "10",
            "-2",
        ];
        NUMBERS[self.byte() % NUMBERS.len()]
    }

    fn text(&mut self) -> &'static str {
        const TEXTS: [&str; 14] = [
            "",
            "a",
            "b",
            "ab c",
            "x",
            "1",
            "-2.50",
            "  b  a ",
            "\u{e9}t\u{e9}",
            "A-1,B-2",
            "\\n\\\"",
            "price",
            "\u{1f600}",
            "true",
        ];
        TEXTS[self.byte() % TEXTS.len()]
    }

    fn name(&mut self) -> &'static str {
        const NAMES: [&str; 7] = ["a", "b", "c", "price", "qty", "name", "`n 1`"];
        NAMES[self.byte() % NAMES.len()]
    }

    fn variable(&mut self) -> &'static str {
        match self.bound.len() {
            0 => "$",
            count => {
                let place = self.byte() % count;
                self.bound[place]
            }
        }
    }

    /// An expression in which some variables more may be named.
    fn within(&mut self, names: &[&'static str], depth: usize) -> String {
        let before = self.bound.len();
        self.bound.extend(names);
        let text = self.expression(depth);
        self.bound.truncate(before);
        text
    }

    /// `function($v) { … }`
    fn lambda(&mut self, names: &[&'static str], depth: usize) -> String {
        let body = self.within(names, depth);
        format!("function({}) {{ {body} }}", names.join(", "))
    }

    /// An expression.
    pub(crate) fn expression(&mut self, depth: usize) -> String {
        if depth == 0 {
            return self.leaf();
        }
        let depth = depth - 1;
        match self.byte() % 32 {
            0..=5 => self.path(depth),
            6 => {
                let operator = self.one(&["+", "-", "*", "/", "%"]);
                format!(
                    "({} {operator} {})",
                    self.expression(depth),
                    self.expression(depth)
                )
            }
            7 => {
                let operator = self.one(&["<", "<=", ">", ">="]);
                format!(
                    "({} {operator} {})",
                    self.expression(depth),
                    self.expression(depth)
                )
            }
            8 => {
                let operator = self.one(&["=", "!=", "in"]);
                format!(
                    "({} {operator} {})",
                    self.expression(depth),
                    self.expression(depth)
                )
            }
            9 => {
                let operator = self.one(&["and", "or"]);
                format!(
                    "({} {operator} {})",
                    self.expression(depth),
                    self.expression(depth)
                )
            }
            10 | 11 => format!(
                "{} & {} & {}",
                self.leaf(),
                self.expression(depth),
                self.leaf()
            ),
            12 => format!(
                "({} ? {} : {})",
                self.expression(depth),
                self.expression(depth),
                self.expression(depth)
            ),
            13 => format!("({} ? {})", self.expression(depth), self.expression(depth)),
            form => self.form(form, depth),
        }
    }

    /// What is no operator and no path.
    fn form(&mut self, form: usize, depth: usize) -> String {
        match form {
            14 | 15 => {
                let count = self.byte() % 4;
                let items: Vec<String> = (0..count).map(|_| self.expression(depth)).collect();
                format!("[{}]", items.join(", "))
            }
            16 => self.object(depth),
            17 => format!("{}{}", self.path(depth), self.object(depth)),
            18 => format!(
                "($x := {}; $y := {}; {})",
                self.expression(depth),
                self.within(&["$x"], depth),
                self.within(&["$x", "$y"], depth)
            ),
            19 => format!(
                "($f := {}; [$f({}, {}), $map({}, $f)])",
                self.lambda(&["$p", "$q"], depth),
                self.expression(depth),
                self.expression(depth),
                self.expression(depth)
            ),
            20 => {
                let (low, high) = (self.one(&["0", "1", "-2", "3"]), self.one(&["3", "1", "5"]));
                format!("[{low}..{high}]")
            }
            21 => format!("-{}", self.leaf()),
            22..=26 => self.call(depth),
            27..=30 => self.higher(depth),
            _ => format!("{} ~> ${}()", self.expression(depth), self.unary()),
        }
    }

    fn leaf(&mut self) -> String {
        match self.byte() % 16 {
            0..=3 => self.name().to_owned(),
            4 => "$".to_owned(),
            5 => "$$".to_owned(),
            6 | 7 => self.variable().to_owned(),
            8..=10 => self
                .one(&["0", "1", "2", "-1", "0.5", "100", "1.10"])
                .to_owned(),
            11 | 12 => format!("\"{}\"", self.text()),
            13 => self.one(&["true", "false", "null"]).to_owned(),
            14 => format!("{}.a", self.variable()),
            _ => self.one(&["[]", "{}", "nothing"]).to_owned(),
        }
    }

    fn path(&mut self, depth: usize) -> String {
        let mut path = match self.byte() % 8 {
            0 => "$".to_owned(),
            1 => "$$".to_owned(),
            2 => self.variable().to_owned(),
            3 => format!("({})", self.expression(depth)),
            _ => self.name().to_owned(),
        };
        self.stages(&mut path, depth);
        for _ in 0..self.byte() % 4 {
            path.push('.');
            match self.byte() % 12 {
                0 => path.push('$'),
                1 => path.push_str(&format!("({})", self.expression(depth))),
                2 => path.push_str(&self.object(depth)),
                3 => path.push_str(&format!("[{}, {}]", self.leaf(), self.leaf())),
                4 => path.push('*'),
                5 => path.push_str(&self.call(depth)),
                _ => path.push_str(self.name()),
            }
            self.stages(&mut path, depth);
        }
        if self.byte().is_multiple_of(12) {
            path.push_str(&format!("^({}{})", self.one(&["", "<", ">"]), self.leaf()));
            self.stages(&mut path, depth);
        }
        path
    }

    fn stages(&mut self, path: &mut String, depth: usize) {
        for _ in 0..2 {
            match self.byte() % 16 {
                0 => path.push_str("[0]"),
                1 => path.push_str("[-1]"),
                2 => path.push_str("[]"),
                3 => path.push_str("[1]"),
                4 => path.push_str(&format!(
                    "[{} {} {}]",
                    self.leaf(),
                    self.one(&["=", ">", "!="]),
                    self.leaf()
                )),
                5 => path.push_str(&format!("[{}]", self.expression(depth.min(1)))),
                _ => return,
            }
        }
    }

    fn object(&mut self, depth: usize) -> String {
        let mut members = Vec::new();
        for place in 0..self.byte() % 4 {
            let key = match self.byte() % 8 {
                0 => self.leaf(),
                _ => format!("\"{}{place}\"", self.one(&["a", "b", "k"])),
            };
            members.push(format!("{key}: {}", self.expression(depth)));
        }
        format!("{{{}}}", members.join(", "))
    }

    fn unary(&mut self) -> &'static str {
        const FUNCTIONS: [&str; 28] = [
            "sum",
            "count",
            "max",
            "min",
            "average",
            "string",
            "length",
            "uppercase",
            "lowercase",
            "trim",
            "number",
            "boolean",
            "not",
            "exists",
            "floor",
            "ceil",
            "round",
            "abs",
            "sqrt",
            "reverse",
            "distinct",
            "keys",
            "merge",
            "spread",
            "type",
            "sort",
            "sum",
            "count",
        ];
        FUNCTIONS[self.byte() % FUNCTIONS.len()]
    }

    fn call(&mut self, depth: usize) -> String {
        match self.byte() % 16 {
            0 => format!(
                "$append({}, {})",
                self.expression(depth),
                self.expression(depth)
            ),
            1 => format!("$join({}, {})", self.expression(depth), self.leaf()),
            2 => format!("$join({})", self.expression(depth)),
            3 => format!(
                "$split({}, {})",
                self.expression(depth),
                self.one(&["\",\"", "\" \"", "\"\"", "\"a\""])
            ),
            4 => format!("$contains({}, {})", self.expression(depth), self.leaf()),
            5 => format!(
                "$substring({}, {})",
                self.expression(depth),
                self.one(&["0", "1", "-2", "-9", "9"])
            ),
            6 => format!(
                "$substring({}, {}, {})",
                self.expression(depth),
                self.one(&["0", "1", "-2", "-9", "9"]),
                self.one(&["0", "1", "2", "-1", "9"])
            ),
            7 => format!(
                "$substringBefore({}, {})",
                self.expression(depth),
                self.leaf()
            ),
            8 => format!(
                "$substringAfter({}, {})",
                self.expression(depth),
                self.leaf()
            ),
            9 => format!(
                "$lookup({}, {})",
                self.expression(depth),
                self.one(&["\"a\"", "\"price\"", "\"z\""])
            ),
            10 => format!(
                "$merge([{}, {}])",
                self.expression(depth),
                self.expression(depth)
            ),
            11 => format!(
                "$power({}, {})",
                self.expression(depth),
                self.one(&["0", "2", "0.5", "-1"])
            ),
            _ => format!("${}({})", self.unary(), self.expression(depth)),
        }
    }

    fn higher(&mut self, depth: usize) -> String {
        let subject = self.expression(depth);
        let (name, names): (&str, &[&'static str]) = match self.byte() % 12 {
            0..=2 => ("map", &["$v"]),
            3 => ("map", &["$v", "$i"]),
            4 | 5 => ("filter", &["$v"]),
            6 => ("filter", &["$v", "$i", "$q"]),
            7 => ("reduce", &["$p", "$v"]),
            8 => {
                let lambda = self.lambda(&["$p", "$v", "$i"], depth);
                return format!("$reduce({subject}, {lambda}, {})", self.leaf());
            }
            9 => ("each", &["$v", "$k"]),
            10 => match self.byte() % 3 {
                0 => ("sift", &["$v", "$k"]),
                1 => {
                    let operator = self.one(&["<", ">", ">=", "="]);
                    let (left, right) = (
                        self.one(&["$p", "$p.a", "$p.price"]),
                        self.one(&["$q", "$q.a", "$q.price"]),
                    );
                    return format!(
                        "$sort({subject}, function($p, $q) {{ {left} {operator} {right} }})"
                    );
                }
                _ => ("single", &["$v"]),
            },
            _ => return format!("$map({subject}, ${})", self.unary()),
        };
        format!("${name}({subject}, {})", self.lambda(names, depth))
    }
}
