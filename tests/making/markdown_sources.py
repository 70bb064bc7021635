"""Which texts of the pages reach Streamlit's markdown without having been made plain: a reading of their source.

A text is safe when it is written in the source, made by a function that is known to make it so, or declared `Markdown`
(pages/ui/words/formats.py). Whoever returns, takes or holds `Markdown` is held to it where it is returned or given.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

BODIES = {
    "markdown", "caption", "title", "header", "subheader", "error", "warning", "info", "success", "toast", "write",
    "metric", "button", "form_submit_button", "download_button", "link_button", "page_link", "checkbox", "toggle",
    "radio", "selectbox", "multiselect", "slider", "select_slider", "text_input", "text_area", "number_input", "badge",
    "file_uploader", "pills", "segmented_control", "expander", "popover", "status", "spinner", "dialog", "tabs",
    "table", "menu_button", "date_input",
}  # fmt: skip
"""Calls of Streamlit whose first argument is read as markdown."""

KEYWORDS = {"label", "body", "help", "caption", "captions", "value", "delta", "delta_description"}
"""Arguments by name that are read as markdown, of the calls above and of `progress`, `image`, `Column`."""

OPTIONS = {"radio", "pills", "segmented_control"}
"""Widgets whose options are read as markdown, unless `format_func` makes them plain."""

MAKE_PLAIN = {
    "escaped", "plain_sentence", "count", "number", "percent", "interval", "duration", "moment", "plural", "len",
    "coefficient", "rate", "short", "size", "small_percent",
    "round", "int", "float",
}  # fmt: skip
"""Functions whose answer holds no text of data, or holds it escaped."""

KEEP_PLAIN = {
    "capitalize", "lower", "upper", "strip", "removesuffix", "removeprefix", "get", "replace", "format", "items",
    "values",
}  # fmt: skip
"""Methods that leave a safe text safe."""


@dataclass
class Declared:
    """What the pages declare as `Markdown`, and the modules of ours that the file at hand imports."""

    functions: set[str] = field(default_factory=set)
    own: set[str] = field(default_factory=set)
    fields: set[str] = field(default_factory=set)
    takes: dict[str, list[tuple[int, str]]] = field(default_factory=dict)


def unsafe(paths: list[Path]) -> Iterator[str]:
    """Each place where a text that nobody made plain reaches markdown."""
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in paths}
    declared = _declared(trees.values())
    for path, tree in trees.items():
        declared.own = _own_modules(tree)
        for scope, node in _scoped(tree):
            for part in _sinks(node, scope, declared):
                if not _safe(part, scope, declared):
                    yield f"{path.name}:{part.lineno}: {ast.unparse(part)[:100]}"


def _declared(trees) -> Declared:
    found = Declared()
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                if _is_markdown(node.returns):
                    found.functions.add(node.name)
                arguments = [*node.args.posonlyargs, *node.args.args]
                taken = [(place, a.arg) for place, a in enumerate(arguments) if _is_markdown(a.annotation)]
                taken += [(99, a.arg) for a in node.args.kwonlyargs if _is_markdown(a.annotation)]
                if taken:
                    found.takes[node.name] = taken
            elif isinstance(node, ast.ClassDef):
                fields = [item for item in node.body if isinstance(item, ast.AnnAssign)]
                own = [
                    (place, item.target.id)
                    for place, item in enumerate(fields)
                    if _is_markdown(item.annotation)
                ]
                found.fields |= {name for _, name in own}
                if own:
                    found.takes[node.name] = own
    return found


def _own_modules(tree: ast.Module) -> set[str]:
    """The names under which a file imports modules of ours: what they offer is not Streamlit's."""
    imports = (node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module)
    ours = (node for node in imports if str(node.module).startswith(("pages", "influence_core")))
    return {alias.asname or alias.name for node in ours for alias in node.names}


def _is_markdown(annotation: ast.expr | None) -> bool:
    return annotation is not None and "Markdown" in ast.unparse(annotation)


def _scoped(tree: ast.Module) -> Iterator[tuple[ast.AST, ast.AST]]:
    """Every node with the function it stands in, or the module."""
    waiting: list[tuple[ast.AST, ast.AST]] = [(tree, tree)]
    while waiting:
        scope, node = waiting.pop()
        yield scope, node
        inner = node if isinstance(node, ast.FunctionDef) else scope
        waiting += [(inner, child) for child in ast.iter_child_nodes(node)]


def _sinks(node: ast.AST, scope: ast.AST, declared: Declared) -> Iterator[ast.expr]:
    """The parts of a node that are read as markdown."""
    if isinstance(node, ast.Return) and node.value is not None:
        makes_plain = isinstance(scope, ast.FunctionDef) and scope.name in MAKE_PLAIN
        if isinstance(scope, ast.FunctionDef) and _is_markdown(scope.returns) and not makes_plain:
            yield node.value
    if not isinstance(node, ast.Call):
        return
    name = _name(node.func)
    keywords = {keyword.arg: keyword.value for keyword in node.keywords}
    if name in BODIES and isinstance(node.func, ast.Attribute) and not _is_another(node.func, declared.own):
        yield from node.args[: 3 if name == "metric" else 1]
        written = KEYWORDS if name == "metric" else KEYWORDS - {"value"}
        yield from (value for key, value in keywords.items() if key in written)
        if name in OPTIONS and "format_func" not in keywords:
            yield from node.args[1:2]
    elif name in ("progress", "image") or name.endswith("Column"):
        yield from (value for key, value in keywords.items() if key in KEYWORDS | {"text"})
    for place, argument in declared.takes.get(name, ()):
        if argument in keywords:
            yield keywords[argument]
        elif place < len(node.args):
            yield node.args[place]


def _is_another(function: ast.Attribute, own: set[str]) -> bool:
    """Whether a call that is named like one of Streamlit's is one of a module of ours, of a file or of a table."""
    receiver = ast.unparse(function.value)
    return receiver in own or (function.attr in ("table", "write") and receiver != "st")


def _name(function: ast.expr) -> str:
    return getattr(function, "attr", None) or getattr(function, "id", "")


def _safe(
    part: ast.expr | None, scope: ast.AST, declared: Declared, seen: frozenset[str] = frozenset()
) -> bool:
    def safe(*parts: ast.expr | None) -> bool:
        return all(_safe(item, scope, declared, seen) for item in parts)

    match part:
        case None | ast.Constant():
            return True
        case ast.JoinedStr(values=values) | ast.BoolOp(values=values):
            return safe(*values)
        case ast.FormattedValue(value=value, format_spec=spec):
            return _is_numeric(spec) or safe(value)
        case ast.Starred(value=value) | ast.Subscript(value=value) | ast.NamedExpr(value=value):
            return safe(value)
        case ast.BinOp(left=left, right=right):
            return safe(left, right)
        case ast.IfExp(body=body, orelse=orelse):
            return safe(body, orelse)
        case ast.Dict(keys=keys, values=values):
            by_text = isinstance(scope, ast.FunctionDef) and "dict[Markdown" in ast.unparse(scope)
            return safe(*keys) and (by_text or safe(*values))
        case ast.List(elts=parts) | ast.Tuple(elts=parts) | ast.Set(elts=parts):
            return safe(*parts)
        case ast.GeneratorExp(elt=elt, generators=generators) | ast.ListComp(elt=elt, generators=generators):
            return _safe(elt, ast.Module([*_bindings(generators), scope], []), declared, seen)
        case ast.DictComp(value=value, generators=generators):
            return _safe(value, ast.Module([*_bindings(generators), scope], []), declared, seen)
        case ast.Call(func=function, args=arguments):
            name = _name(function)
            called = (
                function.value.id
                if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name)
                else ""
            )
            ours = isinstance(function, ast.Name) or called in declared.own
            if name in MAKE_PLAIN or (ours and name in declared.functions):
                return True
            if name == "join":
                return safe(*arguments)
            if name in ("list", "tuple", "sorted", "dict", "next", "iter", "enumerate", "zip", "reversed"):
                return safe(*arguments)
            given = arguments[1:] if name == "get" else arguments
            return name in KEEP_PLAIN and isinstance(function, ast.Attribute) and safe(function.value, *given)
        case ast.Compare():
            return True
        case ast.Attribute(attr=name):
            return name.isupper() or name in declared.fields
        case ast.Name(id=name):
            return name.isupper() or (
                name not in seen and _bound_safely(name, scope, declared, seen | {name})
            )
    return False


def _is_numeric(spec: ast.expr | None) -> bool:
    """Whether a value is formatted as a number, so that it cannot be a text."""
    return spec is not None and ast.unparse(spec).rstrip("'\"")[-1:] in "fdeg%"


def _bindings(generators: list[ast.comprehension]) -> list[ast.For]:
    return [ast.For(each.target, each.iter, [], []) for each in generators]


def _bound_safely(name: str, scope: ast.AST, declared: Declared, seen: frozenset[str]) -> bool:
    """Whether a local name is given safe texts only, wherever it is bound."""
    found: list[bool] = []
    for node in ast.walk(scope):
        match node:
            case ast.FunctionDef(args=arguments) if node is scope or not isinstance(scope, ast.FunctionDef):
                every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
                if not isinstance(scope, ast.Module) or node in scope.body:
                    found += [_is_markdown(a.annotation) for a in every if a.arg == name]
            case ast.Assign(targets=targets, value=value):
                for target in targets:
                    found += _binding(name, target, value, scope, declared, seen)
            case ast.AnnAssign(target=target, annotation=annotation, value=value) if _names(target, name):
                found.append(_is_markdown(annotation) or _safe(value, scope, declared, seen))
            case ast.AugAssign(target=target, value=value) if _names(target, name):
                found.append(_safe(value, scope, declared, seen))
            case ast.NamedExpr(target=target, value=value) if _names(target, name):
                found.append(_safe(value, scope, declared, seen))
            case ast.For(target=target, iter=iterated):
                found += _binding(name, target, iterated, scope, declared, seen)
    return bool(found) and all(found)


def _binding(name, target, value, scope, declared, seen) -> list[bool]:
    if isinstance(target, ast.Subscript) and _names(target.value, name):
        return [_safe(target.slice, scope, declared, seen)]
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
        pairs = zip(target.elts, value.elts, strict=True)
        return [_safe(v, scope, declared, seen) for t, v in pairs if _names(t, name)]
    return [_safe(value, scope, declared, seen)] if _names(target, name) else []


def _names(target: ast.expr, name: str) -> bool:
    return any(isinstance(node, ast.Name) and node.id == name for node in ast.walk(target))
