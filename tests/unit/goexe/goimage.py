"""Hand-made Go executables: just enough ELF, build info, function table and module data to be read.

Nothing in them runs. They make every table's form testable without a toolchain, Go 1.17's included.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field, replace

BASE = 0x400000
TEXT, RODATA, DATA = 0x1000, 0x10000, 0x20000  # file offsets; addresses are BASE more
MACHINES = {"amd64": (62, 1, 8), "arm64": (183, 4, 1027)}  # e_machine, pc quantum, RELATIVE relocation
MODULE_SIZE = 600
FRAME = "0123456789abcdef"  # 16 bytes around the module text


@dataclass(frozen=True)
class Inlined:
    """An inlined call: the function's name, how far into its caller."""

    name: str
    at: int = 4
    line: int = 7


@dataclass(frozen=True)
class Fn:
    """One function: `code` bytes of instructions, then padding up to 32."""

    name: str
    code: int = 20
    file: str = "/src/main.go"
    line: int = 10
    func_id: int = 0
    stack: tuple[tuple[int, int], ...] = ((4, 0), (12, 24), (4, 0))  # (bytes of code, SP delta)
    inlined: tuple[Inlined, ...] = ()

    @property
    def room(self) -> int:
        return (self.code + 31) // 32 * 32


FUNCTIONS = (
    Fn("go:buildid", 32, stack=()),
    Fn("main.add", line=11),
    Fn("main.main", line=15, inlined=(Inlined("main.tiny"), Inlined("main.add", 8))),
    Fn("main.(*T).Get", func_id=22),
    Fn("main.(*T).Get", line=30),
    Fn("main.Map[go.shape.int]", 52, stack=((52, 0),), inlined=(Inlined("main.tiny", 40),)),
    Fn("memmove", 64, "/go/memmove_amd64.s", 5, stack=((64, 0),)),
    Fn("runtime.deferreturn", func_id=22, file="/go/panic.go", line=99),
)


@dataclass(frozen=True)
class Image:
    """What to make. Fields are the file's facts, so that a test says which one it turns wrong."""

    go: str = "go1.24.11"
    machine: str = "amd64"
    functions: tuple[Fn, ...] = FUNCTIONS
    pie: bool = False
    sections: bool = True
    modules: str = "path\texample.com/shop\nmod\texample.com/shop\tv1.2.3\t\nbuild\t-pgo=default.pgo\n"
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def version(self) -> tuple[int, int]:
        major, minor = self.go.removeprefix("go").split(".")[:2]
        return int(major), int(minor)

    @property
    def base(self) -> int:
        return 0 if self.pie else BASE

    @property
    def text(self) -> int:
        return self.base + TEXT

    def entry(self, index: int) -> int:
        """The address of a function, by its place in `functions`."""
        return self.text + sum(fn.room for fn in self.functions[:index])

    def with_(self, **changes: object) -> Image:
        return replace(self, **changes)  # type: ignore[arg-type]

    def build(self) -> bytes:
        """The file's bytes."""
        return _Builder(self).build()


def varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*out, value))


def pc_table(ranges: tuple[tuple[int, int], ...], quantum: int) -> bytes:
    """Encode (bytes of code, value) pairs the way the linker does."""
    out, value = b"", -1
    for size, new in ranges:
        delta = new - value
        out += varint(delta << 1 if delta >= 0 else (-delta << 1) - 1) + varint(size // quantum)
        value = new
    return out + b"\0"


class _Builder:
    def __init__(self, image: Image) -> None:
        self.image = image
        self.e_machine, self.quantum, self.relative = MACHINES[image.machine]
        self.relocations: dict[int, int] = {}  # place -> what it points to

    def build(self) -> bytes:
        image = self.image
        text = b"".join(b"\x90" * fn.code + b"\xcc" * (fn.room - fn.code) for fn in image.functions)
        self.gofunc = image.base + RODATA
        trees, tree_at = self.trees()
        table_at = RODATA + (len(trees) + 31) // 32 * 32
        table = self.pclntab(image.base + table_at, tree_at)
        info_size = 1024
        info = self.build_info(image.base + DATA)
        assert len(info) <= info_size, "build info is longer than this builder allows"
        module_at = DATA + info_size
        module = self.module(image.base + module_at, image.base + table_at, len(text))
        relocations_at = module_at + MODULE_SIZE
        parts = {TEXT: text, RODATA: trees, table_at: table, DATA: info, module_at: module}
        rela = b"".join(struct.pack("<QQQ", p, self.relative, a) for p, a in sorted(self.relocations.items()))
        dynamic_at = relocations_at + len(rela)
        if image.pie:
            parts[relocations_at] = rela
            parts[dynamic_at] = struct.pack("<6Q", 7, image.base + relocations_at, 8, len(rela), 0, 0)
        data_end = dynamic_at + 48
        loads = [
            (5, TEXT, len(text)),
            (4, RODATA, table_at + len(table) - RODATA),
            (6, DATA, data_end - DATA),
        ]
        headers = [struct.pack("<IIQQQQQQ", 1, f, o, image.base + o, 0, s, s, 0x1000) for f, o, s in loads]
        if image.pie:
            headers.append(struct.pack("<IIQQQQQQ", 2, 6, dynamic_at, image.base + dynamic_at, 0, 48, 48, 8))
        shoff, count, names = 0, 0, 0
        if image.sections:
            named = [
                (".text", TEXT, len(text)),
                (".gopclntab", table_at, len(table)),
                (".go.buildinfo", DATA, len(info)),
            ]
            strings = b"\0" + b"".join(n.encode() + b"\0" for n, *_ in named) + b".shstrtab\0"
            strings_at = data_end + (-data_end % 8)
            parts[strings_at] = strings
            rows = [bytes(64)]
            for name, at, size in (*named, (".shstrtab", strings_at, len(strings))):
                where = 0 if name == ".shstrtab" else image.base + at
                offset = strings.index(name.encode() + b"\0")
                rows.append(struct.pack("<IIQQQQIIQQ", offset, 1, 2, where, at, size, 0, 0, 8, 0))
            shoff, count, names = strings_at + len(strings) + 64, len(rows), len(rows) - 1
            parts[shoff] = b"".join(rows)
        kind = 3 if image.pie else 2
        header = b"\x7fELF\x02\x01\x01" + bytes(9)
        header += struct.pack(
            "<HHIQQQIHHHHHH",
            kind,
            self.e_machine,
            1,
            image.text,
            64,
            shoff,
            0,
            64,
            56,
            len(headers),
            64,
            count,
            names,
        )
        parts[0] = header + b"".join(headers)
        out = bytearray(max(data_end, *(at + len(part) for at, part in parts.items())))
        for at, part in parts.items():
            out[at : at + len(part)] = part
        return bytes(out)

    def pointer(self, place: int, value: int) -> bytes:
        """Eight bytes that will hold a pointer: in a PIE a relocation, and 0 in the file."""
        if not self.image.pie:
            return struct.pack("<Q", value)
        self.relocations[place] = value
        return bytes(8)

    def trees(self) -> tuple[bytes, list[int]]:
        """The inline trees, and where each function's is (-1: it has none)."""
        self.names = b"\0"  # offset 0: no name
        self.name_at: dict[str, int] = {}
        for fn in self.image.functions:
            for name in (fn.name, *(call.name for call in fn.inlined)):
                if name not in self.name_at:
                    self.name_at[name] = len(self.names)
                    self.names += name.encode() + b"\0"
        out, places = b"\1\2\3\4", []
        for fn in self.image.functions:
            places.append(len(out) if fn.inlined else -1)
            for call in fn.inlined:
                name = self.name_at[call.name]
                if self.image.version < (1, 20):
                    out += struct.pack("<hBBiiii", -1, 0, 0, 1, call.line, name, call.at)
                else:
                    out += struct.pack("<Biii", 0, 0, 0, 0)[:1] + bytes(3)
                    out += struct.pack("<iii", name, call.at, call.line)
        return out, places

    def pclntab(self, address: int, trees: list[int]) -> bytes:
        image, version, quantum = self.image, self.image.version, self.quantum
        wide = version < (1, 18)
        files = sorted({fn.file for fn in image.functions})
        paths, path_at = b"", {}
        for file in files:
            path_at[file] = len(paths)
            paths += file.encode() + b"\0"
        units = b"".join(struct.pack("<I", path_at[file]) for file in files)
        values, records = b"\0", []
        for fn, tree in zip(image.functions, trees, strict=True):
            offsets = []
            file_values = ((fn.code, files.index(fn.file)),)
            for ranges in (fn.stack, file_values, ((fn.code, fn.line),)):
                offsets.append(len(values) if ranges else 0)
                values += pc_table(ranges, quantum) if ranges else b""
            records.append((fn, tree, offsets))
        header = 64 if wide else 72
        names_at = header
        units_at = names_at + len(self.names) + (-len(self.names) % 8)
        paths_at = units_at + len(units)
        values_at = paths_at + len(paths)
        table_at = values_at + len(values)
        table_at += -table_at % 8
        width = 8 if wide else 4
        functab_size = (2 * len(records) + 1) * width
        functab_size += -functab_size % 8
        functab, bodies = b"", b""
        for index, (fn, tree, offsets) in enumerate(records):
            entry = image.entry(index)
            body_at = functab_size + len(bodies)
            place = address + table_at + len(functab)
            if wide:
                functab += self.pointer(place, entry) + struct.pack("<Q", body_at)
                body = self.pointer(address + table_at + body_at, entry)
            else:
                functab += struct.pack("<II", entry - image.text, body_at)
                body = struct.pack("<I", entry - image.text)
            body += struct.pack("<iiI", self.name_at[fn.name], 0, 0) + struct.pack("<III", *offsets)
            body += struct.pack("<II", 3, 0)  # npcdata, cuOffset
            if version >= (1, 20):
                body += struct.pack("<i", fn.line)
            body += bytes((fn.func_id, 0, 0, 4)) + bytes(12)  # funcID, flag, padding, nfuncdata; pcdata
            if wide:
                body += bytes(-len(body) % 8)
                body += bytes(24)
                if tree >= 0:
                    body += self.pointer(address + table_at + body_at + len(body), self.gofunc + tree)
                else:
                    body += bytes(8)
            else:
                body += struct.pack("<IIII", *(0, *(0xFFFFFFFF,) * 2, tree & 0xFFFFFFFF))
            bodies += body + bytes(-len(body) % 8)
        end = image.entry(len(records))
        functab += (
            self.pointer(address + table_at + len(functab), end)
            if wide
            else struct.pack("<I", end - image.text)
        )
        functab += bytes(functab_size - len(functab))
        magic = 0xFFFFFFFA if wide else 0xFFFFFFF0 if version < (1, 20) else 0xFFFFFFF1
        out = struct.pack("<IBBBBQQ", magic, 0, 0, quantum, 8, len(records), len(files))
        if not wide:
            out += bytes(8) if version >= (1, 26) else self.pointer(address + 24, image.text)
        out += struct.pack("<5Q", names_at, units_at, paths_at, values_at, table_at)
        for at, part in ((names_at, self.names), (units_at, units), (paths_at, paths), (values_at, values)):
            out = out.ljust(at, b"\0") + part
        self.names_offset = names_at
        return out.ljust(table_at, b"\0") + functab + bodies

    def module(self, address: int, table: int, text_size: int) -> bytes:
        image = self.image
        gofunc = {(1, 18): 304, (1, 19): 304, (1, 27): 344}.get(image.version, 320)
        fields = {0: table, 8: table + self.names_offset, 160: image.text, 168: image.text + text_size}
        fields |= {176: image.text, 184: image.text + text_size, gofunc: self.gofunc}
        out = bytearray(MODULE_SIZE)
        for at, value in fields.items():
            out[at : at + 8] = self.pointer(address + at, value)
        return bytes(out)

    def build_info(self, address: int) -> bytes:
        image = self.image
        lines = image.modules + "".join(f"build\t{key}={value}\n" for key, value in image.settings.items())
        strings = [image.go.encode(), (FRAME + lines + FRAME).encode()]
        magic = b"\xff Go buildinf:\x08"
        if image.version >= (1, 18):
            return (magic + b"\x02").ljust(32, b"\0") + b"".join(varint(len(s)) + s for s in strings)
        out = (
            magic
            + b"\0"
            + self.pointer(address + 16, address + 32)
            + self.pointer(address + 24, address + 48)
        )
        at = address + 64
        for index, string in enumerate(strings):
            out += self.pointer(address + 32 + 16 * index, at) + struct.pack("<Q", len(string))
            at += len(string)
        return out + b"".join(strings)
