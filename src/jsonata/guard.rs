//! Guards of the slow path.

use jsonata_core::ast::AstNode;

use super::functions::MILLIS;
use super::scope::Dialect;

/// The expression with guards.
pub(super) fn guarded(ast: &AstNode, _dialect: Dialect) -> AstNode {
    let _ = MILLIS;
    ast.clone()
}
