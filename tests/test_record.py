"""The quick data classes against the standard ones."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from typing import Any

import pytest

from symgraph.core.record import FrozenError, dataclass, field, replace


@dataclass(frozen=True, slots=True)
class Point:
    """A frozen class with a default."""

    x: int
    y: int = 2

    @property
    def total(self) -> int:
        """The sum."""
        return self.x + self.y


@dataclasses.dataclass(frozen=True, slots=True)
class Standard:
    """The standard class of the same fields."""

    x: int
    y: int = 2


@dataclass(slots=True)
class Bag:
    """A mutable class with a factory and a check."""

    items: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        if len(self.items) > 3:
            raise ValueError("too many")


@dataclass(frozen=True, slots=True, eq=False)
class Thing:
    """Compared by identity."""

    x: int


def test_values_and_defaults() -> None:
    assert (Point(1).x, Point(1).y, Point(1, 5).y, Point(y=4, x=3).total) == (1, 2, 5, 7)
    assert repr(Point(1)) == repr(Standard(1)).replace("Standard", "Point")
    assert Bag().items == [] and Bag().items is not Bag().items
    match Point(3, 4):
        case Point(a, b):
            assert (a, b) == (3, 4)


@pytest.mark.parametrize("args", [(), (1, 2, 3)])
def test_wrong_arguments_raise(args: tuple[int, ...]) -> None:
    with pytest.raises(TypeError, match="Point.__init__"):
        Point(*args)


def test_equality_and_hash() -> None:
    assert Point(1) == Point(1, 2) and Point(1) != Point(2) and Point(1) != Standard(1)
    assert hash(Point(1)) == hash(Point(1, 2)) and len({Point(1), Point(1), Point(2)}) == 2
    assert Thing(1) != Thing(1) and len({Thing(1), Thing(1)}) == 2
    assert Bag([1]) == Bag([1])
    with pytest.raises(TypeError, match="unhashable"):
        hash(Bag())


def test_frozen_and_slotted() -> None:
    point: Any = Point(1)
    with pytest.raises(FrozenError, match="'x'"):
        point.x = 2
    with pytest.raises(FrozenError, match="'x'"):
        del point.x
    assert point.x == 1 and not hasattr(point, "__dict__")
    bag: Any = Bag()
    bag.items = [4]
    assert bag.items == [4]
    with pytest.raises(AttributeError):
        bag.other = 1


def test_the_check_after_init_runs() -> None:
    with pytest.raises(ValueError, match="too many"):
        Bag([1, 2, 3, 4])


def test_copies_and_pickles() -> None:
    for value in (Point(1, 7), Bag([1, 2])):
        assert copy.copy(value) == value
        assert copy.deepcopy(value) == value
        assert pickle.loads(pickle.dumps(value)) == value


def test_a_record_with_a_field_changed() -> None:
    one = Point(1, 5)
    assert replace(one, y=7) == Point(1, 7) and one == Point(1, 5)
    with pytest.raises(TypeError):
        replace(one, z=1)


def test_classes_of_one_pattern_keep_their_own_names() -> None:
    @dataclass(frozen=True, slots=True)
    class Other:
        """As many fields as Point, under other names."""

        left: int
        right: int = 7

    assert (Other(1).left, Other(1).right, Other(left=3, right=4).right) == (1, 7, 4)
    assert (Point(1, 5).x, Point(1, 5).y) == (1, 5)
    with pytest.raises(TypeError, match=r"Other.__init__\(\) missing 1 .* 'left'"):
        Other()
    with pytest.raises(TypeError, match="fields without a default come first"):

        @dataclass(slots=True)
        class Wrong:
            """A default before a field that has none."""

            x: int = 1
            y: int  # noqa: PLE0601
