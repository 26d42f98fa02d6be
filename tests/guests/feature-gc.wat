;; GC: makes a million structures, keeping the last.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (type $pair (struct (field $a i32) (field $b (mut i32))))
  (memory (export "memory") 1)
  (data (i32.const 0) "\08\00\00\00\03\00\00\00ok\n")
  (func (export "_start") (local $n i32) (local $last (ref null $pair))
    (loop $more
      (local.set $last (struct.new $pair (local.get $n) (i32.const 0)))
      (local.set $n (i32.add (local.get $n) (i32.const 1)))
      (br_if $more (i32.lt_u (local.get $n) (i32.const 1000000))))
    (if (i32.ne (struct.get $pair $a (local.get $last)) (i32.const 999999)) (then unreachable))
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 32)))))
