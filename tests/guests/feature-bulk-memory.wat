;; Bulk memory: initialises from a passive segment, copies and fills.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data $text "\08\00\00\00\03\00\00\00ok\n")
  (func (export "_start")
    (memory.init $text (i32.const 100) (i32.const 0) (i32.const 11))
    (data.drop $text)
    (memory.copy (i32.const 0) (i32.const 100) (i32.const 11))
    (memory.fill (i32.const 100) (i32.const 0) (i32.const 11))
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 32)))))
