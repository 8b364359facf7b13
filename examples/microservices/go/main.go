// The services in Go, one program: social-go api | unique-id | social-graph.
package main

import (
	"log"
	"os"

	"github.com/apache/thrift/lib/go/thrift"
	"social"
)

func main() {
	switch role := os.Args[1]; role {
	case "api":
		serveAPI()
	case "unique-id":
		serve(social.NewUniqueIdProcessor(&uniqueID{}))
	case "social-graph":
		serve(social.NewSocialGraphProcessor(newSocialGraph()))
	default:
		log.Fatalf("no service %q", role)
	}
}

func serve(processor thrift.TProcessor) {
	socket, err := thrift.NewTServerSocket("0.0.0.0:9090")
	if err != nil {
		log.Fatal(err)
	}
	server := thrift.NewTSimpleServer4(processor, socket, thrift.NewTFramedTransportFactoryConf(
		thrift.NewTTransportFactory(), nil), thrift.NewTBinaryProtocolFactoryConf(nil))
	log.Fatal(server.Serve())
}
