"""A credential helper: a program that keeps secrets in a file, as others do in a keyring."""

from __future__ import annotations

import json
import sys
from pathlib import Path

_PROGRAM = """#!{python}
# Keeps secrets in a file, as docker-credential-* programs do in a keyring.
import json, sys
path = {path!r}
try:
    kept = json.load(open(path))
except FileNotFoundError:
    kept = {{}}
action, text = sys.argv[1], sys.stdin.read()
if action == "store":
    entry = json.loads(text)
    kept[entry["ServerURL"]] = [entry["Username"], entry["Secret"]]
elif action == "erase":
    kept.pop(text, None)
elif action == "list":
    print(json.dumps({{server: pair[0] for server, pair in kept.items()}}))
elif text in kept:
    user, secret = kept[text]
    print(json.dumps({{"ServerURL": text, "Username": user, "Secret": secret}}))
else:
    print("credentials not found in native keychain")
    sys.exit(1)
json.dump(kept, open(path, "w"))
"""


def helper(folder: Path, name: str, **kept: tuple[str, str]) -> Path:
    """Puts `docker-credential-NAME` into `folder/bin`; the file it keeps secrets in."""
    store = folder / f"{name}.secrets"
    store.write_text(json.dumps(kept))
    program = folder / "bin" / f"docker-credential-{name}"
    program.parent.mkdir(exist_ok=True)
    program.write_text(_PROGRAM.format(python=sys.executable, path=str(store)))
    program.chmod(0o755)
    return store
