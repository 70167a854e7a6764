"""First-party code: what a module imports, and the fingerprint of what such a closure of modules decides.

A fingerprint is part of the address of every stored result. It holds what can change a result and nothing else: the
syntax trees of the modules without comments, docstrings, `if TYPE_CHECKING:` and the annotations of functions.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterator, Sequence, Set
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from ouro.core.files import SOURCE_ROOT, ArtifactError

VALUES = "ouro.core.params"
"""The module of knobs, which no fingerprint holds. A stage's own knobs stand in its address as values, taken after
defaults and validators have had their say, and code that is handed a section of params reads these values and nothing
else of the module. So a new knob of one stage, or a sharper check of one, leaves the addresses of all others."""


def code_fingerprint(modules: Sequence[str], packages: Sequence[str] = ("ouro",)) -> str:
    """SHA-256 (hex) over what `modules` and all that they import of `packages`, transitively, do; VALUES apart.

    Raises ArtifactError for an unknown module or one that is no Python.
    """
    files = _closure(modules, packages, apart={VALUES})
    trees = [(p.relative_to(SOURCE_ROOT).as_posix(), _read(p).decisive) for p in files]
    return hashlib.sha256(json.dumps(trees).encode()).hexdigest()


def imported_files(modules: Sequence[str], packages: Sequence[str] = ("ouro",)) -> list[Path]:
    """The source files behind `modules` ("ouro.annotate.merge") and their imports within `packages`, sorted.

    Imports inside functions count, those for type checkers do not. Nothing is executed. Raises ArtifactError.
    """
    return _closure(modules, packages)


def _closure(modules: Sequence[str], packages: Sequence[str], apart: Set[str] = frozenset()) -> list[Path]:
    """`apart`: modules that are neither entered nor listed."""
    paths: dict[str, Path] = {}
    todo = list(modules)
    while todo:
        name = todo.pop()
        if name in paths or name in apart:
            continue
        path = _source(name)
        if path is None:
            raise ArtifactError(f"module {name}: no source under {SOURCE_ROOT}; expected one like ouro.core.boxes")
        paths[name] = path
        todo += [m for m in (*_parents(name), *_imports(name, path)) if m.split(".")[0] in packages]
    return sorted(set(paths.values()))


def _source(module: str) -> Path | None:
    base = SOURCE_ROOT.joinpath(*module.split("."))
    return next((p for p in (base.with_suffix(".py"), base / "__init__.py") if p.is_file()), None)


class Source(NamedTuple):
    """A module: what of it decides results, and its imports as (level, module, names); () for `import module`."""

    decisive: str
    imports: tuple[tuple[int, str, tuple[str, ...]], ...]


def _read(path: Path) -> Source:
    try:
        return _parsed(path.read_text("utf-8"))
    except (SyntaxError, ValueError) as error:
        raise ArtifactError(f"{path}: no Python: {error}; expected a module of this project") from error


@lru_cache(maxsize=512)
def _parsed(text: str) -> Source:
    tree = ast.parse(text)
    imports: list[tuple[int, str, tuple[str, ...]]] = []
    for node in ast.walk(Executed().visit(tree)):
        if isinstance(node, ast.Import):
            imports += [(0, alias.name, ()) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            imports.append((node.level, node.module or "", tuple(alias.name for alias in node.names)))
    return Source(ast.dump(Decisive().visit(tree)), tuple(imports))


def _parents(module: str) -> list[str]:
    parts = module.split(".")
    return [".".join(parts[:n]) for n in range(1, len(parts))]


def _imports(module: str, path: Path) -> Iterator[str]:
    """Names of modules that a source file imports; for `from a import b` also a.b where that is a module."""
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    for level, name, members in _read(path).imports:
        above = package[: len(package) - level + 1] if level else []
        base = ".".join([*above, *([name] if name else [])])
        yield base
        yield from (n for n in (f"{base}.{member}" for member in members) if _source(n) is not None)


class Executed(ast.NodeTransformer):
    """Leaves out what only type checkers read: the body of `if TYPE_CHECKING:`."""

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        self.generic_visit(node)
        test = node.test
        name = test.attr if isinstance(test, ast.Attribute) else test.id if isinstance(test, ast.Name) else ""
        return (node.orelse or [ast.Pass()]) if name == "TYPE_CHECKING" else node


class Decisive(Executed):
    """Leaves out docstrings, and annotations that nothing reads while the program runs.

    Annotations go from functions and local or global variables, in a module whose annotations are not evaluated
    (`from __future__ import annotations`). They stay in the body of a class, where they are the fields of a dataclass,
    a NamedTuple or a pydantic model, and on a decorated function, whose decorator may read them (singledispatch).
    """

    lazy = False  # annotations are not evaluated
    in_class = False

    def visit_Module(self, node: ast.Module) -> ast.AST:
        futures = (n for n in node.body if isinstance(n, ast.ImportFrom) and n.module == "__future__")
        self.lazy = any(alias.name == "annotations" for n in futures for alias in n.names)
        return self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        return self._inside(node, in_class=True)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return self._function(node)

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.AST:
        if self.lazy and not node.decorator_list:
            node.returns = None
            for argument in ast.walk(node.args):
                if isinstance(argument, ast.arg):
                    argument.annotation = None
        return self._inside(node, in_class=False)

    def _inside(self, node: ast.AST, *, in_class: bool) -> ast.AST:
        before, self.in_class = self.in_class, in_class
        self.generic_visit(node)
        self.in_class = before
        return node

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        return ast.Pass() if isinstance(node.value, ast.Constant) else self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        self.generic_visit(node)
        if not self.lazy or self.in_class:
            return node
        if node.value:
            return ast.Assign([node.target], node.value)
        node.annotation = ast.Constant(None)  # "x: int" alone still makes x a local variable
        return node

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        for name in ("body", "orelse", "finalbody"):  # a docstring that comes or goes leaves no Pass behind
            block = getattr(node, name, None)
            if isinstance(block, list):
                setattr(node, name, [one for one in block if not isinstance(one, ast.Pass)])
        return node
