"""Gives functions of a class other globals, without changing the class or its module.

A Python function looks its globals up in the dictionary that it was made with. A copy of the function with the
same code and another dictionary computes the same with `np` meaning something else, for whoever calls the
copy. Nobody else sees it: Meta-World's modules, classes and other objects keep their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import CellType, FunctionType
from typing import Any


def rebound_class(original: type, overrides: type, package: str, replacements: Mapping) -> type:
    """A subclass of `original` whose functions see `replacements` in place of their globals.

    Methods of `overrides` win over those of its own base classes, as if `original` were derived
    from it. Where `original` overrides them itself, its own win.

    Args:
        original: the class; its base classes in `package` are rebound with it.
        overrides: faster methods; a subclass of one of the base classes.
        package: functions of its modules are rebound, others stay.
        replacements: the new objects by the `id` of the global objects that they stand for.
    """
    rebinding = _Rebinding(replacements)
    members: dict[str, Any] = {}
    for base in reversed(original.__mro__):
        if base.__module__.split(".")[0] == package:
            overridden = vars(overrides) if issubclass(overrides, base) else {}
            for name, member in _members(base):
                if name not in overridden:
                    members[name] = rebinding.of(member)
    rebound = type(original.__name__, (overrides, original), members)
    rebinding.rename(original, rebound)  # static methods are called by the name of their class
    return rebound


def _members(cls: type) -> Iterator[tuple[str, Any]]:
    return ((name, it) for name, it in vars(cls).items() if not name.startswith("__"))


class _Rebinding:
    def __init__(self, replacements: Mapping) -> None:
        self._replacements = replacements
        self._globals: dict[int, dict[str, Any]] = {}

    def of(self, member: Any) -> Any:
        """The same member of a class, rebound if it is a function, method or property."""
        if isinstance(member, FunctionType):
            return self._function(member)
        if isinstance(member, staticmethod):
            return staticmethod(self.of(member.__func__))
        if isinstance(member, property):
            return property(*(self.of(it) for it in (member.fget, member.fset, member.fdel)))
        return member

    def rename(self, original: type, rebound: type) -> None:
        """Let the functions find the new class where they look for the original."""
        for scope in self._globals.values():
            scope.update({name: rebound for name, it in scope.items() if it is original})

    def _function(self, function: FunctionType) -> FunctionType:
        scope = self._globals.get(id(function.__globals__))
        if scope is None:
            scope = {
                name: self._replacements.get(id(it), it)
                for name, it in function.__globals__.items()
            }
            self._globals[id(function.__globals__)] = scope
        cells = function.__closure__ and tuple(map(self._cell, function.__closure__))
        copy = FunctionType(
            function.__code__, scope, function.__name__, function.__defaults__, cells
        )
        copy.__kwdefaults__ = function.__kwdefaults__
        return copy

    def _cell(self, cell: CellType) -> CellType:
        """A decorated function is in the closure of its decorator's."""
        content = cell.cell_contents
        return CellType(self._function(content)) if isinstance(content, FunctionType) else cell
