"""The local stack in the foreground, until Ctrl-C: `make stack`.

Out: two lines to paste into another terminal, so that tests, the demo and the roles there use this stack.
"""

import signal
import sys
from pathlib import Path
from types import FrameType

from service.errors import ReciboError
from service.localstack.stack import LOCAL, running


def main() -> int:
    """Run it in the folder that the command line names, else in .local/stack."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else LOCAL / "stack"
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with running(folder.absolute(), on_progress=_say) as stack:
            print(f"export RECIBO_DATABASE_URL={stack.database_url}")
            print(f"export RECIBO_KAFKA_BOOTSTRAP={stack.kafka_bootstrap}", flush=True)
            _say(f"running in {folder} until Ctrl-C")
            while True:
                signal.pause()
    except KeyboardInterrupt:
        _say("stopped")
        return 0
    except ReciboError as error:
        _say(str(error))
        return 1


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
