;; Listens, connects to itself, says "hello" to itself, and writes what it hears to stdout.
(module
  (import "wasi_snapshot_preview1" "sock_open" (func $open (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sock_bind" (func $bind (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sock_listen" (func $listen (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sock_getlocaladdr" (func $local (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sock_connect" (func $connect (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sock_accept" (func $accept (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\10\00\00\00\04\00\00\00")         ;; an address: 4 bytes at 16
  (data (i32.const 16) "\7f\00\00\01")
  (data (i32.const 32) "\00\01\00\00\80\00\00\00")        ;; room for one: 128 bytes at 256
  (data (i32.const 64) "\60\00\00\00\06\00\00\00")        ;; a buffer: 6 bytes at 96
  (data (i32.const 96) "hello\n")
  (data (i32.const 80) "\00\02\00\00\06\00\00\00")        ;; another: 6 bytes at 512
  (func $must (param i32) (if (local.get 0) (then (call $exit (local.get 0)))))
  (func (export "_start") (local $server i32) (local $client i32) (local $peer i32)
    (call $must (call $open (i32.const 1) (i32.const 2) (i32.const 1024)))
    (local.set $server (i32.load (i32.const 1024)))
    (call $must (call $bind (local.get $server) (i32.const 0) (i32.const 0)))
    (call $must (call $listen (local.get $server) (i32.const 1)))
    (call $must (call $local (local.get $server) (i32.const 32) (i32.const 1028)))
    (call $must (call $open (i32.const 1) (i32.const 2) (i32.const 1024)))
    (local.set $client (i32.load (i32.const 1024)))
    (call $must (call $connect (local.get $client) (i32.const 0) (i32.load (i32.const 1028))))
    (call $must (call $accept (local.get $server) (i32.const 0) (i32.const 1024)))
    (local.set $peer (i32.load (i32.const 1024)))
    (call $must (call $write (local.get $client) (i32.const 64) (i32.const 1) (i32.const 1024)))
    (call $must (call $read (local.get $peer) (i32.const 80) (i32.const 1) (i32.const 1024)))
    (call $must (call $write (i32.const 1) (i32.const 80) (i32.const 1) (i32.const 1024)))))
