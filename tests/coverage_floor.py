"""Files of a package of whose lines the tests run fewer than so many percent: PACKAGE PERCENT, after a coverage run."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path


def main(package: str, percent: float) -> int:
    """The exit status: 1 if the package, or a file of it, is below."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "report.json")
        command = [sys.executable, "-m", "coverage", "json", "--quiet", f"--include={package}/*", "-o", str(out)]
        subprocess.run(command, check=True)
        files = json.loads(out.read_text())["files"]
    shares = {name: _share(one["summary"]) for name, one in files.items()}
    covered, statements = (sum(one["summary"][key] for one in files.values()) for key in ("covered_lines", "num_statements"))
    branches = [sum(one["summary"][key] for one in files.values()) for key in ("covered_branches", "num_branches")]
    print(
        f"{package}: {100 * covered / statements:.1f} % of {statements:,} lines, "
        f"{100 * branches[0] / max(branches[1], 1):.1f} % of {branches[1]:,} branches"
    )
    below = {name: share for name, share in shares.items() if share < percent}
    for name, share in sorted(below.items(), key=lambda one: one[1]):
        print(f"  {name}: {share:.1f} % of its lines, fewer than {percent:g}")
    return 1 if below else 0


def _share(summary: dict[str, int]) -> float:
    return 100 * summary["covered_lines"] / summary["num_statements"] if summary["num_statements"] else 100.0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], float(sys.argv[2])))
