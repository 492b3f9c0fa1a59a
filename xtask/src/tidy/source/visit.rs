//! A walk over the syntax tree that notes what the rules ask for. Pure.

use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Attribute, Block, Expr, Lit, Meta, MetaList, Signature};

use super::{ErrorText, Facts, Function, Lines, LintAttribute, Module, Sleep, words};

/// Walks over the whole file.
pub fn facts(file: &syn::File) -> Facts {
    let whole = Lines { first: 1, last: usize::MAX - 1 };
    let mut walk =
        Walk { facts: Facts::default(), around: vec![whole], modules: Vec::new(), loops: 0 };
    let facts = &mut walk.facts;
    facts.has_module_doc = file.attrs.first().is_some_and(|a| a.path().is_ident("doc"));
    facts.forbids_unsafe = file.attrs.iter().any(|attribute| {
        attribute.path().is_ident("forbid") && list_of(attribute).contains("unsafe_code")
    });
    walk.visit_file(file);
    walk.facts
}

struct Walk {
    facts: Facts,
    /// Lines of the items and statements around the present place: attributes belong to the last.
    around: Vec<Lines>,
    /// Inline modules around the present place.
    modules: Vec<String>,
    /// Loops around the present place.
    loops: usize,
}

impl Walk {
    fn inside(&mut self, node: &impl Spanned, walk: impl FnOnce(&mut Self)) {
        let span = node.span();
        self.around.push(Lines { first: span.start().line, last: span.end().line });
        walk(self);
        self.around.pop();
    }

    fn in_loop(&mut self, walk: impl FnOnce(&mut Self)) {
        self.loops += 1;
        walk(self);
        self.loops -= 1;
    }

    fn note_function(&mut self, signature: &Signature, block: &Block) {
        let first = signature.span().start().line;
        let last = block.brace_token.span.close().end().line;
        let name = signature.ident.to_string();
        self.facts.functions.push(Function { name, lines: Lines { first, last } });
    }
}

impl<'ast> Visit<'ast> for Walk {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        self.inside(item, |walk| visit::visit_item(walk, item));
    }

    fn visit_impl_item(&mut self, item: &'ast syn::ImplItem) {
        self.inside(item, |walk| visit::visit_impl_item(walk, item));
    }

    fn visit_trait_item(&mut self, item: &'ast syn::TraitItem) {
        self.inside(item, |walk| visit::visit_trait_item(walk, item));
    }

    fn visit_stmt(&mut self, statement: &'ast syn::Stmt) {
        self.inside(statement, |walk| visit::visit_stmt(walk, statement));
    }

    fn visit_arm(&mut self, arm: &'ast syn::Arm) {
        self.inside(arm, |walk| visit::visit_arm(walk, arm));
    }

    fn visit_field(&mut self, field: &'ast syn::Field) {
        self.inside(field, |walk| visit::visit_field(walk, field));
    }

    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        self.facts.modules.push(Module {
            name: module.ident.to_string(),
            line: module.ident.span().start().line,
            elsewhere: module.content.is_none(),
            within: self.modules.clone(),
        });
        self.modules.push(module.ident.to_string());
        visit::visit_item_mod(self, module);
        self.modules.pop();
    }

    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.note_function(&function.sig, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.note_function(&function.sig, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        if let Some(block) = &function.default {
            self.note_function(&function.sig, block);
        }
        visit::visit_trait_item_fn(self, function);
    }

    fn visit_expr_unsafe(&mut self, block: &'ast syn::ExprUnsafe) {
        self.facts.unsafe_blocks.push(block.unsafe_token.span.start().line);
        visit::visit_expr_unsafe(self, block);
    }

    fn visit_expr_loop(&mut self, node: &'ast syn::ExprLoop) {
        self.in_loop(|walk| visit::visit_expr_loop(walk, node));
    }

    fn visit_expr_while(&mut self, node: &'ast syn::ExprWhile) {
        self.in_loop(|walk| visit::visit_expr_while(walk, node));
    }

    fn visit_expr_for_loop(&mut self, node: &'ast syn::ExprForLoop) {
        self.in_loop(|walk| visit::visit_expr_for_loop(walk, node));
    }

    fn visit_expr_call(&mut self, call: &'ast syn::ExprCall) {
        if let Expr::Path(function) = &*call.func
            && let Some(name) = function.path.segments.last()
            && name.ident == "sleep"
        {
            let line = name.ident.span().start().line;
            self.facts.sleeps.push(Sleep { line, in_loop: self.loops > 0 });
        }
        visit::visit_expr_call(self, call);
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        let line = attribute.pound_token.span.start().line;
        let Some(&lines) = self.around.last() else { return };
        let name = attribute.path().segments.last().map(|s| s.ident.to_string());
        match name.as_deref() {
            Some("test") => {
                self.facts.tests.push(lines);
                if list_of(attribute).contains("start_paused=true") {
                    self.facts.paused.push(lines);
                }
            }
            Some("cfg") if is_for_tests(attribute) => self.facts.tests.push(lines),
            Some("ignore") => self.facts.ignored.push(line),
            Some("allow" | "expect") => self.facts.lints.push(lint(attribute, lines)),
            Some("error") => self.facts.errors.extend(error_text(attribute)),
            _ => (),
        }
    }
}

/// What stands in an attribute's brackets.
fn list_of(attribute: &Attribute) -> String {
    match &attribute.meta {
        Meta::List(MetaList { tokens, .. }) => {
            words::of(tokens.clone()).into_iter().map(|word| word.text).collect()
        }
        _ => String::new(),
    }
}

/// `cfg(test)` and `cfg(all(test, …))`, but not `cfg(not(test))`.
fn is_for_tests(attribute: &Attribute) -> bool {
    let list = list_of(attribute);
    list == "test" || list.starts_with("all(") && list.contains("test") && !list.contains("not(")
}

fn lint(attribute: &Attribute, lines: Lines) -> LintAttribute {
    let list = list_of(attribute);
    let (lints, reason) = list.split_once("reason=").unwrap_or((list.as_str(), ""));
    LintAttribute { lints: lints.to_owned(), has_reason: reason.len() > 2, lines }
}

fn error_text(attribute: &Attribute) -> Option<ErrorText> {
    let Meta::List(list) = &attribute.meta else { return None };
    let line = list.tokens.span().start().line;
    let first = list.tokens.clone().into_iter().next()?;
    let expression: Expr = syn::parse2(first.into()).ok()?;
    let Expr::Lit(literal) = expression else { return None };
    let Lit::Str(text) = literal.lit else { return None };
    Some(ErrorText { text: text.value(), line })
}
