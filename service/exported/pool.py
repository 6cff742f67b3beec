"""Fold all buckets on this machine's cores.

A process that dies takes the fold with it, nothing else. They end with the one that started them, however
that ends: who runs the same again is alone with the folder.
"""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing.connection import wait as wait_for

import pyarrow as pa

from service import garbage
from service.errors import TransientError
from service.exported.directory import Directory
from service.exported.fold import Folded, buckets_of, fold_bucket
from service.exported.manifest import NOW, AsOf, Manifest

Told = Callable[[Folded], None]
"""Is called with what was folded so far."""


def _quietly(_: Folded) -> None:
    pass


def fold(
    folder: Directory,
    manifest: Manifest,
    *,
    processes: int = 1,
    into: Directory | None = None,
    as_of: AsOf = NOW,
    told: Told = _quietly,
) -> Folded:
    """Fold everything that `manifest` names; the states go `into` a folder, or nowhere."""
    one = partial(_fold_one, folder.url, manifest, None if into is None else into.url, as_of)
    sofar = Folded()
    for folded in _each(one, manifest, processes):
        sofar += folded
        told(sofar)
    return sofar


def _each(one: Callable[[int], Folded], manifest: Manifest, processes: int) -> Iterator[Folded]:
    buckets = buckets_of(manifest)
    if processes == 1:
        yield from map(one, buckets)
        return
    # Spawned: a fork would copy the threads of Arrow in whatever state they are.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context, initializer=_begin) as pool:
        waiting = {pool.submit(one, bucket) for bucket in buckets}
        try:
            while waiting:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        except BrokenProcessPool:
            raise TransientError("a process of the fold was killed (out of memory?): run it again") from None
        finally:
            pool.shutdown(cancel_futures=True)


def _begin() -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _become_small()


def _end_with_parent() -> None:
    # A pool whose owner was killed would fold what it has been given and then wait for ever.
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait_for([parent.sentinel])
    os._exit(1)


def _become_small() -> None:
    # Each is one of several: threads of its own would only compete, and Arrow's allocator keeps what it had.
    pa.set_cpu_count(1)
    pa.set_memory_pool(pa.system_memory_pool())
    garbage.collect_rarely()


def _fold_one(url: str, manifest: Manifest, into: str | None, as_of: AsOf, bucket: int) -> Folded:
    return fold_bucket(
        Directory(url), manifest, bucket, into=None if into is None else Directory(into), as_of=as_of
    )
