// Command centrifuge is a server on the library of that name, as a peer of
// jobcast. ../../README.md tells what it answers.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net/http"
	"strings"
	"time"

	"github.com/centrifugal/centrifuge"

	"github.com/jobcast/jobcast/bench/peers/fanout/publish"
)

func main() {
	port := flag.Int("port", 0, "port on 127.0.0.1; 0 is any")
	var g gathering
	flag.DurationVar(&g.delay, "delay", 0, "how long messages for a connection are gathered; 0, the library's default: not at all")
	flag.DurationVar(&g.batch.MaxDelay, "batch-delay", 0, "how long messages of a channel are gathered; 0, the library's default: not at all")
	flag.Int64Var(&g.batch.MaxSize, "batch-size", 0, "how many messages of a channel are gathered at most; 0: any number")
	flag.Parse()
	if err := run(*port, g); err != nil {
		log.Fatal(err)
	}
}

// gathering is what the node does to send several messages with one write.
type gathering struct {
	delay time.Duration                 // of a connection
	batch centrifuge.ChannelBatchConfig // of a channel, for each of its subscribers
}

func run(port int, g gathering) error {
	node, err := newNode(publish.Key(), g)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("/connection/websocket", centrifuge.NewWebsocketHandler(node, centrifuge.WebsocketConfig{
		UseWriteBufferPool: true, // saves about 3 KB for each idle connection
	}))
	return publish.Serve(port, mux, func(room string, e publish.Event) error {
		text, err := json.Marshal(e)
		if err != nil {
			return err
		}
		_, err = node.Publish("job:"+room, text)
		return err
	})
}

// newNode returns a running node with the broker in memory. Clients that know
// the key may subscribe to the channels of jobs.
func newNode(key string, g gathering) (*centrifuge.Node, error) {
	config := centrifuge.Config{
		LogLevel:   centrifuge.LogLevelError,
		LogHandler: func(e centrifuge.LogEntry) { log.Println(e.Message, e.Fields) },
	}
	if g.batch.MaxDelay > 0 || g.batch.MaxSize > 0 {
		config.GetChannelBatchConfig = func(string) centrifuge.ChannelBatchConfig { return g.batch }
	}
	node, err := centrifuge.New(config)
	if err != nil {
		return nil, fmt.Errorf("make node: %w", err)
	}
	node.OnConnecting(func(_ context.Context, e centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
		if e.Token != key {
			return centrifuge.ConnectReply{}, centrifuge.DisconnectInvalidToken
		}
		// The node's tables are spread over locks by user, so each has its own.
		reply := centrifuge.ConnectReply{Credentials: &centrifuge.Credentials{UserID: e.ClientID}}
		if g.delay > 0 {
			reply.WriteDelay, reply.WriteWithTimer, reply.MaxMessagesInFrame = g.delay, true, -1
		}
		return reply, nil
	})
	node.OnConnect(func(client *centrifuge.Client) {
		client.OnSubscribe(func(e centrifuge.SubscribeEvent, done centrifuge.SubscribeCallback) {
			if !strings.HasPrefix(e.Channel, "job:") {
				done(centrifuge.SubscribeReply{}, centrifuge.ErrorPermissionDenied)
				return
			}
			done(centrifuge.SubscribeReply{}, nil)
		})
	})
	if err := node.Run(); err != nil {
		return nil, fmt.Errorf("run node: %w", err)
	}
	return node, nil
}
