module github.com/tickfan/tickfan/libs/sdk/go

go 1.26.0

replace github.com/tickfan/tickfan/proto => ../../../proto

require github.com/tickfan/tickfan/proto v0.0.0

require (
	github.com/dolthub/maphash v0.1.0 // indirect
	github.com/klauspost/compress v1.17.9 // indirect
	github.com/lxzan/gws v1.8.9 // indirect
	github.com/vmihailenco/msgpack/v5 v5.4.1 // indirect
	github.com/vmihailenco/tagparser/v2 v2.0.0 // indirect
	go.uber.org/goleak v1.3.0 // indirect
)
