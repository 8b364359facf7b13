package main

import (
	"context"
	"encoding/json"
	"log"
	"net/http"

	"social"
)

// api: HTTP and JSON outside, Thrift inside.
//
//	GET  /timeline?user=NAME         the newest posts of whom NAME follows
//	POST /post     user=, text=      answers the post's number
//	POST /follow   user=, follower=
func serveAPI() {
	users := newRemote("user", social.NewUserClient)
	graph := newRemote("social-graph", social.NewSocialGraphClient)
	timelines := newRemote("home-timeline", social.NewHomeTimelineClient)
	composers := newRemote("compose", social.NewComposeClient)
	ids := newCache(func(ctx context.Context, name string) (id int64, err error) {
		err = users.call(func(c *social.UserClient) error { id, err = c.Find(ctx, name); return err })
		return id, err
	})

	handle("/timeline", func(ctx context.Context, field func(string) string) (any, error) {
		user, err := ids.get(ctx, field("user"))
		if err != nil {
			return nil, err
		}
		var posts []*social.Post
		err = timelines.call(func(c *social.HomeTimelineClient) error {
			posts, err = c.Latest(ctx, user, 10)
			return err
		})
		return posts, err
	})
	handle("/post", func(ctx context.Context, field func(string) string) (any, error) {
		var post int64
		err := composers.call(func(c *social.ComposeClient) (err error) {
			post, err = c.Publish(ctx, field("user"), field("text"))
			return err
		})
		return post, err
	})
	handle("/follow", func(ctx context.Context, field func(string) string) (any, error) {
		user, err := ids.get(ctx, field("user"))
		if err != nil {
			return nil, err
		}
		follower, err := ids.get(ctx, field("follower"))
		if err != nil {
			return nil, err
		}
		return "done", graph.call(func(c *social.SocialGraphClient) error { return c.Follow(ctx, user, follower) })
	})
	log.Fatal(http.ListenAndServe("0.0.0.0:8000", nil))
}

func handle(path string, f func(context.Context, func(string) string) (any, error)) {
	http.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
		result, err := f(r.Context(), r.FormValue)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(result)
	})
}
