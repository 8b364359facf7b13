package main

import (
	"net"

	"github.com/apache/thrift/lib/go/thrift"
)

// A service elsewhere, and the connections to it that nobody uses just now.
type remote[Client any] struct {
	address string
	make    func(thrift.TClient) Client
	idle    chan connection[Client]
}

type connection[Client any] struct {
	client    Client
	transport thrift.TTransport
}

func newRemote[Client any](host string, make_ func(thrift.TClient) Client) *remote[Client] {
	return &remote[Client]{net.JoinHostPort(host, "9090"), make_, make(chan connection[Client], 64)}
}

// Calls with a connection of its own; once more with a fresh one, since the host
// may have been released meanwhile, and the connections to it with it.
func (r *remote[Client]) call(f func(Client) error) error {
	for {
		c, fresh, err := r.take()
		if err == nil {
			err = f(c.client)
		}
		if err == nil {
			r.giveBack(c)
			return nil
		}
		if c.transport != nil {
			c.transport.Close()
		}
		if fresh {
			return err
		}
	}
}

func (r *remote[Client]) take() (c connection[Client], fresh bool, err error) {
	select {
	case c = <-r.idle:
		return c, false, nil
	default:
	}
	c.transport = thrift.NewTFramedTransportConf(thrift.NewTSocketConf(r.address, nil), nil)
	protocol := thrift.NewTBinaryProtocolConf(c.transport, nil)
	c.client = r.make(thrift.NewTStandardClient(protocol, protocol))
	return c, true, c.transport.Open()
}

func (r *remote[Client]) giveBack(c connection[Client]) {
	select {
	case r.idle <- c:
	default:
		c.transport.Close()
	}
}
