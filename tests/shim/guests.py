"""Guests that the shim's tests run, as WebAssembly text."""

_IMPORTS = """
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 2)
"""

HELLO = f"""(module {_IMPORTS}
  (data (i32.const 16) "hello\\n")
  (func (export "_start")
    (i32.store (i32.const 0) (i32.const 16)) (i32.store (i32.const 4) (i32.const 6))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"""
"""Prints "hello"."""

BOTH = f"""(module {_IMPORTS}
  (data (i32.const 16) "to stdout\\n")
  (data (i32.const 32) "to stderr\\n")
  (func (export "_start")
    (i32.store (i32.const 0) (i32.const 16)) (i32.store (i32.const 4) (i32.const 10))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
    (i32.store (i32.const 0) (i32.const 32))
    (drop (call $write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 8)))
    (call $exit (i32.const 7))))"""
"""Writes to both streams and exits with 7."""

ECHO = f"""(module {_IMPORTS}
  (func (export "_start")
    (loop $more
      (i32.store (i32.const 0) (i32.const 64)) (i32.store (i32.const 4) (i32.const 4096))
      (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
      (if (i32.load (i32.const 8)) (then
        (i32.store (i32.const 4) (i32.load (i32.const 8)))
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
        (br $more))))))"""
"""Writes what it reads, until the end."""

SPIN = """(module
  (memory (export "memory") 1)
  (func (export "_start") (loop $forever (br $forever))))"""
"""Computes and never ends."""

FLOOD = f"""(module {_IMPORTS}
  (func (export "_start")
    (loop $more
      (i32.store (i32.const 0) (i32.const 64)) (i32.store (i32.const 4) (i32.const 65536))
      (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
      (br $more))))"""
"""Writes to stdout without end."""

HOG = """(module
  (memory (export "memory") 0)
  (func (export "_start") (local $end i32)
    (loop $more
      (if (i32.ge_s (memory.grow (i32.const 1)) (i32.const 0)) (then
        (memory.fill (local.get $end) (i32.const 1) (i32.const 65536))
        (local.set $end (i32.add (local.get $end) (i32.const 65536)))
        (br $more))))
    unreachable))"""
"""Takes all the memory that it is given, and traps when it is given no more."""

FILL = """(module
  (import "wasi_snapshot_preview1" "path_open" (func $open
    (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 2)
  (data (i32.const 16) "run/x")
  (func (export "_start")
    (drop (call $open (i32.const 3) (i32.const 0) (i32.const 16) (i32.const 5) (i32.const 1)
      (i64.const 64) (i64.const 0) (i32.const 0) (i32.const 32)))
    (i32.store (i32.const 0) (i32.const 64)) (i32.store (i32.const 4) (i32.const 65536))
    (loop $more
      (br_if $more (i32.eqz
        (call $write (i32.load (i32.const 32)) (i32.const 0) (i32.const 1) (i32.const 8)))))
    unreachable))"""
"""Fills the file system in memory at /run, and traps when it is full."""

TRAP = """(module (memory (export "memory") 1) (func (export "_start") unreachable))"""
"""Traps."""

ALL = {
    "hello": HELLO,
    "both": BOTH,
    "echo": ECHO,
    "spin": SPIN,
    "flood": FLOOD,
    "hog": HOG,
    "fill": FILL,
    "trap": TRAP,
    "nonsense": "this is no module",
}
