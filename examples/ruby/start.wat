;; The entry of the ruby command: hands the command line to the interpreter, then lets it evaluate
;; command.rb. Segment 0 holds the interpreter's own first arguments, segment 1 command.rb.
(func
  (local $sizes i32) (local $buffer i32) (local $fixed i32) (local $next i32) (local $end i32)
  (local $list i32) (local $count i32) (local $length i32) (local $copy i32)
  (call {_initialize})

  ;; One buffer of NUL-terminated strings: the fixed ones, then those of the command line.
  (local.set $sizes (call {cabi_realloc} (i32.const 0) (i32.const 0) (i32.const 4) (i32.const 8)))
  (drop (call {args_sizes_get} (local.get $sizes) (i32.add (local.get $sizes) (i32.const 4))))
  (local.set $list (call {cabi_realloc} (i32.const 0) (i32.const 0) (i32.const 4)
    (i32.mul (i32.const 8) (i32.add (i32.load (local.get $sizes)) (i32.const 8)))))
  (local.set $buffer (call {cabi_realloc} (i32.const 0) (i32.const 0) (i32.const 1)
    (i32.add (i32.const ARGUMENTS_SIZE) (i32.load offset=4 (local.get $sizes)))))
  (memory.init {data0} (local.get $buffer) (i32.const 0) (i32.const ARGUMENTS_SIZE))
  (local.set $fixed (i32.add (local.get $buffer) (i32.const ARGUMENTS_SIZE)))
  (local.set $end (i32.add (local.get $fixed) (i32.load offset=4 (local.get $sizes))))
  (drop (call {args_get} (local.get $list) (local.get $fixed)))

  ;; The list of (pointer, length) that ruby-init takes and later frees; argv[0] is left out.
  (local.set $next (local.get $buffer))
  (block $done
    (loop $strings
      (br_if $done (i32.ge_u (local.get $next) (local.get $end)))
      (local.set $length (i32.const 0))
      (block $nul
        (loop $scan
          (br_if $nul (i32.eqz
            (i32.load8_u (i32.add (local.get $next) (local.get $length)))))
          (local.set $length (i32.add (local.get $length) (i32.const 1)))
          (br $scan)))
      (local.set $length (i32.add (local.get $length) (i32.const 1)))
      (if (i32.ne (local.get $next) (local.get $fixed)) (then
        (local.set $copy (call {cabi_realloc}
          (i32.const 0) (i32.const 0) (i32.const 1) (local.get $length)))
        (memory.copy (local.get $copy) (local.get $next) (local.get $length))
        (i32.store (i32.add (local.get $list) (i32.mul (local.get $count) (i32.const 8)))
          (local.get $copy))
        (i32.store offset=4 (i32.add (local.get $list) (i32.mul (local.get $count) (i32.const 8)))
          (local.get $length))
        (local.set $count (i32.add (local.get $count) (i32.const 1)))))
      (local.set $next (i32.add (local.get $next) (local.get $length)))
      (br $strings)))
  (call {ruby-init: func(args: list<string>) -> ()} (local.get $list) (local.get $count))
  (call {ruby-init-loadpath: func() -> ()})

  (local.set $buffer (call {cabi_realloc}
    (i32.const 0) (i32.const 0) (i32.const 1) (i32.const SCRIPT_SIZE)))
  (memory.init {data1} (local.get $buffer) (i32.const 0) (i32.const SCRIPT_SIZE))
  (drop (call {rb-eval-string-protect: func(str: string) -> tuple<handle<rb-abi-value>, s32>}
    (local.get $buffer) (i32.const SCRIPT_SIZE)))
  ;; command.rb ends the process itself.
  unreachable)
