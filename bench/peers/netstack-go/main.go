// netstack-go: wireguard-go's own netstack mode (gVisor's TCP in the program,
// no TUN device), with the command line and the commands of im-embedded-peer
// (bench/embedded_peer_main.cc says what they are), so that im-bench measures
// both alike.
package main

import (
	"bufio"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun/netstack"
)

const (
	echoPort    = 7001
	sinkPort    = 7002
	udpPort     = 7003
	udpSinkPort = 7004
	usualMtu    = 1420
	bufferBytes = 1 << 16
	atOnce      = 16 // by `connect`
	patience    = 30 * time.Second
)

type peer struct {
	network *netstack.Net
	other   netip.Addr
	held    []net.Conn
	arrived atomic.Uint64 // datagrams at udpSinkPort, since it was asked
}

func hexKey(base64Key string) (string, error) {
	key, err := base64.StdEncoding.DecodeString(base64Key)
	if err == nil && len(key) != device.NoisePrivateKeySize {
		err = errors.New("not a key")
	}
	return hex.EncodeToString(key), err
}

func start(args []string) (*peer, error) {
	private, err := hexKey(args[0])
	if err != nil {
		return nil, err
	}
	public, err := hexKey(args[1])
	if err != nil {
		return nil, err
	}
	address, err := netip.ParseAddr(args[4])
	if err != nil {
		return nil, err
	}
	other, err := netip.ParseAddr(args[5])
	if err != nil {
		return nil, err
	}
	mtu := usualMtu
	if len(args) > 6 {
		if mtu, err = strconv.Atoi(args[6]); err != nil {
			return nil, err
		}
	}
	tun, network, err := netstack.CreateNetTUN([]netip.Addr{address}, nil, mtu)
	if err != nil {
		return nil, err
	}
	tunnel := device.NewDevice(tun, conn.NewDefaultBind(), device.NewLogger(device.LogLevelError, ""))
	allowed := netip.PrefixFrom(other, other.BitLen())
	err = tunnel.IpcSet(fmt.Sprintf("private_key=%s\nlisten_port=%s\npublic_key=%s\nendpoint=%s\n"+
		"allowed_ip=%s\n", private, args[2], public, args[3], allowed))
	if err == nil {
		err = tunnel.Up()
	}
	return &peer{network: network, other: other}, err
}

func (p *peer) serve(port int, handle func(net.Conn)) error {
	listener, err := p.network.ListenTCP(&net.TCPAddr{Port: port})
	if err != nil {
		return err
	}
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer connection.Close()
				handle(connection)
			}()
		}
	}()
	return nil
}

// Without io.Copy's short cuts: a buffer of the size that im-embedded-peer has.
func echo(connection net.Conn) { copyAll(connection, connection) }
func sink(connection net.Conn) { copyAll(io.Discard, connection) }

func copyAll(to io.Writer, from net.Conn) {
	buffer := make([]byte, bufferBytes)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

func (p *peer) serveDatagrams(port int, handle func(net.PacketConn, []byte, net.Addr)) error {
	socket, err := p.network.ListenUDP(&net.UDPAddr{Port: port})
	if err != nil {
		return err
	}
	go func() {
		buffer := make([]byte, bufferBytes)
		for {
			n, from, err := socket.ReadFrom(buffer)
			if err != nil {
				return
			}
			handle(socket, buffer[:n], from)
		}
	}()
	return nil
}

func echoDatagram(socket net.PacketConn, payload []byte, from net.Addr) {
	socket.WriteTo(payload, from)
}

func (p *peer) countDatagram(net.PacketConn, []byte, net.Addr) { p.arrived.Add(1) }

func (p *peer) datagrams(bytes, megabits, milliseconds int) (string, error) {
	if bytes < 1 || bytes > bufferBytes || megabits < 0 {
		return "", errors.New("bytes, megabits")
	}
	to := netip.AddrPortFrom(p.other, udpSinkPort)
	socket, err := p.network.DialUDPAddrPort(netip.AddrPort{}, to)
	if err != nil {
		return "", err
	}
	defer socket.Close()
	payload := make([]byte, bytes)
	begin := time.Now()
	end := begin.Add(time.Duration(milliseconds) * time.Millisecond)
	var sent uint64
	for now := begin; now.Before(end); now = time.Now() {
		// A megabit a second is a bit in a microsecond.
		due := uint64(microseconds(begin) * float64(megabits) / 8 / float64(bytes))
		if megabits > 0 && sent >= due {
			time.Sleep(time.Millisecond)
			continue
		}
		if _, err := socket.Write(payload); err != nil {
			return "", err
		}
		sent++
	}
	return fmt.Sprintf(`{"ok": true, "sent": %d}`, sent), nil
}

func (p *peer) dial(port, count int) ([]net.Conn, error) {
	connections := make([]net.Conn, 0, count)
	for i := 0; i < count; i++ {
		connection, err := p.network.DialTCPAddrPort(netip.AddrPortFrom(p.other, uint16(port)))
		if err != nil {
			return connections, err
		}
		connections = append(connections, connection)
	}
	return connections, nil
}

// Writes until `end`, then waits for the other end to close, which it does once
// it has read all.
func flow(connection net.Conn, end time.Time) (int64, error) {
	buffer := make([]byte, bufferBytes)
	var sent int64
	for time.Now().Before(end) {
		n, err := connection.Write(buffer)
		sent += int64(n)
		if err != nil {
			return sent, err
		}
	}
	if half, ok := connection.(interface{ CloseWrite() error }); ok {
		if err := half.CloseWrite(); err != nil {
			return sent, err
		}
	}
	connection.SetReadDeadline(time.Now().Add(patience))
	if _, err := connection.Read(buffer); err != io.EOF {
		return sent, fmt.Errorf("not acknowledged: %v", err)
	}
	return sent, nil
}

func (p *peer) stream(flows, milliseconds int) (string, error) {
	connections, err := p.dial(sinkPort, flows)
	for _, connection := range connections {
		defer connection.Close()
	}
	if err != nil {
		return "", err
	}
	begin := time.Now()
	end := begin.Add(time.Duration(milliseconds) * time.Millisecond)
	var mutex sync.Mutex
	var all sync.WaitGroup
	var bytes int64
	var first error
	for _, connection := range connections {
		all.Add(1)
		go func() {
			defer all.Done()
			sent, err := flow(connection, end)
			mutex.Lock()
			defer mutex.Unlock()
			bytes += sent
			if first == nil {
				first = err
			}
		}()
	}
	all.Wait()
	us := time.Since(begin).Microseconds()
	return fmt.Sprintf(`{"ok": true, "bytes": %d, "us": %d}`, bytes, us), first
}

func (p *peer) ping(count int) (string, error) {
	if count < 1 {
		return "", errors.New("no count")
	}
	connections, err := p.dial(echoPort, 1)
	if err != nil {
		return "", err
	}
	connection := connections[0]
	defer connection.Close()
	var trips []float64
	for i := 0; i < count; i++ {
		begin := time.Now()
		if err := trip(connection, 1, patience); err != nil {
			return "", err
		}
		trips = append(trips, microseconds(begin))
	}
	return tripsAnswer(trips)
}

func (p *peer) pingUnderLoad(count, intervalUs int) (string, error) {
	if count < 1 {
		return "", errors.New("no count")
	}
	bulk, err := p.dial(sinkPort, 1)
	if err != nil {
		return "", err
	}
	defer bulk[0].Close()
	connections, err := p.dial(echoPort, 1)
	if err != nil {
		return "", err
	}
	defer connections[0].Close()
	ended := make(chan error, 1)
	go func() { ended <- copyZeros(bulk[0]) }()
	interval := time.Duration(intervalUs) * time.Microsecond
	start := time.Now()
	go func() {
		for i := 0; i < count; i++ {
			time.Sleep(time.Until(start.Add(time.Duration(i) * interval)))
			if _, err := connections[0].Write(make([]byte, 1)); err != nil {
				return // whoever reads finds out
			}
		}
	}()
	var trips []float64
	for buffer := make([]byte, bufferBytes); len(trips) < count; {
		connections[0].SetReadDeadline(time.Now().Add(patience))
		n, err := connections[0].Read(buffer)
		if err != nil {
			return "", err
		}
		for ; n > 0; n-- {
			trips = append(trips, microseconds(start.Add(time.Duration(len(trips))*interval)))
		}
	}
	select {
	case err := <-ended:
		return "", fmt.Errorf("the flow ended: %v", err)
	default:
		return tripsAnswer(trips)
	}
}

// Until the connection is closed.
func copyZeros(to net.Conn) error {
	buffer := make([]byte, bufferBytes)
	for {
		if _, err := to.Write(buffer); err != nil {
			return err
		}
	}
}

func trip(connection net.Conn, size int, patience time.Duration) error {
	buffer := make([]byte, size)
	if _, err := connection.Write(buffer); err != nil {
		return err
	}
	connection.SetReadDeadline(time.Now().Add(patience))
	_, err := connection.Read(buffer)
	return err
}

func microseconds(since time.Time) float64 {
	return float64(time.Since(since).Nanoseconds()) / 1e3
}

func tripsAnswer(trips []float64) (string, error) {
	list, err := json.Marshal(trips)
	return fmt.Sprintf(`{"ok": true, "trips_us": %s}`, list), err
}

func (p *peer) connectRequestClose(count int) (string, error) {
	var trips []float64
	for i := 0; i < count; i++ {
		begin := time.Now()
		connections, err := p.dial(echoPort, 1)
		if err != nil {
			return "", err
		}
		if err := trip(connections[0], 1, patience); err != nil {
			return "", err
		}
		connections[0].Close()
		trips = append(trips, microseconds(begin))
	}
	return tripsAnswer(trips)
}

func (p *peer) udpPing(count int) (string, error) {
	socket, err := p.network.DialUDPAddrPort(netip.AddrPort{}, netip.AddrPortFrom(p.other, udpPort))
	if err != nil {
		return "", err
	}
	defer socket.Close()
	var trips []float64
	for lost := 0; len(trips) < count; {
		begin := time.Now()
		// One that is lost is no trip; many are a failure.
		if err := trip(socket, 5, time.Second); err != nil {
			if lost++; lost == 10 {
				return "", err
			}
			continue
		}
		trips = append(trips, microseconds(begin))
	}
	return tripsAnswer(trips)
}

func (p *peer) hold(count int) (string, error) {
	begin := time.Now()
	connections, err := p.dial(echoPort, count)
	p.held = append(p.held, connections...)
	return fmt.Sprintf(`{"ok": true, "us": %d}`, time.Since(begin).Microseconds()), err
}

// Each is up, then closed by both ends.
func (p *peer) connect(count int) (string, error) {
	begin := time.Now()
	work := make(chan struct{}, count)
	for i := 0; i < count; i++ {
		work <- struct{}{}
	}
	close(work)
	errs := make(chan error, atOnce)
	for i := 0; i < atOnce; i++ {
		go func() {
			for range work {
				connections, err := p.dial(sinkPort, 1)
				if err == nil {
					_, err = flow(connections[0], begin)
					connections[0].Close()
				}
				if err != nil {
					errs <- err
					return
				}
			}
			errs <- nil
		}()
	}
	var first error
	for i := 0; i < atOnce; i++ {
		if err := <-errs; first == nil {
			first = err
		}
	}
	return fmt.Sprintf(`{"ok": true, "us": %d}`, time.Since(begin).Microseconds()), first
}

func (p *peer) answer(line string) (string, error) {
	var command string
	count, number, milliseconds := 1, 0, 0
	fmt.Sscan(line, &command, &count, &number, &milliseconds)
	switch command {
	case "stream":
		return p.stream(count, number)
	case "ping":
		return p.ping(count)
	case "loaded":
		return p.pingUnderLoad(count, number)
	case "crr":
		return p.connectRequestClose(count)
	case "udp":
		return p.udpPing(count)
	case "datagrams":
		return p.datagrams(count, number, milliseconds)
	case "arrived":
		return fmt.Sprintf(`{"ok": true, "datagrams": %d}`, p.arrived.Swap(0)), nil
	case "hold":
		return p.hold(count)
	case "connect":
		return p.connect(count)
	}
	return "", errors.New("what?")
}

func main() {
	if len(os.Args) != 7 && len(os.Args) != 8 {
		fmt.Fprintf(os.Stderr,
			"usage: %s PRIVATE_KEY PEER_KEY PORT PEER_ENDPOINT ADDRESS PEER_ADDRESS [MTU]\n", os.Args[0])
		os.Exit(2)
	}
	p, err := start(os.Args[1:])
	if err == nil {
		err = p.serve(echoPort, echo)
	}
	if err == nil {
		err = p.serve(sinkPort, sink)
	}
	if err == nil {
		err = p.serveDatagrams(udpPort, echoDatagram)
	}
	if err == nil {
		err = p.serveDatagrams(udpSinkPort, p.countDatagram)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", os.Args[0], err)
		os.Exit(1)
	}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		answer, err := p.answer(lines.Text())
		if err != nil {
			answer = fmt.Sprintf(`{"ok": false, "error": %q}`, err.Error())
		}
		fmt.Println(answer)
	}
}
