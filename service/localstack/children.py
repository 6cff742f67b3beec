"""Server processes that live exactly as long as the one that started them.

A child gets a session of its own, so that Ctrl-C in the terminal reaches the roles first and not the
servers under them; and the kernel signals it when the thread that started it ends, so that not even
SIGKILL of the parent leaves it behind. What it prints goes to a file. Start children from a thread that
lives as long as they should.
"""

import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from service.localstack.errors import LocalStackError

# Postgres refuses to run as root. Started by root it runs as nobody, who keeps one right of root's: to reach
# files, so that a checkout below a closed /root works and no folder's mode is changed. (Without the secure
# bit access(2) would not count that right, and initdb asks it whether it may run postgres.)
_AS_NOBODY = (
    "--reuid=nobody",
    "--regid=nogroup",
    "--clear-groups",
    "--securebits=+no_setuid_fixup",
    "--inh-caps=-all,+dac_override",
    "--ambient-caps=-all,+dac_override",
)


def start(
    command: Sequence[str],
    *,
    piece: str,
    log: Path,
    signal_on_parent_death: signal.Signals = signal.SIGKILL,
    never_root: bool = False,
) -> subprocess.Popen[bytes]:
    """Start a command as a child that cannot outlive this thread; its output is appended to the log."""
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise LocalStackError(piece, "setpriv is not on the PATH (it is in Debian's package util-linux)")
    privileges = _AS_NOBODY if never_root and os.geteuid() == 0 else ()
    tether = f"--pdeathsig={signal_on_parent_death.name.removeprefix('SIG')}"
    with log.open("ab") as output:
        return subprocess.Popen(
            [setpriv, tether, *privileges, "--", *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def stop(child: subprocess.Popen[bytes], signal_first: signal.Signals, *, patience_s: float) -> None:
    """Ask a child to stop, wait, and kill it when it has not stopped in time. Returns once it is gone."""
    child.send_signal(signal_first)
    try:
        child.wait(patience_s)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
