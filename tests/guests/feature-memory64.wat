;; memory64: a second memory with 64-bit addresses.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (memory $wide i64 1)
  (data (i32.const 0) "\08\00\00\00\03\00\00\00ok\n")
  (func (export "_start")
    (i64.store $wide (i64.const 4096) (i64.const 7))
    (if (i64.ne (i64.load $wide (i64.const 4096)) (i64.const 7)) (then unreachable))
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 32)))))
