"""Known vulnerabilities of the packages that ``constraints.txt`` pins, by ``pip-audit`` and the advisories of osv.dev.

    python -m deploy.audit_dependencies [--advisories URL] [--constraints FILE] [--unreachable_ok]

Exit status: 1 where a package has one, where pip-audit fails or where nobody can be asked; 0 where none has, and with
``--unreachable_ok`` where nobody can be asked, too: the last line then says that nothing was audited.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

ADVISORIES = "https://api.osv.dev/v1/query"
CONSTRAINTS = Path(__file__).parents[1] / "constraints.txt"
_UNREACHABLE = ("requests.exceptions.ConnectionError", "requests.exceptions.ConnectTimeout", "requests.exceptions.ReadTimeout")


def main(argv: Sequence[str] | None = None) -> int:
    """Audit, and say what was found; gives the exit status."""
    parser = argparse.ArgumentParser("audit_dependencies")
    parser.add_argument("--advisories", default=ADVISORIES, metavar="URL", help=f"OSV's query service (default {ADVISORIES})")
    parser.add_argument("--constraints", type=Path, default=CONSTRAINTS, metavar="FILE", help="default constraints.txt")
    parser.add_argument(
        "--unreachable_ok",
        action="store_true",
        help="it is known that the service may be out of reach: no failure, nothing audited",
    )
    given = parser.parse_args(argv)
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(given.constraints), "--no-deps", "--disable-pip"]
    command += ["--vulnerability-service", "osv", "--osv-url", given.advisories, "--format", "json", "--progress-spinner", "off"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if not ran.stdout.strip():
        last = ran.stderr.strip().splitlines()[-1:] or ["it says nothing"]
        if last[0].startswith(_UNREACHABLE):
            sys.stderr.write(f"NOTHING WAS AUDITED: {given.advisories} cannot be reached from here")
            sys.stderr.write("\n" if given.unreachable_ok else "; where that is known, give --unreachable_ok\n")
            return 0 if given.unreachable_ok else 1
        sys.stderr.write(f"pip-audit failed: {last[0]}\n")
        return 1
    packages = json.loads(ran.stdout)["dependencies"]
    found = list(_vulnerabilities(packages))
    sys.stdout.write("".join(f"{line}\n" for line in [*found, f"{len(packages)} packages, {len(found)} known vulnerabilities"]))
    return 1 if found or ran.returncode else 0


def _vulnerabilities(packages: list[dict]) -> Iterator[str]:
    for package in packages:
        for known in package.get("vulns", []):
            fixed = f"fixed in {', '.join(known['fix_versions'])}" if known["fix_versions"] else "no fixed version"
            yield f"{package['name']} {package['version']}: {', '.join([known['id'], *known['aliases']])}, {fixed}"


if __name__ == "__main__":
    sys.exit(main())
