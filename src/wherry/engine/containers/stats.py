"""What a container uses, in Docker's shape."""

from typing import Any

Stats = dict[str, Any]
