"""Where a map has its entries: in groups of 8, of which a byte each says whether a slot is used.

Up to Go 1.23 these are buckets (runtime/map.go: 8 tophash bytes, 8 keys, 8 elements, a pointer to the next one), since
then groups (internal/runtime/maps/group.go: 8 control bytes, then 8 times key and element, or with the experiment
mapsplitgroup of Go 1.27 8 keys, then 8 elements). Keys and elements of more than 128 bytes are behind pointers.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from undergo.goexe.abi import alignment
from undergo.goexe.types import GoType, Types

_LARGEST_INLINE: Final = 128  # internal/abi: MapMaxKeyBytes, MapMaxElemBytes; runtime/map.go: maxKeySize
_SLOTS: Final = 8
_CONTROL: Final = 8  # bytes before the slots


class MapLayout(Enum):
    """How a Go version lays out its maps."""

    BUCKETS = "buckets"
    GROUPS = "groups"
    SPLIT_GROUPS = "split groups"


def map_layout(version: tuple[int, ...], go_version: str) -> MapLayout:
    """The layout of a program's maps; `go_version` names experiments: "go1.24.1 X:noswissmap", "go1.27.3-X:a,b"."""
    experiments = go_version.partition("X:")[2].split(",")
    if version < (1, 24) or "noswissmap" in experiments:
        return MapLayout.BUCKETS
    return MapLayout.SPLIT_GROUPS if "mapsplitgroup" in experiments else MapLayout.GROUPS


@dataclass(frozen=True, slots=True)
class Stored:
    """The keys or the elements of a group."""

    type: GoType
    size: int  # bytes in a slot
    at: int  # of the first one in a group
    stride: int  # from one to the next
    indirect: bool  # they are pointers to the real ones


@dataclass(frozen=True, slots=True)
class MapSlots:
    """A group of 8 slots. Sizes in bytes."""

    keys: Stored
    elems: Stored
    size: int  # of a group
    layout: MapLayout


def map_slots(of: GoType, types: Types, layout: MapLayout) -> MapSlots:
    """The slots of a map of the type `of`."""
    key, elem = types[of.key], types[of.elem]
    sizes = [8 if each.size > _LARGEST_INLINE else each.size for each in (key, elem)]
    aligns = [8 if each.size > _LARGEST_INLINE else alignment(each, types) for each in (key, elem)]
    if layout is MapLayout.GROUPS:
        at = _aligned(sizes[0], aligns[1])
        # a struct whose last field has no size is a byte longer, lest that field's address be the next one's
        end = at + sizes[1] + (not sizes[1] and at > 0)
        slot = _aligned(end, max(aligns))
        places, strides, size = (_CONTROL, _CONTROL + at), (slot, slot), _CONTROL + _SLOTS * slot
    else:
        second = _aligned(_CONTROL + _SLOTS * sizes[0], aligns[1])
        places, strides = (_CONTROL, second), (sizes[0], sizes[1])
        end = second + _SLOTS * sizes[1]
        # buckets have a pointer to the next one at their end
        size = _aligned(end, 8) + (8 if layout is MapLayout.BUCKETS else 8 * (not sizes[1]))
    keys, elems = (
        Stored(each, size_, at, stride, each.size > _LARGEST_INLINE)
        for each, size_, at, stride in zip((key, elem), sizes, places, strides, strict=True)
    )
    return MapSlots(keys, elems, size, layout)


def _aligned(offset: int, to: int) -> int:
    return (offset + to - 1) // to * to
