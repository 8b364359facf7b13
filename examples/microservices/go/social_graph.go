package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/gomodule/redigo/redis"
)

// social-graph: who follows whom, in redis.
type socialGraph struct{ redis *redis.Pool }

func newSocialGraph() *socialGraph {
	return &socialGraph{&redis.Pool{
		MaxIdle: 16,
		Dial:    func() (redis.Conn, error) { return redis.Dial("tcp", "redis:6379") },
	}}
}

func followersOf(user int64) string { return fmt.Sprintf("followers:%d", user) }

func (g *socialGraph) Follow(_ context.Context, user int64, follower int64) error {
	_, err := g.do("SADD", followersOf(user), follower)
	return err
}

func (g *socialGraph) Followers(_ context.Context, user int64) ([]int64, error) {
	return redis.Int64s(g.do("SMEMBERS", followersOf(user)))
}

// Both commands may be repeated: redis may have been released, and the pool's
// connections with it; and one that has only just started reads its file first.
func (g *socialGraph) do(command string, arguments ...any) (reply any, err error) {
	for broken := 0; broken <= g.redis.MaxIdle; {
		c := g.redis.Get()
		reply, err = c.Do(command, arguments...)
		gone := c.Err() != nil
		c.Close()
		if gone {
			broken++
		} else if err != nil && strings.HasPrefix(err.Error(), "LOADING") {
			time.Sleep(10 * time.Millisecond)
		} else {
			break
		}
	}
	return reply, err
}
