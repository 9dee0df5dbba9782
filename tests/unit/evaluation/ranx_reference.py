"""Prints ranx's metrics for lists read from stdin; run apart, where numba need not compile.

Compiling ranx takes minutes on a small machine, and numba can only be told so before its import.
"""

import json
import sys
import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # ranx has invalid escapes in its docstrings
    from ranx import Qrels, Run, evaluate


def main() -> None:
    asked = json.load(sys.stdin)
    # ranx answers in the order of the ids, hence the zeros
    qrels = Qrels({f"u{u:04}": dict.fromkeys(t, 1) for u, t in enumerate(asked["targets"])})
    run = Run(
        {
            f"u{u:04}": {item: float(len(row) - place) for place, item in enumerate(row)}
            for u, row in enumerate(asked["lists"])
        }
    )
    scores = evaluate(qrels, run, asked["metrics"], return_mean=False)
    json.dump({name: [float(v) for v in values] for name, values in scores.items()}, sys.stdout)


if __name__ == "__main__":
    main()
