"""Fetch the web page's third-party files into ``hemiec/web/site/assets/vendor``, with their licences and hashes.

    python tools/vendor_assets.py

Packages come from npm (`npm pack`, from the registry that npm is configured for) in the versions of `PACKAGES`; nothing
is changed in them. ``vendored.json`` states package, version, licence and SHA-256 of every file; a test compares.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import tarfile
import tempfile
from pathlib import Path

VENDOR = Path(__file__).parents[1] / "hemiec" / "web" / "site" / "assets" / "vendor"
#: Package to version, its licence (SPDX) and path in the package to name here.
PACKAGES = {
    "3dmol": (
        "2.5.5",
        "BSD-3-Clause",
        {
            "build/3Dmol-min.js": "3Dmol-min.js",
            "LICENSE": "3dmol.LICENSE.txt",
            "build/3Dmol-min.js.LICENSE.txt": "3Dmol-min.js.LICENSE.txt",
        },
    ),
    "plotly.js-basic-dist-min": (
        "4.1.1",
        "MIT",
        {"plotly-basic.min.js": "plotly-basic.min.js", "LICENSE": "plotly.LICENSE.txt"},
    ),
}


def main() -> None:
    """Fetch all packages, then write their files and the list of them."""
    listed = []
    fetched: dict[str, bytes] = {}
    for package, (version, licence, files) in PACKAGES.items():
        content = fetch(package, version)
        for path, name in files.items():
            fetched[name] = content[f"package/{path}"]
            listed.append(
                {
                    "file": name,
                    "package": package,
                    "version": version,
                    "licence": licence,
                    "path": path,
                    "bytes": len(fetched[name]),
                    "sha256": hashlib.sha256(fetched[name]).hexdigest(),
                }
            )
    VENDOR.mkdir(parents=True, exist_ok=True)
    for old in VENDOR.iterdir():
        old.unlink()
    for name, body in fetched.items():
        (VENDOR / name).write_bytes(body)
    (VENDOR / "vendored.json").write_text(json.dumps(listed, indent=1) + "\n", encoding="utf-8")
    print(f"{len(listed)} files, {sum(map(len, fetched.values())) / 1e6:.2f} MB, in {VENDOR}")


def fetch(package: str, version: str) -> dict[str, bytes]:
    """Return path to content of a package."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            ["npm", "pack", f"{package}@{version}", "--silent"], cwd=folder, check=True, stdout=subprocess.PIPE
        )
        (archive,) = Path(folder).glob("*.tgz")
        with tarfile.open(archive) as tar:
            members = {member.name: tar.extractfile(member) for member in tar if member.isfile()}
            return {name: file.read() for name, file in members.items() if file is not None}


if __name__ == "__main__":
    main()
