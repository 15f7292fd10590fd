package crash

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/openwhisk-rotator/rotator/events"
	"github.com/openwhisk-rotator/rotator/rotator"
	"github.com/openwhisk-rotator/rotator/vaultsrc/vaulttest"
)

var (
	soakTime  = flag.Duration("soak.time", 15*time.Second, "how long the soak goes on")
	soakKills = flag.Int("soak.kills", 0, "end the soak after so many kills instead of after a time")
)

// TestSoak kills the program at random moments while events come in and a prober logs in with what is bound.
func TestSoak(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	s := newSoak(t, rand.New(rand.NewPCG(seed, 0)))
	began := time.Now()
	enough := func() bool { return time.Since(began) >= *soakTime }
	if *soakKills > 0 {
		enough = func() bool { return s.kills >= *soakKills }
	}
	var events, probes sync.WaitGroup
	stopEvents, stopProbes := make(chan struct{}), make(chan struct{})
	for _, one := range s.shops {
		events.Go(func() { s.publish(one, stopEvents) })
		probes.Go(func() { one.probe(stopProbes) })
		probes.Go(func() { one.probeVault(stopProbes) })
	}
	for !enough() && !t.Failed() {
		s.strike()
	}
	close(stopEvents)
	events.Wait()
	for _, one := range s.shops {
		if err := one.finished(2*time.Minute, one.published); err != nil {
			one.fail("P6, P8: %v", err)
		}
	}
	close(stopProbes)
	probes.Wait()
	s.reconcile()
	s.check(time.Since(began))
}

// A soak is three bundles on one nats-server, and two replicas that do not live long.
type soak struct {
	t        *testing.T
	shops    []*shop
	configs  [2]string
	replicas [2]*process
	random   *rand.Rand
	kills    int
	revoked  int // orphans that were found at the end
}

func newSoak(t *testing.T, random *rand.Rand) *soak {
	p := newParts(t, vaulttest.RunPersistent(t))
	s := &soak{t: t, random: random}
	url, dir := startNATSProcess(t), t.TempDir()
	for range 3 {
		one := p.shopOn(t, url, dir)
		one.slow = true
		s.shops = append(s.shops, one)
	}
	for i := range s.replicas {
		s.configs[i] = writeConfig(fmt.Sprint("r", i), nil, s.shops...)
		s.replicas[i] = s.shops[0].spawn(t, dir, s.configs[i])
	}
	return s
}

// startNATSProcess builds the nats-server of go.mod and runs it with every write synced.
func startNATSProcess(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	program := filepath.Join(dir, "nats-server")
	if out, err := exec.Command("go", "build", "-o", program, "github.com/nats-io/nats-server/v2").CombinedOutput(); err != nil {
		t.Fatalf("building nats-server: %v\n%s", err, out)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	config := filepath.Join(dir, "nats.conf")
	text := fmt.Sprintf("listen: %q\njetstream { store_dir: %q, sync_interval: always }\n", address, dir)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-c", config)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	err = until(20*time.Second, "nats-server listens", func() bool {
		c, err := net.Dial("tcp", address)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return "nats://" + address
}

// strike kills one replica, sometimes both, and starts them again. The pause before it is the random moment.
func (s *soak) strike() {
	time.Sleep(time.Duration(300+s.random.IntN(1200)) * time.Millisecond)
	victims := []int{s.random.IntN(2)}
	if s.random.IntN(6) == 0 {
		victims = []int{0, 1}
	}
	for _, i := range victims {
		s.replicas[i].kill()
		s.kills++
	}
	for _, i := range victims {
		s.replicas[i] = s.shops[0].spawn(s.t, s.shops[0].dir, s.configs[i])
	}
}

// publish sends one event after the other: the next when the one before is worked off.
func (s *soak) publish(one *shop, stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		default:
		}
		e := departure(fmt.Sprint(one.name, " leaves ", one.published), one.name)
		if one.published%2 == 0 {
			e = events.Event{ID: fmt.Sprint(one.name, " on request ", one.published), Kind: events.KindManual, Manual: &events.Manual{
				Credential: events.Credential{Name: one.name}, Reason: "scheduled",
				RequestedBy: events.Person{Identifiers: []events.Identifier{{Format: "email", Email: "bob@example.com"}}}}}
		}
		if err := one.publish(e); err != nil {
			one.fail("%v", err)
			return
		}
		one.published++
		if err := one.finished(3*time.Minute, one.published); err != nil {
			one.fail("P6, P8: %v", err)
			return
		}
	}
}

// reconcile lets the program look for what Vault lost track of: a lease that Vault registers after its client has gone is
// not found by revoking the anchor, so an abort cannot see it. The service does this by itself every hour.
func (s *soak) reconcile() {
	found, _ := s.shops[0].reconcile(s.configs[0], "--revoke")
	s.revoked = len(found.Revoked)
	for _, d := range found.Drifted {
		s.t.Errorf("P2: %s: %s", d.Target, d.Text)
	}
}

// check is the end of it.
func (s *soak) check(took time.Duration) {
	rotations, logins, refused, forgotten := 0, 0, 0, 0
	for _, one := range s.shops {
		one.check(events.ResultRotated, one.published)
		one.chain()
		rotations += one.published
		logins += one.logins
		refused += one.refused
		forgotten += one.forgotten
		one.report()
	}
	s.t.Logf("%d kills in %s: %d events, %d rotations, %d logins with what was bound, %d refused; %d leases that Vault had lost track of were found and revoked, %d database users it forgot altogether", s.kills,
		took.Round(time.Second), rotations, rotations, logins, refused, s.revoked, forgotten)
	if rotations == 0 || logins == 0 || s.kills == 0 {
		s.t.Error("nothing was tried")
	}
}

// chain verifies the receipts as rotator receipt verify does.
func (s *shop) chain() {
	finals, err := s.finals()
	if err != nil {
		s.fail("reading the outcomes: %v", err)
		return
	}
	rec, err := s.record()
	if err != nil {
		s.fail("reading the journal: %v", err)
		return
	}
	c, err := rotator.VerifyChain(s.name, finals, rec.Last(), rotator.Archive{})
	if err != nil || c.Last != s.published {
		s.fail("the chain of receipts: up to %d of %d, %v", c.Last, s.published, err)
	}
}
