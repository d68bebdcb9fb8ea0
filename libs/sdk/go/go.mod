module github.com/tickfan/tickfan/libs/sdk/go

go 1.26.0

replace github.com/tickfan/tickfan/proto => ../../../proto

require (
	github.com/lxzan/gws v1.8.9
	github.com/tickfan/tickfan/proto v0.0.0
	go.uber.org/goleak v1.3.0
)

require (
	github.com/dolthub/maphash v0.1.0 // indirect
	github.com/klauspost/compress v1.20.3 // indirect
	go.yaml.in/yaml/v3 v3.0.5 // indirect
)
