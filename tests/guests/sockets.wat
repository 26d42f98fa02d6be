;; sockets.c as a component of WASI 0.2: what it imports, lowered to what a core module can call.
(component
  (import "wasi:cli/environment@0.2.0" (instance $environment
    (export "get-arguments" (func (result (list string))))))
  (import "wasi:cli/exit@0.2.0" (instance $exit
    (export "exit" (func (param "status" (result))))))
  (import "wasi:io/error@0.2.0" (instance $io-error
    (export "error" (type (sub resource)))))
  (alias export $io-error "error" (type $error))
  (import "wasi:io/poll@0.2.0" (instance $poll
    (export "pollable" (type $pollable (sub resource)))
    (export "[method]pollable.block" (func (param "self" (borrow $pollable))))))
  (alias export $poll "pollable" (type $pollable))
  (import "wasi:io/streams@0.2.0" (instance $streams
    (export "input-stream" (type $input (sub resource)))
    (export "output-stream" (type $output (sub resource)))
    (alias outer 1 $error (type $error))
    (type $reason (variant (case "last-operation-failed" (own $error)) (case "closed")))
    (export "stream-error" (type $stream-error (eq $reason)))
    (export "[method]input-stream.blocking-read" (func
      (param "self" (borrow $input)) (param "len" u64)
      (result (result (list u8) (error $stream-error)))))
    (export "[method]output-stream.blocking-write-and-flush" (func
      (param "self" (borrow $output)) (param "contents" (list u8))
      (result (result (error $stream-error)))))))
  (alias export $streams "input-stream" (type $input))
  (alias export $streams "output-stream" (type $output))
  (import "wasi:cli/stdout@0.2.0" (instance $stdout
    (alias outer 1 $output (type $output))
    (export "output-stream" (type $stream (eq $output)))
    (export "get-stdout" (func (result (own $stream))))))
  (import "wasi:sockets/network@0.2.0" (instance $network
    (export "network" (type (sub resource)))
    (type $codes (enum
      "unknown" "access-denied" "not-supported" "invalid-argument" "out-of-memory" "timeout"
      "concurrency-conflict" "not-in-progress" "would-block" "invalid-state" "new-socket-limit"
      "address-not-bindable" "address-in-use" "remote-unreachable" "connection-refused"
      "connection-reset" "connection-aborted" "datagram-too-large" "name-unresolvable"
      "temporary-resolver-failure" "permanent-resolver-failure"))
    (export "error-code" (type (eq $codes)))
    (type $families (enum "ipv4" "ipv6"))
    (export "ip-address-family" (type (eq $families)))
    (type $four (tuple u8 u8 u8 u8))
    (export "ipv4-address" (type $ipv4 (eq $four)))
    (type $six (tuple u16 u16 u16 u16 u16 u16 u16 u16))
    (export "ipv6-address" (type $ipv6 (eq $six)))
    (type $either (variant (case "ipv4" $ipv4) (case "ipv6" $ipv6)))
    (export "ip-address" (type (eq $either)))
    (type $socket4 (record (field "port" u16) (field "address" $ipv4)))
    (export "ipv4-socket-address" (type $address4 (eq $socket4)))
    (type $socket6 (record
      (field "port" u16) (field "flow-info" u32) (field "address" $ipv6) (field "scope-id" u32)))
    (export "ipv6-socket-address" (type $address6 (eq $socket6)))
    (type $any (variant (case "ipv4" $address4) (case "ipv6" $address6)))
    (export "ip-socket-address" (type (eq $any)))))
  (alias export $network "network" (type $network-handle))
  (alias export $network "error-code" (type $error-code))
  (alias export $network "ip-address-family" (type $family))
  (alias export $network "ip-address" (type $ip-address))
  (alias export $network "ip-socket-address" (type $socket-address))
  (import "wasi:sockets/instance-network@0.2.0" (instance $instance-network
    (alias outer 1 $network-handle (type $network-handle))
    (export "network" (type $network (eq $network-handle)))
    (export "instance-network" (func (result (own $network))))))
  (import "wasi:sockets/tcp@0.2.0" (instance $tcp
    (alias outer 1 $network-handle (type $network-handle))
    (alias outer 1 $error-code (type $codes))
    (alias outer 1 $socket-address (type $address))
    (alias outer 1 $input (type $input))
    (alias outer 1 $output (type $output))
    (alias outer 1 $pollable (type $pollable))
    (export "network" (type $network (eq $network-handle)))
    (export "error-code" (type $error-code (eq $codes)))
    (export "ip-socket-address" (type $socket-address (eq $address)))
    (export "tcp-socket" (type $socket (sub resource)))
    (export "[method]tcp-socket.start-bind" (func
      (param "self" (borrow $socket)) (param "network" (borrow $network))
      (param "local-address" $socket-address) (result (result (error $error-code)))))
    (export "[method]tcp-socket.finish-bind" (func
      (param "self" (borrow $socket)) (result (result (error $error-code)))))
    (export "[method]tcp-socket.start-listen" (func
      (param "self" (borrow $socket)) (result (result (error $error-code)))))
    (export "[method]tcp-socket.finish-listen" (func
      (param "self" (borrow $socket)) (result (result (error $error-code)))))
    (export "[method]tcp-socket.accept" (func
      (param "self" (borrow $socket))
      (result (result (tuple (own $socket) (own $input) (own $output)) (error $error-code)))))
    (export "[method]tcp-socket.start-connect" (func
      (param "self" (borrow $socket)) (param "network" (borrow $network))
      (param "remote-address" $socket-address) (result (result (error $error-code)))))
    (export "[method]tcp-socket.finish-connect" (func
      (param "self" (borrow $socket))
      (result (result (tuple (own $input) (own $output)) (error $error-code)))))
    (export "[method]tcp-socket.subscribe" (func
      (param "self" (borrow $socket)) (result (own $pollable))))))
  (alias export $tcp "tcp-socket" (type $socket))
  (import "wasi:sockets/tcp-create-socket@0.2.0" (instance $create
    (alias outer 1 $socket (type $tcp-socket))
    (alias outer 1 $error-code (type $codes))
    (alias outer 1 $family (type $families))
    (export "error-code" (type $error-code (eq $codes)))
    (export "ip-address-family" (type $family (eq $families)))
    (export "tcp-socket" (type $socket (eq $tcp-socket)))
    (export "create-tcp-socket" (func
      (param "address-family" $family) (result (result (own $socket) (error $error-code)))))))
  (import "wasi:sockets/udp@0.2.0" (instance $udp
    (export "udp-socket" (type (sub resource)))))
  (alias export $udp "udp-socket" (type $udp-handle))
  (import "wasi:sockets/udp-create-socket@0.2.0" (instance $create-udp
    (alias outer 1 $udp-handle (type $udp-socket))
    (alias outer 1 $error-code (type $codes))
    (alias outer 1 $family (type $families))
    (export "error-code" (type $error-code (eq $codes)))
    (export "ip-address-family" (type $family (eq $families)))
    (export "udp-socket" (type $socket (eq $udp-socket)))
    (export "create-udp-socket" (func
      (param "address-family" $family) (result (result (own $socket) (error $error-code)))))))
  (import "wasi:sockets/ip-name-lookup@0.2.0" (instance $lookup
    (alias outer 1 $network-handle (type $network-handle))
    (alias outer 1 $error-code (type $codes))
    (alias outer 1 $ip-address (type $addresses))
    (alias outer 1 $pollable (type $pollable))
    (export "network" (type $network (eq $network-handle)))
    (export "error-code" (type $error-code (eq $codes)))
    (export "ip-address" (type $ip-address (eq $addresses)))
    (export "resolve-address-stream" (type $found (sub resource)))
    (export "resolve-addresses" (func
      (param "network" (borrow $network)) (param "name" string)
      (result (result (own $found) (error $error-code)))))
    (export "[method]resolve-address-stream.resolve-next-address" (func
      (param "self" (borrow $found))
      (result (result (option $ip-address) (error $error-code)))))
    (export "[method]resolve-address-stream.subscribe" (func
      (param "self" (borrow $found)) (result (own $pollable))))))

  ;; The memory, apart from the program because what is lowered needs it first. What the host hands
  ;; over lies above the program's own data until it is forgotten.
  (core module $heap
    (memory (export "memory") 64)
    (global $next (mut i32) (i32.const 0x200000))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
      (global.set $next (i32.add (local.get $at) (local.get 3)))
      (local.get $at))
    (func (export "forget") (global.set $next (i32.const 0x200000))))
  (core instance $heap (instantiate $heap))
  (alias core export $heap "memory" (core memory $memory))
  (alias core export $heap "realloc" (core func $realloc))

  (core func $arguments (canon lower (func $environment "get-arguments")
    (memory $memory) (realloc $realloc)))
  (core func $leave (canon lower (func $exit "exit")))
  (core func $screen (canon lower (func $stdout "get-stdout")))
  (core func $read (canon lower (func $streams "[method]input-stream.blocking-read")
    (memory $memory) (realloc $realloc)))
  (core func $write (canon lower (func $streams "[method]output-stream.blocking-write-and-flush")
    (memory $memory)))
  (core func $block (canon lower (func $poll "[method]pollable.block")))
  (core func $own-network (canon lower (func $instance-network "instance-network")))
  (core func $make (canon lower (func $create "create-tcp-socket") (memory $memory)))
  (core func $make-udp (canon lower (func $create-udp "create-udp-socket") (memory $memory)))
  (core func $start-bind (canon lower (func $tcp "[method]tcp-socket.start-bind")
    (memory $memory)))
  (core func $finish-bind (canon lower (func $tcp "[method]tcp-socket.finish-bind")
    (memory $memory)))
  (core func $start-listen (canon lower (func $tcp "[method]tcp-socket.start-listen")
    (memory $memory)))
  (core func $finish-listen (canon lower (func $tcp "[method]tcp-socket.finish-listen")
    (memory $memory)))
  (core func $accept (canon lower (func $tcp "[method]tcp-socket.accept") (memory $memory)))
  (core func $start-connect (canon lower (func $tcp "[method]tcp-socket.start-connect")
    (memory $memory)))
  (core func $finish-connect (canon lower (func $tcp "[method]tcp-socket.finish-connect")
    (memory $memory)))
  (core func $subscribe (canon lower (func $tcp "[method]tcp-socket.subscribe")))
  (core func $resolve (canon lower (func $lookup "resolve-addresses") (memory $memory)))
  (core func $next-address (canon lower
    (func $lookup "[method]resolve-address-stream.resolve-next-address") (memory $memory)))
  (core func $subscribe-address (canon lower
    (func $lookup "[method]resolve-address-stream.subscribe")))
  (core func $drop-pollable (canon resource.drop $pollable))
  (core func $drop-socket (canon resource.drop $socket))
  (core func $drop-input (canon resource.drop $input))
  (core func $drop-output (canon resource.drop $output))

  (core module) ;; sockets.c takes its place
  (core instance $main (instantiate 1 (with "env" (instance
    (export "memory" (memory $memory))
    (export "forget" (func $heap "forget"))
    (export "arguments" (func $arguments))
    (export "exit" (func $leave))
    (export "stdout" (func $screen))
    (export "read" (func $read))
    (export "write" (func $write))
    (export "block" (func $block))
    (export "network" (func $own-network))
    (export "create" (func $make))
    (export "create-udp" (func $make-udp))
    (export "start-bind" (func $start-bind))
    (export "finish-bind" (func $finish-bind))
    (export "start-listen" (func $start-listen))
    (export "finish-listen" (func $finish-listen))
    (export "accept" (func $accept))
    (export "start-connect" (func $start-connect))
    (export "finish-connect" (func $finish-connect))
    (export "subscribe" (func $subscribe))
    (export "resolve" (func $resolve))
    (export "next-address" (func $next-address))
    (export "subscribe-address" (func $subscribe-address))
    (export "drop-pollable" (func $drop-pollable))
    (export "drop-socket" (func $drop-socket))
    (export "drop-input" (func $drop-input))
    (export "drop-output" (func $drop-output))))))

  (func $run (result (result)) (canon lift (core func $main "run")))
  (instance $command (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $command)))
