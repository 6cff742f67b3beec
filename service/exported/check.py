"""Is an exported folder whole? Its files are compared with its manifest, the manifest with arithmetic.

Nothing is asked of the log: whoever got the folder can ask. What a killed export left is named, too.
"""

from collections.abc import Callable, Iterator, Sequence

from service.exported.directory import Directory
from service.exported.manifest import NAME, Manifest
from service.exported.writing import origin_of

Told = Callable[[int], None]
"""Is called with the bytes compared so far."""


def faults(folder: Directory, manifest: Manifest, told: Told = lambda _: None) -> Iterator[str]:
    """What is wrong with the folder, in words; nothing for a whole one."""
    strangers = folder.strangers(manifest)
    yield from _swapped(folder, manifest, strangers)
    yield from manifest.gaps()
    compared = 0
    for file in manifest.files:
        if (fault := folder.fault(file)) is not None:
            yield fault
        compared += file.bytes
        told(compared)
    for name in strangers:
        yield f"{name} is not in {NAME}: a killed export leaves such a file, the next one removes it"


def _swapped(folder: Directory, manifest: Manifest, strangers: Sequence[str]) -> Iterator[str]:
    """Said where whole files are here that belong to another export than the manifest."""
    for name in strangers:
        with folder.open(name) as opened:
            origin = origin_of(opened.read())
        if origin not in (None, manifest.origin):
            yield (
                f"{NAME} is of another log than {name}, or of another reading of it: "
                "bring back the manifest that belongs to these files"
            )
            return
