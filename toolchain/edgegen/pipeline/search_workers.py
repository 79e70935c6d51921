"""Who works on a search: this process, other processes of this machine, or tasks of a Ray cluster."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import connection, get_context, parent_process
from typing import TYPE_CHECKING, Any

from edgegen.core.errors import EdgegenError, ExitCode, ToolMissingError
from edgegen.core.lazy import load
from edgegen.core.ports import Progress

if TYPE_CHECKING:
    from edgegen.pipeline.search import Asked

_LOOK_SECONDS = 2.0  # between two looks at what Ray's tasks have done
_RETRIES = 3  # of a task whose process was killed


@contextmanager
def working(asked: Asked, follow: Callable[[], None], progress: Progress) -> Iterator[bool]:
    """Starts the other workers, and waits for them at the end of the block; gives whether this process is to work too.

    A worker that is killed is no loss: what it was at is run again by another.

    Args:
        follow: called now and then where this process does not work itself.
    """
    if asked.settings.engine == "ray":
        _on_ray(asked, follow, progress)
        yield False
        return
    context = get_context("spawn")  # a fork would copy the threads' locks of torch and of the device, but no threads
    others = [context.Process(target=_work, args=(asked,), daemon=True) for _ in range(asked.settings.workers - 1)]
    for process in others:
        process.start()
    try:
        yield True
        for process in others:
            process.join()
            if process.exitcode:
                progress.say(f"a worker ended with {process.exitcode}; what it was at was run by another")
    finally:
        for process in others:
            process.terminate()


def _work(asked: Asked) -> None:
    from edgegen.pipeline.search import work

    parent = parent_process()
    assert parent is not None
    sentinel = parent.sentinel

    def end_with_it() -> None:
        connection.wait([sentinel])
        os._exit(ExitCode.TERMINATED)

    threading.Thread(target=end_with_it, daemon=True).start()
    try:
        work(asked)
    except EdgegenError as error:
        raise SystemExit(int(error.exit_code)) from error


def _on_ray(asked: Asked, follow: Callable[[], None], progress: Progress) -> None:
    """As many tasks as there are workers, on the cluster that RAY_ADDRESS names or on one of this machine alone.

    Raises:
        ToolMissingError: ray is not installed, the cluster cannot be reached, or no task could take part.
    """
    start = load("ray:init", extra="ray")
    import ray

    address = os.environ.get("RAY_ADDRESS")
    progress.say(f"{asked.settings.workers} worker(s) on Ray, {address or 'on this machine'}")
    is_ours = not ray.is_initialized()
    if is_ours:
        here = {"address": "local", "num_cpus": asked.settings.workers, "include_dashboard": False}
        try:
            start(**({"address": address} if address else here), log_to_driver=False, logging_level="ERROR")
        except (ConnectionError, OSError, RuntimeError) as error:
            raise ToolMissingError(
                "the Ray cluster cannot be reached",
                where="RAY_ADDRESS" if address else "a local cluster",
                got=error,
                next_step='start the cluster, or set [search] engine = "local"',
            ) from error
    try:
        # Ray begins a task anew whose process was killed; what it was at is run by whichever worker is free first.
        task = ray.remote(num_cpus=1, max_retries=_RETRIES)(_part)
        _wait_for([task.remote(asked) for _ in range(asked.settings.workers)], follow, progress)
    finally:
        if is_ours:
            ray.shutdown()


def _wait_for(tasks: list[Any], follow: Callable[[], None], progress: Progress) -> None:
    import ray

    errors, all_of_them = [], len(tasks)
    while tasks:
        done, tasks = ray.wait(tasks, timeout=_LOOK_SECONDS)
        errors += [error for error in ray.get(done) if error]
        follow()
    for error in dict.fromkeys(errors):
        progress.say(f"a worker could not take part: {error}")
    if len(errors) == all_of_them:
        raise ToolMissingError("no worker could take part in the search", where="[search] engine", got=errors[0])


def _part(asked: Asked) -> str:
    """A worker as a task: why it could not take part, or nothing."""
    from edgegen.pipeline.search import work

    try:
        work(asked)
    except EdgegenError as error:
        return error.paragraph()
    return ""
