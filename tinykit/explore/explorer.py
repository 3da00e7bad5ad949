"""The explorer contract: knobs, a pure computation, figures and words. No widget in sight.

An explorer is a module in `tinykit/explore/` with one subclass of `Explorer`, found by its name
(`tinykit.explore.load`). All logic is testable without a browser: `compute` is pure, `figures` and
`text` only look at its result. `view` (see `tinykit.explore.view`) makes the widgets.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, Protocol, TypeVar

from tinykit.graph.errors import TinykitError

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from tinykit.explore.view import ExplorerView

R = TypeVar("R")


class Tick(Protocol):
    """Called by slow computations between their steps; raises `Cancelled` when a knob has been
    turned in the meantime."""

    def __call__(self, share: float | None, what: str, partial: Any = None, /) -> None:
        """Tell how far the work is.

        Parameters
        ----------
        share : done so far, 0 to 1, or None where that is unknown
        what : is being done
        partial : the result so far, of the type that ``compute`` returns; it is drawn while the
            work goes on. None: nothing new to see
        """


class SettingError(TinykitError, ValueError):
    """A setting that the explorer does not know, or a value that its control does not offer."""


class Cancelled(Exception):
    """Raised through `Tick` into a computation that nobody waits for any more."""


def quiet(share: float | None, what: str, partial: Any = None, /) -> None:
    """The `Tick` of those who do not watch."""


@dataclass(frozen=True)
class Choice:
    """A knob with a few positions.

    Parameters
    ----------
    name : key in the settings
    label : what people read
    options : (value, text) in order
    default : one of the values
    style : "slider" where the options have an order, "buttons" for few, "menu" for many
    help : one sentence, shown as a tooltip
    """

    name: str
    label: str
    options: tuple[tuple[Any, str], ...]
    default: Any
    style: Literal["slider", "buttons", "menu"] = "menu"
    help: str = ""

    @property
    def values(self) -> tuple[Any, ...]:
        return tuple(value for value, _ in self.options)

    def check(self, value: Any) -> Any:
        for known in self.values:
            if known == value and isinstance(known, bool) == isinstance(value, bool):
                return known
        offered = ", ".join(repr(v) for v in self.values)
        raise SettingError(f"{self.label} ({self.name}) cannot be {value!r}; choose from {offered}")


@dataclass(frozen=True)
class File:
    """A file that a person drops in.

    Attributes
    ----------
    content : its bytes
    """

    name: str
    content: bytes


@dataclass(frozen=True)
class Upload:
    """A knob that takes a file (or None).

    Parameters
    ----------
    accept : suffixes, e.g. ".tflite"
    limit_bytes : larger files are refused before they are read
    """

    name: str
    label: str
    accept: str
    limit_bytes: int
    help: str = ""
    default: None = None

    def check(self, value: Any) -> File | None:
        if value is None:
            return None
        if not isinstance(value, File):
            raise SettingError(
                f"{self.label} ({self.name}) takes a File, got {type(value).__name__}"
            )
        if len(value.content) > self.limit_bytes:
            raise SettingError(
                f"{value.name} has {len(value.content):,} bytes; at most {self.limit_bytes:,} are "
                "taken here. Use `tinykit profile` on the command line for larger models."
            )
        return value


Control = Choice | Upload
Settings = Mapping[str, Any]


class Explorer(ABC, Generic[R]):
    """Knobs → result → figures and words.

    Attributes
    ----------
    name : short and unique; file names, URLs and `tinykit app NAME` use it
    title, summary : for people
    needs : packages, beside those that all explorers need, that it cannot do without
    controls : the knobs, in the order in which they are shown
    """

    name: ClassVar[str]
    title: ClassVar[str]
    summary: ClassVar[str] = ""
    needs: ClassVar[tuple[str, ...]] = ()

    @property
    @abstractmethod
    def controls(self) -> tuple[Control, ...]: ...

    @abstractmethod
    def compute(self, settings: Settings, tick: Tick = quiet) -> R:
        """The result of `settings`: pure, the same settings give the same result.

        Slow computations call `tick` between their steps; what they pass it as a partial result is
        drawn while they run.

        Raises
        ------
        TinykitError
            What a person did wrong, in words; the app shows them.
        """

    @abstractmethod
    def figures(self, result: R) -> dict[str, go.Figure]: ...

    @abstractmethod
    def text(self, result: R) -> str:
        """What the figures show, in words and numbers with units and provenance."""

    def panels(self, result: R) -> dict[str, str]:
        """Texts shown side by side under the figures, by title: code, listings."""
        return {}

    def instant(self, settings: Settings) -> bool:
        """Whether `compute` will answer within a few milliseconds; else it runs off the main
        thread, with progress."""
        return True

    def labels(self, settings: Settings) -> Mapping[str, str | None]:
        """What knobs are called now, by name, where that is not their label; None: the knob does
        nothing with these settings, and is not shown."""
        return {}

    def prepare(self, settings: Settings, tick: Tick) -> None:
        """Compute and remember what the next turn from `settings` is likely to need.

        Runs off the main thread after a turn, until the next one: call `tick` between steps.
        """

    def settings(self, changes: Settings | None = None) -> dict[str, Any]:
        """All settings: the defaults, with `changes`.

        Raises
        ------
        SettingError
        """
        changes = dict(changes or {})
        known = {control.name: control for control in self.controls}
        if unknown := sorted(set(changes) - set(known)):
            raise SettingError(
                f"{self.title} has no setting {', '.join(unknown)}; it has {', '.join(known)}"
            )
        return {
            name: control.check(changes.get(name, control.default))
            for name, control in known.items()
        }

    def view(self, **changes: Any) -> ExplorerView:
        """The widgets, for a notebook or an app, starting from the defaults with `changes`."""
        from tinykit.explore.view import ExplorerView

        return ExplorerView(self, changes)
