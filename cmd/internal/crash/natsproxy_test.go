package crash

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// natsProxy stands before the nats-server and reads the protocol in both directions: what a client publishes is a write,
// and the message that comes back on its reply subject is the answer.
func (w *wire) natsProxy(t testing.TB, upstream string) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go w.natsConn(c, upstream)
		}
	}()
	return "nats://" + l.Addr().String()
}

// natsLink is one connection of the process.
type natsLink struct {
	w      *wire
	client net.Conn
	server net.Conn

	mu    sync.Mutex
	reply map[string]verdict // of writes that wait for an answer
	name  map[string]string
}

func (w *wire) natsConn(client net.Conn, upstream string) {
	server, err := net.Dial("tcp", upstream)
	if err != nil {
		_ = client.Close()
		return
	}
	l := &natsLink{w: w, client: client, server: server, reply: make(map[string]verdict), name: make(map[string]string)}
	go func() {
		_ = l.down()
		_ = client.Close()
		_ = server.Close()
	}()
	_ = l.up()
	_ = client.Close()
	_ = server.Close()
}

// up copies what the process sends.
func (l *natsLink) up() error {
	r := bufio.NewReaderSize(l.client, 64<<10)
	for {
		frame, op, args, err := readFrame(r, "PUB", "HPUB")
		if err != nil {
			return err
		}
		v := pass
		if op != "" {
			v = l.judge(op, args)
		}
		if v == drop {
			l.w.doom()
			continue
		}
		if v == freeze {
			l.w.stop()
		}
		if _, err := l.server.Write(frame); err != nil {
			return err
		}
	}
}

// judge notes a write that expects an answer.
func (l *natsLink) judge(op string, args []string) verdict {
	name := natsWrite(args[0])
	if name == "" {
		return pass
	}
	v := l.w.judge(name)
	answered := op == "PUB" && len(args) == 3 || op == "HPUB" && len(args) == 4
	if v != drop && answered {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.reply[args[1]], l.name[args[1]] = v, name
	}
	return v
}

// down copies what the server sends, but for an answer that is to be lost.
func (l *natsLink) down() error {
	r := bufio.NewReaderSize(l.server, 64<<10)
	for {
		frame, op, args, err := readFrame(r, "MSG", "HMSG")
		if err != nil {
			return err
		}
		if op != "" {
			l.mu.Lock()
			v, waited := l.reply[args[0]]
			name := l.name[args[0]]
			delete(l.reply, args[0])
			delete(l.name, args[0])
			l.mu.Unlock()
			if waited {
				l.w.after(name)
			}
			if v == lose {
				l.w.doom()
				continue
			}
			if v == freeze {
				<-l.w.script.thawed
			}
		}
		if _, err := l.client.Write(frame); err != nil {
			return err
		}
	}
}

// readFrame reads one protocol line, with its payload if it is one of the two operations.
func readFrame(r *bufio.Reader, plain, headed string) (frame []byte, op string, args []string, err error) {
	line, err := r.ReadBytes('\n')
	if err != nil {
		return nil, "", nil, err
	}
	fields := strings.Fields(string(line))
	if len(fields) == 0 || fields[0] != plain && fields[0] != headed {
		return line, "", nil, nil
	}
	size, err := strconv.Atoi(fields[len(fields)-1])
	if err != nil {
		return nil, "", nil, fmt.Errorf("protocol line %q: %w", line, err)
	}
	payload := make([]byte, size+2)
	if _, err := io.ReadFull(r, payload); err != nil {
		return nil, "", nil, err
	}
	return append(line, payload...), fields[0], fields[1:], nil
}

// natsWrite names a message that changes something, or "".
func natsWrite(subject string) string {
	api, isAPI := strings.CutPrefix(subject, "$JS.API.")
	switch {
	case isAPI:
		for _, read := range []string{"INFO", "STREAM.INFO.", "CONSUMER.INFO.", "CONSUMER.MSG.NEXT.", "STREAM.MSG.GET.", "DIRECT.GET.", "STREAM.NAMES", "CONSUMER.DELETE."} {
			if strings.HasPrefix(api, read) {
				return ""
			}
		}
		parts := strings.Split(api, ".")
		if parts[0] == "CONSUMER" && len(parts) == 4 && parts[2] == "KV_rotator" {
			return "" // a watcher: an ephemeral consumer with a name by chance
		}
		return "nats api " + strings.Join(parts[:min(len(parts), 4)], ".")
	case strings.HasPrefix(subject, "$JS.ACK."):
		return "nats ack"
	case strings.HasPrefix(subject, "$KV.rotator."):
		return "nats journal " + random.ReplaceAllString(strings.TrimPrefix(subject, "$KV.rotator."), "_")
	case strings.HasPrefix(subject, "$KV."), strings.HasPrefix(subject, "rotator."):
		return "nats " + random.ReplaceAllString(subject, "_")
	}
	return "" // heartbeats, flow control, requests to services
}
