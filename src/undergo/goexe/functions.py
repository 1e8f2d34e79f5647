"""The function table of a Go executable: names, addresses and pc tables, stripped or not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property

import numpy as np
import numpy.typing as npt

from undergo.errors import TruncatedError
from undergo.goexe import pcvalues
from undergo.goexe.function import Function, Source
from undergo.goexe.pclntab import Pclntab

Words = npt.NDArray[np.uint32]

# Rows that only mark a place in the text (cmd/link/internal/ld: textaddress, doelf, fips140): not code.
_MARKS = frozenset(
    {
        "go:buildid",
        "go.buildid",
        "go:textfipsstart",
        "go:textfipsend",
        "runtime.text",
        "runtime.etext",
    }
)
_NO_FILE = 0xFFFFFFFF

# The linker gives this function the wrappers' funcID in every version (cmd/internal/objabi/funcid.go), while
# the number itself moves: 22 in 1.17, 21 in 1.19 and 1.21, 22 in 1.22 to 1.24, 23 in 1.25 to 1.27.
_MARKED_AS_WRAPPER = "runtime.deferreturn"


class FunctionTable:
    """Every function of an executable, sorted by address; rows are what `Function.index` counts.

    Opening costs numpy work over all rows; a `Function` is made when it is asked for.
    """

    def __init__(self, table: Pclntab, text_start: int, display: str = "executable") -> None:
        """Read functab. Raises TruncatedError where the table points outside itself or is not sorted."""
        self._table = table
        self._display = display
        data = table.data
        self._records: Words = np.frombuffer(data, "<u4", (len(data) - table.table) // 4, table.table)
        entries, offsets = self._functab(text_start)
        shape = table.shape
        if int(offsets.max()) // 4 + shape.words > len(self._records) or (offsets & 3).any():
            raise self._contradiction()
        if not (entries[:-1] <= entries[1:]).all():
            raise self._contradiction()
        start = offsets >> 2
        name_offsets = self._records[start + shape.name]
        if int(name_offsets.max()) >= table.units - table.names:
            raise self._contradiction()
        names = _names(data[table.names : table.units], name_offsets)
        keep = np.array([i for i, name in enumerate(names) if name and name not in _MARKS], np.intp)
        if len(keep) < len(names):
            names = [names[i] for i in keep]
        self._full_names = names
        self.names: list[str] = [without_type_arguments(n) if "[" in n else n for n in names]  # one per row
        self.entries: npt.NDArray[np.uint64] = entries[keep]  # first byte of each function
        self.limits: npt.NDArray[np.uint64] = entries[keep + 1]  # the next row's first byte: padding included
        self.name_offsets: Words = name_offsets[keep]
        self._start = start[keep]  # each record's first word
        self._kinds = self._records[self._start + shape.kind]

    @cached_property
    def wrapper_id(self) -> int:
        """The funcID of wrappers in this executable; -1 if it cannot be told."""
        rows = self.rows_named(_MARKED_AS_WRAPPER)
        return int(self._kinds[rows[0]]) & 0xFF if rows else -1

    def _functab(self, text_start: int) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
        """Addresses (one more than functions) and byte offsets of records from the table's start."""
        table = self._table
        if table.absolute:
            wide = np.frombuffer(table.data, "<u8", 2 * table.functions + 1, table.table)
            return wide[::2], np.minimum(wide[1::2], np.uint64(1 << 62)).astype(np.int64)
        pairs = self._records[: 2 * table.functions + 1]
        if text_start + int(pairs[::2].max()) >= 1 << 64:
            raise self._contradiction()
        return pairs[::2].astype(np.uint64) + np.uint64(text_start), pairs[1::2].astype(np.int64)

    def _contradiction(self) -> TruncatedError:
        return TruncatedError(
            f"{self._display}: the Go function table contradicts itself",
            "the file is damaged: copy or build it again",
        )

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[Function]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Function:
        """The function in a row. Raises IndexError, and TruncatedError if its tables run out of the file."""
        if not 0 <= index < len(self.names):
            raise IndexError(index)
        file = self._file(index)
        return Function(
            index=index,
            name=self.names[index],
            entry=int(self.entries[index]),
            end=self.end(index),
            file=file,
            line=self._line(index),
            func_id=int(self._kinds[index]) & 0xFF,
            wrapper=self.is_wrapper(index),
            assembly=file.endswith((".s", ".S")),
        )

    def end(self, index: int) -> int:
        """One past the last instruction: the end of the last pcsp range, else the next function's entry."""
        ranges = self._values(index, self._word(index, self._table.shape.pcsp))
        return ranges[-1][1] if ranges else int(self.limits[index])

    def find(self, address: int) -> Function | None:
        """The function whose code an address is in; None in padding and outside Go's code."""
        if not 0 <= address < 1 << 64:
            return None
        row = int(np.searchsorted(self.entries, np.uint64(address), side="right")) - 1
        return self[row] if row >= 0 and address < self.end(row) else None

    def named(self, name: str) -> Function | None:
        """The function of exactly that name; among several, the one that is not a compiler-made wrapper."""
        rows = self.rows_named(name)
        if not rows:
            return None
        return self[next((row for row in rows if not self.is_wrapper(row)), rows[0])]

    def full_name(self, index: int) -> str:
        """The name as recorded: since Go 1.21 with type arguments, "main.Map[go.shape.int]"."""
        return self._full_names[index]

    def rows_named(self, name: str) -> tuple[int, ...]:
        """All rows of that name."""
        return self._by_name.get(name, ())

    def select(self, predicate: Callable[[str], object]) -> list[int]:
        """Rows whose name satisfies the predicate (such as `re.compile(...).fullmatch`), wrappers too."""
        return [row for row, name in enumerate(self.names) if predicate(name)]

    def is_wrapper(self, index: int) -> bool:
        """Whether the compiler made it: promoted methods, method values, ABI wrappers, hash functions."""
        return int(self._kinds[index]) & 0xFF == self.wrapper_id

    def pcsp(self, function: Function) -> list[tuple[int, int, int]]:
        """(start pc, end pc, SP delta in bytes) over its code; 0 at entry and at every RET.

        On amd64 SP + delta is the address of the return address (CFA - 8); empty where there is no table.
        """
        return self._values(function.index, self._word(function.index, self._table.shape.pcsp))

    def pcln(self, function: Function) -> list[tuple[int, int, int]]:
        """(start pc, end pc, line) over its code, lines of the file each pc came from."""
        return self._values(function.index, self._word(function.index, self._table.shape.pcln))

    def source(self, pc: int) -> Source | None:
        """The function whose code holds `pc`, and the file and line that this instruction came from.

        Where code was inlined the line is the inlined one's. None if no function holds it. Raises TruncatedError.
        """
        function = self.find(pc)
        if function is None:
            return None
        index, shape = function.index, self._table.shape
        lines = (line for start, end, line in self.pcln(function) if start <= pc < end)
        numbers = self._values(index, self._word(index, shape.pcfile))
        file = next((number for start, end, number in numbers if start <= pc < end), -1)
        return Source(function.name, self._file_numbered(index, file), next(lines, 0))

    def pcdata(self, function: Function, table: int) -> list[tuple[int, int, int]]:
        """(start pc, end pc, value) of one PCDATA table (internal/abi/symtab.go); empty if it has none."""
        shape = self._table.shape
        if table >= self._word(function.index, shape.npcdata):
            return []
        return self._values(function.index, self._word(function.index, shape.words + table))

    def deferreturn(self, function: Function) -> int | None:
        """The address where it goes on after a recovered panic; None if it defers nothing."""
        offset = self._word(function.index, self._table.shape.deferreturn)
        return function.entry + offset if offset else None

    @property
    def absolute_funcdata(self) -> bool:
        """Whether funcdata are addresses (Go 1.17) rather than offsets from moduledata's gofunc."""
        return self._table.absolute

    def funcdata(self, kind: int) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
        """All pieces of funcdata, sorted and distinct; and per row the one of that kind, 2**64-1 if none."""
        shape, records = self._table.shape, self._records
        held = (self._kinds >> np.uint32(24)).astype(np.int64)  # nfuncdata
        first = self._start + shape.words + records[self._start + shape.npcdata]
        wide = self._table.absolute
        if wide:
            first += first & 1  # pointers are aligned (the table itself is)
        pieces, chosen = [], np.full(len(self), 0xFFFFFFFFFFFFFFFF, np.uint64)
        for number in range(int(held.max(initial=0))):
            rows = np.flatnonzero(held > number)
            at = first[rows] + number * (2 if wide else 1)
            if int(at.max()) + wide >= len(records):
                raise self._contradiction()
            if wide:
                values = records[at].astype(np.uint64) | records[at + 1].astype(np.uint64) << np.uint64(32)
                there = values != 0
            else:
                values = records[at].astype(np.uint64)
                there = values != 0xFFFFFFFF
            pieces.append(values[there])
            if number == kind:
                chosen[rows[there]] = values[there]
        return np.unique(np.concatenate(pieces or [np.empty(0, np.uint64)])), chosen

    def are_names(self, offsets: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Which of these offsets into the name table begin a name that is not empty."""
        raw = np.frombuffer(
            self._table.data, np.uint8, self._table.units - self._table.names, self._table.names
        )
        inside = (offsets >= 0) & (offsets < len(raw))
        at = np.where(inside, offsets, 0)
        begins: npt.NDArray[np.bool_] = inside & (raw[at] != 0) & ((at == 0) | (raw[at - 1] == 0))
        return begins

    def name_at(self, offset: int) -> str:
        """The name at an offset into the name table, type arguments as "[...]"."""
        table = self._table
        end = table.data.find(b"\0", table.names + offset, table.units)
        return without_type_arguments(
            table.data[table.names + offset : max(end, 0)].decode("utf-8", "surrogateescape")
        )

    @cached_property
    def _by_name(self) -> dict[str, tuple[int, ...]]:
        rows: dict[str, tuple[int, ...]] = {}
        for row, name in enumerate(self.names):
            rows[name] = (*rows[name], row) if name in rows else (row,)
        return rows

    def _word(self, index: int, word: int) -> int:
        try:
            return int(self._records[self._start[index] + word])
        except IndexError:
            raise self._contradiction() from None

    def _values(self, index: int, offset: int) -> list[pcvalues.Range]:
        if not offset:
            return []
        table = self._table
        try:
            return pcvalues.decode(
                table.data,
                table.values + offset,
                int(self.entries[index]),
                int(self.limits[index]),
                table.quantum,
            )
        except TruncatedError as error:
            raise TruncatedError(
                f"{self._display}: {self.names[index]}: {error.message}", error.hint
            ) from None

    def _at_entry(self, index: int, word: int) -> int:
        offset = self._word(index, word)
        return pcvalues.first_value(self._table.data, self._table.values + offset) if offset else -1

    def _line(self, index: int) -> int:
        shape = self._table.shape
        if shape.start_line >= 0:
            line = self._word(index, shape.start_line)  # int32; compiler-made functions have 0 or less
            return line if line < 1 << 31 else 0
        return max(self._at_entry(index, shape.pcln), 0)

    def _file(self, index: int) -> str:
        return self._file_numbered(index, self._at_entry(index, self._table.shape.pcfile))

    def _file_numbered(self, index: int, number: int) -> str:
        table = self._table
        unit = self._word(index, table.shape.cu)
        if number < 0 or unit == _NO_FILE:
            return ""
        at = table.units + 4 * (unit + number)
        if at + 4 > table.paths:
            return ""
        start = int.from_bytes(table.data[at : at + 4], "little")
        if start == _NO_FILE or table.paths + start >= table.values:
            return ""
        end = table.data.find(b"\0", table.paths + start, table.values)
        return table.data[table.paths + start : end].decode("utf-8", "surrogateescape") if end >= 0 else ""


def without_type_arguments(name: str) -> str:
    """Replace what stands in the outermost brackets by "...", as Go prints names (and 1.19 records them)."""
    start, end = name.find("["), name.rfind("]")
    return f"{name[:start]}[...]{name[end + 1 :]}" if 0 <= start < end else name


def _names(table: bytes, offsets: Words) -> list[str]:
    """The zero-ended names at these offsets of a name table."""
    ends = np.flatnonzero(np.frombuffer(table, np.uint8) == 0)
    rows = np.searchsorted(ends, offsets)
    stops = np.append(ends, len(table))[rows]
    spans = zip(offsets.tolist(), stops.tolist(), strict=True)
    if table.isascii():
        text = table.decode("ascii")
        return [text[start:stop] for start, stop in spans]
    return [table[start:stop].decode("utf-8", "surrogateescape") for start, stop in spans]
