//! What a pickle imports and calls.

use super::{
    super::{
        super::report::{Rule, Safety, shown},
        value::{Value, global},
    },
    Machine, NAME, Step, TOLD,
};

impl Machine<'_, '_> {
    /// Two lines, module and name. The inner `None`: what is not declared a pickle is none after all.
    pub(super) fn global_line(&mut self) -> Step<Option<Value>> {
        if self.line()?.is_none() {
            return Ok(None);
        }
        let module = std::mem::take(&mut self.line);
        if self.line()?.is_none() {
            return Ok(None);
        }
        let name = std::mem::take(&mut self.line);
        match (identifier(&module), identifier(&name)) {
            (Some(module), Some(name)) => Ok(Some(Some(self.imported(module, name)))),
            _ if self.outcome.is_declared => {
                let text = [module, vec![b' '], name].concat();
                let text = shown(&String::from_utf8_lossy(&text));
                self.find(Rule::PickleComputedName, &format!("imports `{text}`, which is no name"));
                self.outcome.has_imported = true;
                Ok(Some(Some(Value::Global { safety: Safety::Suspicious, is_encode: false })))
            }
            _ => Ok(Some(None)),
        }
    }

    /// An import by two values from the stack.
    pub(super) fn import(&mut self, module: Value, name: Value) -> Value {
        if let (Some(module), Some(name)) = (self.texts.text(module), self.texts.text(name)) {
            let (module, name) = (module.to_owned(), name.to_owned());
            return self.imported(&module, &name);
        }
        self.outcome.has_imported |= !self.underflow;
        self.find(Rule::PickleComputedName, "imports by a name that is no constant");
        Value::Global { safety: Safety::Suspicious, is_encode: false }
    }

    fn imported(&mut self, module: &str, name: &str) -> Value {
        let value = global(module, name);
        let Value::Global { safety, .. } = value else { return value };
        self.outcome.has_imported = true;
        let known = |(_, known, known_name): &(_, String, String)| known == module && known_name == name;
        if self.outcome.imports.len() < TOLD && !self.outcome.imports.iter().any(known) {
            self.outcome.imports.push((safety, module.to_owned(), name.to_owned()));
        }
        let rule = match safety {
            Safety::Innocuous => return value,
            Safety::Dangerous => Rule::PickleDangerousImport,
            Safety::Suspicious => Rule::PickleUnknownImport,
        };
        self.outcome.has_telling_import |= safety == Safety::Dangerous || module.contains('.');
        self.find(rule, &format!("imports `{}.{}`", shown(module), shown(name)));
        value
    }

    pub(super) fn call(&mut self, callee: Value, arguments: Value) {
        match callee {
            Value::Global { is_encode: true, .. } if arguments != Value::EncodeArguments => {
                self.find(Rule::PickleComputedName, "encodes by something else than latin-1");
                self.outcome.has_called = true;
            }
            Value::Global { .. } => self.outcome.has_called = true,
            _ => {
                self.find(Rule::PickleComputedName, "calls what it did not import by name");
                // Text that looks like an operation does not count as a call.
                self.outcome.has_called |= self.outcome.has_imported && !self.underflow;
            }
        }
        self.stack.push(Value::Object);
    }
}

/// A dotted name of identifiers, as Python has them.
fn identifier(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?;
    let text = text.strip_suffix('\r').unwrap_or(text);
    let is_part = |part: &str| {
        part.chars().enumerate().all(|(at, c)| c == '_' || c.is_alphabetic() || at > 0 && c.is_alphanumeric())
            && !part.is_empty()
    };
    (text.len() <= NAME && text.split('.').all(is_part)).then_some(text)
}
