"""Source to bytecode for the ELF (run by the host's Python, whose marshal format is the target's).

Read from stdin: a marshalled dict with ``modules``, a list of (name, file or None, source or None), and ``folder``.
Written: ``folder/<name>`` for each module, its marshalled code. Left out of the code: docstrings, assertions, what is
inside ``if TYPE_CHECKING``, annotations of functions and variables (those of classes stay: dataclasses read them),
line tables, qualified names, paths.
"""

from __future__ import annotations

import ast
import marshal
import sys
from pathlib import Path
from types import CodeType

VERSION = 4


class Leaner(ast.NodeTransformer):
    """Drop what only type checkers read."""

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        """Drop a block for type checkers, keep its else part."""
        self.generic_visit(node)
        test = node.test
        name = test.attr if isinstance(test, ast.Attribute) else getattr(test, "id", "")
        if name != "TYPE_CHECKING":
            return node
        return node.orelse or ast.Pass()

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        """Drop the annotations of a function and of the variables in it."""
        return self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        """Drop the annotations of a function and of the variables in it."""
        return self._function(node)

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.AST:
        self.generic_visit(node)
        node.returns = None
        given = node.args
        for argument in [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]:
            if argument is not None:
                argument.annotation = None
        node.body = [_plain(statement) for statement in node.body]
        return node


def _plain(statement: ast.stmt) -> ast.stmt:
    """Return an annotated assignment to a name as a plain one."""
    if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.value is not None:
        return ast.Assign([statement.target], statement.value)
    return statement


def lean(code: CodeType, file: str) -> CodeType:
    """Return a code object without the tables that only tracebacks read."""
    constants = tuple(lean(value, file) if isinstance(value, CodeType) else value for value in code.co_consts)
    return code.replace(co_filename=file, co_linetable=b"", co_qualname=code.co_name, co_consts=constants)


def build(name: str, file: str | None, source: str | None) -> bytes:
    """Return the marshalled code of one module."""
    if source is None:
        source = Path(file or name).read_text(encoding="utf-8")
    tree = Leaner().visit(ast.parse(source))
    if not any(isinstance(node, ast.ImportFrom) and node.module == "__future__" for node in tree.body):
        tree.body = [_plain(statement) for statement in tree.body]
    code = compile(ast.fix_missing_locations(tree), name, "exec", dont_inherit=True, optimize=2)
    # Read and written once more: how often an object is referred to then depends on the code alone.
    return marshal.dumps(marshal.loads(marshal.dumps(lean(code, name), VERSION)), VERSION)  # noqa: S302 (written here)


def main() -> None:
    """Compile all modules."""
    config = marshal.load(sys.stdin.buffer)  # noqa: S302 (this build wrote it)
    for name, file, source in config["modules"]:
        Path(config["folder"], name).write_bytes(build(name, file, source))


if __name__ == "__main__":
    main()
