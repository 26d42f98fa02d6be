;; Shared memory and atomics: a second memory, shared, counted up atomically.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (memory $shared 1 2 shared)
  (data (i32.const 0) "\08\00\00\00\03\00\00\00ok\n")
  (func (export "_start")
    (drop (i32.atomic.rmw.add $shared (i32.const 64) (i32.const 5)))
    (if (i32.ne (i32.atomic.rmw.add $shared (i32.const 64) (i32.const 5)) (i32.const 5))
      (then unreachable))
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 32)))))
