;; Ends with the exit code given as first argument (decimal), 0 without one.
(module
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $args_sizes_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_get" (func $args_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (memory (export "memory") 2)
  (func (export "_start") (local $at i32) (local $code i32) (local $digit i32)
    (drop (call $args_sizes_get (i32.const 0) (i32.const 4)))
    (drop (call $args_get (i32.const 16) (i32.const 65536)))
    (if (i32.ge_u (i32.load (i32.const 0)) (i32.const 2)) (then
      (local.set $at (i32.load (i32.const 20)))
      (loop $digits
        (local.set $digit (i32.load8_u (local.get $at)))
        (if (local.get $digit) (then
          (local.set $code (i32.add (i32.mul (local.get $code) (i32.const 10))
            (i32.sub (local.get $digit) (i32.const 48))))
          (local.set $at (i32.add (local.get $at) (i32.const 1)))
          (br $digits))))))
    (call $proc_exit (local.get $code))))
