"""What `make demo` shows: an image built from examples/hello, run, and how long that took."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parent
WHERRY = str(Path(sys.executable).parent / "wherry")


def said(*words: str) -> None:
    """Show a command as a person would type it."""
    print(f"\n$ {' '.join(words)}", flush=True)


def first_byte(*command: str) -> tuple[float, bytes]:
    """Run `command`; return the milliseconds to its first byte on stdout, and all of its stdout."""
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        head = process.stdout.read(1)
        milliseconds = (time.perf_counter() - began) * 1000
        rest = process.stdout.read()
    if process.returncode != 0:
        sys.exit(process.returncode)
    return milliseconds, head + rest


def main() -> None:
    """Build, run twice, and tell the size of the image and the time to the first byte."""
    said("wherry", "build", "-t", "hello", "examples/hello")
    build = [WHERRY, "build", "-t", "hello", str(EXAMPLES / "hello")]
    if code := subprocess.run(build, check=False).returncode:
        sys.exit(code)
    said("wherry", "run", "--rm", "hello")
    first, greeting = first_byte(WHERRY, "run", "--rm", "hello")
    print(greeting.decode(), flush=True)
    again, _ = first_byte(WHERRY, "run", "--rm", "hello")
    inspected = subprocess.run(
        [WHERRY, "image", "inspect", "hello"], capture_output=True, check=True
    )
    size = json.loads(inspected.stdout)[0]["Size"]
    print(f"image size                  {size:,} bytes")
    print(f"from command to first byte  {first:.0f} ms, and {again:.0f} ms when run again")


if __name__ == "__main__":
    main()
