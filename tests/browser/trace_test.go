//go:build browser

package browser

import (
	"os"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/io"
	"github.com/chromedp/cdproto/tracing"
	"github.com/chromedp/chromedp"
)

// trace runs do and writes what Chromium did meanwhile into the folder that TRACES names, if it names one: a file for
// the performance panel of its developer tools.
func (tab *Tab) trace(name string, do func()) {
	tab.t.Helper()
	folder := os.Getenv("TRACES")
	if folder == "" {
		do()
		return
	}
	complete := chromedp.Events(tab.ctx, tracing.TracingComplete)
	_, err := chromedp.Call(tab.ctx, tracing.Start, tracing.StartParams{
		TransferMode: tracing.StartTransferModeReturnAsStream,
		TraceConfig:  &tracing.TraceConfig{IncludedCategories: []string{"toplevel", "devtools.timeline", "blink.user_timing", "v8.execute", "disabled-by-default-devtools.timeline"}},
	})
	tab.must("start a trace", err)
	do()
	_, err = chromedp.Call(tab.ctx, tracing.End, cdp.Empty{})
	tab.must("end the trace", err)
	var stream io.StreamHandle
	for event, err := range complete {
		tab.must("end the trace", err)
		stream = event.Stream
		break
	}
	tab.must("make the folder", os.MkdirAll(folder, 0o755))
	file, err := os.Create(folder + "/" + name + ".json")
	tab.must("write the trace", err)
	defer file.Close()
	for {
		part, err := chromedp.Call(tab.ctx, io.Read, io.ReadParams{Handle: stream})
		tab.must("read the trace", err)
		_, err = file.Write(part.Data)
		tab.must("write the trace", err)
		if part.EOF {
			break
		}
	}
	_, err = chromedp.Call(tab.ctx, io.Close, io.CloseParams{Handle: stream})
	tab.must("close the trace", err)
}
