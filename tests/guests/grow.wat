;; Grows its memory a mebibyte at a time and touches each, until refused; then traps.
(module
  (memory (export "memory") 1)
  (func $allocate (export "_start") (local $pages i32)
    (loop $more
      (local.set $pages (memory.grow (i32.const 16)))
      (if (i32.eq (local.get $pages) (i32.const -1)) (then unreachable))
      (memory.fill (i32.mul (local.get $pages) (i32.const 65536)) (i32.const 1) (i32.const 1048576))
      (br $more))))
