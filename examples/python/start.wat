;; The entry of the python command: the interpreter reads the command line itself.
(func
  (call {_initialize})
  (call {proc_exit} (call {run}))
  unreachable)
