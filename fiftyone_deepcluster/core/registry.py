"""Registries of parts by name: built-in modules are discovered, other packages register via entry points.

A *part* is a small frozen pydantic model with one public method. Its fields are its options, from which the
SDK signature, the App's form, the run record and the documentation are generated. To add one, write a
module in this package or in your own, and decorate the class::

    @CLUSTERERS.register
    class MyClusterer(Clusterer):
        name: Literal["mine"] = "mine"
        strength: float = Field(1.0, gt=0, description="How strongly to ...")

        def find(self, vectors, request): ...

The name can be used once the module is imported. For processes that do not import it, such as the App's
server, an installed package declares the module in its ``pyproject.toml``::

    [project.entry-points."fiftyone_deepcluster.parts"]
    mine = "my_package.my_clusterer"
"""

from __future__ import annotations

import importlib
import logging
import pkgutil
import re
import threading
from dataclasses import dataclass
from importlib.abc import SourceLoader
from importlib.metadata import entry_points
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pydantic import ConfigDict, ValidationError
from pydantic_core import core_schema

from fiftyone_deepcluster.core.arguments import short
from fiftyone_deepcluster.core.given_values import GivenValues
from fiftyone_deepcluster.core.option_errors import explain, suggest
from fiftyone_deepcluster.errors import OptionsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import GetCoreSchemaHandler

logger = logging.getLogger(__name__)

_PACKAGE = "fiftyone_deepcluster"
_GROUP = f"{_PACKAGE}.parts"
_NOTEBOOK = "__main__"
_REGISTERED = re.compile(r"^@\w+\.register\b", re.MULTILINE)

# Two locks: a thread that imports an outside module holds Python's lock of that module and may need the built-in
# names (``register``), while another thread loads the same module as an entry point.
_BUILT_IN_LOCK = threading.RLock()
_OUTSIDE_LOCK = threading.RLock()


class Part(GivenValues):
    """Base class of parts: a frozen model of options, which users select by ``name``.

    The first line of the docstring of a subclass is its help text in the App.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str

    def __init__(self, /, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise OptionsError(explain(error, _name_of(type(self)), type(self))) from None

    # Without this flag pydantic would call __init__ in model_validate, which must raise ValidationError by field.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    def __setattr__(self, name: str, value: object) -> None:
        try:
            super().__setattr__(name, value)
        except ValidationError:
            kind = type(self).__name__
            raise OptionsError(
                f"{name}={short(value)}: a {kind} is immutable; create a new one: "
                f"{kind}(**{{**options.model_dump(), {name!r}: {value!r}}})"
            ) from None


P = TypeVar("P", bound=Part)


class Registry(Generic[P]):
    """Registry of the parts of one family, by name.

    Args:
        family: plural name of the parts, such as ``clusterers``.
        base: base class of all parts of the family.
        package: subpackage of ``fiftyone_deepcluster`` that is searched recursively for built-in parts;
            by default the one named like the family.
    """

    def __init__(self, family: str, base: type[P], package: str | None = None) -> None:
        self.family = family
        self.base = base
        self._package = package or family
        self._parts: dict[str, type[P]] = {}
        self._built_in = _LoadOnce(_BUILT_IN_LOCK)

    def register(self, part: type[P]) -> type[P]:
        """Class decorator: register ``part`` under the default of its ``name`` field.

        A class that is redefined, as when a notebook cell is run again, replaces its earlier definition.

        Raises:
            TypeError: it is not a complete part of this family, or another part has this name.
        """
        self._check(part)
        if not is_built_in(part):
            self._built_in.load(self._import_built_in)  # so that a clash with a built-in name is detected
        name = part.model_fields["name"].default
        known = self._parts.get(name)
        if known is not None and not _is_redefined(known, part):
            raise TypeError(
                f"the name {name!r} in {self.family} is taken by {_full_name(known)}; give {_full_name(part)} "
                "another name"
            )
        self._parts[name] = part
        return part

    def names(self) -> list[str]:
        """All registered names, sorted."""
        self._load()
        return sorted(self._parts)

    def get(self, name: str) -> type[P]:
        """The class registered under ``name``.

        Raises:
            OptionsError: the name is unknown, or the entry point of this name failed; its error is the cause.
        """
        self._load()
        if name not in self._parts:
            not_loaded = "".join(f"; {failure}" for failure in _OUTSIDE.failed)
            known = suggest(name, self._parts)
            cause = next((failure.error for failure in _OUTSIDE.failed if failure.name == name), None)
            raise OptionsError(
                f"there is no {name!r} among the {self.family}; {known}{not_loaded}"
            ) from cause
        return self._parts[name]

    def parse(self, value: object) -> P:
        """A part from a part, a name, or a dict with ``name`` and options.

        Raises:
            OptionsError: the name is unknown or an option is invalid.
        """
        if isinstance(value, self.base):
            return value
        if isinstance(value, str):
            return self.get(value)()  # type: ignore[call-arg]
        if isinstance(value, dict) and isinstance(value.get("name"), str):
            try:
                return self.get(value["name"]).model_validate(value)
            except ValidationError as error:
                raise OptionsError(explain(error, value["name"], self.get(value["name"]))) from None
        raise OptionsError(
            f"{short(value)} is not one of the {self.family}; give one of {', '.join(self.names())}, "
            'or a dict {"name": ..., options}'
        )

    def _load(self) -> None:
        self._built_in.load(self._import_built_in)
        _OUTSIDE.load()

    def _import_built_in(self) -> None:
        package = importlib.import_module(f"{_PACKAGE}.{self._package}")
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if _registers_parts(module.name):
                importlib.import_module(module.name)

    def _check(self, part: type[P]) -> None:
        """Raise TypeError unless ``part`` is a complete part of this family."""
        base = self.base.__name__
        if not (isinstance(part, type) and issubclass(part, self.base)):
            raise TypeError(f"{part!r} is not a subclass of {base}; write: class MyPart({base})")
        if not isinstance(part.model_fields["name"].default, str):
            raise TypeError(f'{part.__name__} needs `name: Literal["..."] = "..."`')
        missing = sorted(getattr(part, "__abstractmethods__", ()))
        for method in _overridden(part, self.base):
            instead = f"implement {', '.join(missing)} instead" if missing else "remove it"
            raise TypeError(f"{part.__name__}.{method} overrides {base}.{method}, which is final; {instead}")
        if missing:
            raise TypeError(f"{part.__name__} does not implement {', '.join(missing)}; every {base} needs it")


class _LoadOnce:
    """Work that is done once, however many threads ask for it; the others wait until it is done.

    Args:
        lock: reentrant lock that is held during the work.
    """

    def __init__(self, lock: threading.RLock) -> None:
        self._lock = lock
        self._running = False
        self._done = False

    def load(self, work: Callable[[], None]) -> None:
        """Do ``work``, unless it is done. If it fails, the next call tries again.

        A call from within the work returns at once.
        """
        if self._done:
            return
        with self._lock:
            if self._done or self._running:
                return
            self._running = True
            try:
                work()
                self._done = True
            finally:
                self._running = False


@dataclass(frozen=True)
class _Failure:
    """An entry point that could not be loaded."""

    name: str
    value: str
    error: BaseException

    def __str__(self) -> str:
        return f"the entry point {self.name} = {self.value!r} failed: {self.error!r}"


class _OutsideParts:
    """Parts of other installed packages, which are registered when their modules are imported.

    Attributes:
        failed: entry points that could not be loaded.
    """

    def __init__(self) -> None:
        self.failed: list[_Failure] = []
        self._once = _LoadOnce(_OUTSIDE_LOCK)

    def load(self) -> None:
        """Load all entry points, once; an entry point that fails is a warning and does not stop the others."""
        self._once.load(self._import_all)

    def _import_all(self) -> None:
        self.failed.clear()
        for point in entry_points(group=_GROUP):
            try:
                point.load()
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # another package may raise anything, and may exit
                self.failed.append(_Failure(point.name, point.value, error))
                logger.warning("parts of another package were not loaded: %s", self.failed[-1])


_OUTSIDE = _OutsideParts()


def _registers_parts(module: str) -> bool:
    """Whether a module registers a part; others, which may import torch, are imported only when used."""
    spec = find_spec(module)
    source = spec.loader.get_source(module) if spec and isinstance(spec.loader, SourceLoader) else None
    return source is None or _REGISTERED.search(source) is not None


class PartOf:
    """Annotation for an option that holds a part: ``Annotated[Clusterer, PartOf(CLUSTERERS)]``.

    Args:
        registry: registry in which the part is looked up.
        optional: allow None, for which the method chooses the part.
    """

    def __init__(self, registry: Registry[Any], *, optional: bool = False) -> None:
        self.registry = registry
        self.optional = optional

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        """Schema that validates by ``Registry.parse`` and serializes to a dict that includes the name."""
        return core_schema.no_info_plain_validator_function(
            self._validate,
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda part: None if part is None else part.model_dump(mode="json")
            ),
        )

    def _validate(self, value: object) -> Part | None:
        if value is None and self.optional:
            return None
        return self.registry.parse(value)  # type: ignore[no-any-return]


def _name_of(part: type[Part]) -> str:
    name = part.model_fields["name"].default
    return name if isinstance(name, str) else part.__name__


def _full_name(part: type[Part]) -> str:
    return f"{part.__module__}.{part.__qualname__}"


def is_built_in(part: type[Part]) -> bool:
    """Whether a part is one of this package, and not of another one or of a notebook."""
    return part.__module__.startswith(f"{_PACKAGE}.")


def _is_redefined(known: type[Part], part: type[Part]) -> bool:
    """Whether ``part`` is a redefinition of ``known``; in a notebook the class may have been renamed."""
    if known.__module__ != part.__module__:
        return False
    return part.__module__ == _NOTEBOOK or known.__qualname__ == part.__qualname__


def _overridden(part: type[Part], base: type[Part]) -> list[str]:
    """Final methods of ``base`` that ``part`` overrides."""
    final = [name for name, value in vars(base).items() if getattr(value, "__final__", False)]
    return [name for name in final if getattr(part, name) is not getattr(base, name)]
