;; Exceptions: one is thrown below and caught with its value here.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (tag $failure (param i32))
  (data (i32.const 0) "\08\00\00\00\03\00\00\00ok\n")
  (func $fail (throw $failure (i32.const 42)))
  (func (export "_start")
    (block $caught (result i32)
      (try_table (catch $failure $caught) (call $fail))
      unreachable)
    (if (i32.ne (i32.const 42)) (then unreachable))
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 32)))))
