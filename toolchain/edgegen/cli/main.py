"""The ``edgegen`` command: a table of subcommands, and the one place that turns outcomes into exit codes."""

from __future__ import annotations

import errno
import json
import os
import select
import signal
import sys
from typing import Any, NoReturn

import click

from edgegen import __version__
from edgegen.cli.console import forget_stdout, whoever_reads
from edgegen.core.errors import EdgegenError, ExitCode
from edgegen.core.lazy import load, nearest

COMMANDS = {
    "build": (
        "edgegen.cli.build:command",
        "Take the project through the whole pipeline and bundle what keeps its budgets.",
    ),
    "check": ("edgegen.cli.check:command", "Lint a model file for a target before any build."),
    "init": ("edgegen.cli.init:command", "Begin a working project from a template."),
    "data": ("edgegen.cli.data:command", "Look at, check, record, draw, compare and export data."),
    "train": ("edgegen.cli.train:command", "Prepare the data, train the model and judge it; nothing is compressed."),
    "tune": ("edgegen.cli.tune:command", "Search the settings that [tune.space] names for the best trained model."),
    "search": ("edgegen.cli.search:command", "Find the recipes and settings that no others beat on a target."),
    "compress": (
        "edgegen.cli.compress:command",
        "Make the files of recipes and tell what every pass did.",
    ),
    "sensitivity": ("edgegen.cli.sensitivity:command", "What each layer's quantization spoils, and what float costs."),
    "compare": (
        "edgegen.cli.compare:command",
        "What moved a figure between two builds, or where files differ.",
    ),
    "advise": ("edgegen.cli.advise:command", "Propose families and sizes for a task, ranked by what was measured."),
    "bench": ("edgegen.cli.bench:command", "Measure a bundle again, or fit a target's cost model to a device."),
    "bisect": ("edgegen.cli.bisect:command", "Find the commit, or the step of a recipe, that made a figure worse."),
    "trend": ("edgegen.cli.trend:command", "How figures moved over time, as a page, a data file or JSON."),
    "gate": ("edgegen.cli.gate:command", "Judge builds by their budgets and against a baseline, for CI."),
    "keys": ("edgegen.cli.keys:command", "Make, show, list and follow up signing keys."),
    "sign": ("edgegen.cli.sign:command", "Vouch for a bundle that kept its budgets."),
    "release": ("edgegen.cli.release:command", "Say, and find out, which bundle is current for which device."),
    "verify": ("edgegen.cli.verify:command", "Check every byte of a bundle, and who signed it."),
    "push": ("edgegen.cli.push:command", "Bring bundles into a registry or a folder."),
    "pull": ("edgegen.cli.pull:command", "Fetch a bundle and check every byte of it."),
    "inspect": ("edgegen.cli.inspect:command", "What is in an artifact, who signed it, what was proven."),
    "wrap": ("edgegen.cli.wrap:command", "Put a bundle into a form that teams use already: RAUC, deb, wheel ..."),
    "flash": ("edgegen.cli.flash:command", "Write a firmware, or a build's C model, to a microcontroller board."),
    "speak": ("edgegen.cli.speak:command", "Let a bundle's language model write on a microcontroller."),
    "report": ("edgegen.cli.report:command", "Show what builds found again, or write it as a page, JUnit or a table."),
    "targets": ("edgegen.cli.targets:command", "List the target profiles, or show one."),
    "doctor": ("edgegen.cli.doctor:command", "What is here, what is missing, and the fix."),
    "setup": ("edgegen.cli.setup:command", "Provision a target's emulator and runtimes (build does it by itself)."),
    "cache": ("edgegen.cli.cache:command", "List or prune what builds have kept."),
}
"""Name -> ("module:command", one-line help). Help is here so that listing it imports no command."""


class _Commands(click.Group):
    """Imports a subcommand only when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, imported now."""
        if cmd_name not in COMMANDS:
            ctx.fail(f"No such command {cmd_name!r}{nearest(cmd_name, COMMANDS)}")
        command: click.Command = load(COMMANDS[cmd_name][0])
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command. That whoever read our stdout has gone is met here: click would end with 1, a budget's."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            if not _nobody_reads():
                raise ConnectionError(f"another connection than stdout broke: {error}") from error
            forget_stdout()
            return ExitCode.OK

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The table itself, without importing what it names."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Example: edgegen build --target raspberrypi",
)
@click.version_option(__version__, prog_name="edgegen")
def edgegen() -> None:
    """Compress, export, prove and bundle models for edge devices. A model ships only with proof."""


def main() -> NoReturn:
    """Entry point of the console script."""
    if os.name != "posix":
        sys.exit(_report("edgegen runs on Linux; on Windows use WSL", ExitCode.NOT_JUDGED))
    if sys.stdout is None:  # closed by whoever started us
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    for number in _STOPS:
        signal.signal(number, _stop)
    sys.exit(_run(sys.argv[1:]))


def _run(arguments: list[str]) -> int:
    as_json = "--json" in arguments
    try:
        outcome: Any = edgegen.main(args=arguments, prog_name="edgegen", standalone_mode=False)
        with whoever_reads():
            sys.stdout.flush()  # a full disk must be met here, not by the interpreter's own flush, which ends with 120
        return int(outcome or ExitCode.OK)
    except EdgegenError as error:
        return _report(error.paragraph(), error.exit_code, error.to_dict() if as_json else None)
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        usage = {"what": error.format_message(), "exit_code": int(ExitCode.USAGE)}
        return _report(error.format_message(), ExitCode.USAGE, usage if as_json else None)
    except Exception as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            forget_stdout()
            return _report("no space is left on the device", ExitCode.BUILD)
        return _internal(error, as_json=as_json)


def _nobody_reads() -> bool:
    stdout = select.poll()
    stdout.register(sys.stdout.fileno(), 0)
    return any(event & select.POLLERR for _, event in stdout.poll(0))


def _report(message: str, code: ExitCode, document: dict[str, Any] | None = None) -> int:
    print(f"edgegen: {message}", file=sys.stderr)
    if document is not None:
        try:
            print(json.dumps({"schema_version": 1, "error": document, "exit_code": int(code)}), flush=True)
        except OSError:  # nobody reads, or a full disk: the exit code is the error's all the same
            forget_stdout()
    return int(code)


def _internal(error: Exception, *, as_json: bool) -> int:
    import tempfile
    import traceback

    with tempfile.NamedTemporaryFile("w", prefix="edgegen-error-", suffix=".txt", delete=False) as sink:
        traceback.print_exception(error, file=sink)
    what = f"internal error: {type(error).__name__}: {error}"
    next_step = f"this is a bug in edgegen; please report it with {sink.name}"
    document = {"what": what, "next_step": next_step, "exit_code": int(ExitCode.INTERNAL)}
    return _report(f"{what}. Next: {next_step}.", ExitCode.INTERNAL, document if as_json else None)


_STOPS = {signal.SIGINT: ("interrupted", ExitCode.INTERRUPTED), signal.SIGTERM: ("terminated", ExitCode.TERMINATED)}
_SHOW_CURSOR = "\x1b[?25h"


def _stop(number: int, frame: object) -> NoReturn:
    """Ends the process at once. Whatever is finished is safe, so there is nothing to unwind; and an exception raised
    at a random place may meet a library's C++ code that cannot stand it. Guests end with us, leftovers are swept up.
    """
    word, code = _STOPS[signal.Signals(number)]
    cursor = _SHOW_CURSOR if sys.stderr.isatty() else ""
    message = f"{cursor}\nedgegen: {word}; finished stages are kept, repeat the command to go on\n"
    os.write(2, message.encode())
    os._exit(code)


if __name__ == "__main__":
    main()
