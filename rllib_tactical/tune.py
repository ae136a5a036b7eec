"""Sweep hyper-parameters: the ``tactical tune`` command, also a job entry point of its own.

python -m rllib_tactical.tune --sweep tune_configs/smoke.yaml --data FILE --out DIR
"""

from __future__ import annotations

import sys
from pathlib import Path

if __package__ in (None, ""):  # run as a script by path: the checkout is the import root
    # the folder of this script would hide the standard library's modules of the same names
    sys.path[0] = str(Path(__file__).resolve().parents[1])


def main() -> None:
    """Run ``tune`` as a program of its own, for ``ray job submit`` and ``ray submit``."""
    from rllib_tactical.cli.main import run

    run(["tune", *sys.argv[1:]])


if __name__ == "__main__":
    main()
