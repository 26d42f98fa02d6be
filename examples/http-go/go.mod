module wherry.example/http-go

go 1.21.0

require github.com/stealthrocket/net v0.2.1
