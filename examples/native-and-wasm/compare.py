"""Build the program of this folder for Linux and as WebAssembly, and compare the two.

    python compare.py [RUNS]

prints how large each image is, and how long `wherry run --rm` takes: the median of RUNS (20).
"""

import json
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
NATIVE = f"linux/{MACHINES.get(platform.machine(), platform.machine())}"
IMAGES = (
    ("words:native", "Dockerfile", NATIVE),
    ("words:wasm", "Dockerfile.wasm", "wasi/wasm"),
)
TEXT = (HERE / "src" / "main.rs").read_bytes()


def wherry(*words: str, input: bytes = b"") -> str:
    """What a command of wherry's prints."""
    done = subprocess.run(["wherry", *words], input=input, stdout=subprocess.PIPE, check=True)
    return done.stdout.decode()


def start_time(image: str, runs: int) -> float:
    """The median of so many runs, in milliseconds; the first one is not counted."""
    took = []
    for _ in range(runs + 1):
        before = time.monotonic()
        wherry("run", "--rm", "-i", image, input=TEXT)
        took.append((time.monotonic() - before) * 1000)
    return statistics.median(took[1:])


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    rows = []
    for image, dockerfile, target in IMAGES:
        path = str(HERE / dockerfile)
        wherry("build", "-q", "-t", image, "--platform", target, "-f", path, str(HERE))
        (found,) = json.loads(wherry("image", "inspect", image))
        told = f"{found['Os']}/{found['Architecture']}"
        size, took = f"{found['Size'] / 1000:.0f} kB", f"{start_time(image, runs):.0f} ms"
        rows.append((image, told, size, took))
    head = ("IMAGE", "PLATFORM", "SIZE", f"RUN (MEDIAN OF {runs})")
    for row in (head, *rows):
        print("{:<14} {:<12} {:>9} {:>20}".format(*row))


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)  # the command has said what is wrong
    except FileNotFoundError:
        sys.exit("wherry is not on the PATH")
