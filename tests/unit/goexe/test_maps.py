"""Where maps have their entries, by hand from the sources of runtime and internal/runtime/maps."""

from __future__ import annotations

import pytest

from undergo.goexe.maps import MapLayout, map_layout, map_slots
from undergo.goexe.types import Field, GoType, Kind

TYPES = {
    1: GoType("string", Kind.STRING, 16),
    2: GoType("bool", Kind.BOOL, 1),
    3: GoType("int64", Kind.INT64, 8),
    4: GoType("struct {}", Kind.STRUCT, 0),
    5: GoType("[17]int64", Kind.ARRAY, 136, elem=3, count=17),
    6: GoType("main.P", Kind.STRUCT, 12, fields=(Field("a", 0, 7), Field("b", 8, 7))),
    7: GoType("int32", Kind.INT32, 4),
}


@pytest.mark.parametrize(
    ("version", "text", "layout"),
    [
        ((1, 19), "go1.19.8", MapLayout.BUCKETS),
        ((1, 23), "go1.23.9", MapLayout.BUCKETS),
        ((1, 24), "go1.24.11", MapLayout.GROUPS),
        ((1, 24), "go1.24.11 X:noswissmap", MapLayout.BUCKETS),
        ((1, 25), "go1.25.1 X:nodwarf5,noswissmap", MapLayout.BUCKETS),
        ((1, 27), "go1.27.3", MapLayout.GROUPS),
        ((1, 27), "go1.27.3-X:mapsplitgroup", MapLayout.SPLIT_GROUPS),
    ],
)
def test_the_layout_of_a_version(version: tuple[int, int], text: str, layout: MapLayout) -> None:
    assert layout is map_layout(version, text)


@pytest.mark.parametrize(
    ("key", "elem", "layout", "keys", "elems", "size"),
    [
        # (bytes stored, of the first in the group, from one to the next)
        (1, 3, MapLayout.BUCKETS, (16, 8, 16), (8, 136, 8), 208),
        (1, 3, MapLayout.GROUPS, (16, 8, 24), (8, 24, 24), 200),
        (1, 3, MapLayout.SPLIT_GROUPS, (16, 8, 16), (8, 136, 8), 200),
        (2, 3, MapLayout.GROUPS, (1, 8, 16), (8, 16, 16), 136),
        (3, 2, MapLayout.GROUPS, (8, 8, 16), (1, 16, 16), 136),
        (2, 3, MapLayout.SPLIT_GROUPS, (1, 8, 1), (8, 16, 8), 80),
        (2, 2, MapLayout.BUCKETS, (1, 8, 1), (1, 16, 1), 32),
        (1, 4, MapLayout.GROUPS, (16, 8, 24), (0, 24, 24), 200),
        (6, 2, MapLayout.GROUPS, (12, 8, 16), (1, 20, 16), 136),
        (5, 5, MapLayout.GROUPS, (8, 8, 16), (8, 16, 16), 136),
        (5, 5, MapLayout.BUCKETS, (8, 8, 8), (8, 72, 8), 144),
    ],
)
def test_slots(
    key: int,
    elem: int,
    layout: MapLayout,
    keys: tuple[int, int, int],
    elems: tuple[int, int, int],
    size: int,
) -> None:
    found = map_slots(GoType("map", Kind.MAP, 8, key=key, elem=elem), TYPES, layout)
    assert (keys, elems, size) == (
        (found.keys.size, found.keys.at, found.keys.stride),
        (found.elems.size, found.elems.at, found.elems.stride),
        found.size,
    )
    assert (key == 5) == found.keys.indirect
