# What `ruby` does with its command line, for an interpreter that was built to be embedded.
ended = []
Kernel.define_method(:at_exit) { |&block| ended.unshift(block) && block }
status = 0
begin
  code = nil
  while (word = ARGV.first)&.start_with?("-") && word != "-"
    ARGV.shift
    case word
    when "--" then break
    when "-e" then code = [code, ARGV.shift].compact.join("\n")
    when "-v", "--version" then puts RUBY_DESCRIPTION; code ||= ""
    when /\A-I(.+)/ then $LOAD_PATH.unshift($1)
    when /\A-r(.+)/ then require $1
    when /\A-W/, "-w" then $VERBOSE = true
    else abort "ruby: invalid option #{word}"
    end
  end
  if code
    $0 = "-e"
    eval(code, TOPLEVEL_BINDING, "-e")
  elsif ARGV.empty? || ARGV.first == "-"
    ARGV.shift
    $0 = "-"
    eval($stdin.read, TOPLEVEL_BINDING, "-")
  else
    $0 = ARGV.shift
    load File.expand_path($0)
  end
rescue SystemExit => left
  status = left.status
rescue Exception => failed
  $stderr.write(failed.full_message(highlight: false))
  status = 1
end
ended.each(&:call)
$stdout.flush
$stderr.flush
exit!(status)
