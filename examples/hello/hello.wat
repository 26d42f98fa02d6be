;; Prints a greeting: one call of the host, and nothing else in it.
(module
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  ;; At 0 the vector that fd_write takes (address 8, 35 bytes), at 8 what it points to.
  (data (i32.const 0) "\08\00\00\00\23\00\00\00hello from a WebAssembly container\n")
  (func (export "_start")
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 64)))))
