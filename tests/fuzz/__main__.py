"""Feed the adapters what coverage leads to: `make fuzz`, with SECONDS=60 and SEED=1.

In: seconds or runs, a seed; or the file of an input that failed, to try it again. Out: libFuzzer's
report, and an exit code that is not 0 where an adapter broke its contract (tests/contract.py); the input
is then in .local/fuzz, and how to replay it is told. An input over five seconds counts as a failure too.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["projections"], enable_loader_override=False):
    from tests import contract
    from tests.bodies import KEYED
    from tests.fuzz import inputs

FAILED = Path(".local/fuzz")
SIZE_MAX = 65_536


def main() -> None:
    """Fuzz, or try one input again."""
    options = _options()
    if options.input is not None:
        contract.assert_kept(inputs.read(options.input.read_bytes()), KEYED)
        return
    FAILED.mkdir(parents=True, exist_ok=True)
    # What an earlier run found is not taken up: every run begins with the seeds. Nor is what this one finds:
    # libFuzzer would read its folder every second, and count what it had replaced there as further runs.
    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(inputs.seeds()):
            Path(corpus, f"{number:04}").write_bytes(seed)
        limit = f"-runs={options.runs}" if options.runs else f"-max_total_time={options.seconds}"
        atheris.Setup(
            [
                *("fuzz", limit, f"-seed={options.seed}", f"-max_len={SIZE_MAX}", "-timeout=5", "-reload=0"),
                *(f"-artifact_prefix={FAILED}/", "-print_final_stats=1", corpus),
            ],
            _try,
            custom_mutator=_mutated,
        )
        # It ends the process.
        atheris.Fuzz()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--runs", type=int, default=0, help="instead of seconds")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("input", type=Path, nargs="?", help="an input that failed, to be tried again")
    return parser.parse_args()


def _try(data: bytes) -> None:
    delivery = inputs.read(data)
    try:
        contract.assert_kept(delivery, KEYED)
    except BaseException:
        path = FAILED / "failed"
        path.write_bytes(data)
        sys.stderr.write(
            f"\n{delivery.provider} breaks its contract on {delivery.body!r} (kind {delivery.kind})\n"
            f"replay: python -m tests.fuzz {path}\n"
        )
        raise


def _mutated(data: bytes, size_max: int, seed: int) -> bytes:
    return inputs.mutated(data, size_max, seed, lambda part, most: bytes(atheris.Mutate(part, most)))


if __name__ == "__main__":
    main()
