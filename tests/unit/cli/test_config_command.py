"""`undergo config` writes what -c reads, and says what changed; what is wrong in a file is told with its place."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.conftest import Build
from tests.unit.cli.test_bad_input import LIMIT, assert_refused, undergo
from undergo.goexe.executable import GoExecutable

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="giving rights up takes root")


@pytest.fixture
def program(build: Build, tmp_path: Path) -> Path:
    """A program beside its configuration, which another build can replace."""
    return Path(shutil.copy(build("frames", "1.24"), tmp_path / "program"))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The configuration, which is not there yet."""
    return tmp_path / "all.yaml"


def config(file: Path, program: Path, *arguments: str) -> list[str]:
    """Write a configuration; what is said of it."""
    done = undergo("config", "-e", str(program), "-o", str(file), *arguments)
    assert (0, "") == (done.returncode, done.stdout), done.stderr
    return done.stderr.splitlines()


def symbols(file: Path, index: int = 0) -> dict[str, dict[str, object]]:
    """What a file says of the functions of a binary, by name."""
    read = yaml.safe_load(file.read_text())["binaries"][index]["symbols"]
    return {symbol["name"]: symbol for symbol in read}


def dry_run(file: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return undergo("latency", "-c", str(file), "--dry-run", *arguments)


def test_it_writes_what_the_executable_says(program: Path, file: Path) -> None:
    """Build, addresses of the functions that are named, and ids from 1; -c takes it."""
    said = config(file, program, "-f", "main.many", "-f", "main.args", "-f", "main.nothing")
    assert [f"{file}: 3 functions of {program}"] == said
    (binary,) = yaml.safe_load(file.read_text())["binaries"]
    with GoExecutable.open(program) as executable:
        assert ("program", executable.build_id) == (binary["path"], binary["build_id"])
        assert executable.build.go_version == binary["go"]
        written = symbols(file)
        assert {"main.many", "main.args", "main.nothing"} == written.keys()
        for name, symbol in written.items():
            function = executable.functions.named(name)
            assert function is not None
            assert function.entry == symbol["entry"]
            code = executable.code(function)
            rets = symbol["rets"]
            assert isinstance(rets, list)
            assert rets
            assert all(0xC3 == code[ret - function.entry] for ret in rets)
    assert [1, 2, 3] == sorted(symbol["fun_id"] for symbol in written.values())  # type: ignore[type-var]
    done = dry_run(file)
    assert 0 == done.returncode, done.stderr
    assert "3 functions" in done.stdout


def test_instances_of_a_generic_function_are_one(build: Build, file: Path) -> None:
    """They share a name, so no addresses are written for it; the file can be read, and written again."""
    program, name = build("webapp", "1.24"), "internal/bytealg.IndexRabinKarp[...]"
    config(file, program, "-f", name, "-f", "main.plain")
    with GoExecutable.open(program) as executable:
        assert 2 == len(executable.functions.rows_named(name))
    assert {"name": name, "fun_id": 1} == symbols(file)[name]
    assert "entry" in symbols(file)["main.plain"]
    before = file.read_bytes()
    assert "  nothing changed" == config(file, program)[1]
    assert before == file.read_bytes()
    done = dry_run(file)
    assert 2 == sum(line.startswith(f"{name} ") for line in done.stdout.splitlines())
    file.write_text(file.read_text().replace("Karp[...]", "Karp[go.shape.string]"))
    assert 0 == dry_run(file).returncode
    config(file, program)
    assert before == file.read_bytes()


def test_run_again_after_a_build(build: Build, program: Path, file: Path) -> None:
    """The same functions by their ids, at the addresses of the new build; every change is said."""
    config(file, program, "-f", "main.args", "-f", "main.many")
    before = symbols(file)
    file.write_text(f"# mine\noptions: {{sort: p99}}\n{file.read_text()}# end\n")
    old = yaml.safe_load(file.read_text())["binaries"][0]["build_id"]
    shutil.copy(build("frames", "1.19"), program)
    said = config(file, program)
    after = symbols(file)
    new = yaml.safe_load(file.read_text())["binaries"][0]["build_id"]
    assert f"{file}: 2 functions of {program}" == said[0]
    moved = {
        f"  ~ {name} moved from {before[name]['entry']:#x} to {after[name]['entry']:#x}" for name in before
    }
    assert moved == {*said[1:-1]}
    assert f"  build {old} -> {new}" == said[-1]
    assert {n: s["fun_id"] for n, s in before.items()} == {n: s["fun_id"] for n, s in after.items()}
    assert file.read_text().startswith("# mine\noptions: {sort: p99}\n# For ")
    assert file.read_text().endswith("\n# end\n")
    assert 0 == dry_run(file).returncode
    assert [f"{file}: 2 functions of {program}", "  nothing changed"] == config(file, program)


def test_functions_that_come_and_go(build: Build, program: Path, file: Path) -> None:
    """What a build no longer has is said; what comes has an id that no other had; who stays keeps his."""
    config(file, program, "-f", "main.args", "-f", "main.many", "-f", "main.huge")
    ids = {name: symbol["fun_id"] for name, symbol in symbols(file).items()}
    said = config(file, program, "-f", "main.many", "-f", "main.varied")
    assert ["  + main.varied", "  - main.args", "  - main.huge"] == sorted(said[1:])
    now = {name: symbol["fun_id"] for name, symbol in symbols(file).items()}
    assert {"main.many": ids["main.many"], "main.varied": 4} == now
    file.write_text(file.read_text().replace("symbols:\n", "symbols:\n      - main.gone\n"))
    assert "  - main.gone" in config(file, program)
    assert now == {name: symbol["fun_id"] for name, symbol in symbols(file).items()}
    shutil.copy(build("crash", "1.24"), program)
    done = undergo("config", "-e", str(program), "-o", str(file))
    assert_refused(done, 2, "none of its functions is in", "-f")


def test_the_second_program_is_added(build: Build, program: Path, file: Path) -> None:
    """With ids beyond those of the first, whose entry stays as it is."""
    config(file, program, "-f", "main.args", "-f", "main.many")
    first = file.read_text()
    config(file, build("crash", "1.27"), "-f", "main.*")
    assert file.read_text().startswith(first)
    ids = [symbol["fun_id"] for index in (0, 1) for symbol in symbols(file, index).values()]
    assert [*range(1, len(ids) + 1)] == ids
    assert 0 == dry_run(file).returncode


def test_stdout(program: Path, file: Path) -> None:
    """With -o - the text goes there and what is said elsewhere; nothing is written."""
    done = undergo("config", "-e", str(program), "-f", "main.many", "-o", "-")
    assert 0 == done.returncode
    assert f"stdout: 1 function of {program}\n" == done.stderr
    (binary,) = yaml.safe_load(done.stdout)["binaries"]
    assert ["main.many"] == [symbol["name"] for symbol in binary["symbols"]]
    assert not Path("-").exists()


def test_what_cannot_be_traced_is_left_out(program: Path, file: Path) -> None:
    """It is named, with the reason; if nothing is left, there is no file."""
    said = config(file, program, "-f", "main.many", "-f", "runtime.mcall")
    assert {"main.many"} == symbols(file).keys()
    assert any(line.startswith("  runtime.mcall is left out: it switches stacks") for line in said)
    file.unlink()
    done = undergo("config", "-e", str(program), "-f", "runtime.mcall", "-o", str(file))
    assert_refused(done, 2, "nothing to write down: runtime.mcall is it switches stacks")
    assert not file.exists()


def test_an_unknown_function(program: Path, file: Path) -> None:
    """Near misses are offered, and nothing is written."""
    done = undergo("config", "-e", str(program), "-f", "main.mani", "-o", str(file))
    assert_refused(done, 2, "no function matches main.mani", "main.many")
    assert not file.exists()


def test_functions_are_needed_the_first_time(program: Path, file: Path) -> None:
    """Without -f there is nothing to write."""
    assert_refused(undergo("config", "-e", str(program), "-o", str(file)), 2, "-f")


@pytest.mark.parametrize("name", ["", "nowhere/all.yaml"])
def test_where_no_file_can_be(program: Path, tmp_path: Path, name: str) -> None:
    """A folder, or none at all."""
    path = str(tmp_path / name)
    assert_refused(undergo("config", "-e", str(program), "-f", "main.many", "-o", path), 2, path)
    assert ["program"] == os.listdir(tmp_path)


@AS_ROOT
def test_an_unwritable_folder(program: Path, tmp_path: Path) -> None:
    """Missing rights have their own exit code, when reading too."""
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o555)
    closed = tmp_path / "closed.yaml"
    closed.touch(mode=0)
    for arguments, path in (
        (["config", "-e", str(program), "-f", "main.many", "-o", str(folder / "all.yaml")], str(folder)),
        (["list", "-c", str(closed)], str(closed)),
    ):
        line = [sys.executable, "-m", "undergo.cli.main", *arguments]
        done = subprocess.run(
            ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--", *line],
            capture_output=True,
            text=True,
            timeout=LIMIT,
        )
        assert_refused(done, 4, path)
    assert [] == os.listdir(folder)


def test_a_file_that_is_wrong_stays(program: Path, file: Path) -> None:
    """Its error is told, and not a byte is changed."""
    file.write_text("binaries:\n- pth: program\n")
    done = undergo("config", "-e", str(program), "-f", "main.many", "-o", str(file))
    assert_refused(done, 2, f"{file}:2: binaries[0].pth: unknown key", "path")
    assert "binaries:\n- pth: program\n" == file.read_text()


def test_windows_line_ends_stay(program: Path, file: Path) -> None:
    """Every other byte of the file is kept."""
    file.write_bytes(b"# mine\r\noptions: {}\r\n")
    config(file, program, "-f", "main.many")
    assert file.read_bytes().startswith(b"# mine\r\noptions: {}\r\n\r\nbinaries:\r\n  - path: ")


def written(file: Path, text: str) -> str:
    """A configuration of that text; its path."""
    file.write_text(text)
    return str(file)


BINARIES = "binaries: [{path: program, functions: main.*}]\n"


@pytest.mark.parametrize(
    ("option", "key", "words"),
    [
        ("durtion: 3s", "durtion", ["unknown option", "did you mean duration?"]),
        ("executable: x", "executable", ["unknown option"]),
        ("dry-run: true", "dry-run", ["unknown option"]),
        ("sort: best", "sort", ["'best' is not one of", "'p99'"]),
        ("sort: [p99]", "sort", ["a list is not expected here"]),
        ("duration: soon", "duration", ["soon is no duration"]),
        ("duration:", "duration", ["is no duration"]),
        ("max-probes: many", "max-probes", ["'many' is not a valid integer"]),
        ("max-goroutines: 1", "max-goroutines", ["1 is not in the range"]),
        ("goid: [1, x]", "goid", ["'x' is not a valid integer"]),
        ("json: perhaps", "json", ["'perhaps' is not a valid boolean"]),
    ],
)
def test_wrong_options(program: Path, file: Path, option: str, key: str, words: list[str]) -> None:
    """Names and values are those of the command line; what is wrong is told with file, line and key."""
    done = dry_run(Path(written(file, f"# mine\noptions:\n  {option}\n{BINARIES}")))
    assert_refused(done, 2, f"{file}:3: options.{key}: ", *words)


def test_options_are_defaults(program: Path, file: Path) -> None:
    """The command line goes before the file; what is another command's is passed over."""
    path = Path(written(file, f"options: {{max-probes: 3, sort: p99, min-duration: 5us}}\n{BINARIES}"))
    assert_refused(dry_run(path), 2, "more than 3", "--max-probes")
    assert 0 == dry_run(path, "--max-probes", "1000").returncode
    path = Path(written(file, f"options: {{json: true, sort: p99}}\n{BINARIES}"))
    rows = [json.loads(line) for line in undergo("list", "-c", str(path)).stdout.splitlines()]
    assert "main.many" in {row["func"] for row in rows}


def test_a_plan_of_a_configuration(build: Build, program: Path, file: Path) -> None:
    """Each program with the functions of its entry; -f is for all of them instead."""
    other = build("crash", "1.24")
    path = Path(
        written(
            file,
            f"sets: {{mine: [main.many, main.args]}}\n"
            f"binaries:\n"
            f"- path: program\n"
            f"  functions: '@mine'\n"
            f"  symbols: [main.huge]\n"
            f"- path: {other}\n"
            f"  functions: main.main\n",
        )
    )
    done = dry_run(path)
    assert 0 == done.returncode, done.stderr
    heads = [line.split()[0] for line in done.stdout.splitlines() if line.startswith("main.")]
    assert ["main.args", "main.huge", "main.main", "main.many"] == sorted(heads)
    assert heads[-1] == "main.main"
    done = undergo("list", "--json", "-c", str(path))
    listed = [json.loads(line)["func"] for line in done.stdout.splitlines()]
    assert sorted(heads) == sorted(listed)
    done = dry_run(path, "-f", "main.main")
    assert 2 == sum(line.startswith("main.main ") for line in done.stdout.splitlines())
    assert "main.many" not in done.stdout
    done = dry_run(path, "-f", "main.many")
    assert 0 == done.returncode
    assert "main.many" in done.stdout


def test_nothing_of_an_entry_is_there(program: Path, file: Path) -> None:
    """An entry's own pattern must match, and a symbol must be one of the program's."""
    path = Path(written(file, "binaries:\n- path: program\n  functions: main.mani\n"))
    assert_refused(dry_run(path), 2, f"{file}:2: binaries[0]: no function matches main.mani", "main.many")
    path = Path(written(file, "binaries:\n- path: program\n  symbols:\n  - main.mani\n"))
    line = f"{file}:4: binaries[0].symbols[0]: no function matches main.mani"
    assert_refused(dry_run(path), 2, line, "main.many")
    assert_refused(undergo("list", "-c", str(path)), 2, line, "main.many")


@pytest.mark.parametrize("key", ["entry", "rets"])
def test_stale_addresses(program: Path, file: Path, key: str) -> None:
    """The value that is wrong is told, and the right one; the file's own line is named."""
    config(file, program, "-f", "main.many")
    symbol = symbols(file)["main.many"]
    rets = symbol["rets"]
    assert isinstance(rets, list)
    value = symbol["entry"] if key == "entry" else rets[0]
    assert isinstance(value, int)
    file.write_text(file.read_text().replace(f"{value:#x}", "0x17"))
    line = next(n for n, line in enumerate(file.read_text().splitlines(), 1) if "0x17" in line)
    place = "entry" if key == "entry" else "rets[0]"
    right = f"begins at {value:#x};" if key == "entry" else f"returns at {', '.join(map(hex, rets))};"
    assert_refused(
        dry_run(file),
        2,
        f"{file}:{line}: binaries[0].symbols[0].{place}: main.many {right} 0x17 is in no function",
        "undergo config",
    )


def test_an_entry_among_the_returns(program: Path, file: Path) -> None:
    """The return is told, not the entry of the same value; and so is a return that is missing."""
    config(file, program, "-f", "main.many")
    symbol = symbols(file)["main.many"]
    entry, rets = symbol["entry"], symbol["rets"]
    assert isinstance(rets, list)
    given = f"binaries:\n- path: program\n  symbols:\n  - name: main.many\n    entry: {entry}\n    rets: "
    path = Path(written(file, f"{given}{[*rets, entry]}\n"))
    place = f"{file}:6: binaries[0].symbols[0].rets"
    assert_refused(dry_run(path), 2, f"{place}[{len(rets)}]: ", "the first instruction of main.many")
    path = Path(written(file, f"{given}{rets[1:]}\n"))
    assert_refused(dry_run(path), 2, f"{place}[0]: ", f"; {rets[0]:#x} is not in the list")


def test_another_build(build: Build, program: Path, file: Path) -> None:
    """A build id that is not the file's is refused before any address is looked at."""
    config(file, program, "-f", "main.many")
    shutil.copy(build("frames", "1.21"), program)
    with GoExecutable.open(program) as executable:
        now = executable.build_id
    for done in (dry_run(file), undergo("list", "-c", str(file))):
        assert_refused(done, 2, f"{file}:4: binaries[0].build_id: {program} is another build now: {now}")
        assert "undergo config" in done.stderr


def test_one_way_of_naming_targets(program: Path, file: Path) -> None:
    """Binaries of a file, and -p, -e or a command, exclude each other; options alone go with any."""
    path = Path(written(file, BINARIES))
    for more in (["-p", str(os.getpid())], ["-e", str(program)], ["--", str(program)]):
        assert_refused(dry_run(path, *more), 2, "the binaries of -c", "exclude each other")
    path = Path(written(file, "options: {max-probes: 1000}\nsets: {mine: main.many}\n"))
    done = dry_run(path, "-e", str(program), "-f", "@mine")
    assert 0 == done.returncode, done.stderr
    assert "main.many" in done.stdout
    assert_refused(dry_run(path), 2, "name one target")


def test_a_binary_that_is_there_twice(program: Path, file: Path) -> None:
    """Whatever the two paths are, an executable has one entry."""
    (program.parent / "link").symlink_to(program)
    path = Path(written(file, "binaries:\n- path: program\n- path: ./link\n"))
    assert_refused(dry_run(path), 2, f"{file}:3: binaries[1]: ", "is also in line 2")


def test_targets_that_are_none(file: Path) -> None:
    """A missing file, one that is not Go's, a pid nobody has: each with its place and its own exit code."""
    for text, words in (
        ("path: nowhere", [f"{file}:2: binaries[0].path: ", "nowhere"]),
        ("path: /bin/true", [f"{file}:2: binaries[0].path: ", "Go"]),
        ("pid: 4194300", [f"{file}:2: binaries[0].pid: ", "4194300"]),
        (f"pid: [{os.getpid()}]", [f"{file}:2: binaries[0].pid[0]: ", "Go"]),
    ):
        path = Path(written(file, f"binaries:\n- {text}\n  functions: main.*\n"))
        assert_refused(dry_run(path), 3, *words)


def test_a_process_of_another_program(program: Path, file: Path) -> None:
    """A pid must run the path that stands beside it."""
    path = Path(written(file, f"binaries:\n- path: program\n  pid: {os.getpid()}\n"))
    assert_refused(dry_run(path), 2, f"{file}:3: binaries[0].pid: process {os.getpid()} runs ", str(program))


def test_more_programs_than_fit(file: Path) -> None:
    """The number that is too large, before any is opened."""
    many = "".join(f"- path: program{n}\n" for n in range(17))
    assert_refused(dry_run(Path(written(file, f"binaries:\n{many}"))), 2, "17 different executables", "16")


def test_sets_of_a_configuration_can_be_wrong(program: Path, file: Path) -> None:
    """One that contains itself, and one that nobody defined."""
    rest = "binaries:\n- path: program\n  functions: '@a'\n"
    path = Path(written(file, f"sets: {{a: ['@b'], b: ['@a']}}\n{rest}"))
    assert_refused(dry_run(path), 2, f"{file}:3: binaries[0]: the set @a contains itself", "@a -> @b -> @a")
    path = Path(written(file, f"sets: {{b: main.many}}\n{rest}"))
    assert_refused(dry_run(path), 2, f"{file}:3: binaries[0]: there is no set @a", "@b")


def test_a_configuration_that_is_missing(tmp_path: Path) -> None:
    """The command that writes one is named."""
    assert_refused(dry_run(tmp_path / "none.yaml"), 2, "none.yaml: No such file", "undergo config")
