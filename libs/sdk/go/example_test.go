package tickfan_test

import (
	"context"
	"fmt"
	"log"
	"time"

	tickfan "github.com/tickfan/tickfan/libs/sdk/go"
)

func ExampleDial() {
	edge := startExampleEdge() // stands for a real one, e.g. ws://localhost:8080
	defer edge.stop()

	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	c, err := tickfan.Dial(ctx, edge.url, tickfan.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Subscribe(ctx, []string{"BTC-USD", "ETH-USD"}); err != nil {
		log.Fatal(err)
	}

	prices := 0
	for event, err := range c.Events(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		switch e := event.(type) {
		case tickfan.Tick:
			fmt.Println(e.Symbol, e.Price)
			if prices++; prices == 2 {
				return
			}
		case tickfan.Disconnected:
			log.Printf("no prices: %v, trying again in %s", e.Err, e.Retry)
		}
	}
	// Output:
	// BTC-USD 64123.51
	// ETH-USD 3377.40
}

// In mode every nothing is left out untold.
func ExampleEvery() {
	edge := startExampleEdge()
	defer edge.stop()

	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	c, err := tickfan.Dial(ctx, edge.url, tickfan.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	// A program that stored how far it came goes on from there.
	stored := tickfan.Position{Epoch: 1763769600, Seq: 1039}
	if _, err := c.Subscribe(ctx, []string{"BTC-USD"}, tickfan.Every(), tickfan.After("BTC-USD", stored)); err != nil {
		log.Fatal(err)
	}
	for event, err := range c.Events(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		switch e := event.(type) {
		case tickfan.Gap:
			fmt.Println(e.Symbol, "lost", e.From, "to", e.To)
		case tickfan.Tick:
			fmt.Println(e.Symbol, e.Seq, e.Price)
			return
		}
	}
	// Output:
	// BTC-USD lost 1040 to 1041
	// BTC-USD 1042 64123.51
}
