package main

import (
	"context"
	"sync/atomic"
	"time"
)

// unique-id: numbers that grow with time. 20 bits count within a millisecond; a
// host that is started anew goes on with a later one.
type uniqueID struct{ last atomic.Int64 }

func (u *uniqueID) Next(context.Context) (int64, error) {
	now := time.Now().UnixMilli() << 20
	for {
		last := u.last.Load()
		next := last + 1
		if now > next {
			next = now
		}
		if u.last.CompareAndSwap(last, next) {
			return next, nil
		}
	}
}
