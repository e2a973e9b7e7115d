"""The entry point: exit codes, one line for what is wrong, tracebacks only when asked for."""

import json
import subprocess
import sys
import time

import pytest

import didact as package
from didact.cli.group import cli
from didact.cli.main import main

COMMANDS = sorted(cli.commands)


def test_the_console_script_is_there():
    done = subprocess.run([sys.executable, "-c", "from didact.cli.main import main; main()", "--version"], text=True,
                          capture_output=True)  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, f"didact {package.__version__}\n", "")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_an_example(didact, command):
    ended = didact(command, "--help")
    assert (ended.code, ended.err) == (0, "")
    assert f"  didact {command}" in ended.out.split("Example")[1]


def test_help_without_a_command(didact):
    ended = didact("--help")
    assert ended.code == 0
    assert "didact train" in ended.out
    for command in COMMANDS:
        assert f"  {command} " in ended.out
    nothing = didact()
    assert (nothing.code, nothing.out) == (2, "")
    assert nothing.err == ended.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian"], "no command 'trian'; did you mean 'train'?"),
        (["xyz"], "no command 'xyz'; choose from compare, explain, inspect, "),
        (["--bogus"], "No such option '--bogus'"),
        (["methods", "a", "b"], "unexpected extra argument (b)"),
        (["train", "--stpes", "3"], "'--steps'"),
        (["train", "--steps", "many"], "'many' is not a valid integer"),
        (["report"], "Missing argument 'RUN'"),
        (["inspect", "run", "--top", "0"], "0 is not in the range"),
    ],
)
def test_bad_command_lines(refused, arguments, message):
    assert message in refused(*arguments)


@pytest.mark.parametrize(
    "command",
    [
        *(["report"], ["inspect"], ["replay"], ["train", "--config"]),
        pytest.param(["train", "--resume"], marks=pytest.mark.slow),
    ],
)
def test_paths_that_are_no_good(refused, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    for name, data in (("bytes", b"\xff\xfe"), ("deep", b"[" * 100_000), ("empty", b"")):
        (tmp_path / name).mkdir()
        for file in ("journal.jsonl", "config.json"):
            (tmp_path / name / file).write_bytes(data)
    (tmp_path / "folders").mkdir()
    (tmp_path / "folders/journal.jsonl").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    before = sorted(tmp_path.rglob("*"))
    for path in ("x" * 5000, "a/" * 3000, "bytes", "deep", "empty", "folders", "loop", "deep/config.json", ""):
        refused(*command, path)
    assert [path for path in sorted(tmp_path.rglob("*")) if path.name != ".lock"] == before


def test_a_traceback_only_with_debug(didact):
    assert "Traceback" not in didact("report", "nowhere").err
    for arguments in (["--debug", "report", "nowhere"], ["report", "nowhere", "--debug"]):
        ended = didact(*arguments)
        assert ended.code == 2
        assert "Traceback" in ended.err
        assert ended.last_line.startswith("didact: no run folder at nowhere")


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (OSError(28, "No space left on device"), 1, "didact: OSError: [Errno 28] No space left on device"),
        (RuntimeError("two\nlines"), 1, "didact: RuntimeError: two lines"),
        (ValueError("what was given"), 2, "didact: what was given"),
        (FileNotFoundError("no such thing"), 2, "didact: no such thing"),
        (IsADirectoryError(21, "Is a directory", "x"), 2, "didact: [Errno 21] Is a directory: 'x'"),
        (PermissionError(13, "Permission denied", "x"), 2, "didact: [Errno 13] Permission denied: 'x'"),
        (OSError(36, "File name too long", "x"), 2, "didact: [Errno 36] File name too long: 'x'"),
        (OSError(40, "Too many links", "x"), 2, "didact: [Errno 40] Too many links: 'x'"),
        (OverflowError("too large"), 2, "didact: too large"),
        (RecursionError("too deep"), 2, "didact: what was given is nested too deeply to be read: too deep"),
        (EOFError("Ran out of input"), 1, "didact: a file ended too early: Ran out of input"),
        (KeyboardInterrupt(), 130, "didact: interrupted"),
    ],
)
def test_exit_codes(didact, monkeypatch, error, code, line):
    import click

    @click.command("fail")
    def fail() -> None:
        raise error

    monkeypatch.setitem(cli.commands, "fail", fail)
    ended = didact("fail")
    assert ended.code == code
    assert ended.err.strip() == line
    error.add_note("and what to do")
    assert didact("fail").err.strip() == f"{line}; and what to do"


@pytest.mark.parametrize(("command", "extra"), [("train", "train"), ("report", "report")])
def test_what_to_install_for_a_command(didact, monkeypatch, command, extra):
    import click

    @click.command(command)
    def needs() -> None:
        import something_that_is_not_installed  # noqa: F401

    monkeypatch.setitem(cli.commands, command, needs)
    wanted = (
        f"didact: {command} needs something_that_is_not_installed; in a clone of Didact: pip install '.[{extra}]'\n"
    )
    assert didact(command).err == wanted


def test_without_the_command_line_s_libraries_it_says_what_to_install(monkeypatch, capsys):
    for module in [name for name in sys.modules if name.startswith("didact.cli.") and name != "didact.cli.main"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "click", None)
    with pytest.raises(SystemExit) as ended:
        main(["methods"])
    assert ended.value.code == 2
    assert (
        capsys.readouterr().err == "didact: the command line needs click; in a clone of Didact: pip install '.[cli]'\n"
    )


def test_light_commands_load_nothing_heavy():
    """`didact methods`, `--help` and bad flags answer at once: no torch, transformers, datasets, matplotlib."""
    program = (
        "import json, sys\nfrom didact.cli.main import main\n"
        "for arguments in (['methods'], ['train', '--help'], ['train', '--stpes', '3'], ['train', '--steps', '0']):\n"
        "    try:\n        main(arguments)\n    except SystemExit:\n        pass\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert time.monotonic() - began < 10  # it takes 0.4 s
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    assert "numpy" in loaded
    assert not loaded & {"torch", "transformers", "datasets", "trl", "matplotlib", "pyarrow", "sympy"}
